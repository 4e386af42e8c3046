//! What a whole answer and a stream have in common: who answers, what it cost, why it ended.
//!
//! Contract: contracts/conversion.md, sections 2, 6 and 7. Neighbours: `answer`, `stream`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::Back;
use crate::wire::convert::Facts;
use crate::wire::convert::ids::made_id;
use crate::wire::convert::json::{self, Object, Writer};
use crate::wire::usage::UsageSeen;

/// A longer id or model name is not the upstream's.
const MAX_NAME: usize = 256;

/// Opens an answer's or chunk's object and writes what all of them begin with.
pub(in super::super) fn open(w: &mut Writer, message: &Object<'_>, kind: &str, facts: &Facts) {
    let id = name(message, "id");
    let model = name(message, "model");
    w.open_object().key("id");
    w.text(&format!(
        "chatcmpl-{}",
        id.as_deref().unwrap_or(&facts.request_id)
    ));
    w.key("object").text(kind);
    w.key("created").number(facts.created);
    w.key("model")
        .text(model.as_deref().unwrap_or(&facts.model));
}

fn name<'a>(message: &Object<'a>, key: &str) -> Option<Cow<'a, str>> {
    message
        .text(key)
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
}

/// The call's id; one that is missing is made from the request's.
pub(in super::super) fn call_id<'a>(block: &Object<'a>, k: u64, facts: &Facts) -> Cow<'a, str> {
    block
        .text("id")
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| {
            let seed = format!("{}:{k}", facts.request_id);
            Cow::Owned(made_id("call_", seed.as_bytes()))
        })
}

/// The text of a call's arguments: its input as it stands, or an empty object.
pub(in super::super) fn arguments<'a>(block: &Object<'a>) -> &'a str {
    let Some(input) = block.get("input") else {
        return "{}";
    };
    let text = input.get();
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    match inner {
        Some(inner) if inner.trim_ascii().is_empty() => "{}",
        _ => text,
    }
}

/// The tokens of one answer.
#[derive(Debug, Default)]
pub(in super::super) struct Usage {
    seen: UsageSeen,
    /// `output_tokens_details.thinking_tokens`.
    thinking: Option<u64>,
}

impl Usage {
    /// Takes over the fields that are present and not null.
    pub(in super::super) fn merge(&mut self, usage: Option<&RawValue>) {
        let Some(usage) = usage else { return };
        self.seen.merge_anthropic(usage.get().as_bytes());
        let thinking = Object::of(usage)
            .and_then(|usage| Object::of(usage.get("output_tokens_details")?))
            .and_then(|details| json::whole(details.get("thinking_tokens")?));
        self.thinking = thinking.or(self.thinking);
    }

    /// Writes the value of `usage`.
    pub(in super::super) fn write(&self, w: &mut Writer) {
        let tokens = &self.seen.tokens;
        let prompt = tokens
            .input
            .saturating_add(tokens.cache_read)
            .saturating_add(tokens.cache_creation);
        w.open_object().key("prompt_tokens").number(prompt);
        w.key("completion_tokens").number(tokens.output);
        w.key("total_tokens")
            .number(prompt.saturating_add(tokens.output));
        w.key("prompt_tokens_details").open_object();
        w.key("cached_tokens").number(tokens.cache_read);
        w.key("cache_write_tokens").number(tokens.cache_creation);
        w.close_object();
        if let Some(thinking) = self.thinking {
            w.key("completion_tokens_details").open_object();
            w.key("reasoning_tokens").number(thinking);
            w.close_object();
        }
        w.close_object();
    }
}

/// Why the answer ended (section 6). `called` tells whether it has a call of the client's tools.
pub(in super::super) fn finish_reason(
    stop_reason: Option<&str>,
    called: bool,
    back: &Back,
) -> &'static str {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("refusal") => "content_filter",
        _ if called && back.legacy_functions => "function_call",
        _ if called => "tool_calls",
        _ => "stop",
    }
}

/// Whether a stop reason of the Messages API is one that section 6 names. Any other one is told to an OpenAI client as
/// `stop`, which the caller, who knows the upstream, should log.
pub fn is_known_stop_reason(reason: &str) -> bool {
    matches!(
        reason,
        "end_turn"
            | "stop_sequence"
            | "pause_turn"
            | "tool_use"
            | "max_tokens"
            | "model_context_window_exceeded"
            | "refusal"
    )
}

/// What the upstream says about its refusal: a literal.
pub(in super::super) fn explanation<'a>(holder: &Object<'a>) -> Option<&'a RawValue> {
    let details = Object::of(holder.get("stop_details")?)?;
    details
        .get("explanation")
        .filter(|text| json::kind(text) == json::Kind::String && text.get() != "\"\"")
}
