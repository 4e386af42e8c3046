//! What of a chat completion request decides the answer.

use super::super::peek::{Choice, Outcome, Peek, PeekError, Tool, Turn, model_name, strings, top};
use super::super::raw::Node;

/// A longer message's text is not read.
const MAX_MESSAGE: usize = 256 * 1024;

/// Reads a request; empty bytes are an empty object.
pub(in super::super) fn peek(body: &[u8]) -> Result<Peek, PeekError> {
    let text = String::from_utf8_lossy(body);
    let mut seen = Peek::default();
    let mut turn = Turn::default();
    let mut metadata = None;
    for (name, value) in top(&text)?.fields() {
        match name.as_str() {
            "model" => seen.model = model_name(value).unwrap_or_default(),
            "messages" => {
                let messages = value.items();
                seen.has_messages = messages.is_some();
                let messages = messages.unwrap_or_default();
                seen.message_count = messages.len();
                turn = last_turn(&messages);
            }
            "stream" => seen.stream = value.is_truthy(),
            "stream_options" => {
                let usage = value.get("include_usage");
                seen.include_usage = usage.is_some_and(Node::is_truthy);
            }
            "max_completion_tokens" => seen.max_tokens = value.integer().or(seen.max_tokens),
            "max_tokens" => seen.max_tokens = seen.max_tokens.or(value.integer()),
            "tools" => seen.tools = tools(value),
            "tool_choice" => seen.choice = choice(value),
            "parallel_tool_calls" => seen.one_call = value.raw() == "false",
            "response_format" => seen.json_by_field = demand(value),
            "reasoning_effort" => seen.thinking = value.text().map(|effort| effort != "none"),
            "stop" => {
                seen.stops = strings(value);
                seen.stops.extend(value.text());
            }
            "metadata" => metadata = Some(value),
            _ => {}
        }
    }
    seen.include_usage &= seen.stream;
    turn.into(&mut seen, metadata)?;
    Ok(seen)
}

/// The user's messages at the end, and the tools' ones before them.
fn last_turn(messages: &[Node<'_>]) -> Turn {
    let mut turn = Turn::default();
    let mut at_tools = false;
    for &message in messages.iter().rev() {
        let role = message.text_of("role").unwrap_or_default();
        match role.as_str() {
            "user" if !at_tools => {
                // Older user messages with nothing in between were seen with the first request already.
                if turn.texts.is_empty() {
                    add_user(&mut turn, message);
                }
            }
            "tool" => {
                at_tools = true;
                turn.results.push(Outcome {
                    id: message.text_of("tool_call_id").unwrap_or_default(),
                    text: message.get("content").map(joined).unwrap_or_default(),
                    is_error: false,
                });
            }
            _ => break,
        }
    }
    turn.results.reverse();
    turn
}

fn add_user(turn: &mut Turn, message: Node<'_>) {
    let Some(content) = message.get("content") else {
        return;
    };
    let small = content.raw().len() <= MAX_MESSAGE;
    turn.texts.extend(content.text().filter(|_| small));
    for part in content.items().unwrap_or_default() {
        match part.text_of("type").as_deref() {
            Some("text") if small => turn.texts.extend(part.text_of("text")),
            Some("image_url") => turn.images += 1,
            Some("file") => turn.documents += 1,
            _ => {}
        }
    }
}

/// A content's text, whether it is a string or parts.
fn joined(content: Node<'_>) -> String {
    if content.raw().len() > MAX_MESSAGE {
        return String::new();
    }
    let parts = content.items().unwrap_or_default();
    let texts = parts.into_iter().filter_map(|part| part.text_of("text"));
    content.text().into_iter().chain(texts).collect()
}

fn tools(list: Node<'_>) -> Vec<Tool> {
    let tool = |raw: Node<'_>| {
        let function = raw.get("function")?;
        let schema = function.get("parameters");
        Some(Tool {
            name: function.text_of("name")?,
            schema: schema.map(|schema| schema.raw().to_owned()),
        })
    };
    let items = list.items().unwrap_or_default();
    items.into_iter().filter_map(tool).collect()
}

fn choice(raw: Node<'_>) -> Choice {
    let function = raw.get("function");
    match (raw.text().as_deref(), function) {
        (Some("none"), _) => Choice::None,
        (Some("required"), _) => Choice::Any,
        (None, Some(function)) => Choice::Named(function.text_of("name").unwrap_or_default()),
        _ => Choice::Free,
    }
}

fn demand(format: Node<'_>) -> Option<Option<String>> {
    match format.text_of("type").as_deref() {
        Some("json_object") => Some(None),
        Some("json_schema") => {
            let schema = format
                .get("json_schema")
                .and_then(|json| json.get("schema"));
            Some(schema.map(|schema| schema.raw().to_owned()))
        }
        _ => None,
    }
}
