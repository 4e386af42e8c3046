//! What OpenAI refuses, so that nothing of it is ever sent.

use std::collections::HashSet;

use serde_json::Value;

use crate::wire::convert::names::is_plain;

const FIELDS: [&str; 15] = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "reasoning_effort",
    "response_format",
    "user",
    "service_tier",
    "stream",
    "stream_options",
];

macro_rules! must {
    ($holds:expr, $($told:tt)+) => {
        if !$holds {
            return Err(format!($($told)+));
        }
    };
}

/// The first rule that a request breaks.
pub(super) fn check(body: &Value) -> Result<(), String> {
    let top = body.as_object().ok_or("no object")?;
    for (field, value) in top {
        must!(FIELDS.contains(&field.as_str()), "{field} is unknown");
        must!(!value.is_null(), "{field} is null");
    }
    must!(body["model"].is_string(), "no model");
    must!(
        body["max_completion_tokens"]
            .as_u64()
            .is_some_and(|n| n > 0),
        "max_completion_tokens"
    );
    must!(
        top.contains_key("stream_options") == (body["stream"] == true),
        "stream_options and stream"
    );
    let stop = body.get("stop").map(|stop| stop.as_array().map(Vec::len));
    must!(matches!(stop, None | Some(Some(1..=4))), "stop: {stop:?}");
    let user = body.get("user").and_then(Value::as_str).unwrap_or_default();
    must!(user.chars().count() <= 64, "user is too long");
    tools(body)?;
    messages(body["messages"].as_array().ok_or("messages")?)
}

fn tools(body: &Value) -> Result<(), String> {
    let mut names = HashSet::new();
    let tools = body.get("tools").map(|tools| tools.as_array().unwrap());
    must!(tools.is_none_or(|tools| !tools.is_empty()), "tools []");
    for tool in tools.into_iter().flatten() {
        must!(tool["type"] == "function", "tool type");
        let function = &tool["function"];
        let name = function["name"].as_str().ok_or("tool name")?;
        must!(is_plain(name), "tool name {name}");
        must!(names.insert(name), "two tools {name}");
        must!(function["parameters"].is_object(), "parameters");
        for (key, value) in function.as_object().unwrap() {
            let known = ["name", "description", "parameters", "strict"];
            must!(known.contains(&key.as_str()), "function.{key}");
            must!(!value.is_null(), "function.{key} is null");
        }
    }
    let choice = body.get("tool_choice");
    must!(
        choice.is_none() || tools.is_some(),
        "tool_choice without tools"
    );
    must!(
        body.get("parallel_tool_calls").is_none() || tools.is_some(),
        "parallel_tool_calls without tools"
    );
    match choice {
        None => Ok(()),
        Some(Value::String(word)) => {
            must!(
                ["auto", "required", "none"].contains(&word.as_str()),
                "tool_choice {word}"
            );
            Ok(())
        }
        Some(named) => {
            must!(named["type"] == "function", "tool_choice type");
            let name = named["function"]["name"].as_str().ok_or("choice name")?;
            must!(names.contains(name), "tool_choice of no tool");
            Ok(())
        }
    }
}

fn messages(messages: &[Value]) -> Result<(), String> {
    must!(!messages.is_empty(), "no messages");
    // Calls that wait for their result.
    let mut open: HashSet<String> = HashSet::new();
    for (index, message) in messages.iter().enumerate() {
        let content = &message["content"];
        let role = message["role"].as_str().ok_or("role")?;
        if role == "tool" {
            let id = message["tool_call_id"].as_str().ok_or("tool_call_id")?;
            must!(open.remove(id), "{index}: {id} answers nothing");
            must!(content.is_string(), "{index}: tool content");
            keys(message, &["role", "tool_call_id", "content"])?;
            continue;
        }
        must!(open.is_empty(), "{index}: {open:?} without a result");
        match role {
            "system" => {
                keys(message, &["role", "content"])?;
                must!(says(content), "{index}: empty system message");
            }
            "user" => {
                keys(message, &["role", "content"])?;
                match content.as_array() {
                    None => must!(says(content), "{index}: empty user message"),
                    Some(parts) => {
                        must!(!parts.is_empty(), "{index}: no parts");
                        for part in parts {
                            self::part(part).map_err(|told| format!("{index}: {told}"))?;
                        }
                    }
                }
            }
            "assistant" => {
                keys(message, &["role", "content", "tool_calls"])?;
                let calls = message.get("tool_calls").map(|all| all.as_array().unwrap());
                must!(
                    says(content) || (content.is_null() && calls.is_some()),
                    "{index}: empty assistant message"
                );
                must!(calls.is_none_or(|all| !all.is_empty()), "{index}: calls []");
                for call in calls.into_iter().flatten() {
                    let id = self::call(call).map_err(|told| format!("{index}: {told}"))?;
                    must!(open.insert(id.clone()), "{index}: two calls {id}");
                }
            }
            other => return Err(format!("{index}: role {other}")),
        }
    }
    must!(open.is_empty(), "{open:?} without a result");
    Ok(())
}

fn call(call: &Value) -> Result<String, String> {
    must!(call["type"] == "function", "call type");
    let name = call["function"]["name"].as_str().ok_or("call name")?;
    must!(is_plain(name), "call of {name}");
    let arguments = call["function"]["arguments"].as_str().ok_or("arguments")?;
    let parsed: Value = serde_json::from_str(arguments).map_err(|error| error.to_string())?;
    must!(parsed.is_object(), "arguments {arguments}");
    let id = call["id"].as_str().ok_or("call id")?;
    must!(!id.is_empty(), "empty id");
    Ok(id.to_owned())
}

fn part(part: &Value) -> Result<(), String> {
    match part["type"].as_str() {
        Some("text") => {
            keys(part, &["type", "text"])?;
            must!(says(&part["text"]), "empty text part");
        }
        Some("image_url") => {
            keys(part, &["type", "image_url"])?;
            let url = part["image_url"]["url"].as_str().ok_or("image url")?;
            let data = ["jpeg", "png", "gif", "webp"].iter().any(|kind| {
                url.strip_prefix(&format!("data:image/{kind};base64,"))
                    .is_some_and(|data| !data.is_empty())
            });
            let web = url.starts_with("http://") || url.starts_with("https://");
            must!(data || web, "image url {url}");
        }
        Some("file") => {
            keys(part, &["type", "file"])?;
            let file = &part["file"];
            must!(says(&file["filename"]), "filename");
            let data = file["file_data"].as_str().ok_or("file_data")?;
            must!(data.starts_with("data:application/pdf;base64,"), "{data}");
        }
        other => return Err(format!("part {other:?}")),
    }
    Ok(())
}

fn says(content: &Value) -> bool {
    content.as_str().is_some_and(|text| !text.trim().is_empty())
}

fn keys(of: &Value, known: &[&str]) -> Result<(), String> {
    let odd = of
        .as_object()
        .ok_or("no object")?
        .keys()
        .find(|key| !known.contains(&key.as_str()));
    must!(odd.is_none(), "{odd:?} is unknown");
    Ok(())
}
