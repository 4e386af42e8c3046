#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

use proptest::prelude::*;

use super::*;
use crate::wire::convert::names::Names;

fn facts() -> Facts {
    Facts {
        model: "tier".into(),
        created: 1,
        request_id: "req_1".into(),
    }
}

fn convert(message: &str, finish: &str) -> Result<String, AnswerFault> {
    let body = format!(
        r#"{{"id":"x","model":"m","choices":[{{"message":{message},"finish_reason":{finish}}}]}}"#
    );
    let back = Back {
        names: Names::of(["a.b"].into_iter()),
        ..Back::default()
    };
    answer(body.as_bytes(), &back, &facts()).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

fn input(arguments: &str) -> String {
    let message = format!(
        r#"{{"tool_calls":[{{"id":"c","function":{{"name":"f","arguments":{arguments}}}}}]}}"#
    );
    let answer = convert(&message, "\"tool_calls\"").unwrap();
    between(&answer, "\"input\":", "}],\"stop_reason\"").to_owned()
}

#[test]
fn every_reason_of_section_6() {
    let call = r#"{"tool_calls":[{"id":"c","function":{"name":"f"}}]}"#;
    let cut = r#"{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{\"a"}}]}"#;
    let text = r#"{"content":"x"}"#;
    let refusal = r#"{"refusal":"x"}"#;
    for (message, finish, reason) in [
        (text, "\"stop\"", "end_turn"),
        (call, "\"stop\"", "tool_use"),
        (call, "\"tool_calls\"", "tool_use"),
        (call, "\"function_call\"", "tool_use"),
        (text, "\"tool_calls\"", "end_turn"),
        (text, "\"function_call\"", "end_turn"),
        (text, "\"length\"", "max_tokens"),
        (cut, "\"length\"", "max_tokens"),
        (text, "\"content_filter\"", "refusal"),
        (refusal, "\"stop\"", "refusal"),
        (refusal, "\"length\"", "refusal"),
        (text, "null", "end_turn"),
        (text, "\"odd\"", "end_turn"),
        (text, "7", "end_turn"),
    ] {
        let answer = convert(message, finish).unwrap();
        let got = between(&answer, "\"stop_reason\":\"", "\"");
        assert_eq!(got, reason, "{message} {finish}");
    }
}

#[test]
fn arguments_become_input_byte_for_byte() {
    assert_eq!(
        input(r#""{\"z\": 1e400,\n\"a\":[1.0,\"\\ud800\"],\"z\":12345678901234567890123}""#),
        "{\"z\": 1e400,\n\"a\":[1.0,\"\\ud800\"],\"z\":12345678901234567890123}"
    );
    for nothing in ["\"\"", "\" \\n\"", "\"null\"", "null", "\"{}\""] {
        assert_eq!(input(nothing), "{}", "{nothing}");
    }
    for (raw, kept) in [
        (r#""{\"a""#, r#"{"_raw_arguments":"{\"a"}"#),
        (r#""7""#, r#"{"_raw_arguments":"7"}"#),
        ("[1]", r#"{"_raw_arguments":"[1]"}"#),
        (r#""{} {}""#, r#"{"_raw_arguments":"{} {}"}"#),
        (r#""\ud800""#, "{\"_raw_arguments\":\"\u{fffd}\"}"),
    ] {
        assert_eq!(input(raw), kept, "{raw}");
    }
    assert_eq!(input(r#"{"a":1.0}"#), r#"{"a":1.0}"#);
}

#[test]
fn names_come_back_and_ids_are_clean() {
    let names = Names::of(["a.b"].into_iter());
    let sent = names.sent("a.b");
    let message = format!(r#"{{"tool_calls":[{{"id":"a:b","function":{{"name":"{sent}"}}}}]}}"#);
    let answer = convert(&message, "null").unwrap();
    assert_eq!(between(&answer, "\"name\":\"", "\""), "a.b");
    assert!(between(&answer, "\"tool_use\",\"id\":\"", "\"").starts_with("call_"));
    assert_eq!(message_id(Some("chatcmpl-1"), &facts()), "msg_chatcmpl-1");
    assert_eq!(message_id(Some("msg_1"), &facts()), "msg_1");
    assert_eq!(message_id(Some(""), &facts()), "msg_req_1");
    assert_eq!(message_id(Some(&"x".repeat(999)), &facts()), "msg_req_1");
    assert!(message_id(Some("a/b"), &facts()).starts_with("msg_"));
    assert_eq!(model(Some(&"x".repeat(999)), &facts()), "tier");
}

#[test]
fn what_cannot_be_shown_is_a_fault() {
    for message in [
        r#"{"tool_calls":[7]}"#,
        r#"{"tool_calls":[{"id":"c"}]}"#,
        r#"{"tool_calls":[{"id":"c","function":{"name":""}}]}"#,
        r#"{"function_call":{"arguments":"{}"}}"#,
        "7",
    ] {
        let fault = convert(message, "null").unwrap_err();
        assert!(matches!(fault, AnswerFault::WrongShape(_)), "{message}");
    }
    let custom =
        r#"{"tool_calls":[null,{"id":"c","type":"custom","custom":{"name":"f","input":"x y"}}]}"#;
    let answer = convert(custom, "null").unwrap();
    assert_eq!(
        between(&answer, "\"input\":", "}]"),
        r#"{"_raw_arguments":"x y"}"#
    );
}

proptest! {
    #[test]
    fn any_judged_completion_gives_json(
        content in "(null|\"([a-zé\\\\u{1f600} ]|\\\\\\\\ud83d|\\\\\\\\u0000|\\\\\\\\\"){0,4}\"|\\[(\\{\"text\":\"x\"\\}|\"y\"|7|null|\\{\"type\":\"thinking\",\"thinking\":[1-3]\\})\\])",
        reasoning in "(null|\"x\"|7|\\{\\})",
        arguments in "(null|\"\"|\"\\{[a-z:1]{0,3}\\}\"|\"\\{\\}\"|\\[1\\]|\\{\"a\":1\\}|true)",
        usage in "(null|7|\\{\"prompt_tokens\":-?[0-9]{1,20},\"completion_tokens_details\":[0-9\\[]?\\]?\\})",
    ) {
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":{content},"reasoning":{reasoning},"tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]}}}}],"usage":{usage}}}"#
        );
        if crate::wire::openai::check_completion(body.as_bytes()).is_ok() {
            let got = answer(body.as_bytes(), &Back::default(), &facts()).unwrap();
            let value: Result<serde_json::Value, _> = serde_json::from_slice(&got);
            prop_assert!(value.is_ok(), "{}", String::from_utf8_lossy(&got));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = answer(&body, &Back::default(), &facts());
    }
}
