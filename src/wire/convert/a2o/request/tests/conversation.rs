//! Made conversations: good ones, and good ones that were spoiled.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// What happens in a conversation.
#[derive(Clone, Debug)]
pub(super) enum Step {
    User(Vec<Value>),
    Assistant(Vec<Value>),
    System(String),
    /// Texts of the assistant, calls with their inputs, results (each a block's content), what the user says with them,
    /// and the order of the results.
    Round {
        said: Vec<Value>,
        calls: Vec<(String, Value)>,
        results: Vec<Option<Value>>,
        with: Vec<Value>,
        backwards: bool,
        split: bool,
    },
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        Just(String::new()),
        Just(" \n".to_owned()),
        Just("é\"\\\u{1f600}".to_owned()),
        Just("Error: no".to_owned()),
        any::<String>(),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{1,6}", "[a-z./ ]{1,6}", Just("n".repeat(70))]
}

fn text() -> impl Strategy<Value = Value> {
    word().prop_map(|text| json!({"type": "text", "text": text}))
}

fn picture() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/jpg", "data": "AA+/"}})
        ),
        Just(json!({"type": "image", "source": {"type": "url", "url": "https://a.example/b"}})),
        Just(
            json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}})
        ),
        word().prop_map(|data| json!({"type": "document", "title": data, "source":
            {"type": "text", "media_type": "text/plain", "data": data}})),
        word().prop_map(
            |data| json!({"type": "search_result", "source": "s", "title": data, "content": []})
        ),
    ]
}

fn block() -> impl Strategy<Value = Value> {
    prop_oneof![3 => text(), 1 => picture()]
}

fn said() -> impl Strategy<Value = Vec<Value>> {
    let thought = Just(json!({"type": "thinking", "thinking": "hm", "signature": "s"}));
    prop::collection::vec(prop_oneof![3 => text().boxed(), 1 => thought.boxed()], 0..3)
}

fn input() -> impl Strategy<Value = Value> {
    prop::collection::vec((word(), word()), 0..3).prop_map(|pairs| {
        let members: Map<String, Value> = pairs
            .into_iter()
            .map(|(key, value)| (key, json!([value, 1.5, -3, null])))
            .collect();
        Value::Object(members)
    })
}

fn result() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        word().prop_map(|text| Some(json!(text))),
        prop::collection::vec(block(), 0..3).prop_map(|blocks| Some(json!(blocks))),
    ]
}

fn round() -> impl Strategy<Value = Step> {
    (1_usize..4).prop_flat_map(|n| {
        (
            said(),
            prop::collection::vec((name(), input()), n),
            prop::collection::vec(result(), n),
            prop::collection::vec(block(), 0..3),
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(
                |(said, calls, results, with, backwards, split)| Step::Round {
                    said,
                    calls,
                    results,
                    with,
                    backwards,
                    split,
                },
            )
    })
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => prop::collection::vec(block(), 0..3).prop_map(Step::User),
        2 => said().prop_map(Step::Assistant),
        1 => word().prop_map(Step::System),
        3 => round(),
    ];
    prop::collection::vec(step, 0..7)
}

/// The request of a conversation, which always begins with something to say. `prefix` makes the ids.
pub(super) fn request(steps: &[Step], prefix: &str) -> Value {
    let mut messages = vec![json!({"role": "user", "content": "begin"})];
    let mut tools: Vec<&str> = Vec::new();
    let mut next = 0;
    for step in steps {
        match step {
            Step::User(blocks) => messages.push(json!({"role": "user", "content": blocks})),
            Step::Assistant(blocks) => {
                messages.push(json!({"role": "assistant", "content": blocks}));
            }
            Step::System(text) => messages.push(json!({"role": "system", "content": text})),
            Step::Round {
                said,
                calls,
                results,
                with,
                backwards,
                split,
            } => {
                let mut blocks = said.clone();
                let mut answers = Vec::new();
                for ((name, input), result) in calls.iter().zip(results) {
                    next += 1;
                    let id = format!("{prefix}{next}");
                    if !tools.contains(&name.as_str()) {
                        tools.push(name);
                    }
                    blocks
                        .push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
                    let mut answer = json!({"type": "tool_result", "tool_use_id": id, "is_error": next % 3 == 0});
                    if let Some(result) = result {
                        answer["content"] = result.clone();
                    }
                    answers.push(answer);
                }
                if *backwards {
                    answers.reverse();
                }
                let rest = answers.split_off(if *split { 1 } else { answers.len() });
                messages.push(json!({"role": "assistant", "content": blocks}));
                messages
                    .push(json!({"role": "user", "content": ([with.clone(), answers].concat())}));
                if !rest.is_empty() {
                    messages
                        .push(json!({"role": "user", "content": ([rest, with.clone()].concat())}));
                }
            }
        }
    }
    let tools: Vec<Value> = tools
        .into_iter()
        .map(|name| json!({"name": name, "input_schema": {"type": "object"}}))
        .collect();
    json!({"model": "m", "max_tokens": 10, "tools": tools, "messages": messages})
}
