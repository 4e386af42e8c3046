#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it fails"
)]

use proptest::prelude::*;

use super::*;
use crate::wire::anthropic::NO_RESPONSE;

/// Antigravity contract, section 7.
const MEASURED: &str = r#"{"id":"msg_0123456789abcdef0123456789abcdef","type":"message","role":"assistant","content":[
  {"type":"thinking","thinking":"Let me think.","signature":"c2ln"},{"type":"text","text":"Hi {\"usage\":{}} \ud83d"},
  {"type":"tool_use","id":"toolu_1","name":"get_weather","input":{"city":"Oslo","usage":{"output_tokens":99}}}],
 "model":"claude-opus-4-5-thinking","stop_reason":"end_turn","stop_sequence":null,
 "usage":{"input_tokens":100,"output_tokens":15,"cache_read_input_tokens":20,"cache_creation_input_tokens":0}}"#;

fn message(content: &str, stop: &str, output: u64) -> Vec<u8> {
    format!(
        r#"{{"type":"message","content":{content},"stop_reason":{stop},"usage":{{"input_tokens":0,"output_tokens":{output}}}}}"#
    )
    .into_bytes()
}

fn tail(body: &[u8], cut: usize) -> (UsageSeen, bool) {
    let mut tail = UsageTail::new();
    for chunk in body.chunks(cut.max(1)) {
        tail.feed(chunk);
    }
    tail.finish()
}

fn counts(usage: &UsageSeen) -> [u64; 4] {
    let tokens = &usage.tokens;
    [
        tokens.input,
        tokens.output,
        tokens.cache_read,
        tokens.cache_creation,
    ]
}

#[test]
fn the_measured_answer() {
    let answer = check_message(MEASURED.as_bytes()).unwrap();
    assert_eq!(counts(&answer.usage), [100, 15, 20, 0]);
    assert!(answer.usage.seen);
    assert_eq!(answer.model.as_deref(), Some("claude-opus-4-5-thinking"));
    assert_eq!(answer.stop_reason.as_deref(), Some("end_turn"));
}

#[test]
fn a_cut_body_is_not_json() {
    for end in 0..MEASURED.len() {
        assert_eq!(
            check_message(&MEASURED.as_bytes()[..end]).unwrap_err(),
            AnswerFault::NotJson,
            "{end}"
        );
    }
    for body in [&b"<html>"[..], b"{\"type\":\"message\"} x", b"nul"] {
        assert_eq!(check_message(body).unwrap_err(), AnswerFault::NotJson);
    }
}

#[test]
fn other_json_is_of_the_wrong_shape() {
    for body in [
        "[]",
        "5",
        "null",
        "{}",
        r#"["message",[]]"#,
        r#"{"type":"message"}"#,
        r#"{"type":"message","content":null}"#,
        r#"{"type":"message","content":"hi"}"#,
        r#"{"type":"message","content":{"a":1}}"#,
        r#"{"type":"message","content":["hi"]}"#,
        r#"{"type":"message","content":[["text","hi"]]}"#,
        r#"{"type":"message","content":[{"type":"text","type":"text"}]}"#,
        r#"{"type":"message","type":"message","content":[]}"#,
        r#"{"type":"completion","content":[]}"#,
        r#"{"object":"chat.completion","choices":[]}"#,
    ] {
        let fault = check_message(body.as_bytes()).unwrap_err();
        assert!(
            matches!(fault, AnswerFault::WrongShape(_)),
            "{body}: {fault:?}"
        );
    }
}

#[test]
fn error_objects_come_back_whole() {
    for body in [
        r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#,
        r#"{"error":{"code":429}}"#,
    ] {
        assert_eq!(
            check_message(body.as_bytes()).unwrap_err(),
            AnswerFault::Error(body.as_bytes().to_vec())
        );
    }
    assert!(
        check_message(br#"{"type":"message","error":null,"content":[{"type":"image"}]}"#).is_ok()
    );
}

#[test]
fn the_empty_rule() {
    let confession = format!(r#"[{{"type":"text","text":"{NO_RESPONSE}"}}]"#);
    let cut = format!(
        r#"[{{"text":"{}","type":"text"}},{{"type":"text","text":"{}"}}]"#,
        &NO_RESPONSE[..9],
        &NO_RESPONSE[9..]
    );
    let empty = [
        "[]",
        r#"[{"type":"text","text":""}]"#,
        r#"[{"type":"thinking","thinking":""},{"type":"text"}]"#,
        &confession,
        &cut,
    ];
    for content in empty {
        assert_eq!(
            check_message(&message(content, "\"end_turn\"", 0)).unwrap_err(),
            AnswerFault::Empty,
            "{content}"
        );
        for (stop, output) in [
            ("\"refusal\"", 0),
            ("\"max_tokens\"", 0),
            ("null", 0),
            ("\"end_turn\"", 1),
        ] {
            assert!(
                check_message(&message(content, stop, output)).is_ok(),
                "{content} {stop} {output}"
            );
        }
    }
    let more = format!(r#"[{{"type":"text","text":"{NO_RESPONSE}!"}}]"#);
    for content in [
        r#"[{"type":"text","text":"[No"}]"#,
        r#"[{"type":"thinking","thinking":"x"}]"#,
        r#"[{"type":"tool_use","input":{}}]"#,
        r#"[{"type":"text","text":"\ud83d"}]"#,
        r#"[{}]"#,
        &more,
    ] {
        assert!(
            check_message(&message(content, "\"end_turn\"", 0)).is_ok(),
            "{content}"
        );
    }
}

#[test]
fn the_tail_finds_only_the_top_level_usage() {
    let whole = check_message(MEASURED.as_bytes()).unwrap().usage;
    for cut in 1..=MEASURED.len() {
        let (usage, complete) = tail(MEASURED.as_bytes(), cut);
        assert_eq!((counts(&usage), complete), (counts(&whole), true), "{cut}");
    }
    for end in 0..MEASURED.len() {
        assert!(!tail(&MEASURED.as_bytes()[..end], 7).1, "{end}");
    }
    assert!(tail(format!(" {MEASURED}\r\n").as_bytes(), 3).1);
}

#[test]
fn the_tail_on_odd_bodies() {
    for (body, output, complete) in [
        (
            r#"{"usage":{"output_tokens":1},"usage":{"output_tokens":2}}"#,
            2,
            true,
        ),
        (r#"{"usage" : {"output_tokens":3} }"#, 3, true),
        (
            r#"{"usages":{"output_tokens":3},"usag":{"output_tokens":3},"":{"output_tokens":3}}"#,
            0,
            true,
        ),
        (
            r#"{"a\"usage":{"output_tokens":3},"a":"usage","b":"\\"}"#,
            0,
            true,
        ),
        (r#"{"a":["usage",{"usage":{"output_tokens":3}}]}"#, 0, true),
        (r#"{"usage":[{"output_tokens":3}]}"#, 0, true),
        (
            r#"{"usage":{"x":"}\"}","output_tokens":4,"y":{"z":[]}}}"#,
            4,
            true,
        ),
        (r#"{"usage":{"output_tokens":4"#, 0, false),
        (r#"{"usage":{"output_tokens":4}"#, 4, false),
        (r#"{} x"#, 0, false),
        (r#"{}{}"#, 0, false),
        (r#"[]"#, 0, false),
        (r#"{]"#, 0, false),
        ("", 0, false),
        (r#"{"a":"}"#, 0, false),
    ] {
        for cut in 1..=body.len().max(1) {
            let (usage, done) = tail(body.as_bytes(), cut);
            assert_eq!(
                (usage.tokens.output, done),
                (output, complete),
                "{body} {cut}"
            );
        }
    }
}

#[test]
fn the_tail_keeps_little() {
    let mut tail = UsageTail::new();
    tail.feed(b"{\"");
    tail.feed(&vec![b'k'; 1 << 20]);
    tail.feed(b"\":1,\"usage\":{\"output_tokens\":7,\"pad\":\"");
    tail.feed(&vec![b'p'; 1 << 20]);
    assert!(tail.key.capacity() <= 64);
    assert!(tail.capture.as_ref().unwrap().0.capacity() <= 2 * MAX_USAGE);
    tail.feed(b"\"}}");
    let (usage, complete) = tail.finish();
    assert_eq!(
        (usage.tokens.output, usage.seen, complete),
        (0, false, true)
    );
}

proptest! {
    #[test]
    fn nothing_panics(body in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ usage1tpe\xff".to_vec()), 0..80), cut in 1usize..9) {
        let whole = tail(&body, body.len());
        let pieces = tail(&body, cut);
        prop_assert_eq!((counts(&whole.0), whole.1), (counts(&pieces.0), pieces.1));
        if check_message(&body).is_ok() {
            prop_assert!(whole.1);
        }
    }

    #[test]
    fn the_tail_agrees_with_a_parser(fields in prop::collection::vec(("[a-z\"\\\\{}\u{e9}]{0,6}|usage", "[a-z\"\\\\{},:\\[\\]]{0,12}"), 0..8), output in 0u64..1000, at in any::<prop::sample::Index>(), cut in 1usize..30) {
        let mut members: Vec<String> = fields
            .iter()
            .map(|(key, value)| format!("{}:{}", serde_json::to_string(key).unwrap(), serde_json::to_string(&[value]).unwrap()))
            .collect();
        members.insert(at.index(members.len() + 1), format!("\"usage\":{{\"output_tokens\":{output}}}"));
        let body = format!("{{{}}}", members.join(","));
        let (usage, complete) = tail(body.as_bytes(), cut);
        prop_assert_eq!((usage.tokens.output, complete), (output, true));
    }
}
