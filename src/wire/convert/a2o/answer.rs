//! A whole chat completion as a Messages answer (contracts/conversion.md, sections 5 to 7).
//!
//! Invariants: text and arguments are copied, not decoded and written anew; only the first choice counts.
//! Neighbours: `literal` (of `convert`) copies text, `parts` is what a whole answer and a stream have in common.

use std::collections::HashSet;

use serde_json::value::RawValue;

use self::parts::{Called, Said, Usage, input_of, message_id, model, stop_reason, tool_id};
use super::Back;
use crate::wire::answer::AnswerFault;
use crate::wire::convert::Facts;
use crate::wire::convert::json::{self, Object, Writer};
use crate::wire::convert::literal;

pub(super) mod parts;

/// Turns a completion (already judged by `wire::openai::check_completion`) into a message.
///
/// # Errors
/// The body is not what it was judged to be, or calls a tool without naming it.
pub fn answer(body: &[u8], back: &Back, facts: &Facts) -> Result<Vec<u8>, AnswerFault> {
    let completion = Object::parse(body).map_err(|_| AnswerFault::NotJson)?;
    let choice = first_choice(&completion).ok_or_else(|| wrong("choices is missing"))?;
    let message = choice
        .get("message")
        .and_then(Object::of)
        .ok_or_else(|| wrong("message is missing"))?;
    let said = Said::of(&message).ok_or_else(|| wrong("content has too many parts"))?;
    let mut w = Writer::with_capacity(body.len() + 256);
    w.open_object();
    w.key("id")
        .text(&message_id(completion.text("id").as_deref(), facts));
    w.key("type").text("message").key("role").text("assistant");
    w.key("model")
        .text(model(completion.text("model").as_deref(), facts));
    w.key("content").open_array();
    if let Some(thinking) = literal::joined(&said.thinking) {
        w.open_object().key("type").text("thinking");
        w.key("thinking").raw(&thinking);
        w.key("signature").text("").close_object();
    }
    for pieces in [&said.text, &said.refusal] {
        if let Some(text) = literal::joined(pieces) {
            w.open_object().key("type").text("text");
            w.key("text").raw(&text).close_object();
        }
    }
    let called = write_calls(&message, back, facts, &mut w)?;
    w.close_array();
    let finish = choice.text("finish_reason");
    let reason = stop_reason(finish.as_deref(), called, !said.refusal.is_empty());
    w.key("stop_reason").text(reason);
    w.key("stop_sequence").null();
    let mut usage = Usage::default();
    if let Some(reported) = completion.get("usage") {
        usage.merge(reported);
    }
    w.key("usage");
    usage.write(back.input_estimate, &mut w);
    w.close_object();
    Ok(w.into_bytes())
}

/// The choice with index 0; the first one when none says so.
fn first_choice<'a>(completion: &Object<'a>) -> Option<Object<'a>> {
    let choices = json::array(completion.get("choices")?)?;
    let mut first = None;
    for choice in choices.into_iter().filter_map(Object::of) {
        if choice.get("index").and_then(json::whole) == Some(0) {
            return Some(choice);
        }
        first.get_or_insert(choice);
    }
    first
}

/// Writes the tool calls, the legacy one too; tells whether there was any. Arguments that are no object are wrapped into
/// one, so all are whole.
fn write_calls(
    message: &Object<'_>,
    back: &Back,
    facts: &Facts,
    w: &mut Writer,
) -> Result<Called, AnswerFault> {
    let calls = match message.get("tool_calls") {
        Some(calls) => json::array(calls).ok_or_else(|| wrong("tool_calls cannot be read"))?,
        None => Vec::new(),
    };
    let mut ids = HashSet::new();
    for call in calls {
        if call.get() == "null" {
            continue;
        }
        let call = Object::of(call).ok_or_else(|| wrong("a tool call is not an object"))?;
        // Freeform tools are never asked for; a call of one is shown as it came.
        let (function, arguments) = match call.get("function").and_then(Object::of) {
            Some(function) => (function, "arguments"),
            None => (
                call.get("custom")
                    .and_then(Object::of)
                    .ok_or_else(|| wrong("a tool call without a function"))?,
                "input",
            ),
        };
        let id = tool_id(call.text("id").as_deref(), &ids, facts);
        write_call(&id, &function, function.get(arguments), back, w)?;
        ids.insert(id);
    }
    if let Some(function) = message.get("function_call").and_then(Object::of) {
        let id = tool_id(None, &ids, facts);
        write_call(&id, &function, function.get("arguments"), back, w)?;
        ids.insert(id);
    }
    Ok(if ids.is_empty() {
        Called::Nothing
    } else {
        Called::Wholly
    })
}

fn write_call(
    id: &str,
    function: &Object<'_>,
    arguments: Option<&RawValue>,
    back: &Back,
    w: &mut Writer,
) -> Result<(), AnswerFault> {
    let name = function.text("name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| wrong("a tool call without a name"))?;
    w.open_object().key("type").text("tool_use");
    w.key("id").text(id);
    w.key("name").text(back.names.client(&name));
    w.key("input").raw(&input_of(arguments)).close_object();
    Ok(())
}

fn wrong(what: &str) -> AnswerFault {
    AnswerFault::WrongShape(what.to_owned())
}

#[cfg(test)]
mod tests;
