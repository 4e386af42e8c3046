//! The rules of the OpenAI Chat Completions API about messages, their parts, and tools' calls and results.

use std::collections::BTreeSet;

use super::super::raw::Node;
use super::openai::function_name;
use super::{Rule, broken, rule};

/// `reasoning_content` is what servers like DeepSeek's want back on a tool's turn; `annotations` is in every answer that
/// an SDK gives back as it came.
const MESSAGE_FIELDS: [&str; 10] = [
    "role",
    "content",
    "name",
    "refusal",
    "audio",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "reasoning_content",
    "annotations",
];
pub(super) fn check(body: Node<'_>) -> Rule {
    let messages = body.get("messages").and_then(Node::items);
    let messages = messages.unwrap_or_default();
    rule(
        !messages.is_empty(),
        "messages",
        "must be a list of at least one message",
    )?;
    let mut open: BTreeSet<String> = BTreeSet::new();
    let mut answering = false;
    for (index, message) in messages.into_iter().enumerate() {
        let at = format!("messages[{index}]");
        let role = message.text_of("role").unwrap_or_default();
        for (field, _) in message.fields() {
            let holds = MESSAGE_FIELDS.contains(&field.as_str());
            rule(holds, format!("{at}.{field}"), "unknown parameter")?;
        }
        if role != "tool" {
            unanswered(&open, &at)?;
            answering = false;
        }
        match role.as_str() {
            "system" | "developer" => content(message, &at, &["text"], false)?,
            "user" => {
                let kinds = ["text", "image_url", "input_audio", "file"];
                content(message, &at, &kinds, false)?;
            }
            "assistant" => {
                open = calls(message, &at)?;
                answering = !open.is_empty();
                let instead = answering
                    || message.some("refusal").is_some()
                    || message.some("audio").is_some()
                    || message.some("function_call").is_some();
                content(message, &at, &["text", "refusal"], instead)?;
            }
            "tool" => {
                let says =
                    "messages with role tool must answer a preceding message with tool_calls";
                rule(answering, &at, says)?;
                let id = message.text_of("tool_call_id").unwrap_or_default();
                let says = "is no open call of the message before";
                rule(open.remove(&id), format!("{at}.tool_call_id"), says)?;
                content(message, &at, &["text"], false)?;
            }
            "function" => {
                function_name(message, &at)?;
                content(message, &at, &["text"], true)?;
            }
            _ => return broken(format!("{at}.role"), "no such role"),
        }
    }
    unanswered(&open, "messages")
}

fn unanswered(open: &BTreeSet<String>, at: &str) -> Rule {
    let ids = open.iter().cloned().collect::<Vec<_>>().join(", ");
    let says = format!("tool_calls must be followed by tool messages; without one: {ids}");
    rule(open.is_empty(), at, says)
}

fn content(message: Node<'_>, at: &str, kinds: &[&str], may_be_absent: bool) -> Rule {
    let at = format!("{at}.content");
    let Some(content) = message.some("content") else {
        return rule(
            may_be_absent,
            at,
            "must be a string or a list of parts, got null",
        );
    };
    if content.is_string() {
        return Ok(());
    }
    let Some(parts) = content.items() else {
        return broken(at, "must be a string or a list of parts");
    };
    rule(!parts.is_empty(), &at, "an empty list is too short")?;
    for (index, part) in parts.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        let kind = part.text_of("type").unwrap_or_default();
        let says = format!("parts of type {kind:?} are not allowed here");
        rule(kinds.contains(&kind.as_str()), format!("{at}.type"), says)?;
        check_part(part, &kind, &at)?;
    }
    Ok(())
}

fn check_part(part: Node<'_>, kind: &str, at: &str) -> Rule {
    for (field, _) in part.fields() {
        let holds = ["type", kind, "prompt_cache_breakpoint"].contains(&field.as_str());
        rule(holds, format!("{at}.{field}"), "unknown parameter")?;
    }
    let inner = part.get(kind);
    match kind {
        "text" | "refusal" => {
            let holds = inner.is_some_and(Node::is_string);
            rule(holds, format!("{at}.{kind}"), "must be a string")
        }
        "image_url" => {
            let url = inner
                .and_then(|image| image.text_of("url"))
                .unwrap_or_default();
            let starts = ["https://", "http://", "data:image/"];
            let holds = starts.iter().any(|start| url.starts_with(start));
            let says = "must be an http URL or a data URL of an image";
            rule(holds, format!("{at}.image_url.url"), says)
        }
        "file" => {
            let file_id = inner.and_then(|file| file.text_of("file_id"));
            let data = inner.and_then(|file| file.text_of("file_data"));
            let has_data = data.is_some_and(|data| data.starts_with("data:"));
            let says = "needs a file_id, or file_data as a data URL";
            rule(has_data || file_id.is_some(), format!("{at}.file"), says)
        }
        _ => rule(inner.is_some_and(Node::is_object), at, "must be an object"),
    }
}

fn calls(message: Node<'_>, at: &str) -> Rule<BTreeSet<String>> {
    let mut open = BTreeSet::new();
    let Some(calls) = message.some("tool_calls") else {
        return Ok(open);
    };
    let at = format!("{at}.tool_calls");
    let calls = calls.items().unwrap_or_default();
    rule(!calls.is_empty(), &at, "an empty list is too short")?;
    for (index, call) in calls.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        let id = call.text_of("id").unwrap_or_default();
        rule(!id.is_empty(), format!("{at}.id"), "is required")?;
        rule(open.insert(id), format!("{at}.id"), "stands twice")?;
        if call.text_of("type").as_deref() == Some("custom") {
            continue;
        }
        let is_function = call.text_of("type").as_deref() == Some("function");
        rule(is_function, format!("{at}.type"), "must be function")?;
        let at = format!("{at}.function");
        let Some(function) = call.get("function") else {
            return broken(at, "is required");
        };
        function_name(function, &at)?;
        let holds = function.get("arguments").is_some_and(Node::is_string);
        rule(holds, format!("{at}.arguments"), "must be a string")?;
    }
    Ok(open)
}
