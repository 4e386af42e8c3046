//! Rules of the Anthropic API: each has a request that breaks it and nothing else.

use serde_json::{Value, json};

use super::super::{Fault, FaultKind, Generation, SimConfig, spawn, strict};
use super::{PLAIN, ask, config, post};

pub(super) fn good() -> Value {
    json!({"model": PLAIN, "max_tokens": 4000, "messages": [{"role": "user", "content": "hi"}]})
}

/// The good request with these fields.
pub(super) fn with(fields: Value) -> Value {
    let mut body = good();
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

pub(super) fn turns(messages: Value) -> Value {
    with(json!({"messages": messages}))
}

pub(super) fn told(body: &Value) -> Option<String> {
    let checked = strict::check(Generation::V2_7, body.to_string().as_bytes());
    checked.err().map(|broken| broken.to_string())
}

pub(super) fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

pub(super) fn assistant(content: Value) -> Value {
    json!({"role": "assistant", "content": content})
}

pub(super) fn call(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "first", "input": {"n": 1}})
}

pub(super) fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "x"})
}

pub(super) fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

pub(super) fn tools() -> Value {
    json!([{"name": "first", "input_schema": {"type": "object"}}])
}

#[test]
fn each_rule_about_the_rest() {
    let named = |name: &str| json!({"tools": [{"name": name, "input_schema": {"type": "object"}}]});
    let thinks = |budget: u64| json!({"type": "enabled", "budget_tokens": budget});
    for (fields, says) in [
        (json!({"max_tokens": 0}), "max_tokens: must be a positive"),
        (json!({"max_tokens": "9"}), "max_tokens: must be a positive"),
        (json!({"max_tokens": 1.5}), "max_tokens: must be a positive"),
        (json!({"model": ""}), "model: "),
        (json!({"stop": "x"}), "stop: Extra"),
        (json!({"system": null}), "system: null"),
        (json!({"system": [text("")]}), "system.0: text content"),
        (json!({"temperature": 1.1}), "temperature: must be"),
        (
            json!({"temperature": 0.5, "top_p": 0.5}),
            "temperature: temperature and top_p",
        ),
        (
            json!({"thinking": thinks(1023)}),
            "thinking.enabled.budget_tokens",
        ),
        (
            json!({"thinking": thinks(4000)}),
            "max_tokens: must be greater",
        ),
        (
            json!({"thinking": thinks(1024), "temperature": 0.5}),
            "temperature: may only",
        ),
        (
            json!({"thinking": thinks(1024), "top_k": 5}),
            "top_k: must be unset",
        ),
        (
            json!({"thinking": thinks(1024), "top_p": 0.5}),
            "top_p: must be at least",
        ),
        (
            json!({"thinking": thinks(1024), "tools": tools(), "tool_choice": {"type": "any"}}),
            "tool_choice: thinking may not",
        ),
        (
            json!({"thinking": thinks(1024), "tools": tools(), "tool_choice": {"type": "tool", "name": "first"}}),
            "tool_choice: thinking may not",
        ),
        (
            json!({"thinking": thinks(1024), "messages": [user(json!("a")), assistant(json!([call("t")])), user(json!([result("t")]))]}),
            "messages.1: expected thinking",
        ),
        (named("a.b"), "tools.0.custom.name"),
        (named(""), "tools.0.custom.name"),
        (named(&"a".repeat(65)), "tools.0.custom.name"),
        (
            json!({"tools": [{"name": "a"}]}),
            "tools.0.custom.input_schema: is required",
        ),
        (
            json!({"tools": [{"name": "a", "input_schema": {}}]}),
            "tools.0.custom.input_schema: its type",
        ),
        (
            json!({"tools": [{"name": "a", "description": null, "input_schema": {"type": "object"}}]}),
            "tools.0.custom.description: null",
        ),
        (
            json!({"tools": [{"type": "function", "name": "a", "function": {}}, {"name": "a", "input_schema": {"type": "object"}}]}),
            "tools.1: tool names",
        ),
        (
            json!({"tool_choice": {"type": "auto"}}),
            "tool_choice: may only",
        ),
        (
            json!({"tools": [], "tool_choice": {"type": "auto"}}),
            "tool_choice: may only",
        ),
        (
            json!({"tools": tools(), "tool_choice": {"type": "tool", "name": "x"}}),
            "tool_choice.tool.name",
        ),
        (
            json!({"tools": tools(), "tool_choice": "auto"}),
            "tool_choice.type",
        ),
        (
            json!({"tools": tools(), "tool_choice": {"type": "none", "disable_parallel_tool_use": true}}),
            "tool_choice.none",
        ),
        (json!({"stop_sequences": [" "]}), "stop_sequences.0"),
        (
            json!({"metadata": {"user_id": "a@b.c"}}),
            "metadata.user_id: seems",
        ),
        (json!({"metadata": {"x": "y"}}), "metadata.x: Extra"),
        (json!({"service_tier": "default"}), "service_tier"),
        (
            json!({"output_config": {"effort": "minimal"}}),
            "output_config.effort",
        ),
    ] {
        let got = told(&with(fields.clone()));
        assert!(
            got.as_deref().is_some_and(|got| got.starts_with(says)),
            "{fields}\n{got:?}\n{says}"
        );
    }
    let mut without = good();
    without.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(told(&without).as_deref(), Some("max_tokens: is required"));
    let twice = br#"{"model":"a","model":"b"}"#;
    assert!(
        strict::check(Generation::V2_7, twice)
            .unwrap_err()
            .to_string()
            .contains("stands twice")
    );
    assert!(strict::check(Generation::V2_7, b"[]").is_err());
}

#[tokio::test]
async fn a_refusal_is_sent_before_any_fault_and_counted() {
    let sim = spawn(SimConfig {
        strict: true,
        ..config(Generation::V2_7)
    })
    .await
    .unwrap();
    sim.handle()
        .set_faults(vec![Fault::new("*", FaultKind::Overloaded503)])
        .unwrap();
    let answer = ask(
        &sim,
        &post(&turns(json!([assistant(json!("x"))])).to_string()),
    )
    .await
    .unwrap();
    assert_eq!(answer.status, 400);
    let says = "messages: the first message must use the user role";
    assert_eq!(
        answer.error(),
        ("invalid_request_error".to_owned(), says.to_owned())
    );
    assert_eq!(
        ask(&sim, &post(&good().to_string())).await.unwrap().status,
        503
    );
    let entries = sim.handle().messages();
    assert_eq!(entries[0].progress.refused.as_deref(), Some(says));
    assert_eq!(
        (
            entries[1].progress.refused.as_deref(),
            sim.handle().totals().refused
        ),
        (None, 1)
    );
    sim.handle().reset();
    assert_eq!(
        ask(&sim, &post(&good().to_string())).await.unwrap().status,
        200
    );
    assert_eq!(sim.handle().totals().refused, 0);
}
