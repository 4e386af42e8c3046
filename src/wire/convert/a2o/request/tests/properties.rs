//! Whatever comes in: nothing panics, and what goes out OpenAI takes.

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::conversation::{Step, request, steps};
use super::{convert, convert_for, converted, rules};
use crate::wire::convert::Capabilities;

/// Takes one block, or one message, out of the request, or puts it in a second time.
fn spoil(request: &mut Value, message: usize, block: Option<usize>, twice: bool) {
    let messages = request["messages"].as_array_mut().unwrap();
    if messages.is_empty() {
        return;
    }
    let at = message % messages.len();
    let list = match block {
        None => messages,
        Some(_) => match messages[at]["content"].as_array_mut() {
            Some(blocks) if !blocks.is_empty() => blocks,
            _ => return,
        },
    };
    let at = block.unwrap_or(message) % list.len();
    if twice {
        list.insert(at, list[at].clone());
    } else {
        list.remove(at);
    }
}

fn texts_of(messages: &Value, role: &str) -> String {
    let mut all = String::new();
    for message in messages.as_array().unwrap() {
        if message["role"] != role {
            continue;
        }
        match &message["content"] {
            Value::String(text) => all.push_str(text),
            Value::Array(parts) => parts.iter().for_each(|part| {
                if part["type"] == "text" {
                    all.push_str(part["text"].as_str().unwrap());
                }
            }),
            _ => {}
        }
    }
    // Blank blocks are dropped, and only they.
    all.retain(|c| !c.is_whitespace());
    all
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    prop::collection::vec(any::<bool>(), 7).prop_map(|on| Capabilities {
        tool_choice: on[0],
        stop_sequences: on[1],
        output_config: on[2],
        mid_system: on[3],
        url_images: on[4],
        service_tier: on[5],
        reasoning: on[6],
        ..Capabilities::OPENAI
    })
}

fn options() -> impl Strategy<Value = Value> {
    let choice = prop_oneof![
        Just(Value::Null),
        Just(json!({"type": "auto", "disable_parallel_tool_use": true})),
        Just(json!({"type": "any"})),
        Just(json!({"type": "none", "disable_parallel_tool_use": true})),
        Just(json!({"type": "tool", "name": "f"})),
    ];
    (
        choice,
        prop::option::of(prop::collection::vec("[ab]{0,2}", 0..7)),
        prop::option::of(any::<bool>()),
        prop::option::of(any::<String>()),
        prop::option::of(0_u64..20_000),
        any::<bool>(),
    )
        .prop_map(|(choice, stops, stream, user, budget, schema)| {
            json!({
                "tool_choice": choice,
                "stop_sequences": stops,
                "stream": stream,
                "metadata": {"user_id": user},
                "system": user,
                "thinking": budget.map(|n| json!({"type": "enabled", "budget_tokens": n})),
                "output_config": schema.then(|| json!({"format": {"type": "json_schema", "schema": {"type": "object"}}})),
                "service_tier": schema.then_some("standard_only"),
                "top_k": budget,
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_good_conversation_is_taken_whole(steps in steps(), prefix in "[a-z:_-]{1,3}") {
        let asked = request(&steps, &prefix);
        let sent = converted(&asked);
        prop_assert_eq!(rules::check(&sent), Ok(()));
        // Every call with its arguments, in order.
        let inputs: Vec<&Value> = steps.iter().filter_map(|step| match step {
            Step::Round { calls, .. } => Some(calls),
            _ => None,
        }).flatten().map(|(_, input)| input).collect();
        let sent_calls: Vec<&Value> = sent["messages"].as_array().unwrap().iter()
            .filter_map(|message| message.get("tool_calls")).flat_map(|calls| calls.as_array().unwrap()).collect();
        prop_assert_eq!(inputs.len(), sent_calls.len());
        for (input, call) in inputs.iter().zip(sent_calls) {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            prop_assert_eq!(arguments, input.to_string());
        }
        // Every word of assistant and system, in order.
        for role in ["assistant", "system"] {
            prop_assert_eq!(texts_of(&sent["messages"], role), texts_of(&asked["messages"], role));
        }
    }

    #[test]
    fn what_is_taken_openai_takes(
        steps in steps(),
        spoils in prop::collection::vec((any::<usize>(), prop::option::of(any::<usize>()), any::<bool>()), 0..3),
        options in options(),
        capabilities in capabilities(),
    ) {
        let mut asked = request(&steps, "t");
        for (message, block, twice) in spoils {
            spoil(&mut asked, message, block, twice);
        }
        for (key, value) in options.as_object().unwrap() {
            asked[key] = value.clone();
        }
        if let Ok(converted) = convert_for(asked.to_string().as_bytes(), &capabilities) {
            let sent: Value = serde_json::from_slice(&converted.body).unwrap();
            prop_assert_eq!(rules::check(&sent), Ok(()), "{}", asked);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_write_bad_json(
        steps in steps(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = request(&steps, "t").to_string().into_bytes();
        for (at, byte) in hits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(converted) = convert(&body) {
            prop_assert!(serde_json::from_slice::<&RawValue>(&converted.body).is_ok());
        }
    }

    #[test]
    fn any_value_anywhere_is_taken_or_refused(
        steps in steps(),
        path in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        value in prop::sample::select(vec![
            json!(null), json!(true), json!(0), json!(-1), json!(1.5), json!(""), json!("text"), json!([]), json!([[]]),
            json!({}), json!({"type": "text"}), json!({"type": "tool_result"}), json!([{"type": "image", "source": {}}]),
        ]),
    ) {
        let mut asked = request(&steps, "t");
        let mut pointer = String::new();
        for step in path {
            let key = match asked.pointer(&pointer) {
                Some(Value::Array(all)) if !all.is_empty() => step.index(all.len()).to_string(),
                Some(Value::Object(all)) if !all.is_empty() => {
                    let key = all.keys().nth(step.index(all.len())).unwrap();
                    key.replace('~', "~0").replace('/', "~1")
                }
                _ => break,
            };
            pointer = format!("{pointer}/{key}");
        }
        *asked.pointer_mut(&pointer).unwrap() = value;
        if let Ok(converted) = convert(asked.to_string().as_bytes()) {
            let sent: Value = serde_json::from_slice(&converted.body).unwrap();
            prop_assert_eq!(rules::check(&sent), Ok(()), "{}", asked);
        }
    }
}

#[test]
fn the_rules_know_what_is_wrong() {
    let good = json!({"model": "m", "max_completion_tokens": 1, "messages": [{"role": "user", "content": "hi"}]});
    rules::check(&good).unwrap();
    let call = json!({"role": "assistant", "content": null, "tool_calls":
        [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "a", "content": ""});
    let user = json!({"role": "user", "content": "hi"});
    for bad in [
        json!([]),
        json!([{"role": "user", "content": " "}]),
        json!([user, call]),
        json!([user, result]),
        json!([user, call, user, result]),
        json!([user, call, result, result]),
        json!([user, {"role": "assistant", "content": null}]),
    ] {
        let mut body = good.clone();
        body["messages"] = bad;
        assert!(rules::check(&body).is_err(), "{body}");
    }
}
