//! Errors as a client sees them, in its own format.
//!
//! Invariants: `message` has already passed `wire::text::clean` when any of it came from upstream; the
//! result is always valid JSON without line breaks, so that it fits one SSE data line. Shapes and statuses:
//! contracts/gateway.md section 4 and contracts/conversion.md section 8.

use serde::Serialize;
use serde_json::value::RawValue;

/// The API that the client speaks; decides the shape of every answer that Luna writes itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientFormat {
    /// `/v1/messages` and its neighbours.
    Anthropic,
    /// `/v1/chat/completions` and its neighbours.
    OpenAi,
}

/// What went wrong, independent of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The client's request cannot be served as it is.
    InvalidRequest,
    /// No key or an unknown key.
    Authentication,
    /// A known key that may not do this.
    Permission,
    /// An unknown path or model.
    NotFound,
    /// The body is over the limit.
    TooLarge,
    /// A limit of the key, or all quota is gone.
    RateLimit,
    /// Luna or the upstream failed.
    Api,
    /// Nothing answered in time.
    Timeout,
    /// The upstream is overloaded.
    Overloaded,
}

impl ErrorKind {
    /// The `error.type` of the Anthropic format.
    #[must_use]
    pub const fn anthropic_type(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Api => "api_error",
            Self::Timeout => "timeout_error",
            Self::Overloaded => "overloaded_error",
        }
    }

    /// The `error.type` of the OpenAI format. The kinds that a client may retry are never labelled
    /// `invalid_request_error`.
    #[must_use]
    pub const fn openai_type(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::NotFound | Self::TooLarge => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::RateLimit => "rate_limit_error",
            Self::Api | Self::Timeout | Self::Overloaded => "server_error",
        }
    }
}

/// What an Anthropic SDK reads in an error to help itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Details {
    /// The server keeps no conversations: the SDK sends the whole history from then on.
    NoThreads,
}

impl Details {
    const fn json(self) -> &'static str {
        match self {
            Self::NoThreads => {
                r#"{"error_code":"thread_unsupported_request","unsupported":["gateway"]}"#
            }
        }
    }
}

/// One error on its way to a client.
#[derive(Clone, Debug)]
pub struct ClientError {
    /// HTTP status as an Anthropic client gets it; see [`ClientError::status_for`].
    pub status: u16,
    /// What went wrong.
    pub kind: ErrorKind,
    /// What is wrong and what to do about it; no key, path or stack trace.
    pub message: String,
    /// The request field that is at fault (OpenAI `param`).
    pub param: Option<String>,
    /// OpenAI `code`; when `None` a rate limit says `rate_limit_exceeded`.
    pub code: Option<&'static str>,
    /// Whole seconds for the `retry-after` header, rounded up by the maker.
    pub retry_after_s: Option<u64>,
    /// `error.details` of the Anthropic format.
    pub details: Option<Details>,
}

/// The longest `retry-after`, in seconds, for which an SDK should sleep and try again by itself.
const LONGEST_SLEEP_S: u64 = 30;

impl ClientError {
    /// An error without `param`, `code` and `retry-after`.
    #[must_use]
    pub fn new(status: u16, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            param: None,
            code: None,
            retry_after_s: None,
            details: None,
        }
    }

    /// The HTTP status for this format: 529 is unknown to OpenAI clients and becomes 503.
    #[must_use]
    pub const fn status_for(&self, format: ClientFormat) -> u16 {
        match (format, self.status) {
            (ClientFormat::OpenAi, 529) => 503,
            (_, status) => status,
        }
    }

    /// Whether the answer carries `x-should-retry: false`: the wait is too long to sleep through.
    #[must_use]
    pub const fn should_not_retry(&self) -> bool {
        matches!(self.retry_after_s, Some(seconds) if seconds > LONGEST_SLEEP_S)
    }

    fn openai_code(&self) -> Option<&'static str> {
        match (self.code, self.kind) {
            (None, ErrorKind::RateLimit) => Some("rate_limit_exceeded"),
            (code, _) => code,
        }
    }
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    r#type: &'static str,
    error: AnthropicError<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: Option<&'static str>,
}

/// The body of an error answer (`content-type: application/json`). OpenAI bodies have no place for
/// `request_id`; those clients read it from the header.
#[must_use]
pub fn render_json(format: ClientFormat, error: &ClientError, request_id: &str) -> Vec<u8> {
    let rendered = match format {
        ClientFormat::Anthropic => serde_json::to_vec(&AnthropicBody {
            r#type: "error",
            error: AnthropicError {
                r#type: error.kind.anthropic_type(),
                message: &error.message,
                details: error
                    .details
                    .and_then(|details| serde_json::from_str(details.json()).ok()),
            },
            request_id,
        }),
        ClientFormat::OpenAi => serde_json::to_vec(&OpenAiBody {
            error: OpenAiError {
                message: &error.message,
                r#type: error.kind.openai_type(),
                param: error.param.as_deref(),
                code: error.openai_code(),
            },
        }),
    };
    // Structs of strings always serialize; the type system does not know it.
    rendered.unwrap_or_default()
}

/// The error as the last event of a stream that has begun.
#[must_use]
pub fn render_sse(format: ClientFormat, error: &ClientError, request_id: &str) -> Vec<u8> {
    let prefix: &[u8] = match format {
        ClientFormat::Anthropic => b"event: error\ndata: ",
        ClientFormat::OpenAi => b"data: ",
    };
    [
        prefix,
        &render_json(format, error, request_id),
        b"\n\n".as_slice(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test may stop where it fails"
    )]

    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn anthropic_shape() {
        let error = ClientError::new(529, ErrorKind::Overloaded, "busy");
        assert_eq!(
            read(&render_json(ClientFormat::Anthropic, &error, "req_1")),
            json!({"type": "error", "request_id": "req_1",
                   "error": {"type": "overloaded_error", "message": "busy"}})
        );
        assert_eq!(error.status_for(ClientFormat::Anthropic), 529);
        assert_eq!(error.status_for(ClientFormat::OpenAi), 503);
    }

    #[test]
    fn openai_always_has_param_and_code() {
        let mut error = ClientError::new(400, ErrorKind::InvalidRequest, "no");
        assert_eq!(
            read(&render_json(ClientFormat::OpenAi, &error, "req_1")),
            json!({"error": {"message": "no", "type": "invalid_request_error",
                             "param": null, "code": null}})
        );
        error.param = Some("model".into());
        error.code = Some("model_not_found");
        error.kind = ErrorKind::NotFound;
        let body = read(&render_json(ClientFormat::OpenAi, &error, "req_1"));
        assert_eq!(body["error"]["param"], "model");
        assert_eq!(body["error"]["code"], "model_not_found");
    }

    #[test]
    fn rate_limits_have_a_code() {
        let error = ClientError::new(429, ErrorKind::RateLimit, "slow");
        let body = read(&render_json(ClientFormat::OpenAi, &error, ""));
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        assert_eq!(body["error"]["type"], "rate_limit_error");
    }

    #[test]
    fn long_waits_are_not_slept_through() {
        let mut error = ClientError::new(429, ErrorKind::RateLimit, "slow");
        assert!(!error.should_not_retry());
        error.retry_after_s = Some(30);
        assert!(!error.should_not_retry());
        error.retry_after_s = Some(31);
        assert!(error.should_not_retry());
    }

    proptest! {
        #[test]
        fn an_event_is_one_data_line(message in any::<String>(), id in any::<String>()) {
            let error = ClientError::new(502, ErrorKind::Api, message.clone());
            for (format, prefix) in [
                (ClientFormat::Anthropic, "event: error\ndata: "),
                (ClientFormat::OpenAi, "data: "),
            ] {
                let event = String::from_utf8(render_sse(format, &error, &id)).unwrap();
                let data = event.strip_prefix(prefix).unwrap().strip_suffix("\n\n").unwrap();
                prop_assert!(!data.contains(['\n', '\r']));
                prop_assert_eq!(&read(data.as_bytes())["error"]["message"], &json!(message));
            }
        }
    }
}
