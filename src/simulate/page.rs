//! Whole answers as Express makes them: JSON with Content-Length and ETag, HTML error pages,
//! and the heads of streams (measured on npm 2.0.4).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::answer::make_id;
use super::request::Request;
use super::ticket::Ticket;
use super::wire::{Framing, Head, Stop, Wire};
use super::{Generation, Sim, js, openai};

const JSON: &str = "application/json; charset=utf-8";
const PLAIN_JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// One request under way: what it was, the way back, and its ledger entry.
pub(super) struct Exchange<'a, W> {
    pub(super) sim: &'a Sim,
    pub(super) request: &'a Request,
    pub(super) wire: &'a mut W,
    pub(super) ticket: Ticket<'a>,
    /// A Retry-After header that a fault adds.
    pub(super) retry_after: Option<String>,
    /// Which field an error of the OpenAI dialect names.
    pub(super) param: Option<String>,
}

/// The error body of every API error.
pub(super) fn error_json(kind: &str, message: &str) -> String {
    format!(
        "{{\"type\":\"error\",\"error\":{{\"type\":{},\"message\":{}}}}}",
        js(kind),
        js(message)
    )
}

/// Express's weak ETag: length and 27 characters of a hash. The hash is another one here.
fn etag(body: &[u8]) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(body);
    let hash = STANDARD_NO_PAD.encode(digest.get(..20).unwrap_or_default());
    format!("W/\"{:x}-{hash}\"", body.len())
}

impl<W: Wire> Exchange<'_, W> {
    pub(super) fn is_2_0(&self) -> bool {
        self.sim.config.generation == Generation::V2_0
    }

    pub(super) fn is_2_7(&self) -> bool {
        self.sim.config.generation == Generation::V2_7
    }

    fn is_express(&self) -> bool {
        !self.sim.config.generation.obeys()
    }

    fn json_type(&self) -> &'static str {
        if self.is_express() { JSON } else { PLAIN_JSON }
    }

    fn base_headers(&self) -> Vec<(&'static str, String)> {
        let id = || make_id("req_", self.sim.config.seed, self.ticket.seq);
        match self.sim.config.generation {
            Generation::V2_0 | Generation::V2_7 => vec![
                ("X-Powered-By", "Express".to_owned()),
                ("Access-Control-Allow-Origin", "*".to_owned()),
            ],
            Generation::Anthropic => vec![
                ("request-id", id()),
                ("anthropic-ratelimit-requests-limit", "4000".to_owned()),
                ("anthropic-ratelimit-requests-remaining", "3999".to_owned()),
            ],
            Generation::OpenAi => vec![
                ("x-request-id", id()),
                ("openai-processing-ms", "1".to_owned()),
                ("openai-version", "2020-10-01".to_owned()),
                ("x-ratelimit-limit-requests", "10000".to_owned()),
                ("x-ratelimit-remaining-requests", "9999".to_owned()),
            ],
        }
    }

    /// The body of an API error, in the generation's dialect.
    pub(super) fn error_body(&mut self, kind: &str, message: &str) -> String {
        match self.sim.config.generation {
            Generation::OpenAi => openai::error_json(kind, message, self.param.take().as_deref()),
            _ if kind == "model_not_found" => error_json("not_found_error", message),
            _ => error_json(kind, message),
        }
    }

    /// A wait of the real server, shortened.
    pub(super) async fn pause_ms(&mut self, ms: u64) -> Result<(), Stop> {
        let time = self.sim.config.scaled(ms);
        self.wire.pause(time).await
    }

    pub(super) async fn pause(&mut self, time: Duration) -> Result<(), Stop> {
        self.wire.pause(time).await
    }

    /// Silence until the other side leaves.
    pub(super) async fn hang(&mut self) -> Result<(), Stop> {
        self.ticket.commit();
        self.wire.until_gone().await;
        Err(Stop::Gone)
    }

    pub(super) async fn json(&mut self, status: u16, body: String) -> Result<(), Stop> {
        self.whole(status, self.json_type(), body, &[]).await
    }

    pub(super) async fn text(&mut self, status: u16, body: String) -> Result<(), Stop> {
        self.whole(status, "text/plain; charset=utf-8", body, &[])
            .await
    }

    pub(super) async fn error(
        &mut self,
        status: u16,
        kind: &str,
        message: &str,
    ) -> Result<(), Stop> {
        let body = self.error_body(kind, message);
        self.json(status, body).await
    }

    pub(super) async fn html(&mut self, status: u16, body: String) -> Result<(), Stop> {
        self.whole(status, HTML, body, &[]).await
    }

    /// Express's page for an error of its body parser: a stack trace with file paths.
    pub(super) async fn express_error(&mut self, status: u16, text: &str) -> Result<(), Stop> {
        if !self.is_express() {
            return self.error(status, "invalid_request_error", text).await;
        }
        let frames = [
            "at read (/opt/antigravity-claude-proxy/node_modules/body-parser/lib/read.js:80:3)",
            "at jsonParser (/opt/antigravity-claude-proxy/node_modules/body-parser/lib/types/json.js:142:5)",
            "at Layer.handle [as handle_request] (/opt/antigravity-claude-proxy/node_modules/express/lib/router/layer.js:95:5)",
        ];
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let mut trace = text.replace('"', "&quot;").replace('\'', "&#39;");
        for frame in frames {
            trace.push_str("<br> &nbsp; &nbsp;");
            trace.push_str(frame);
        }
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Error</title>\n\
             </head>\n<body>\n<pre>{trace}</pre>\n</body>\n</html>\n"
        );
        let guard = [
            ("Content-Security-Policy", "default-src 'none'"),
            ("X-Content-Type-Options", "nosniff"),
        ];
        self.whole(status, HTML, page, &guard).await
    }

    /// A preflight's answer.
    pub(super) async fn preflight(&mut self) -> Result<(), Stop> {
        let mut headers = self.base_headers();
        let methods = "GET,HEAD,PUT,PATCH,POST,DELETE";
        headers.push(("Access-Control-Allow-Methods", methods.to_owned()));
        headers.push(("Vary", "Access-Control-Request-Headers".to_owned()));
        if let Some(asked) = self.request.header("access-control-request-headers") {
            headers.push(("Access-Control-Allow-Headers", asked.to_owned()));
        }
        headers.push(("Content-Length", "0".to_owned()));
        self.put_whole(204, headers, Framing::Length(0), &[]).await
    }

    async fn whole(
        &mut self,
        status: u16,
        mime: &str,
        body: String,
        extra: &[(&'static str, &str)],
    ) -> Result<(), Stop> {
        let mut headers = self.base_headers();
        headers.extend(
            extra
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        if let Some(value) = self.retry_after.take() {
            headers.push(("Retry-After", value));
        }
        // Express's error pages alone come without an ETag.
        let tagged = extra.is_empty() && self.is_express();
        let tag = tagged.then(|| etag(body.as_bytes()));
        let get = matches!(self.request.method.as_str(), "GET" | "HEAD");
        let asked = self.request.header("if-none-match");
        if get && status == 200 && asked.is_some() && asked == tag.as_deref() {
            headers.push(("ETag", tag.unwrap_or_default()));
            return self.put_whole(304, headers, Framing::None, &[]).await;
        }
        headers.push(("Content-Type", mime.to_owned()));
        headers.push(("Content-Length", body.len().to_string()));
        headers.extend(tag.map(|tag| ("ETag", tag)));
        let framing = Framing::Length(body.len());
        self.put_whole(status, headers, framing, body.as_bytes())
            .await
    }

    async fn put_whole(
        &mut self,
        status: u16,
        headers: Vec<(&'static str, String)>,
        framing: Framing,
        body: &[u8],
    ) -> Result<(), Stop> {
        self.wire.head(Head {
            status,
            headers,
            framing,
        });
        self.ticket.progress.status = Some(status);
        self.ticket.progress.bytes_out += body.len() as u64;
        match status {
            200..=399 => self.ticket.finish(),
            _ => self.ticket.end(),
        }
        self.wire.send(body).await?;
        self.wire.finish().await
    }

    /// Announces a whole JSON answer and sends only the first half of it.
    pub(super) async fn half_json(&mut self, body: &str) -> Result<(), Stop> {
        let mut headers = self.base_headers();
        headers.push(("Content-Type", self.json_type().to_owned()));
        headers.push(("Content-Length", body.len().to_string()));
        if self.is_express() {
            headers.push(("ETag", etag(body.as_bytes())));
        }
        self.wire.head(Head {
            status: 200,
            headers,
            framing: Framing::Length(body.len()),
        });
        let half = body.as_bytes().get(..body.len() / 2).unwrap_or_default();
        self.ticket.progress.status = Some(200);
        self.ticket.progress.bytes_out += half.len() as u64;
        self.ticket.commit();
        self.wire.send(half).await
    }

    /// The head of a stream; it goes out with the first event, or with a flush.
    pub(super) fn sse_head(&mut self) {
        let mut headers = self.base_headers();
        let mime = match self.is_express() {
            true => "text/event-stream",
            false => "text/event-stream; charset=utf-8",
        };
        headers.push(("Content-Type", mime.to_owned()));
        headers.push(("Cache-Control", "no-cache".to_owned()));
        headers.push(("X-Accel-Buffering", "no".to_owned()));
        self.wire.head(Head {
            status: 200,
            headers,
            framing: Framing::Chunked,
        });
        self.ticket.progress.status = Some(200);
    }

    /// Counts one frame of a stream, which is then to be sent.
    pub(super) fn count(&mut self, frame: &str) {
        self.ticket.progress.events += 1;
        self.ticket.progress.bytes_out += frame.len() as u64;
    }
}
