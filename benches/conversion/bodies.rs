//! Requests and streams as agents make them.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};

/// Tools of a request.
pub(super) const TOOLS: usize = 10;
const ROUNDS: usize = 60;

/// Some prose, with what JSON escapes.
fn prose(number: usize, length: usize) -> String {
    let sentence =
        format!("Line {number}: the \"quick\" brown fox,\n\tjumps over 13 lazy dogs — again. ");
    sentence.chars().cycle().take(length).collect()
}

fn schema() -> Value {
    json!({"type": "object", "required": ["path"], "additionalProperties": false, "properties": {
        "path": {"type": "string", "description": "Where the file is, from the project's root"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100_000},
        "mode": {"enum": ["read", "write", "append"]}}})
}

/// About 200 KB: a system text, 60 rounds of a question, a call, its result and an answer, and ten tools.
pub(super) fn openai_request() -> Vec<u8> {
    let mut messages = vec![json!({"role": "system", "content": prose(0, 20_000)})];
    for round in 0..ROUNDS {
        let id = format!("call_{round}");
        messages.push(json!({"role": "user", "content": prose(round, 400)}));
        messages.push(json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function",
            "function": {"name": "read_file_3", "arguments": format!("{{\"path\":\"src/{round}.rs\",\"limit\":12345678901234567890}}")}}]}));
        messages.push(json!({"role": "tool", "tool_call_id": id, "content": prose(round, 1_800)}));
        messages.push(json!({"role": "assistant", "content": prose(round, 300)}));
    }
    messages.push(json!({"role": "user", "content": "Go on."}));
    let tools: Vec<Value> = (0..TOOLS)
        .map(|n| {
            json!({"type": "function", "function": {"name": format!("read_file_{n}"),
            "description": prose(n, 500), "parameters": schema()}})
        })
        .collect();
    serde_json::to_vec(&json!({"model": "gpt", "messages": messages, "tools": tools, "stream": true, "temperature": 0.2}))
        .unwrap()
}

/// The same conversation as an Anthropic client has it.
pub(super) fn anthropic_request() -> Vec<u8> {
    let mut messages = Vec::new();
    for round in 0..ROUNDS {
        let id = format!("toolu_{round}");
        messages.push(
            json!({"role": "user", "content": [{"type": "text", "text": prose(round, 400)}]}),
        );
        messages.push(json!({"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "read_file_3",
            "input": {"path": format!("src/{round}.rs"), "limit": 12_345_678_901_234_567_890_u64}}]}));
        messages.push(
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id,
            "content": [{"type": "text", "text": prose(round, 1_800)}]}]}),
        );
        messages.push(
            json!({"role": "assistant", "content": [{"type": "text", "text": prose(round, 300)}]}),
        );
    }
    messages.push(json!({"role": "user", "content": "Go on."}));
    let tools: Vec<Value> = (0..TOOLS)
        .map(|n| json!({"name": format!("read_file_{n}"), "description": prose(n, 500), "input_schema": schema()}))
        .collect();
    serde_json::to_vec(&json!({"model": "claude", "max_tokens": 8192, "system": [{"type": "text", "text": prose(0, 20_000)}],
        "messages": messages, "tools": tools, "stream": true, "temperature": 0.2}))
    .unwrap()
}

fn anthropic(block: &str, delta: impl Fn(usize) -> String, events: usize) -> Bytes {
    let mut text = String::from(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\
         \"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null,\"stop_sequence\":null,\
         \"usage\":{\"input_tokens\":100,\"output_tokens\":0}}}\n\n",
    );
    let _ = write!(
        text,
        "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{block}}}\n\n"
    );
    for number in 0..events {
        let _ = write!(
            text,
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{}}}\n\n",
            delta(number)
        );
    }
    text.push_str(
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: \
         {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\
         \"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    Bytes::from(text)
}

pub(super) fn anthropic_stream(events: usize) -> Bytes {
    let delta =
        |n: usize| format!("{{\"type\":\"text_delta\",\"text\":\"word {n} and\\n some more \"}}");
    anthropic("{\"type\":\"text\",\"text\":\"\"}", delta, events)
}

pub(super) fn anthropic_tools(events: usize) -> Bytes {
    let delta = |n: usize| {
        format!("{{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"key{n}\\\":{n},\"}}")
    };
    let block = "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"t\",\"input\":{}}";
    anthropic(block, delta, events)
}

fn openai(delta: impl Fn(usize) -> String, events: usize) -> Bytes {
    let mut text = String::new();
    let mut chunk = |choices: &str| {
        let _ = write!(
            text,
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\",\
             \"choices\":[{choices}]}}\n\n"
        );
    };
    chunk(
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}",
    );
    for number in 0..events {
        chunk(&format!(
            "{{\"index\":0,\"delta\":{},\"finish_reason\":null}}",
            delta(number)
        ));
    }
    chunk("{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}");
    text.push_str("data: [DONE]\n\n");
    Bytes::from(text)
}

pub(super) fn openai_stream(events: usize) -> Bytes {
    openai(
        |n| format!("{{\"content\":\"word {n} and\\n some more \"}}"),
        events,
    )
}

pub(super) fn openai_tools(events: usize) -> Bytes {
    let delta = |n: usize| {
        let head = if n == 0 {
            "\"id\":\"call_1\",\"type\":\"function\","
        } else {
            ""
        };
        let name = if n == 0 { "\"name\":\"t\"," } else { "" };
        format!(
            "{{\"tool_calls\":[{{\"index\":0,{head}\"function\":{{{name}\"arguments\":\"\\\"key{n}\\\":{n},\"}}}}]}}"
        )
    };
    openai(delta, events)
}
