//! Parts without sockets.

use proptest::prelude::*;

use super::super::head::{self, Length};
use super::super::peek::{PeekError, peek};
use super::super::routes::{exhausted_text, reset_text};
use super::super::shape::{Shape, filler};
use super::super::{Generation, SimConfig, predict};

#[test]
fn the_last_of_doubled_keys_wins_and_escapes_are_read() {
    let seen = peek(br#"{"model":"a","messages":[],"mo\u0064el":"b\u002e1","stream":true}"#);
    let seen = seen.unwrap();
    assert_eq!(seen.model, "b.1");
    assert!(seen.stream && seen.has_messages);
}

#[test]
fn stream_is_javascript_truth() {
    for (value, truth) in [
        ("true", true),
        ("1", true),
        ("\"no\"", true),
        ("{}", true),
        ("false", false),
        ("null", false),
        ("0", false),
        ("\"\"", false),
    ] {
        let seen = peek(format!("{{\"stream\":{value}}}").as_bytes()).unwrap();
        assert_eq!(seen.stream, truth, "{value}");
    }
}

#[test]
fn what_is_no_object_or_array_is_no_json() {
    for text in ["1", "\"s\"", "null", "{", "{\"a\":}", "[1,]", "{} x"] {
        let error = peek(text.as_bytes()).unwrap_err();
        assert!(matches!(error, PeekError::Syntax(_)), "{text}");
    }
    for text in [
        "",
        " \n",
        "[]",
        "{}",
        "{\"messages\":{}}",
        "{\"messages\":\"x\"}",
    ] {
        assert!(!peek(text.as_bytes()).unwrap().has_messages, "{text}");
    }
}

#[test]
fn a_missing_model_is_the_real_servers_default() {
    let seen = peek(br#"{"messages":[]}"#).unwrap();
    assert_eq!(seen.model, "claude-3-5-sonnet-20241022");
}

#[test]
fn a_tool_is_called_when_asked_for_but_not_after_its_result() {
    let with = |content: &str| {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":{content}}}],"tools":[{{"name":"first"}},{{"name":"get_weather","input_schema":{{"properties":{{"n":{{"type":"integer"}}}}}}}}]}}"#
        );
        peek(body.as_bytes()).unwrap().wanted.map(|tool| tool.name)
    };
    assert_eq!(with(r#""use a Tool""#).as_deref(), Some("first"));
    assert_eq!(
        with(r#""call get_weather""#).as_deref(),
        Some("get_weather")
    );
    let blocks = r#"[{"type":"text","text":"call get_weather"}]"#;
    assert_eq!(with(blocks).as_deref(), Some("get_weather"));
    assert_eq!(with(r#""hello""#), None);
    let result = r#"[{"type":"tool_result","tool_use_id":"x","content":"tool"},{"type":"text","text":"tool"}]"#;
    assert_eq!(with(result), None);
}

#[test]
fn a_wrong_shape_is_said_and_foreign_metadata_ignored() {
    let wrong = peek(br#"{"messages":[],"metadata":{"sim":{"evnts":3}}}"#).unwrap_err();
    assert!(
        matches!(&wrong, PeekError::Shape(text) if text.contains("evnts")),
        "{wrong:?}"
    );
    let wrong = peek(br#"{"messages":[],"metadata":{"sim":{"event_bytes":0}}}"#).unwrap_err();
    assert!(matches!(wrong, PeekError::Shape(_)));
    assert!(peek(br#"{"messages":[],"metadata":{"user_id":"x"}}"#).is_ok());
    assert!(peek(br#"{"messages":[],"metadata":7}"#).is_ok());
}

fn predicted(body: &str) -> super::super::Prediction {
    predict(&SimConfig::new(Generation::V2_0), body.as_bytes()).unwrap()
}

#[test]
fn the_default_answer_names_model_and_words() {
    let body = super::body("claude-sonnet-4-5", false);
    let answer = predicted(&body);
    let text = "Hello from claude-sonnet-4-5 of the simulated Antigravity. You wrote: hi";
    assert_eq!(answer.text, text);
    assert_eq!(answer.thinking, None);
    let total = (body.len() as u64).div_ceil(4);
    assert_eq!(answer.tokens.input + answer.tokens.cache_read, total);
    assert_eq!(answer.tokens.output, (text.len() as u64).div_ceil(4));
    assert_eq!(answer.stop_reason, "end_turn");
}

#[test]
fn thinking_goes_by_the_models_name() {
    for (model, thinks) in [
        ("claude-opus-4-6-thinking", true),
        ("claude-sonnet-4-6", false),
        ("gemini-3-flash", true),
        ("gemini-3.1-pro-low", true),
        ("gemini-2.5-pro", false),
        ("gemini-pro-agent", false),
    ] {
        let answer = predicted(&super::body(model, true));
        assert_eq!(answer.thinking.is_some(), thinks, "{model}");
    }
}

#[test]
fn max_tokens_cuts_thinking_then_text() {
    let ask = |tokens: u32| {
        predicted(&format!(
            "{{\"model\":\"claude-opus-4-5-thinking\",\"max_tokens\":{tokens},\"messages\":[]}}"
        ))
    };
    let short = ask(2);
    assert_eq!(short.thinking.as_deref(), Some("Let me t"));
    assert_eq!(
        (short.text.as_str(), short.stop_reason.as_str()),
        ("", "max_tokens")
    );
    assert_eq!(short.tokens.output, 2);
    let longer = ask(6);
    assert_eq!(longer.text, "Hello fr");
    assert_eq!(longer.tokens.output, 6);
    assert_eq!(ask(1000).stop_reason, "end_turn");
}

#[test]
fn a_shape_overrides_the_usage_and_the_text() {
    let answer = predicted(
        r#"{"model":"gemini-2.5-pro","max_tokens":1,"messages":[],"metadata":{"sim":{
        "events":5,"answer_bytes":1003,"input_tokens":7,"output_tokens":8,
        "cache_read_input_tokens":9,"cache_creation_input_tokens":10,"stop_reason":"refusal"}}}"#,
    );
    assert_eq!(answer.text, filler(0, 1003));
    assert_eq!(answer.events, 5 + 5);
    let tokens = answer.tokens;
    assert_eq!((tokens.input, tokens.output), (7, 8));
    assert_eq!((tokens.cache_read, tokens.cache_creation), (9, 10));
    assert_eq!(answer.stop_reason, "refusal");
}

#[test]
fn own_shape_goes_over_the_preset() {
    let preset: Shape =
        serde_json::from_str(r#"{"text":"preset","interval_ms":5,"output_tokens":3}"#).unwrap();
    let own: Shape = serde_json::from_str(r#"{"event_bytes":9,"interval_ms":0}"#).unwrap();
    let shape = own.over(&preset);
    assert_eq!((shape.text.clone(), shape.event_bytes), (None, Some(9)));
    assert_eq!((shape.interval_ms, shape.output_tokens), (Some(0), Some(3)));
    assert!(shape.check().is_ok());
    assert_eq!(Shape::default().over(&preset), preset);
}

#[test]
fn exhaustion_texts_are_those_measured() {
    assert_eq!(
        exhausted_text(Generation::V2_0, "claude-sonnet-4-5", Some("4m59s")),
        "You have exhausted your capacity on claude-sonnet-4-5. Quota will reset after 4m59s."
    );
    assert_eq!(
        exhausted_text(Generation::V2_7, "gemini-2.5-flash-lite", None),
        "RESOURCE_EXHAUSTED: You have exhausted your capacity on gemini-2. Please wait for your quota to reset."
    );
    for (ms, text) in [
        (999, "0s"),
        (59_000, "59s"),
        (299_999, "4m59s"),
        (3_600_000, "1h0m0s"),
        (17_989_000, "4h59m49s"),
    ] {
        assert_eq!(reset_text(ms), text);
    }
}

fn head_of(lines: &str) -> Option<head::RequestHead> {
    head::parse(format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}").as_bytes())
}

#[test]
fn malformed_and_smuggling_heads_are_refused() {
    for lines in [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: +1",
        "Content-Length:",
        "Host: y",
        "A: b\r\n folded",
        "A : b",
        "no colon",
        "A: b\nC: d",
        "A: \u{0}",
    ] {
        assert!(head_of(lines).is_none(), "{lines:?}");
    }
    for line in [
        "GET /",
        "GET / HTTP/2.0",
        "get / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
    ] {
        let head = format!("{line}\r\nHost: x");
        assert!(head::parse(head.as_bytes()).is_none(), "{line:?}");
    }
    assert!(head::parse(b"GET / HTTP/1.1").is_none(), "no host");
}

#[test]
fn good_heads_are_read() {
    let head = head_of("Content-Length: 12\r\nX-Y:\t z \r\nConnection: foo, Close").unwrap();
    assert_eq!(head.length, Length::Known(12));
    assert_eq!(head.headers[2], ("x-y".to_owned(), "z".to_owned()));
    assert!(!head.keep_alive);
    let head = head_of("Transfer-Encoding: Chunked\r\nExpect: 100-continue").unwrap();
    assert_eq!(head.length, Length::Chunked);
    assert!(head.keep_alive && head.expect_continue);
}

proptest! {
    #[test]
    fn filler_deltas_join_to_the_filler(bytes in 1_u64..5_000, events in 1_u32..300) {
        let body = format!(
            "{{\"model\":\"gemini-2.5-pro\",\"stream\":true,\"messages\":[],\"metadata\":{{\"sim\":{{\"answer_bytes\":{bytes},\"events\":{events}}}}}}}"
        );
        let seen = peek(body.as_bytes()).unwrap();
        let config = SimConfig::new(Generation::V2_7);
        let answer =
            super::super::answer::Answer::new(&config, &seen, &seen.shape, body.len(), 1).unwrap();
        let joined: String = (0..u64::from(events))
            .map(|index| answer.text_delta(index).into_owned())
            .collect();
        prop_assert_eq!(joined, filler(0, bytes as usize));
        prop_assert_eq!(answer.event_count(), answer.events("x").count() as u64);
    }

    #[test]
    fn text_deltas_join_to_the_text(text in "\\PC{0,80}", events in proptest::option::of(1_u32..20)) {
        let sim = serde_json::json!({"text": text, "events": events, "thinking": true});
        let body = serde_json::json!({"model": "m", "messages": [], "metadata": {"sim": sim}});
        let body = body.to_string();
        let seen = peek(body.as_bytes()).unwrap();
        let config = SimConfig::new(Generation::V2_7);
        let answer =
            super::super::answer::Answer::new(&config, &seen, &seen.shape, body.len(), 1).unwrap();
        let deltas = answer.text.deltas();
        let joined: String = (0..deltas).map(|n| answer.text_delta(n).into_owned()).collect();
        prop_assert_eq!(&joined, &text);
        prop_assert!(events.is_none_or(|most| deltas <= u64::from(most)));
        prop_assert_eq!(answer.event_count(), answer.events("x").count() as u64);
    }

    #[test]
    fn peek_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = peek(&bytes);
        let _ = head::parse(&bytes);
    }
}
