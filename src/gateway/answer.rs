//! The answers that Luna writes itself, and the headers that every answer carries.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL,
    CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};

use crate::routing::Reason;
use crate::wire::error::{ClientError, ClientFormat, render_json};

/// Headers of an upstream's answer that reach the client besides the framing; contracts/gateway.md section 5.
const DOWN: &[&str] = &[
    "content-type",
    "cache-control",
    "retry-after",
    "x-should-retry",
    "openai-processing-ms",
];
const DOWN_PREFIXES: &[&str] = &["anthropic-ratelimit-", "x-ratelimit-"];

// Names that every answer has; ready, because pingora parses a name given as text each time.
static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
static REQUESTED_MODEL: HeaderName = HeaderName::from_static("x-luna-requested-model");
static SERVED_MODEL: HeaderName = HeaderName::from_static("x-luna-served-model");
static UPSTREAM: HeaderName = HeaderName::from_static("x-luna-upstream");
static TIER: HeaderName = HeaderName::from_static("x-luna-tier");
static WARNINGS: HeaderName = HeaderName::from_static("x-luna-warnings");
static FALLBACK: HeaderName = HeaderName::from_static("x-luna-fallback");

/// `Access-Control-Expose-Headers` of answers to an allowed origin.
const EXPOSED: &str = "request-id, x-request-id, retry-after, x-luna-requested-model, x-luna-served-model, \
x-luna-upstream, x-luna-tier, x-luna-fallback, x-luna-warnings, x-luna-estimate";

/// What every answer of one request carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Envelope {
    pub(super) request_id: String,
    pub(super) format: Option<ClientFormat>,
    /// The model as the client named it, once that is known.
    pub(super) requested_model: Option<String>,
    /// The request's Origin, when it is one that may read answers.
    pub(super) origin: Option<HeaderValue>,
}

/// The tier that answers.
pub(super) struct Served<'a> {
    pub(super) model: &'a str,
    pub(super) upstream: &'a str,
    /// 1 = first.
    pub(super) tier: usize,
    pub(super) passed_over: &'a [Reason],
    /// What the conversion changed or left out; empty when nothing.
    pub(super) warnings: &'a str,
}

/// How an upstream's answer reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Event by event.
    Events,
    /// As long as it came.
    Same,
    /// Written anew: the upstream's length is not its length.
    Rebuilt,
}

impl Envelope {
    fn stamp(&self, headers: &mut HeaderMap) {
        if let Some(id) = header_safe(&self.request_id) {
            if self.format == Some(ClientFormat::Anthropic) {
                headers.insert(&REQUEST_ID, id.clone());
            }
            headers.insert(&X_REQUEST_ID, id);
        }
        if let Some(model) = self.requested_model.as_deref().and_then(header_safe) {
            headers.insert(&REQUESTED_MODEL, model);
        }
        if let Some(origin) = &self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED),
            );
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
    }

    /// The head of an error answer and its body.
    pub(super) fn error(
        &self,
        error: &ClientError,
        allow: Option<&'static str>,
    ) -> Result<(Box<ResponseHeader>, Bytes)> {
        let format = self.format.unwrap_or(ClientFormat::Anthropic);
        let body = Bytes::from(render_json(format, error, &self.request_id));
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(wait) = error.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.max(1)));
        }
        if error.should_not_retry() {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Some(allow) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        self.stamp(&mut headers);
        let header = head(status(error.status_for(format))?, headers);
        Ok((Box::new(header), body))
    }

    /// The head that the client gets of an upstream's answer.
    pub(super) fn of_upstream(
        &self,
        upstream: &ResponseHeader,
        served: &Served<'_>,
        framing: Framing,
    ) -> Result<ResponseHeader> {
        let mut headers = HeaderMap::with_capacity(16);
        for (name, value) in &upstream.headers {
            let passes = DOWN.contains(&name.as_str())
                || DOWN_PREFIXES.iter().any(|p| name.as_str().starts_with(p));
            if passes {
                headers.append(name, value.clone());
            }
        }
        let length = upstream.headers.get(CONTENT_LENGTH);
        if framing == Framing::Events {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers.insert(&X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        } else if let Some(length) = length.filter(|_| framing == Framing::Same) {
            headers.insert(CONTENT_LENGTH, length.clone());
        } else {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if let Some(model) = header_safe(served.model) {
            headers.insert(&SERVED_MODEL, model);
        }
        if let Some(name) = header_safe(served.upstream) {
            headers.insert(&UPSTREAM, name);
        }
        headers.insert(&TIER, HeaderValue::from(served.tier));
        if !served.passed_over.is_empty() {
            let reasons: Vec<&str> = served.passed_over.iter().map(|r| r.as_str()).collect();
            headers.extend(header_safe(&reasons.join(",")).map(|value| (FALLBACK.clone(), value)));
        }
        if !served.warnings.is_empty() {
            // Made of our own words, so never anything but visible ASCII.
            headers.extend(
                HeaderValue::from_str(served.warnings).map(|value| (WARNINGS.clone(), value)),
            );
        }
        self.stamp(&mut headers);
        Ok(head(upstream.status, headers))
    }

    /// The head of an answer of the local routes.
    pub(super) fn local(&self, code: u16, headers: &HeaderMap) -> Result<Box<ResponseHeader>> {
        let mut headers = headers.clone();
        self.stamp(&mut headers);
        Ok(Box::new(head(status(code)?, headers)))
    }
}

/// A head made of ready headers, which pingora takes as they are.
fn head(status: StatusCode, headers: HeaderMap) -> ResponseHeader {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = headers;
    ResponseHeader::from(parts)
}

fn status(code: u16) -> Result<StatusCode> {
    StatusCode::from_u16(code)
        .map_err(|_| Error::explain(ErrorType::InvalidHTTPHeader, "a status that is none"))
}

/// A model name as a header value; a name that cannot be one is left out
/// rather than mangled. hyper and pingora refuse control characters anyway.
fn header_safe(name: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(name)
        .ok()
        .filter(|_| (1..=256).contains(&name.len()))
}

/// Writes a whole answer, without its body for HEAD.
pub(super) async fn write(
    session: &mut ServerSession,
    header: Box<ResponseHeader>,
    body: Bytes,
) -> Result<()> {
    let head_only = session.req_header().method == Method::HEAD;
    session.write_response_header(header).await?;
    if head_only || body.is_empty() {
        return session.finish_body().await;
    }
    session.write_response_body(body, true).await
}

/// The answer to a preflight of an allowed origin.
pub(super) fn preflight(
    origin: &HeaderValue,
    asked: Option<&HeaderValue>,
) -> Result<Box<ResponseHeader>> {
    let mut header = ResponseHeader::build(204, Some(8))?;
    header.insert_header("access-control-allow-origin", origin.clone())?;
    header.insert_header("access-control-allow-methods", "GET, HEAD, POST, OPTIONS")?;
    if let Some(asked) = asked {
        header.insert_header("access-control-allow-headers", asked.clone())?;
    }
    header.insert_header("access-control-max-age", "600")?;
    header.insert_header(VARY, "origin")?;
    Ok(Box::new(header))
}

/// The request's Origin, when the settings allow it.
pub(super) fn allowed_origin(headers: &HeaderMap, allowed: &[String]) -> Option<HeaderValue> {
    let origin = headers.get(HeaderName::from_static("origin"))?;
    if allowed.iter().any(|a| a == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let text = origin.to_str().ok()?;
    allowed
        .iter()
        .any(|a| a.eq_ignore_ascii_case(text))
        .then(|| origin.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_headers_come_down() {
        let mut upstream = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-length", "2"),
            ("access-control-allow-origin", "*"),
            ("set-cookie", "a=b"),
            ("keep-alive", "timeout=5"),
            ("anthropic-ratelimit-requests-remaining", "3"),
            ("x-luna-served-model", "a lie"),
        ] {
            upstream.append_header(name, value).unwrap();
        }
        let envelope = Envelope {
            request_id: "req_1".into(),
            format: Some(ClientFormat::Anthropic),
            requested_model: Some("gpt\r\nevil: 1".into()),
            origin: None,
        };
        let served = Served {
            model: "m",
            upstream: "default",
            tier: 2,
            passed_over: &[Reason::Quota],
            warnings: "",
        };
        let down = envelope
            .of_upstream(&upstream, &served, Framing::Same)
            .unwrap();
        let mut names: Vec<&str> = down.headers.keys().map(|k| k.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "anthropic-ratelimit-requests-remaining",
                "content-length",
                "content-type",
                "request-id",
                "x-luna-fallback",
                "x-luna-served-model",
                "x-luna-tier",
                "x-luna-upstream",
                "x-request-id",
            ]
        );
        assert_eq!(down.headers["x-luna-served-model"], "m");
        assert_eq!(down.headers["x-luna-fallback"], "quota");
    }

    #[test]
    fn an_origin_must_be_listed() {
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("https://a.example"));
        assert!(allowed_origin(&headers, &[]).is_none());
        assert!(allowed_origin(&headers, &["https://b.example".into()]).is_none());
        assert_eq!(
            allowed_origin(&headers, &["https://A.example".into()]).unwrap(),
            "https://a.example"
        );
        assert_eq!(allowed_origin(&headers, &["*".into()]).unwrap(), "*");
    }
}
