//! What the golden cases cannot show: properties over made conversations and hostile bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

mod conversation;
mod properties;
mod rules;

use serde_json::{Value, json};

use super::request;
use crate::wire::convert::a2o::Back;
use crate::wire::convert::{Capabilities, Converted, Rejection, Target};

fn convert(body: &[u8]) -> Result<Converted<Back>, Rejection> {
    convert_for(body, &Capabilities::OPENAI)
}

fn convert_for(body: &[u8], capabilities: &Capabilities) -> Result<Converted<Back>, Rejection> {
    let target = Target {
        model: "tier",
        capabilities,
    };
    request(body, &target)
}

fn converted(body: &Value) -> Value {
    let converted = convert(body.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&converted.body).unwrap()
}

#[test]
fn the_way_back_knows_stream_names_and_size() {
    let long = "n".repeat(65);
    let body = json!({
        "model": "m", "max_tokens": 1, "stream": true,
        "tools": [{"name": long, "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": "hi"}],
    });
    let back = convert(body.to_string().as_bytes()).unwrap().back;
    assert!(back.stream);
    assert!(back.input_estimate > 0);
    let sent = back.names.sent(&long).to_owned();
    assert_eq!(sent.len(), 64);
    assert_eq!(back.names.client(&sent), long);
}

#[test]
fn a_long_conversation_keeps_its_order() {
    let messages: Vec<Value> = (0..301)
        .map(|turn| {
            let role = if turn % 2 == 0 { "user" } else { "assistant" };
            json!({"role": role, "content": format!("turn {turn}")})
        })
        .collect();
    let body = converted(&json!({"model": "m", "max_tokens": 1, "messages": messages}));
    assert_eq!(body["messages"], json!(messages));
}

#[test]
fn errors_repeat_no_long_names() {
    let body = json!({
        "model": "m", "max_tokens": 1,
        "messages": [{"role": "x".repeat(10_000), "content": "hi"}],
    });
    let rejection = convert(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(rejection.param.as_deref(), Some("messages.0.role"));
    assert!(rejection.message.len() < 200);
}

#[test]
fn ten_thousand_blocks_tools_and_calls_take_no_quadratic_time() {
    let calls: Vec<Value> = (0..10_000)
        .map(|n| json!({"type": "tool_use", "id": format!("t{n}"), "name": format!("f.{n}"), "input": {}}))
        .collect();
    let results: Vec<Value> = (0..10_000)
        .rev()
        .map(|n| json!({"type": "tool_result", "tool_use_id": format!("t{n}"), "content": "x"}))
        .collect();
    let tools: Vec<Value> = (0..10_000)
        .map(|n| json!({"name": format!("f.{n}"), "input_schema": {"type": "object"}}))
        .collect();
    let body = converted(&json!({
        "model": "m", "max_tokens": 1, "tools": tools,
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": calls},
            {"role": "user", "content": results},
        ],
    }));
    rules::check(&body).unwrap();
    assert_eq!(body["messages"].as_array().unwrap().len(), 10_002);
}

#[test]
fn deep_schemas_and_inputs_do_not_overflow_the_stack() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(
        r#"{{"model":"m","max_tokens":1,"x":{deep},"tools":[{{"name":"f","input_schema":{{"a":{deep}}}}}],
        "messages":[{{"role":"user","content":"hi"}},
        {{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"f","input":{{"a":{deep}}}}}]}},
        {{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t"}}]}}]}}"#
    );
    let converted = convert(body.as_bytes()).unwrap();
    assert!(converted.body.len() > 400_000);
}

#[test]
fn tiny_members_without_end_are_refused() {
    let members: String = (0..5000).map(|k| format!(",\"k{k}\":0")).collect();
    let top = format!(r#"{{"model":"m","max_tokens":1,"messages":[]{members}}}"#);
    let rejected = convert(top.as_bytes()).unwrap_err();
    assert!(rejected.message.contains("more than 4096 members"));
    let body = format!(
        r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":[{{"type":"text","text":"hi"{members}}}]}}]}}"#
    );
    let rejected = convert(body.as_bytes()).unwrap_err();
    assert_eq!(rejected.param.as_deref(), Some("messages.0.content.0"));
    assert!(rejected.message.contains("more than 4096 members"));
}
