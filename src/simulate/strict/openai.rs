//! The rules of the OpenAI Chat Completions API but those about messages.

use std::collections::BTreeSet;

use super::super::raw::Node;
use super::{Rule, broken, is_name, known_fields, messages, rule, within};

const FIELDS: [&str; 37] = [
    "model",
    "messages",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];
const MAX_NAME: usize = 64;
const MAX_USER: usize = 64;
const MAX_TOOLS: usize = 128;
const MAX_STOPS: usize = 4;

pub(super) fn check(body: Node<'_>) -> Rule {
    known_fields(body, &FIELDS, "unrecognized request argument")?;
    let model = body.text_of("model").unwrap_or_default();
    rule(!model.is_empty(), "model", "you must provide a model")?;
    sampling(body)?;
    limits(body, &model)?;
    let streams = body
        .get("stream")
        .is_some_and(|stream| stream.raw() == "true");
    let says = "is only allowed when stream is true";
    rule(
        streams || body.some("stream_options").is_none(),
        "stream_options",
        says,
    )?;
    for name in ["stream", "parallel_tool_calls", "store", "logprobs"] {
        let holds = body.some(name).is_none_or(Node::is_bool);
        rule(holds, name, "must be true or false")?;
    }
    for name in ["user", "safety_identifier", "prompt_cache_key"] {
        let holds = body.some(name).is_none_or(|value| {
            let text = value.text();
            text.is_some_and(|text| text.chars().count() <= MAX_USER)
        });
        rule(holds, name, "must be a string of at most 64 characters")?;
    }
    let tools = tools(body)?;
    choice(body, &tools)?;
    messages::check(body)?;
    metadata(body)?;
    format(body)
}

fn metadata(body: Node<'_>) -> Rule {
    let fields = body.some("metadata").map(Node::fields);
    for (name, value) in fields.unwrap_or_default() {
        let holds = value.is_string() || name == "sim";
        rule(holds, format!("metadata.{name}"), "must be a string")?;
    }
    Ok(())
}

fn sampling(body: Node<'_>) -> Rule {
    within(body, "temperature", 0.0, 2.0)?;
    within(body, "top_p", 0.0, 1.0)?;
    within(body, "frequency_penalty", -2.0, 2.0)?;
    within(body, "presence_penalty", -2.0, 2.0)?;
    within(body, "n", 1.0, 128.0)?;
    let Some(stop) = body.some("stop") else {
        return Ok(());
    };
    let holds = stop.is_string()
        || stop.items().is_some_and(|stops| {
            (1..=MAX_STOPS).contains(&stops.len()) && stops.into_iter().all(Node::is_string)
        });
    rule(holds, "stop", "must be a string or 1 to 4 strings")
}

fn limits(body: Node<'_>, model: &str) -> Rule {
    let (new, old) = (body.some("max_completion_tokens"), body.some("max_tokens"));
    for (name, value) in [("max_completion_tokens", new), ("max_tokens", old)] {
        let holds = value.is_none_or(|value| value.integer().is_some_and(|n| n > 0));
        rule(holds, name, "must be a positive integer")?;
    }
    let says = "must not be given together with max_completion_tokens";
    rule(new.is_none() || old.is_none(), "max_tokens", says)?;
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let reasons = model.starts_with("gpt-5") || model.strip_prefix('o').is_some_and(digit);
    let says = "is not supported with this model; use max_completion_tokens";
    rule(!reasons || old.is_none(), "max_tokens", says)?;
    if let Some(effort) = body.some("reasoning_effort") {
        let efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
        let effort = effort.text().unwrap_or_default();
        let known = efforts.contains(&effort.as_str());
        rule(known, "reasoning_effort", "no such effort")?;
        let plain = ["gpt-3", "gpt-4"]
            .iter()
            .any(|name| model.starts_with(name));
        let says = "is not supported with this model";
        rule(!plain, "reasoning_effort", says)?;
    }
    Ok(())
}

fn tools(body: Node<'_>) -> Rule<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let Some(tools) = body.some("tools") else {
        return Ok(names);
    };
    let tools = tools.items().unwrap_or_default();
    let holds = (1..=MAX_TOOLS).contains(&tools.len());
    rule(holds, "tools", "must be a list of 1 to 128 tools")?;
    for (index, tool) in tools.into_iter().enumerate() {
        let at = format!("tools[{index}]");
        match tool.text_of("type").as_deref() {
            Some("function") => {}
            Some("custom") => continue,
            _ => return broken(format!("{at}.type"), "must be function or custom"),
        }
        let known = ["type", "function"];
        for (field, _) in tool.fields() {
            let holds = known.contains(&field.as_str());
            rule(holds, format!("{at}.{field}"), "unknown parameter")?;
        }
        let at = format!("{at}.function");
        let Some(function) = tool.get("function") else {
            return broken(at, "is required");
        };
        let known = ["name", "description", "parameters", "strict"];
        for (field, _) in function.fields() {
            let holds = known.contains(&field.as_str());
            rule(holds, format!("{at}.{field}"), "unknown parameter")?;
        }
        let name = function_name(function, &at)?;
        let parameters = function.some("parameters");
        let holds = parameters.is_none_or(Node::is_object);
        rule(holds, format!("{at}.parameters"), "must be an object")?;
        names.insert(name);
    }
    Ok(names)
}

pub(super) fn function_name(function: Node<'_>, at: &str) -> Rule<String> {
    let name = function.text_of("name").unwrap_or_default();
    let clean = is_name(&name) && name.len() <= MAX_NAME;
    rule(
        clean,
        format!("{at}.name"),
        "must match ^[a-zA-Z0-9_-]{1,64}$",
    )?;
    Ok(name)
}

fn choice(body: Node<'_>, tools: &BTreeSet<String>) -> Rule {
    let has_tools = body.some("tools").is_some();
    for name in ["tool_choice", "parallel_tool_calls"] {
        let says = "is only allowed when tools are specified";
        rule(has_tools || body.some(name).is_none(), name, says)?;
    }
    let Some(choice) = body.some("tool_choice") else {
        return Ok(());
    };
    if let Some(word) = choice.text() {
        let holds = matches!(word.as_str(), "none" | "auto" | "required");
        return rule(
            holds,
            "tool_choice",
            "must be none, auto, required or an object",
        );
    }
    match choice.text_of("type").as_deref() {
        Some("function") => {
            let function = choice.get("function");
            let name = function.and_then(|function| function.text_of("name"));
            let holds = name.is_some_and(|name| tools.contains(&name));
            let says = "the function is not among the tools";
            rule(holds, "tool_choice.function.name", says)
        }
        Some("allowed_tools" | "custom") => Ok(()),
        _ => broken(
            "tool_choice.type",
            "must be function, allowed_tools or custom",
        ),
    }
}

fn format(body: Node<'_>) -> Rule {
    let Some(format) = body.some("response_format") else {
        return Ok(());
    };
    match format.text_of("type").as_deref() {
        Some("text") => Ok(()),
        Some("json_object") => {
            let messages = body.get("messages").map(Node::raw).unwrap_or_default();
            let holds = messages.to_ascii_lowercase().contains("json");
            rule(
                holds,
                "messages",
                "must contain the word json with json_object",
            )
        }
        Some("json_schema") => {
            let at = "response_format.json_schema";
            let Some(given) = format.get("json_schema") else {
                return broken(at, "is required");
            };
            function_name(given, at)?;
            let holds = given.get("schema").is_some_and(Node::is_object);
            rule(holds, format!("{at}.schema"), "must be an object")
        }
        _ => broken(
            "response_format.type",
            "must be text, json_object or json_schema",
        ),
    }
}
