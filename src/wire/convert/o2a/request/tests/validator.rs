//! Anthropic's rules of form for a Messages request, stricter than any upstream applies them.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::wire::convert::Capabilities;
use crate::wire::convert::json::{self, Kind, Object};
use crate::wire::convert::names::is_plain;

const FIELDS: [&str; 16] = [
    "model",
    "max_tokens",
    "system",
    "messages",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "metadata",
    "service_tier",
    "cache_control",
    "stream",
];

type Checked = Result<(), String>;

/// What is wrong with a request, if anything.
pub(super) fn check(body: &[u8], capabilities: &Capabilities) -> Checked {
    let request = Object::parse(body).map_err(|fault| fault.to_string())?;
    let mut seen = HashSet::new();
    for (name, value) in request.iter() {
        rule(FIELDS.contains(&name), &format!("unknown field {name}"))?;
        rule(seen.insert(name), &format!("{name} twice"))?;
        rule(value.get() != "null", &format!("{name} is null"))?;
    }
    rule(request.text("model").is_some(), "no model")?;
    let max_tokens = request.get("max_tokens").and_then(json::whole);
    rule(max_tokens.is_some_and(|tokens| tokens > 0), "max_tokens")?;
    if let Some(system) = request.get("system") {
        let blocks = list(system)?;
        rule(!blocks.is_empty(), "empty system")?;
        for block in &blocks {
            rule(said(block), "a system block that says nothing")?;
        }
    }
    messages(request.get("messages").ok_or("no messages")?)?;
    let tools = tools(request.get("tools"))?;
    choice(request.get("tool_choice"), &tools, capabilities)?;
    thinking(&request, max_tokens.unwrap_or_default())?;
    numbers(&request, capabilities)
}

fn rule(holds: bool, what: &str) -> Checked {
    holds.then_some(()).ok_or_else(|| what.to_owned())
}

fn list(raw: &RawValue) -> Result<Vec<Object<'_>>, String> {
    let elements = json::array(raw).ok_or("no array")?;
    elements
        .into_iter()
        .map(|element| Object::of(element).ok_or_else(|| "no object".to_owned()))
        .collect()
}

fn said(block: &Object<'_>) -> bool {
    block.text("type").as_deref() == Some("text")
        && block
            .text("text")
            .is_some_and(|text| !text.trim().is_empty())
}

fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn messages(raw: &RawValue) -> Checked {
    let turns = list(raw)?;
    rule(!turns.is_empty(), "no turns")?;
    let mut used = HashSet::new();
    let mut waiting: HashSet<String> = HashSet::new();
    for (index, turn) in turns.iter().enumerate() {
        let is_user = index % 2 == 0;
        let role = if is_user { "user" } else { "assistant" };
        rule(
            turn.text("role").as_deref() == Some(role),
            "roles do not alternate",
        )?;
        let blocks = list(turn.get("content").ok_or("no content")?)?;
        rule(!blocks.is_empty(), "an empty turn")?;
        let mut results_over = false;
        for block in &blocks {
            let kind = block.text("type").ok_or("a block without type")?;
            results_over |= kind != "tool_result";
            match (kind.as_ref(), is_user) {
                ("text", _) => rule(said(block), "an empty text block")?,
                ("image" | "document", true) => source(block)?,
                ("tool_result", true) => {
                    rule(!results_over, "a result behind something else")?;
                    let id = block.text("tool_use_id").ok_or("a result without id")?;
                    rule(waiting.remove(id.as_ref()), "an orphan")?;
                    result(block)?;
                }
                ("tool_use", false) => {
                    let id = block.text("id").ok_or("a call without id")?.into_owned();
                    rule(is_id(&id), "an id that is not clean")?;
                    rule(used.insert(id.clone()), "an id twice")?;
                    rule(
                        block.text("name").is_some_and(|name| is_plain(&name)),
                        "a name",
                    )?;
                    let input = block.get("input").ok_or("no input")?;
                    rule(Object::of(input).is_some(), "an input that is no object")?;
                    waiting.insert(id);
                }
                ("thinking", false) => rule(
                    block.text("signature").is_some_and(|text| !text.is_empty()),
                    "unsigned thinking",
                )?,
                ("redacted_thinking", false) => {}
                (other, _) => return Err(format!("{other} in the turn of {role}")),
            }
        }
        if is_user {
            rule(
                waiting.is_empty(),
                "a call that is not answered in the next turn",
            )?;
        } else if index + 1 == turns.len() {
            let last = blocks.last().and_then(|block| block.text("text"));
            let cut = last.is_none_or(|text| text.trim_end().len() == text.len());
            rule(cut, "a prefill that ends with white space")?;
        }
    }
    rule(waiting.is_empty(), "a call at the end that is not answered")
}

fn source(block: &Object<'_>) -> Checked {
    let source = block
        .get("source")
        .and_then(Object::of)
        .ok_or("no source")?;
    match source.text("type").as_deref() {
        Some("base64") => {
            let known = [
                "image/jpeg",
                "image/png",
                "image/gif",
                "image/webp",
                "application/pdf",
            ];
            let media = source.text("media_type").ok_or("no media type")?;
            rule(known.contains(&media.as_ref()), "a media type")?;
            let data = source.text("data").ok_or("no data")?;
            rule(!data.is_empty() && data.len().is_multiple_of(4), "base64")
        }
        Some("url") => rule(
            source
                .text("url")
                .is_some_and(|url| url.to_lowercase().starts_with("http")),
            "a URL",
        ),
        Some("text") => rule(
            source
                .text("data")
                .is_some_and(|text| !text.trim().is_empty()),
            "an empty document",
        ),
        _ => Err("a source of an unknown type".to_owned()),
    }
}

fn result(block: &Object<'_>) -> Checked {
    let Some(content) = block.get("content") else {
        return Ok(());
    };
    if let Some(text) = json::text(content) {
        return rule(!text.trim().is_empty(), "an empty result");
    }
    let blocks = list(content)?;
    rule(!blocks.is_empty(), "a result of no blocks")?;
    for block in &blocks {
        match block.text("type").as_deref() {
            Some("text") => rule(said(block), "an empty text block in a result")?,
            Some("image" | "document") => source(block)?,
            _ => return Err("a block in a result".to_owned()),
        }
    }
    Ok(())
}

fn tools(raw: Option<&RawValue>) -> Result<HashSet<String>, String> {
    let mut names = HashSet::new();
    let Some(raw) = raw else {
        return Ok(names);
    };
    for tool in list(raw)? {
        let name = tool.text("name").ok_or("a tool without name")?.into_owned();
        rule(is_plain(&name), "a tool's name")?;
        rule(names.insert(name), "a tool's name twice")?;
        let schema = tool
            .get("input_schema")
            .and_then(Object::of)
            .ok_or("no schema")?;
        rule(schema.get("type").is_some(), "a schema without type")?;
    }
    rule(!names.is_empty(), "an empty list of tools")?;
    Ok(names)
}

fn choice(raw: Option<&RawValue>, tools: &HashSet<String>, on: &Capabilities) -> Checked {
    let Some(raw) = raw else {
        return Ok(());
    };
    rule(on.tool_choice, "a choice that nobody obeys")?;
    rule(!tools.is_empty(), "a choice without tools")?;
    let choice = Object::of(raw).ok_or("a choice that is no object")?;
    match choice.text("type").as_deref() {
        Some("auto" | "any") => Ok(()),
        Some("none") => rule(
            choice.get("disable_parallel_tool_use").is_none(),
            "none with disable_parallel_tool_use",
        ),
        Some("tool") => rule(
            choice
                .text("name")
                .is_some_and(|name| tools.contains(name.as_ref())),
            "a choice of an unknown tool",
        ),
        _ => Err("a choice of an unknown type".to_owned()),
    }
}

fn thinking(request: &Object<'_>, max_tokens: u64) -> Checked {
    let Some(thinking) = request.get("thinking").and_then(Object::of) else {
        return Ok(());
    };
    let kind = thinking.text("type").ok_or("thinking without type")?;
    if kind == "disabled" {
        return Ok(());
    }
    if kind == "enabled" {
        let budget = thinking.get("budget_tokens").and_then(json::whole);
        rule(
            budget.is_some_and(|budget| (1024..max_tokens).contains(&budget)),
            "a budget out of range",
        )?;
    }
    rule(
        request.get("temperature").is_none(),
        "temperature with thinking",
    )?;
    rule(request.get("top_k").is_none(), "top_k with thinking")?;
    let choice = request.get("tool_choice").and_then(Object::of);
    let forced = choice
        .and_then(|choice| choice.text("type"))
        .is_some_and(|kind| kind == "any" || kind == "tool");
    rule(!forced, "a forced tool with thinking")
}

fn numbers(request: &Object<'_>, on: &Capabilities) -> Checked {
    for name in ["temperature", "top_p"] {
        if let Some(raw) = request.get(name) {
            let value: f64 = raw.get().parse().map_err(|_| "no number")?;
            rule((0.0..=1.0).contains(&value), name)?;
        }
    }
    let both = request.get("temperature").is_some() && request.get("top_p").is_some();
    rule(!(both && on.exclusive_sampling), "temperature and top_p")?;
    if let Some(stops) = request.get("stop_sequences") {
        rule(on.stop_sequences, "stop sequences that nobody obeys")?;
        let stops = json::array(stops).ok_or("stop_sequences")?;
        rule(!stops.is_empty(), "no stop sequences")?;
        for stop in stops {
            let said = json::text(stop).is_some_and(|stop| !stop.trim().is_empty());
            rule(said, "a blank stop sequence")?;
        }
    }
    if let Some(metadata) = request.get("metadata").and_then(Object::of) {
        let user = metadata.text("user_id").ok_or("no user_id")?;
        rule(is_id(&user) && user.len() <= 256, "user_id")?;
    }
    let object = |name| {
        let raw = request.get(name)?;
        (json::kind(raw) != Kind::Object).then_some(name)
    };
    rule(
        ["output_config", "cache_control", "metadata"]
            .into_iter()
            .find_map(object)
            .is_none(),
        "a field that is no object",
    )?;
    rule(
        on.output_config || request.get("output_config").is_none(),
        "output_config",
    )
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let ok = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"}}"#;
    let full = Capabilities::ANTHROPIC;
    assert_eq!(check(ok.as_bytes(), &full), Ok(()));
    for (from, to) in [
        (r#""text":"a""#, r#""text":" ""#),
        (r#""role":"assistant""#, r#""role":"user""#),
        (r#""tool_use_id":"a""#, r#""tool_use_id":"b""#),
        (r#""id":"a""#, r#""id":"a b""#),
        (r#""name":"f","input":{}"#, r#""name":"f.","input":{}"#),
        (r#""input":{}"#, r#""input":"{}""#),
        (
            r#"{"type":"tool_result""#,
            r#"{"type":"text","text":"x"},{"type":"tool_result""#,
        ),
        (r#""max_tokens":9"#, r#""max_tokens":0"#),
        (r#"{"type":"any"}"#, r#"{"type":"tool","name":"g"}"#),
        (
            r#"{"type":"any"}"#,
            r#"{"type":"any"},"thinking":{"type":"adaptive"}"#,
        ),
        (
            r#"{"type":"any"}"#,
            r#"{"type":"auto"},"thinking":{"type":"enabled","budget_tokens":1024}"#,
        ),
        (r#"{"type":"object"}"#, "{}"),
        (r#""model":"m""#, r#""model":"m","seed":1"#),
    ] {
        assert!(ok.contains(from), "{from}");
        let bad = ok.replacen(from, to, 1);
        assert!(check(bad.as_bytes(), &full).is_err(), "{bad}");
    }
}
