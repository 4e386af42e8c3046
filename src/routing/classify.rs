//! Reads what an upstream answered instead of an answer (antigravity.md section 11).
//!
//! Only `error.type`, `error.status`, `error.code` and the beginning of `error.message` decide.
//! Words further inside count on 500, 503 and 529 alone, and then no reset is read: a 400 echoes
//! what the client wrote, and a client must not be able to mark a tier with its own words.

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::failure::{MAX_MESSAGE, cut};
use super::{Failure, MAX_RESET_AHEAD, Millis, Reason, Scope, phrase};

/// An error body is not read beyond this many bytes.
const MAX_BODY: usize = 64 * 1024;

/// What an error body says, as far as it may decide.
#[derive(Default)]
struct Said {
    error_type: Option<String>,
    /// `error.status`, as Google gives it.
    status: Option<String>,
    code: Option<String>,
    message: String,
    /// The message is `error.message`, so that its beginning may decide.
    decisive: bool,
    html: bool,
}

/// Reads an answer with a status other than 200. `retry_after_s` is the header of that name, which
/// a 429 of other upstreams may carry.
#[must_use]
pub fn classify(
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
    retry_after_s: Option<u64>,
    now: Millis,
) -> Failure {
    let said = read_body(content_type, body);
    let mut failure = decide(status, said, Reason::UpstreamError, now);
    if status == 429 && failure.reset.is_none() {
        failure.reset = retry_after_s
            .filter(|seconds| *seconds > 0)
            .map(|s| now.saturating_add(s.saturating_mul(1000).min(MAX_RESET_AHEAD)));
    }
    failure
}

/// Reads the data of an error event that came before anything was sent to the client. Its type
/// stands for the status that the answer would have had.
#[must_use]
pub fn classify_error_event(data: &[u8], now: Millis) -> Failure {
    let said = read_body(None, data);
    let by_type = match said.error_type.as_deref() {
        Some("invalid_request_error") => Some(400),
        Some("authentication_error") => Some(401),
        Some("permission_error") => Some(403),
        Some("not_found_error") => Some(404),
        Some("request_too_large") => Some(413),
        Some("overloaded_error") => Some(529),
        Some("timeout_error") => Some(504),
        _ => None,
    };
    let by_code = || {
        let code: u16 = said.code.as_deref()?.parse().ok()?;
        // A code 429 is exhaustion like the type; only a status is `rate_limited`.
        ((400..600).contains(&code) && code != 429).then_some(code)
    };
    let status = by_type.or_else(by_code).unwrap_or(500);
    let otherwise = match status {
        401 | 403 => Reason::UpstreamError,
        _ => Reason::StreamError,
    };
    decide(status, said, otherwise, now)
}

fn read_body(content_type: Option<&str>, body: &[u8]) -> Said {
    let body = body.get(..MAX_BODY).unwrap_or(body);
    let is_html = content_type.is_some_and(|kind| {
        kind.get(..9)
            .is_some_and(|start| start.eq_ignore_ascii_case("text/html"))
    });
    if is_html || body.trim_ascii_start().starts_with(b"<") {
        return Said {
            html: true,
            ..Said::default()
        };
    }
    let Ok(Value::Object(top)) = serde_json::from_slice::<Value>(body) else {
        let start = body.get(..MAX_MESSAGE).unwrap_or(body);
        return Said {
            message: cut(&String::from_utf8_lossy(start), MAX_MESSAGE).to_owned(),
            ..Said::default()
        };
    };
    let word = |value: Option<&Value>| match value? {
        Value::String(text) => Some(cut(text, 128).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match top.get("error") {
        Some(Value::Object(error)) => Said {
            error_type: word(error.get("type")),
            status: word(error.get("status")),
            code: word(error.get("code")),
            message: text_of(error.get("message")),
            decisive: true,
            html: false,
        },
        Some(error @ Value::String(_)) => Said {
            message: text_of(Some(error)),
            decisive: true,
            ..Said::default()
        },
        _ => Said {
            message: text_of(top.get("message")),
            ..Said::default()
        },
    }
}

fn text_of(value: Option<&Value>) -> String {
    let text = value.and_then(Value::as_str).unwrap_or("");
    cut(text, MAX_MESSAGE).to_owned()
}

/// The one place that decides. `otherwise` is the label of what has no label of its own.
fn decide(status: u16, said: Said, otherwise: Reason, now: Millis) -> Failure {
    let words = said.message.trim();
    let message = if said.decisive { words } else { "" };
    let words_count = matches!(status, 500 | 503 | 529);
    let ambiguous = status == 500 && message == "Max retries exceeded";
    let begins_exhausted = phrase::begins_exhausted(message);
    let exhausted = begins_exhausted || ambiguous || said.says_exhausted();
    let unknown_model = status == 404
        || phrase::names_unknown_model(message)
        || status == 500 && message.starts_with("API error 404");
    let (mut scope, mut client_fault) = (Scope::Tier, false);
    let reason = if status == 429 {
        Reason::RateLimited
    } else if exhausted {
        Reason::Exhausted
    } else if unknown_model {
        Reason::ModelNotFound
    } else if message.starts_with("All accounts are invalid") {
        scope = Scope::Upstream;
        Reason::UpstreamError
    } else if message.starts_with("No accounts available") {
        scope = Scope::AskHealth;
        Reason::UpstreamError
    } else if words_count && phrase::speaks_of_exhaustion(words) {
        Reason::Exhausted
    } else if matches!(status, 503 | 529) || words_count && phrase::speaks_of_capacity(words) {
        Reason::Overloaded
    } else {
        client_fault = matches!(status, 400 | 413 | 422);
        if client_fault {
            Reason::UpstreamError
        } else {
            otherwise
        }
    };
    let reset = begins_exhausted
        .then(|| phrase::reset_after(message))
        .flatten();
    Failure {
        reason,
        reset: reset.map(|after| now.saturating_add(after)),
        scope,
        client_fault,
        ambiguous_max_retries: ambiguous,
        status,
        error_type: said.error_type,
        message: said.message,
        html: said.html,
    }
}

impl Said {
    /// Whether type, status or code, which no client can write, say exhaustion.
    fn says_exhausted(&self) -> bool {
        self.error_type.as_deref() == Some("rate_limit_error")
            || self.status.as_deref() == Some("RESOURCE_EXHAUSTED")
            || matches!(
                self.code.as_deref(),
                Some("429" | "RESOURCE_EXHAUSTED" | "rate_limit_exceeded" | "insufficient_quota")
            )
    }
}
