//! What a whole answer and a stream have in common: ids, content, stop reason, usage.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::wire::convert::Facts;
use crate::wire::convert::ids::{clean_id, made_id};
use crate::wire::convert::json::{self, Kind, Object, Writer};
use crate::wire::convert::literal::{inside, text_of};
use crate::wire::usage::{TOKENS_MAX, UsageSeen};

/// A longer id or model name is not shown.
const MAX_NAME: usize = 256;

/// The message's id, after the upstream's.
pub(in crate::wire::convert::a2o) fn message_id(upstream: Option<&str>, facts: &Facts) -> String {
    let upstream = upstream.filter(|id| (1..=MAX_NAME).contains(&id.len()));
    let id = upstream.unwrap_or(&facts.request_id);
    match clean_id(id) {
        Cow::Borrowed(id) if id.starts_with("msg_") => id.to_owned(),
        Cow::Borrowed(id) => format!("msg_{id}"),
        Cow::Owned(_) => made_id("msg_", id.as_bytes()),
    }
}

/// The model's name: the upstream's own.
pub(in crate::wire::convert::a2o) fn model<'a>(
    upstream: Option<&'a str>,
    facts: &'a Facts,
) -> &'a str {
    upstream
        .filter(|name| (1..=MAX_NAME).contains(&name.len()))
        .unwrap_or(&facts.model)
}

/// The id under which the client sees a call. One that is missing, or that another call of this answer has, is made up.
pub(in crate::wire::convert::a2o) fn tool_id(
    upstream: Option<&str>,
    taken: &HashSet<String>,
    facts: &Facts,
) -> String {
    let clean = upstream.filter(|id| !id.is_empty()).map(clean_id);
    if let Some(id) = clean.filter(|id| !taken.contains(id.as_ref())) {
        return id.into_owned();
    }
    let seed = format!("{} call {}", facts.request_id, taken.len());
    made_id("call_", seed.as_bytes())
}

/// The calls of an answer, as far as they tell why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire::convert::a2o) enum Called {
    Nothing,
    /// Some calls; the arguments of one stop in the middle.
    Partly,
    Wholly,
}

/// Section 6. The text of a refusal makes the answer one. A client that is told `end_turn` never runs its tools: so an
/// answer with whole calls ends with them, whatever word the upstream has for its end, or none. Without a word that is
/// known, arguments that stop in the middle tell that the answer was cut.
pub(in crate::wire::convert::a2o) fn stop_reason(
    finish: Option<&str>,
    called: Called,
    refused: bool,
) -> &'static str {
    match (finish, called) {
        _ if refused => "refusal",
        (Some("content_filter"), _) => "refusal",
        (Some("length"), _) => "max_tokens",
        (_, Called::Wholly) => "tool_use",
        (Some("stop" | "tool_calls" | "function_call"), Called::Partly) => "tool_use",
        (_, Called::Partly) => "max_tokens",
        (_, Called::Nothing) => "end_turn",
    }
}

/// The text of a message or delta, as the insides of its literals.
#[derive(Debug, Default)]
pub(in crate::wire::convert::a2o) struct Said<'a> {
    pub(in crate::wire::convert::a2o) thinking: Vec<&'a str>,
    pub(in crate::wire::convert::a2o) text: Vec<&'a str>,
    pub(in crate::wire::convert::a2o) refusal: Vec<&'a str>,
}

impl<'a> Said<'a> {
    /// `None` when the content has more parts than can be read.
    pub(in crate::wire::convert::a2o) fn of(message: &Object<'a>) -> Option<Self> {
        let mut said = Self::default();
        // Some upstreams send the same reasoning under both names.
        let reasoning = ["reasoning_content", "reasoning"]
            .iter()
            .filter_map(|name| inside(message.get(name)?))
            .find(|text| !text.is_empty());
        said.thinking.extend(reasoning);
        if let Some(content) = message.get("content") {
            match json::kind(content) {
                Kind::Array => {
                    for part in json::array(content)? {
                        said.part(part);
                    }
                }
                _ => push(&mut said.text, inside(content)),
            }
        }
        push(&mut said.refusal, message.get("refusal").and_then(inside));
        Some(said)
    }

    fn part(&mut self, part: &'a RawValue) {
        let Some(fields) = Object::of(part) else {
            push(&mut self.text, inside(part));
            return;
        };
        match fields.text("type").as_deref() {
            Some("refusal") => push(&mut self.refusal, fields.get("refusal").and_then(inside)),
            Some("thinking" | "reasoning") => {
                let inner = fields.get("thinking").or_else(|| fields.get("text"));
                let Some(inner) = inner else { return };
                push(&mut self.thinking, inside(inner));
                for piece in json::array(inner).unwrap_or_default() {
                    let text = Object::of(piece).and_then(|piece| piece.get("text"));
                    push(&mut self.thinking, text.and_then(inside));
                }
            }
            _ => push(&mut self.text, fields.get("text").and_then(inside)),
        }
    }
}

fn push<'a>(pieces: &mut Vec<&'a str>, piece: Option<&'a str>) {
    pieces.extend(piece.filter(|piece| !piece.is_empty()));
}

/// A call's `input` out of its `arguments`: the very JSON text when it is an object.
pub(in crate::wire::convert::a2o) fn input_of(arguments: Option<&RawValue>) -> String {
    let Some(arguments) = arguments else {
        return "{}".into();
    };
    match json::kind(arguments) {
        Kind::String => input_of_text(&text_of(arguments).unwrap_or_default()),
        // Some upstreams forget to make a string of it.
        Kind::Object => arguments.get().to_owned(),
        _ => input_of_text(arguments.get()),
    }
}

/// `{}` for no arguments; what is no object is wrapped into one.
pub(in crate::wire::convert::a2o) fn input_of_text(text: &str) -> String {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if json::kind(raw) == Kind::Object => raw.get().to_owned(),
        Ok(raw) if json::kind(raw) == Kind::Null => "{}".into(),
        Err(_) if text.trim().is_empty() => "{}".into(),
        _ => {
            let mut w = Writer::with_capacity(text.len() + 32);
            w.open_object().key("_raw_arguments").text(text);
            w.close_object();
            String::from_utf8(w.into_bytes()).unwrap_or_else(|_| "{}".into())
        }
    }
}

/// Section 7, back.
#[derive(Debug, Default)]
pub(in crate::wire::convert::a2o) struct Usage {
    seen: UsageSeen,
    /// Output tokens that were thought, not said.
    thinking: Option<u64>,
}

impl Usage {
    /// Takes over what a report says.
    pub(in crate::wire::convert::a2o) fn merge(&mut self, report: &RawValue) {
        self.seen.merge_openai(report.get().as_bytes());
        let details = Object::of(report)
            .and_then(|report| report.get("completion_tokens_details"))
            .and_then(Object::of);
        let thinking = details
            .and_then(|details| details.get("reasoning_tokens"))
            .and_then(json::whole);
        self.thinking = thinking
            .map(|tokens| tokens.min(TOKENS_MAX))
            .or(self.thinking);
    }

    /// Writes a `usage` object. Input that was never reported is what was estimated: clients take it for the size of
    /// their context.
    pub(in crate::wire::convert::a2o) fn write(&self, input_estimate: u64, w: &mut Writer) {
        let tokens = self.seen.tokens;
        let unknown = tokens.input == 0 && tokens.cache_read == 0 && tokens.cache_creation == 0;
        let input = if unknown {
            input_estimate
        } else {
            tokens.input
        };
        w.open_object().key("input_tokens").number(input);
        w.key("cache_creation_input_tokens")
            .number(tokens.cache_creation);
        w.key("cache_read_input_tokens").number(tokens.cache_read);
        w.key("output_tokens").number(tokens.output);
        if let Some(thinking) = self.thinking.filter(|tokens| *tokens > 0) {
            w.key("output_tokens_details").open_object();
            w.key("thinking_tokens").number(thinking).close_object();
        }
        w.close_object();
    }
}
