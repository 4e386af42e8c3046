//! Rules of the OpenAI API: each has a request that breaks it and nothing else.

use serde_json::{Value, json};

use super::super::{Generation, SimConfig, spawn, strict};
use super::config;
use super::openai;

fn with(fields: Value) -> Value {
    let mut body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn told(body: &Value) -> Option<String> {
    let checked = strict::check(Generation::OpenAi, body.to_string().as_bytes());
    checked.err().map(|broken| broken.to_string())
}

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{\"n\":1"}})
}

fn calls(all: &[Value]) -> Value {
    json!({"role": "assistant", "content": null, "tool_calls": all})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "x"})
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}}])
}

#[test]
fn what_the_api_takes_passes() {
    let user = json!({"role": "user", "content": ""});
    for body in [
        with(
            json!({"stream": true, "stream_options": {"include_usage": true}, "temperature": 2, "stop": "x", "user": "a".repeat(64), "max_tokens": 5}),
        ),
        with(
            json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false}),
        ),
        with(
            json!({"messages": [{"role": "system", "content": [{"type": "text", "text": "s"}]}, user, calls(&[call("a"), call("b")]), result("b"), result("a"), user, {"role": "assistant", "content": "x"}]}),
        ),
        with(
            json!({"messages": [user, {"role": "assistant", "refusal": "no"}, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}, {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}]}]}),
        ),
        with(
            json!({"model": "gpt-5.2", "reasoning_effort": "high", "max_completion_tokens": 5, "stop": null, "n": null, "metadata": {"sim": {}, "a": "b"}}),
        ),
        with(
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": {}, "strict": true}}}),
        ),
        with(
            json!({"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "as JSON"}]}),
        ),
    ] {
        assert_eq!(told(&body), None, "{body}");
    }
}

#[test]
fn each_rule() {
    let user = json!({"role": "user", "content": "hi"});
    let part = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    let named = |name: &str| json!({"tools": [{"type": "function", "function": {"name": name}}]});
    for (fields, says) in [
        (
            json!({"messages": [user, result("a")]}),
            "messages[1]: messages with role tool",
        ),
        (
            json!({"messages": [user, calls(&[call("a")]), user]}),
            "messages[2]: tool_calls must be followed by tool messages; without one: a",
        ),
        (
            json!({"messages": [user, calls(&[call("a")])]}),
            "messages: tool_calls must be followed",
        ),
        (
            json!({"messages": [user, calls(&[call("a")]), result("b")]}),
            "messages[2].tool_call_id",
        ),
        (
            json!({"messages": [user, calls(&[call("a")]), result("a"), result("a")]}),
            "messages[3].tool_call_id",
        ),
        (
            json!({"messages": [user, calls(&[call("a")]), result("a"), user, result("a")]}),
            "messages[4]: messages with role tool",
        ),
        (
            json!({"messages": [user, calls(&[])]}),
            "messages[1].tool_calls: an empty list",
        ),
        (
            json!({"messages": [user, calls(&[call("a"), call("a")])]}),
            "messages[1].tool_calls[1].id: stands twice",
        ),
        (
            json!({"messages": [user, {"role": "assistant", "content": null}]}),
            "messages[1].content",
        ),
        (
            json!({"messages": [user, {"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}]}]}),
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            json!({"messages": [user, {"role": "assistant", "content": [{"type": "tool_use"}]}]}),
            "messages[1].content[0].type",
        ),
        (
            json!({"messages": [user, calls(&[call("a")]), {"role": "tool", "tool_call_id": "a", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]}),
            "messages[2].content[0].type",
        ),
        (json!({"messages": []}), "messages: must be"),
        (
            json!({"messages": [{"role": "human", "content": "x"}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user", "content": []}]}),
            "messages[0].content: an empty list",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x", "cache_control": {}}]}),
            "messages[0].cache_control",
        ),
        (
            part(json!({"type": "text", "text": "x", "cache_control": {}})),
            "messages[0].content[0].cache_control",
        ),
        (
            part(json!({"type": "image"})),
            "messages[0].content[0].type",
        ),
        (
            part(json!({"type": "image_url", "image_url": {"url": "ftp://x"}})),
            "messages[0].content[0].image_url.url",
        ),
        (
            part(json!({"type": "file", "file": {"file_data": "AA=="}})),
            "messages[0].content[0].file",
        ),
        (
            json!({"stream_options": {"include_usage": true}}),
            "stream_options: is only",
        ),
        (
            json!({"stream": false, "stream_options": {}}),
            "stream_options: is only",
        ),
        (json!({"tool_choice": "auto"}), "tool_choice: is only"),
        (
            json!({"parallel_tool_calls": false}),
            "parallel_tool_calls: is only",
        ),
        (
            json!({"tools": [], "tool_choice": "auto"}),
            "tools: must be",
        ),
        (
            json!({"tools": tools(), "tool_choice": "any"}),
            "tool_choice: must be",
        ),
        (
            json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "g"}}}),
            "tool_choice.function.name",
        ),
        (
            json!({"tools": [{"name": "f", "input_schema": {}}]}),
            "tools[0].type",
        ),
        (named("a.b"), "tools[0].function.name"),
        (named(&"a".repeat(65)), "tools[0].function.name"),
        (json!({"user": "a".repeat(65)}), "user: must be"),
        (json!({"system": "x"}), "system: unrecognized"),
        (json!({"top_k": 1}), "top_k: unrecognized"),
        (
            json!({"max_tokens": 1, "max_completion_tokens": 1}),
            "max_tokens: must not",
        ),
        (
            json!({"model": "o4-mini", "max_tokens": 1}),
            "max_tokens: is not supported",
        ),
        (
            json!({"max_completion_tokens": 0}),
            "max_completion_tokens: must be",
        ),
        (
            json!({"reasoning_effort": "low"}),
            "reasoning_effort: is not supported",
        ),
        (
            json!({"model": "gpt-5.2", "reasoning_effort": "huge"}),
            "reasoning_effort: no such",
        ),
        (json!({"stop": ["1", "2", "3", "4", "5"]}), "stop: must be"),
        (json!({"temperature": 2.1}), "temperature: must be"),
        (
            json!({"response_format": {"type": "json_object"}}),
            "messages: must contain",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
            "response_format.json_schema.schema",
        ),
        (json!({"metadata": {"a": 1}}), "metadata.a"),
        (json!({"model": null}), "model: "),
    ] {
        let got = told(&with(fields.clone()));
        assert!(
            got.as_deref().is_some_and(|got| got.starts_with(says)),
            "{fields}\n{got:?}\n{says}"
        );
    }
}

#[tokio::test]
async fn the_refusal_names_the_field() {
    let sim = spawn(SimConfig {
        strict: true,
        ..config(Generation::OpenAi)
    })
    .await
    .unwrap();
    let answer = openai::told(&sim, &with(json!({"user": "a".repeat(65)}))).await;
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["param"], &error["type"]),
        (&json!("user"), &json!("invalid_request_error"))
    );
    assert_eq!(sim.handle().totals().refused, 1);
}
