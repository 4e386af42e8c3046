//! There and back: a conversation of an OpenAI client, as a Messages request and as a chat request again, still says the
//! same things in the same order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Capabilities, Target, a2o, o2a};

/// What a conversation says, one entry for each thing said.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    User(String),
    Assistant(String),
    /// Name and arguments, byte for byte.
    Call(String, String),
    /// Of the so-manieth call.
    Result(usize, String),
}

/// Numbers that a double cannot hold, escapes, keys out of order.
fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        Just(r#"{"id":12345678901234567890123,"z":1.0,"a":1e400}"#.to_owned()),
        Just(r#"{"b": [1, {"\u00e9":"\ud83d\ude00\/"}], "a":null}"#.to_owned()),
        "[a-z \\\\n\"é]{0,12}".prop_map(|text| json!({"text": text}).to_string()),
    ]
}

fn words() -> impl Strategy<Value = String> {
    "[ \\t]{0,2}[a-zé世\"\\\\\n]{1,12}[ \\n]{0,2}"
        .prop_filter("not blank", |text| !text.trim().is_empty())
}

/// Turns: a question, perhaps calls and their results, an answer.
fn turns() -> impl Strategy<Value = Vec<Said>> {
    let calls = prop::collection::vec(("[a-z_]{1,8}", arguments(), words()), 0..3);
    let turn = (words(), calls, words());
    prop::collection::vec(turn, 1..5).prop_map(|turns| {
        let mut said = Vec::new();
        let mut number = 0;
        for (question, calls, answer) in turns {
            said.push(Said::User(question));
            for (name, arguments, _) in &calls {
                said.push(Said::Call(name.clone(), arguments.clone()));
            }
            for (_, _, result) in &calls {
                said.push(Said::Result(number, result.clone()));
                number += 1;
            }
            said.push(Said::Assistant(answer));
        }
        // The last word is the user's: what an assistant begins to say may lose its trailing blanks.
        said.push(Said::User("Go on.".to_owned()));
        said
    })
}

/// As an OpenAI client sends it.
fn written(said: &[Said]) -> Value {
    let mut messages: Vec<Value> = Vec::new();
    let mut calls = 0;
    for one in said {
        match one {
            Said::User(text) => messages.push(json!({"role": "user", "content": text})),
            Said::Assistant(text) => messages.push(json!({"role": "assistant", "content": text})),
            Said::Call(name, arguments) => {
                let call = json!({"id": format!("call_{calls}"), "type": "function",
                                  "function": {"name": name, "arguments": arguments}});
                calls += 1;
                let open = messages
                    .last_mut()
                    .and_then(|last| last["tool_calls"].as_array_mut());
                match open {
                    Some(open) => open.push(call),
                    None => messages
                        .push(json!({"role": "assistant", "content": null, "tool_calls": [call]})),
                }
            }
            Said::Result(of, text) => messages.push(
                json!({"role": "tool", "tool_call_id": format!("call_{of}"), "content": text}),
            ),
        }
    }
    json!({"model": "m", "messages": messages})
}

/// What a chat request says.
fn read(body: &[u8]) -> Vec<Said> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let mut ids = Vec::new();
    let mut said = Vec::new();
    for message in body["messages"].as_array().unwrap() {
        let texts: Vec<&str> = match &message["content"] {
            Value::Null => Vec::new(),
            Value::String(text) => vec![text],
            parts => parts
                .as_array()
                .unwrap()
                .iter()
                .map(|part| part["text"].as_str().unwrap())
                .collect(),
        };
        let role = message["role"].as_str().unwrap();
        for text in texts {
            said.push(match role {
                "user" => Said::User(text.to_owned()),
                "assistant" => Said::Assistant(text.to_owned()),
                _ => {
                    let id = message["tool_call_id"].as_str().unwrap();
                    let of = ids.iter().position(|known| known == id).unwrap();
                    Said::Result(of, text.to_owned())
                }
            });
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            ids.push(call["id"].as_str().unwrap().to_owned());
            let function = &call["function"];
            said.push(Said::Call(
                function["name"].as_str().unwrap().to_owned(),
                function["arguments"].as_str().unwrap().to_owned(),
            ));
        }
    }
    said
}

proptest! {
    #[test]
    fn there_and_back_everything_is_said_once_and_in_order(said in turns()) {
        let tools = json!([{"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}]);
        let mut request = written(&said);
        request["tools"] = tools;
        let plain = Target { model: "claude", capabilities: &Capabilities::ANTHROPIC };
        let there = o2a::request(request.to_string().as_bytes(), &plain).unwrap();
        let open = Target { model: "gpt", capabilities: &Capabilities::OPENAI };
        let back = a2o::request(&there.body, &open).unwrap();
        prop_assert_eq!(read(&back.body), said);
    }
}
