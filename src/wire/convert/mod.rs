//! Anthropic Messages and OpenAI Chat Completions turned into each other: requests, answers, streams.
//!
//! `o2a` serves an OpenAI client from an Anthropic upstream, `a2o` an Anthropic client from an OpenAI upstream
//! (contracts/conversion.md; its section numbers are named where a rule stands).
//! Invariants: bytes and state in, bytes out; no clock, no I/O; what is sent is valid JSON and valid UTF-8 whatever came
//! in; digits, key order and escapes of schemas and tool arguments are copied, never rebuilt; text is never trimmed or
//! joined. Each request conversion starts from the client's own body. What cannot be carried is a [`Rejection`] when the
//! answer would be wrong without it, else a [`Warnings`] entry.
//! Neighbours: `json` reads and writes, `literal` copies text, `names` and `ids` make what the other side accepts, `gateway` decides when.

pub mod a2o;
pub mod ids;
pub mod json;
pub mod literal;
pub mod names;
pub mod o2a;
pub mod stops;

pub use o2a::is_known_stop_reason;

use crate::wire::error::Details;

/// What the upstream of one attempt can carry, for the model that is asked (contracts/conversion.md, section 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `tool_choice` is obeyed.
    pub tool_choice: bool,
    /// `stop_sequences` are obeyed; else Luna cuts.
    pub stop_sequences: bool,
    /// `output_config.format` (JSON schema) and `output_config.effort` are understood.
    pub output_config: bool,
    /// Documents with a text source arrive; else they become text blocks.
    pub text_documents: bool,
    /// A `system` message may stand among the turns.
    pub mid_system: bool,
    /// Images by URL are fetched by the upstream; else they are sent all the same, with a warning.
    pub url_images: bool,
    /// `service_tier` is understood.
    pub service_tier: bool,
    /// `temperature` and `top_p` exclude each other.
    pub exclusive_sampling: bool,
    /// Thinking is asked for by effort (`thinking.type = adaptive`), not by a budget.
    pub adaptive_thinking: bool,
    /// The model's largest answer in tokens, when it is configured.
    pub max_output: Option<u64>,
    /// The model takes `reasoning_effort` (OpenAI upstreams).
    pub reasoning: bool,
}

impl Capabilities {
    /// A plain Anthropic upstream: everything.
    pub const ANTHROPIC: Self = Self {
        tool_choice: true,
        stop_sequences: true,
        output_config: true,
        text_documents: true,
        mid_system: false,
        url_images: true,
        service_tier: true,
        exclusive_sampling: true,
        adaptive_thinking: false,
        max_output: None,
        reasoning: true,
    };
    /// antigravity-claude-proxy: what it silently drops is emulated.
    pub const ANTIGRAVITY: Self = Self {
        tool_choice: false,
        stop_sequences: false,
        output_config: false,
        text_documents: false,
        mid_system: false,
        url_images: false,
        service_tier: false,
        exclusive_sampling: true,
        adaptive_thinking: false,
        max_output: None,
        reasoning: true,
    };
    /// A plain OpenAI upstream.
    pub const OPENAI: Self = Self {
        tool_choice: true,
        stop_sequences: true,
        output_config: true,
        text_documents: true,
        mid_system: true,
        url_images: true,
        service_tier: true,
        exclusive_sampling: false,
        adaptive_thinking: false,
        max_output: None,
        reasoning: true,
    };
}

/// Whom a request is converted for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The tier's model, written into the request.
    pub model: &'a str,
    pub capabilities: &'a Capabilities,
}

/// A converted request, and what its answer needs to be converted back.
#[derive(Debug)]
pub struct Converted<B> {
    /// The request body for the upstream.
    pub body: Vec<u8>,
    pub warnings: Warnings,
    pub back: B,
}

/// What an answer cannot know of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The tier's model; stands in when the upstream names none.
    pub model: String,
    /// When the answer began, in seconds since 1970.
    pub created: u64,
    /// Luna's id of the request; stands in when the upstream gives the answer no id.
    pub request_id: String,
}

/// The request cannot be converted: 400 for the client (contracts/conversion.md, section 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Where it is, as the client knows it: `messages[3].content[0].type`.
    pub param: Option<String>,
    /// What is wrong and what to do; holds nothing of the client's content but short names.
    pub message: String,
    /// `error.details` for an Anthropic client.
    pub details: Option<Details>,
}

impl Rejection {
    pub fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            message: message.into(),
            details: None,
        }
    }

    pub fn plain(message: impl Into<String>) -> Self {
        Self {
            param: None,
            message: message.into(),
            details: None,
        }
    }
}

/// What a conversion changed or left out, for `x-luna-warnings`: `field:what`, each once, in order of appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(Vec<(&'static str, &'static str)>);

impl Warnings {
    /// Notes that `field` was `dropped`, `clamped`, ...
    pub fn add(&mut self, field: &'static str, what: &'static str) {
        if !self.0.contains(&(field, what)) {
            self.0.push((field, what));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header's value: `temperature:clamped, seed:dropped`.
    pub fn header(&self) -> String {
        let all: Vec<String> = self
            .0
            .iter()
            .map(|(field, what)| format!("{field}:{what}"))
            .collect();
        all.join(", ")
    }
}

#[cfg(test)]
mod tests;
