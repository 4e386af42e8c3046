//! Which route answers, and all routes but the messages one (antigravity.md sections 1 to 5).

use super::faults::{Fault, FaultKind};
use super::page::{Exchange, error_json};
use super::peek::{Peek, PeekError, peek};
use super::request::{Body, Request};
use super::ticket::Ticket;
use super::wire::{Stop, Wire};
use super::{Generation, Sim, iso, js, messages, now_ms, openai, orders, refusals};

fn read(sim: &Sim, body: &[u8]) -> Result<Peek, PeekError> {
    match sim.config.generation {
        Generation::OpenAi => openai::peek(body),
        _ => peek(body),
    }
}

/// Wants the password of the web UI?
fn is_guarded(path: &str) -> bool {
    matches!(path, "/health" | "/account-limits")
        || (path.starts_with("/api/") && path != "/api/config")
}

/// Answers one request; the ledger knows it from here on.
pub(super) async fn dispatch<W: Wire>(
    sim: &std::sync::Arc<Sim>,
    request: &Request,
    wire: &mut W,
) -> Result<(), Stop> {
    if let Some(path) = request.path().strip_prefix("/__sim") {
        return orders::answer(sim, request, path, wire).await;
    }
    let is_messages =
        request.method == "POST" && request.path() == sim.config.generation.messages_path();
    let seen = match &request.body {
        Body::Whole(body) if is_messages && request.is_json() => Some(read(sim, body)),
        Body::Whole(_) if is_messages => Some(read(sim, b"")),
        _ => None,
    };
    let (model, stream) = match &seen {
        Some(Ok(seen)) if seen.has_messages => (Some(seen.model.as_str()), seen.stream),
        _ => (None, false),
    };
    let ticket = Ticket::open(sim, request, model, stream);
    let mut exchange = Exchange {
        param: None,
        sim,
        request,
        wire,
        ticket,
        retry_after: None,
    };
    let result = exchange.route(seen).await;
    if result == Err(Stop::Gone) {
        exchange.ticket.gone();
    }
    result
}

impl<W: Wire> Exchange<'_, W> {
    async fn route(&mut self, seen: Option<Result<Peek, PeekError>>) -> Result<(), Stop> {
        match self.request.body {
            Body::Broken(_) => return Err(Stop::Gone),
            Body::TooLarge(_) => {
                let text = "PayloadTooLargeError: request entity too large";
                return self.express_error(413, text).await;
            }
            Body::Whole(_) => {}
        }
        if self.request.method == "OPTIONS" && !self.sim.config.generation.obeys() {
            return self.preflight().await;
        }
        // Express reads the body before it looks at any key.
        let bytes = self.request.bytes();
        if let Some(coding) = self.request.header("content-encoding")
            && self.request.is_json()
            && !bytes.is_empty()
            && !coding.eq_ignore_ascii_case("identity")
        {
            let coding = coding.to_ascii_lowercase();
            let text =
                format!("UnsupportedMediaTypeError: unsupported content encoding \"{coding}\"");
            return self.express_error(415, &text).await;
        }
        if let Some(Err(PeekError::Syntax(text))) = &seen {
            let text = format!("SyntaxError: {text}");
            return self.express_error(400, &text).await;
        }
        let path = self.request.path();
        if path.starts_with("/v1/") && !self.has_api_key() {
            let text = "Invalid or missing API key";
            return self.error(401, "authentication_error", text).await;
        }
        let guarded = !self.sim.config.generation.obeys() && is_guarded(path);
        if guarded && !self.has_password() {
            let body = "{\"status\":\"error\",\"error\":\"Unauthorized: Password required\"}";
            return self.json(401, body.to_owned()).await;
        }
        match seen {
            Some(Ok(seen)) => return messages::answer(self, seen).await,
            Some(Err(PeekError::Shape(text))) => {
                return self.error(400, "invalid_request_error", &text).await;
            }
            Some(Err(PeekError::Syntax(_))) | None => {}
        }
        let fault = self.sim.state().take_fault(path, false);
        if let Some(fault) = fault {
            self.ticket.progress.fault = Some(fault.fault.name());
            if self.faulty(&fault).await? {
                return Ok(());
            }
        }
        match self.sim.config.generation.obeys() {
            true => self.api_route().await,
            false => self.plain().await,
        }
    }

    /// The routes without faults.
    async fn plain(&mut self) -> Result<(), Stop> {
        let method = match self.request.method.as_str() {
            "HEAD" => "GET",
            other => other,
        };
        match (method, self.request.path()) {
            ("GET", "/health") => {
                let body = self.sim.health_json(self.ticket.began());
                self.json(200, body).await
            }
            ("GET", "/account-limits") => match self.request.query_value("format") {
                Some(format) if format == "table" => {
                    self.text(200, "Account Limits\n".to_owned()).await
                }
                _ => self.json(200, self.sim.account_limits_json()).await,
            },
            ("GET", "/v1/models") => match self.sim.models_json() {
                Some(body) => self.json(200, body).await,
                None => self.error(503, "api_error", "No accounts available").await,
            },
            ("POST", "/v1/messages/count_tokens") => {
                let text = "Token counting is not implemented. Use /v1/messages with max_tokens \
                            or configure your client to skip token counting.";
                self.error(501, "not_implemented", text).await
            }
            ("GET", "/api/config") => self.json(200, self.config_json()).await,
            ("GET", "/") => {
                let page = "<!DOCTYPE html>\n<title>Simulated Antigravity</title>\n";
                self.html(200, page.to_owned()).await
            }
            ("POST", "/" | "/api/event_logging/batch") if !self.is_2_0() => {
                self.json(200, "{\"status\":\"ok\"}".to_owned()).await
            }
            ("POST", "/refresh-token") => {
                let body = "{\"status\":\"error\",\"error\":\"Could not extract token from Antigravity. \
                            Make sure Antigravity is running and you are logged in.\"}";
                self.json(500, body.to_owned()).await
            }
            (_, path) => {
                let text = format!("Endpoint {} {path} not found", self.request.method);
                self.error(404, "not_found_error", &text).await
            }
        }
    }

    /// A Bearer header, when present, wins (antigravity.md section 2).
    fn has_api_key(&self) -> bool {
        let Some(key) = &self.sim.config.api_key else {
            return true;
        };
        let header = self.request.header("authorization");
        let bearer = header.and_then(|value| value.strip_prefix("Bearer "));
        let other = self.request.header("x-api-key");
        let other = other.filter(|_| self.sim.config.generation != Generation::OpenAi);
        bearer.or(other) == Some(key.as_str())
    }

    fn has_password(&self) -> bool {
        let Some(password) = &self.sim.config.webui_password else {
            return true;
        };
        let header = self.request.header("x-webui-password").map(str::to_owned);
        let given = header.or_else(|| self.request.query_value("password"));
        given.as_ref() == Some(password)
    }

    /// The real server shows both secrets here without asking for any; they are the simulator's
    /// own, and the route is here to prove that nobody forwards it.
    fn config_json(&self) -> String {
        let config = &self.sim.config;
        format!(
            "{{\"status\":\"ok\",\"config\":{{\"apiKey\":{},\"webuiPassword\":{},\"debug\":false,\
             \"logLevel\":\"info\",\"maxRetries\":5,\"retryBaseMs\":1000,\"retryMaxMs\":30000,\
             \"persistTokenCache\":false,\"defaultCooldownMs\":10000,\"maxWaitBeforeErrorMs\":120000,\
             \"modelMapping\":{{}}}},\"version\":\"{}\",\"note\":\"Simulated\"}}",
            js(config.api_key.as_deref().unwrap_or_default()),
            js(config.webui_password.as_deref().unwrap_or_default()),
            config.generation.version(),
        )
    }

    /// A fault of a route that is not the messages one; false when the route answers after all.
    async fn faulty(&mut self, fault: &Fault) -> Result<bool, Stop> {
        let wait = |default| fault.delay_ms.unwrap_or(default);
        let text = |default: &str| fault.message.clone().unwrap_or_else(|| default.to_owned());
        match fault.fault {
            FaultKind::HealthError => {
                self.pause_ms(wait(0)).await?;
                let body = format!(
                    "{{\"status\":\"error\",\"error\":{},\"timestamp\":\"{}\"}}",
                    js(&text("Initialization failed")),
                    iso(now_ms())
                );
                self.json(fault.code.unwrap_or(503), body).await?;
            }
            FaultKind::HealthSlow => {
                self.pause_ms(wait(3_000)).await?;
                return Ok(false);
            }
            FaultKind::NoAccounts if self.request.path() == "/v1/models" => {
                self.pause_ms(wait(0)).await?;
                self.error(503, "api_error", &text("No accounts available"))
                    .await?;
            }
            FaultKind::Slow => {
                self.pause_ms(wait(1_000)).await?;
                return Ok(false);
            }
            FaultKind::Cut | FaultKind::Stall => {
                self.pause_ms(wait(0)).await?;
                let body = match self.request.path() {
                    "/health" => self.sim.health_json(self.ticket.began()),
                    "/v1/models" => self.sim.models_json().unwrap_or_default(),
                    _ => error_json("api_error", "simulated"),
                };
                self.half_json(&body).await?;
                match fault.fault {
                    FaultKind::Cut => return Err(Stop::Cut),
                    _ => self.hang().await?,
                }
            }
            _ => return refusals::refuse(self, fault, "the model", false).await,
        }
        Ok(true)
    }
}

/// The exhaustion text of a generation (antigravity.md section 9).
pub(super) fn exhausted_text(generation: Generation, model: &str, reset: Option<&str>) -> String {
    let prefix = match generation {
        Generation::V2_7 => "RESOURCE_EXHAUSTED: ",
        _ => "",
    };
    // The real server cuts the name at its first dot.
    let model = model.split('.').next().unwrap_or_default();
    let tail = match reset {
        Some(reset) => format!("Quota will reset after {reset}."),
        None => "Please wait for your quota to reset.".to_owned(),
    };
    format!("{prefix}You have exhausted your capacity on {model}. {tail}")
}

/// A duration as the reset text has it: `XhYmZs`, `YmZs`, `Zs`.
pub(super) fn reset_text(ms: u64) -> String {
    let seconds = ms / 1_000;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}
