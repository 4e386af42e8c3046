//! Whole answers as Express makes them: JSON with Content-Length and ETag, HTML error pages,
//! and the heads of streams (measured on npm 2.0.4).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::request::Request;
use super::ticket::Ticket;
use super::wire::{Framing, Head, Stop, Wire};
use super::{Generation, Sim, js};

const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// One request under way: what it was, the way back, and its ledger entry.
pub(super) struct Exchange<'a, W> {
    pub(super) sim: &'a Sim,
    pub(super) request: &'a Request,
    pub(super) wire: &'a mut W,
    pub(super) ticket: Ticket<'a>,
    /// A Retry-After header that a fault adds.
    pub(super) retry_after: Option<String>,
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

fn base_headers() -> Vec<(&'static str, String)> {
    vec![
        ("X-Powered-By", "Express".to_owned()),
        ("Access-Control-Allow-Origin", "*".to_owned()),
    ]
}

impl<W: Wire> Exchange<'_, W> {
    pub(super) fn is_2_0(&self) -> bool {
        self.sim.config.generation == Generation::V2_0
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
        self.whole(status, JSON, body, &[]).await
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
        self.json(status, error_json(kind, message)).await
    }

    pub(super) async fn html(&mut self, status: u16, body: String) -> Result<(), Stop> {
        self.whole(status, HTML, body, &[]).await
    }

    /// Express's page for an error of its body parser: a stack trace with file paths.
    pub(super) async fn express_error(&mut self, status: u16, text: &str) -> Result<(), Stop> {
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
        let mut headers = base_headers();
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
        let mut headers = base_headers();
        headers.extend(
            extra
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        if let Some(value) = self.retry_after.take() {
            headers.push(("Retry-After", value));
        }
        // Express's error pages alone come without an ETag.
        let tag = extra.is_empty().then(|| etag(body.as_bytes()));
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
        let mut headers = base_headers();
        headers.push(("Content-Type", JSON.to_owned()));
        headers.push(("Content-Length", body.len().to_string()));
        headers.push(("ETag", etag(body.as_bytes())));
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
        let mut headers = base_headers();
        headers.push(("Content-Type", "text/event-stream".to_owned()));
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
