//! The rules of the Anthropic Messages API but those about turns.

use std::collections::BTreeSet;

use super::super::Generation;
use super::super::raw::Node;
use super::{Rule, broken, is_blank, is_name, known_fields, rule, turns, within};

/// Those of the stable and the beta route, and the sampling ones that only older models take.
const FIELDS: [&str; 31] = [
    "model",
    "messages",
    "max_tokens",
    "system",
    "tools",
    "tool_choice",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "stream",
    "thinking",
    "metadata",
    "service_tier",
    "output_config",
    "output_format",
    "container",
    "context_management",
    "mcp_servers",
    "cache_control",
    "inference_geo",
    "speed",
    "diagnostics",
    "prefill",
    "user_profile_id",
    "workspace_id",
    "billing_policy",
    "compaction",
    "fallback_credit_token",
    "fallbacks",
    "thread",
];
const MIN_BUDGET: u64 = 1_024;
const MAX_NAME: usize = 64;
const MAX_USER_ID: usize = 256;

/// How the request thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    Off,
    Manual,
    Adaptive,
}

pub(super) fn check(body: Node<'_>, generation: Generation) -> Rule {
    known_fields(body, &FIELDS, "Extra inputs are not permitted")?;
    for (name, value) in body.fields() {
        rule(
            !value.is_null(),
            name,
            "null is not a value; leave the field out",
        )?;
    }
    let model = body.text_of("model").unwrap_or_default();
    rule(!model.is_empty(), "model", "a model's name is required")?;
    let most = max_tokens(body)?;
    let holds = body.get("stream").is_none_or(Node::is_bool);
    rule(holds, "stream", "must be true or false")?;
    system(body)?;
    let tools = tools(body)?;
    let thinking = thinking(body, most)?;
    choice(body, &tools, thinking)?;
    sampling(body, thinking)?;
    stops(body)?;
    metadata(body)?;
    output_config(body)?;
    if let Some(tier) = body.get("service_tier") {
        let holds = matches!(tier.text().as_deref(), Some("auto" | "standard_only"));
        rule(holds, "service_tier", "must be auto or standard_only")?;
    }
    turns::check(body, generation == Generation::Anthropic, thinking)
}

fn max_tokens(body: Node<'_>) -> Rule<u64> {
    let Some(given) = body.get("max_tokens") else {
        return broken("max_tokens", "is required");
    };
    match given.integer() {
        Some(most) if most > 0 => Ok(most),
        _ => broken("max_tokens", "must be a positive integer"),
    }
}

fn system(body: Node<'_>) -> Rule {
    let Some(system) = body.get("system") else {
        return Ok(());
    };
    if system.is_string() {
        return Ok(());
    }
    let Some(blocks) = system.items() else {
        return broken("system", "must be a string or a list of text blocks");
    };
    for (index, block) in blocks.into_iter().enumerate() {
        let at = format!("system.{index}");
        let kind = block.text_of("type");
        rule(kind.as_deref() == Some("text"), &at, "must be a text block")?;
        turns::text_block(block, &at)?;
    }
    Ok(())
}

fn tools(body: Node<'_>) -> Rule<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let Some(tools) = body.get("tools") else {
        return Ok(names);
    };
    let Some(tools) = tools.items() else {
        return broken("tools", "must be a list");
    };
    for (index, tool) in tools.into_iter().enumerate() {
        let at = format!("tools.{index}");
        let kind = tool.text_of("type");
        let name = tool.text_of("name").unwrap_or_default();
        if kind.as_deref().is_none_or(|kind| kind == "custom") {
            let known = [
                "type",
                "name",
                "description",
                "input_schema",
                "cache_control",
                "strict",
                "defer_loading",
                "allowed_callers",
                "input_examples",
                "eager_input_streaming",
            ];
            for (field, value) in tool.fields() {
                let at = format!("{at}.custom.{field}");
                rule(
                    known.contains(&field.as_str()),
                    &at,
                    "Extra inputs are not permitted",
                )?;
                rule(
                    !value.is_null(),
                    at,
                    "null is not a value; leave the field out",
                )?;
            }
            let at_name = format!("{at}.custom.name");
            let clean = is_name(&name) && name.len() <= MAX_NAME;
            rule(clean, at_name, "must match ^[a-zA-Z0-9_-]{1,64}$")?;
            let at_schema = format!("{at}.custom.input_schema");
            let Some(schema) = tool.get("input_schema") else {
                return broken(at_schema, "is required");
            };
            let kind = schema.text_of("type");
            let is_object = kind.as_deref() == Some("object");
            rule(is_object, at_schema, "its type must be \"object\"")?;
        }
        rule(names.insert(name), at, "tool names must be unique")?;
    }
    Ok(names)
}

fn thinking(body: Node<'_>, max_tokens: u64) -> Rule<Thinking> {
    let Some(thinking) = body.get("thinking") else {
        return Ok(Thinking::Off);
    };
    match thinking.text_of("type").as_deref() {
        Some("disabled") => Ok(Thinking::Off),
        Some("adaptive") => Ok(Thinking::Adaptive),
        Some("enabled") => {
            let at = "thinking.enabled.budget_tokens";
            let budget = thinking.get("budget_tokens").and_then(Node::integer);
            let budget = budget.unwrap_or(0);
            rule(budget >= MIN_BUDGET, at, "must be at least 1024")?;
            rule(
                budget < max_tokens,
                "max_tokens",
                "must be greater than thinking.budget_tokens",
            )?;
            Ok(Thinking::Manual)
        }
        _ => broken("thinking.type", "must be enabled, disabled or adaptive"),
    }
}

fn choice(body: Node<'_>, tools: &BTreeSet<String>, thinking: Thinking) -> Rule {
    let Some(choice) = body.get("tool_choice") else {
        return Ok(());
    };
    let says = "may only be given together with tools";
    rule(!tools.is_empty(), "tool_choice", says)?;
    let kind = choice.text_of("type").unwrap_or_default();
    match kind.as_str() {
        "auto" | "any" => {}
        "none" => {
            let parallel = choice.get("disable_parallel_tool_use");
            let at = "tool_choice.none.disable_parallel_tool_use";
            rule(parallel.is_none(), at, "Extra inputs are not permitted")?;
        }
        "tool" => {
            let name = choice.text_of("name").unwrap_or_default();
            let says = "the tool is not among the tools";
            rule(tools.contains(&name), "tool_choice.tool.name", says)?;
        }
        _ => return broken("tool_choice.type", "must be auto, any, tool or none"),
    }
    let forced = matches!(kind.as_str(), "any" | "tool");
    let says = "thinking may not be enabled when tool_choice forces tool use";
    rule(!forced || thinking == Thinking::Off, "tool_choice", says)
}

fn sampling(body: Node<'_>, thinking: Thinking) -> Rule {
    within(body, "temperature", 0.0, 1.0)?;
    within(body, "top_p", 0.0, 1.0)?;
    if let Some(top_k) = body.get("top_k") {
        rule(top_k.integer().is_some(), "top_k", "must be an integer")?;
    }
    let (temperature, top_p) = (body.get("temperature"), body.get("top_p"));
    let both = temperature.is_some() && top_p.is_some();
    rule(
        !both,
        "temperature",
        "temperature and top_p cannot both be given",
    )?;
    if thinking == Thinking::Off {
        return Ok(());
    }
    let one = temperature.and_then(Node::number).is_none_or(|t| t == 1.0);
    rule(one, "temperature", "may only be 1 when thinking is enabled")?;
    let says = "must be unset when thinking is enabled";
    rule(body.get("top_k").is_none(), "top_k", says)?;
    let high = top_p.and_then(Node::number).is_none_or(|p| p >= 0.95);
    rule(
        high,
        "top_p",
        "must be at least 0.95 when thinking is enabled",
    )
}

fn stops(body: Node<'_>) -> Rule {
    let Some(stops) = body.get("stop_sequences") else {
        return Ok(());
    };
    let Some(stops) = stops.items() else {
        return broken("stop_sequences", "must be a list");
    };
    for (index, stop) in stops.into_iter().enumerate() {
        let at = format!("stop_sequences.{index}");
        let holds = stop.text().is_some_and(|stop| !is_blank(&stop));
        rule(holds, at, "each stop sequence must contain non-whitespace")?;
    }
    Ok(())
}

fn metadata(body: Node<'_>) -> Rule {
    let Some(metadata) = body.get("metadata") else {
        return Ok(());
    };
    rule(metadata.is_object(), "metadata", "must be an object")?;
    for (name, value) in metadata.fields() {
        let at = format!("metadata.{name}");
        match name.as_str() {
            "sim" => {}
            "user_id" => {
                let id = value.text();
                let short = id
                    .as_ref()
                    .is_some_and(|id| id.chars().count() <= MAX_USER_ID);
                rule(short, &at, "must be a string of at most 256 characters")?;
                let is_mail = id.is_some_and(|id| id.contains('@'));
                rule(!is_mail, at, "seems to hold an e-mail address")?;
            }
            _ => return broken(at, "Extra inputs are not permitted"),
        }
    }
    Ok(())
}

fn output_config(body: Node<'_>) -> Rule {
    let Some(config) = body.get("output_config") else {
        return Ok(());
    };
    for (name, value) in config.fields() {
        let at = format!("output_config.{name}");
        match name.as_str() {
            "effort" => {
                let efforts = ["low", "medium", "high", "xhigh", "max"];
                let effort = value.text().unwrap_or_default();
                rule(efforts.contains(&effort.as_str()), at, "no such effort")?;
            }
            "format" => {
                let is_schema = value.text_of("type").as_deref() == Some("json_schema")
                    && value.get("schema").is_some_and(Node::is_object);
                rule(is_schema, at, "must be {type: json_schema, schema}")?;
            }
            "task_budget" => {}
            _ => return broken(at, "Extra inputs are not permitted"),
        }
    }
    Ok(())
}
