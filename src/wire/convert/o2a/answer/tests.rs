#![allow(clippy::unwrap_used, reason = "a test may stop where it fails")]

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn facts() -> Facts {
    Facts {
        model: "tier".into(),
        created: 1,
        request_id: "req_1".into(),
    }
}

#[test]
fn a_large_input_is_copied_exactly() {
    let digits = "1234567890".repeat(100_000);
    let body = format!(
        r#"{{"type":"message","content":[{{"type":"tool_use","id":"a","name":"f","input":{{"n":{digits}}}}}]}}"#
    );
    let out = answer(body.as_bytes(), &Back::default(), &facts()).unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    let call = &out["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["arguments"], format!("{{\"n\":{digits}}}"));
}

fn content_of(text: &str, back: &Back) -> String {
    let body = serde_json::json!({"content": [{"type": "text", "text": text}]}).to_string();
    let out = answer(body.as_bytes(), back, &facts()).unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    let content = &out["choices"][0]["message"]["content"];
    content.as_str().unwrap().to_owned()
}

#[test]
fn stop_sequences_are_looked_for_before_the_fence_is_taken_off() {
    for (stop, text, left) in [
        ("```", "```json\n{}\n```", ""),
        ("\n```", "```json\n{}\n```", "{}"),
        ("}", "```json\n{\"a\":1}\n```", "{\"a\":1"),
        ("END", "```json\n{}\n```END", "{}"),
        ("END", "```json\n{}\n```\nEN", "{}\n```\nEN"),
        ("json\n{", "```json\n{}\n```", "```"),
    ] {
        let back = Back {
            json: JsonAnswer::Fenced,
            stops: vec![stop.to_owned()],
            ..Back::default()
        };
        assert_eq!(content_of(text, &back), left, "{stop:?} {text:?}");
    }
}

#[test]
fn text_without_a_fence_keeps_its_spelling() {
    let body = r#"{"content":[{"type":"text","text":"{\u0022\u00e9\/"},{"type":"text","text":"\u0022:1}"}]}"#;
    let back = Back {
        json: JsonAnswer::Fenced,
        ..Back::default()
    };
    let out = answer(body.as_bytes(), &back, &facts()).unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(out["choices"][0]["message"]["content"], "{\"\u{e9}/\":1}");
}

#[test]
fn stop_reasons_that_are_not_known_end_with_stop() {
    for reason in [
        "end_turn",
        "stop_sequence",
        "pause_turn",
        "tool_use",
        "max_tokens",
        "model_context_window_exceeded",
        "refusal",
    ] {
        assert!(crate::wire::convert::is_known_stop_reason(reason));
    }
    for odd in ["", "stop", "END_TURN", "end_turn "] {
        assert!(!crate::wire::convert::is_known_stop_reason(odd));
        assert_eq!(finish_reason(Some(odd), false, &Back::default()), "stop");
    }
}

#[test]
fn a_body_that_is_no_message_is_a_fault() {
    for body in [
        "",
        "[]",
        "{\"content\":{}}",
        "{\"content\":[7]}",
        "{\"content\":[{\"type\":\"tool_use\",\"id\":\"a\"}]}",
        "{\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"\"}]}",
        "{\"content\":[{\"type\":\"thinking\",\"thinking\":[]}]}",
    ] {
        let result = answer(body.as_bytes(), &Back::default(), &facts());
        assert!(result.is_err(), "{body}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_what_goes_is_json(
        mut body in Just(br#"{"id":"m","content":[{"type":"text","text":"a\ud83d\n"},{"type":"tool_use","name":"f","input":{"a":[1,"b"]}}],"stop_reason":"end_turn","usage":{"input_tokens":1}}"#.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        stop in "[ab]{0,1}",
    ) {
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let back = Back { stops: vec![stop], ..Back::default() };
        if let Ok(out) = answer(&body, &back, &facts()) {
            prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
        }
    }
}
