//! A message that streams says what it says as a whole.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::answer::answer;
use super::super::{Back, JsonAnswer, Stream};
use super::client::{Client, facts, send};

/// A block and the pieces that it comes in.
#[derive(Clone, Debug)]
enum Block {
    Text(Vec<String>),
    Thinking(Vec<String>),
    /// Name, input, whether it comes as fragments.
    Tool(&'static str, Value, bool),
    Server,
}

fn block() -> impl Strategy<Value = Block> {
    let pieces = || {
        prop::collection::vec(
            "[abST\n\"\\\\é😀]{0,4}|(?s).{0,3}|[`\n]{0,4}|\n?```(a|\n)?",
            0..5,
        )
    };
    let input = prop::collection::vec(("[a-c]", "(?s).{0,4}"), 0..3).prop_map(|members| {
        let members = members.into_iter().map(|(k, v)| (k, Value::from(v)));
        Value::Object(members.collect())
    });
    prop_oneof![
        4 => pieces().prop_map(Block::Text),
        1 => pieces().prop_map(Block::Thinking),
        2 => (prop::sample::select(vec!["f", "g", "json"]), input, any::<bool>())
            .prop_map(|(name, input, fragments)| Block::Tool(name, input, fragments)),
        1 => Just(Block::Server),
    ]
}

fn back() -> impl Strategy<Value = Back> {
    (
        prop::collection::vec("[abST\n`]{1,3}", 0..3),
        any::<bool>(),
        0..3,
    )
        .prop_map(|(stops, legacy_functions, json)| Back {
            stops,
            legacy_functions,
            include_usage: true,
            json: match json {
                0 => JsonAnswer::Plain,
                1 => JsonAnswer::Fenced,
                _ => JsonAnswer::Tool("json".into()),
            },
            ..Back::default()
        })
}

fn whole(blocks: &[Block], reason: &Value) -> Value {
    let content = blocks.iter().enumerate().map(|(i, block)| match block {
        Block::Text(pieces) => json!({"type": "text", "text": pieces.concat()}),
        Block::Thinking(pieces) => {
            json!({"type": "thinking", "thinking": pieces.concat(), "signature": ""})
        }
        Block::Tool(name, input, _) => {
            json!({"type": "tool_use", "id": format!("t{i}"), "name": name, "input": input})
        }
        Block::Server => json!({"type": "server_tool_use", "id": "s", "name": "f", "input": {}}),
    });
    json!({"type": "message", "id": "msg_1", "model": "m", "stop_reason": reason,
           "stop_details": {"explanation": "why"}, "content": content.collect::<Vec<_>>(),
           "usage": {"input_tokens": 3, "output_tokens": 2}})
}

fn streamed(blocks: &[Block], reason: &Value, back: &Arc<Back>) -> Client {
    let mut stream = Stream::new(back.clone(), facts());
    let mut out = send(
        &mut stream,
        &json!({"type": "message_start", "message":
            {"id": "msg_1", "model": "m", "content": [], "usage": {"input_tokens": 3}}}),
    );
    let mut say = |data: Value| out.extend(send(&mut stream, &data));
    for (i, block) in blocks.iter().enumerate() {
        let start = match block {
            Block::Text(_) => json!({"type": "text", "text": ""}),
            Block::Thinking(_) => json!({"type": "thinking", "thinking": ""}),
            Block::Tool(name, input, fragments) => {
                let input = if *fragments { &json!({}) } else { input };
                json!({"type": "tool_use", "id": format!("t{i}"), "name": name, "input": input})
            }
            Block::Server => json!({"type": "server_tool_use", "id": "s", "name": "f"}),
        };
        say(json!({"type": "content_block_start", "index": i, "content_block": start}));
        let deltas: Vec<Value> = match block {
            Block::Text(pieces) => pieces
                .iter()
                .map(|piece| json!({"type": "text_delta", "text": piece}))
                .collect(),
            Block::Thinking(pieces) => pieces
                .iter()
                .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
                .collect(),
            Block::Tool(_, input, true) => input
                .to_string()
                .chars()
                .map(|c| json!({"type": "input_json_delta", "partial_json": c}))
                .collect(),
            _ => Vec::new(),
        };
        for delta in deltas {
            say(json!({"type": "content_block_delta", "index": i, "delta": delta}));
        }
        say(json!({"type": "content_block_stop", "index": i}));
    }
    say(
        json!({"type": "message_delta", "usage": {"output_tokens": 2},
               "delta": {"stop_reason": reason, "stop_details": {"explanation": "why"}}}),
    );
    say(json!({"type": "message_stop"}));
    Client::read(&out)
}

proptest! {
    #[test]
    fn the_stream_says_what_the_whole_says(
        blocks in prop::collection::vec(block(), 0..5),
        back in back(),
        reason in prop::sample::select(vec![
            json!("end_turn"), json!("tool_use"), json!("max_tokens"), json!("refusal"), json!(null), json!("odd"),
        ]),
    ) {
        let back = Arc::new(back);
        let body = whole(&blocks, &reason).to_string();
        let whole: Value = serde_json::from_slice(&answer(body.as_bytes(), &back, &facts()).unwrap()).unwrap();
        let client = streamed(&blocks, &reason, &back);

        let choice = &whole["choices"][0];
        let message = &choice["message"];
        prop_assert_eq!(message["content"].as_str().unwrap_or_default(), client.content);
        prop_assert_eq!(message["reasoning_content"].as_str().unwrap_or_default(), client.reasoning);
        prop_assert_eq!(message["refusal"].as_str().unwrap_or_default(), client.refusal);
        let calls: Vec<(String, String, String)> = message["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|call| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let function = &call["function"];
                (text(&call["id"]), text(&function["name"]), text(&function["arguments"]))
            })
            .collect();
        prop_assert_eq!(calls, client.calls);
        let legacy = message.get("function_call").map(|call| {
            (call["name"].as_str().unwrap().to_owned(), call["arguments"].as_str().unwrap().to_owned())
        });
        prop_assert_eq!(legacy, client.legacy);
        prop_assert_eq!(choice["finish_reason"].as_str(), client.finish.as_deref());
        prop_assert_eq!(&whole["usage"], &client.usage);
        prop_assert!(client.done);
    }
}
