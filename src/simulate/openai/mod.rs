//! The OpenAI dialect: `POST /v1/chat/completions` (contracts/conversion.md, sections 4 and 5, from the server's side).
//!
//! `peek` reads a request, `chunks` writes an answer in either form; faults, ledger and shapes are those of the other
//! generations.

mod chunks;
mod peek;

pub(super) use chunks::{done, frame};
pub(super) use peek::peek;

use super::{js, js_opt};

/// An error body; `kind` is the Anthropic name of what is wrong, or any other type.
pub(super) fn error_json(kind: &str, message: &str, param: Option<&str>) -> String {
    let (name, code) = match kind {
        "authentication_error" => ("invalid_request_error", Some("invalid_api_key")),
        "model_not_found" => ("invalid_request_error", Some("model_not_found")),
        "not_found_error" | "request_too_large" => ("invalid_request_error", None),
        "rate_limit_error" => ("requests", Some("rate_limit_exceeded")),
        "insufficient_quota" => ("insufficient_quota", Some("insufficient_quota")),
        "api_error" | "overloaded_error" => ("server_error", None),
        "permission_error" => (
            "invalid_request_error",
            Some("unsupported_country_region_territory"),
        ),
        other => (other, None),
    };
    format!(
        "{{\"error\":{{\"message\":{},\"type\":{},\"param\":{},\"code\":{}}}}}",
        js(message),
        js(name),
        js_opt(param),
        js_opt(code)
    )
}
