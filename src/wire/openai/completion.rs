//! Judges a chat completion that does not stream: is it one, does it say anything, what did it cost.
//!
//! Neighbour: `answer`, which does the same for a message and owns the types.

use serde::de::IgnoredAny;

use super::chunk::{is_error, says_something, usage_of};
use crate::wire::answer::{Answer, AnswerFault};
use crate::wire::anthropic::short;
use crate::wire::convert::json::{self, Kind, Object};
use crate::wire::usage::UsageSeen;

/// Reads a whole body. The answer's `stop_reason` is the first choice's `finish_reason`.
///
/// # Errors
/// See [`AnswerFault`]. Empty is a first choice without any content that ends with `stop` and cost no token.
pub fn check_completion(body: &[u8]) -> Result<Answer, AnswerFault> {
    let Ok(completion) = Object::parse(body) else {
        let object = body.trim_ascii_start().starts_with(b"{");
        return Err(match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(_) if !object => wrong("not an object"),
            _ => AnswerFault::NotJson,
        });
    };
    if is_error(&completion) {
        return Err(AnswerFault::Error(body.to_vec()));
    }
    let choices = completion
        .get("choices")
        .and_then(json::array)
        .ok_or_else(|| wrong("choices is missing"))?;
    let choices: Option<Vec<Object<'_>>> = choices.into_iter().map(Object::of).collect();
    let choices = choices.ok_or_else(|| wrong("a choice is not an object"))?;
    let choice = first_choice(&choices).ok_or_else(|| wrong("choices is empty"))?;
    let message = choice
        .get("message")
        .and_then(Object::of)
        .ok_or_else(|| wrong("message is missing"))?;
    check_types(&message)?;
    let mut usage = UsageSeen::default();
    if let Some(seen) = usage_of(&completion) {
        usage.merge_openai(seen.get().as_bytes());
    }
    let stop_reason = choice.text("finish_reason").and_then(short);
    let stopped = stop_reason.as_deref() == Some("stop");
    if stopped && usage.tokens.output == 0 && !says_something(&message) {
        return Err(AnswerFault::Empty);
    }
    Ok(Answer {
        usage,
        model: completion.text("model").and_then(short),
        stop_reason,
    })
}

/// The choice with index 0; the first one when none says so.
fn first_choice<'a, 'b>(choices: &'b [Object<'a>]) -> Option<&'b Object<'a>> {
    choices
        .iter()
        .find(|choice| choice.get("index").and_then(json::whole) == Some(0))
        .or_else(|| choices.first())
}

fn check_types(message: &Object<'_>) -> Result<(), AnswerFault> {
    let wants: [(&str, &[Kind]); 4] = [
        ("content", &[Kind::String, Kind::Array]),
        ("refusal", &[Kind::String]),
        ("tool_calls", &[Kind::Array]),
        ("function_call", &[Kind::Object]),
    ];
    for (name, kinds) in wants {
        if message
            .get(name)
            .is_some_and(|value| !kinds.contains(&json::kind(value)))
        {
            return Err(wrong(&format!("{name} has the wrong type")));
        }
    }
    Ok(())
}

fn wrong(what: &str) -> AnswerFault {
    AnswerFault::WrongShape(what.to_owned())
}

#[cfg(test)]
mod tests;
