#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it fails"
)]

use super::*;
use crate::wire::answer::UsageTail;

const WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5.2","choices":[
  {"index":0,"message":{"role":"assistant","content":"Hi \"usage\":{} \ud83d","refusal":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":"stop"}],
 "usage":{"prompt_tokens":100,"completion_tokens":15,"total_tokens":115,"prompt_tokens_details":{"cached_tokens":20}}}"#;

fn completion(message: &str, finish: &str, usage: &str) -> String {
    format!(
        r#"{{"choices":[{{"index":0,"message":{message},"finish_reason":{finish}}}],"usage":{usage}}}"#
    )
}

#[test]
fn a_good_answer_tells_model_reason_and_tokens() {
    let answer = check_completion(WHOLE.as_bytes()).unwrap();
    assert_eq!(answer.model.as_deref(), Some("gpt-5.2"));
    assert_eq!(answer.stop_reason.as_deref(), Some("stop"));
    let tokens = answer.usage.tokens;
    assert_eq!(
        (tokens.input, tokens.output, tokens.cache_read),
        (80, 15, 20)
    );
}

#[test]
fn a_cut_body_is_not_json() {
    for end in 0..WHOLE.len() {
        assert_eq!(
            check_completion(&WHOLE.as_bytes()[..end]).unwrap_err(),
            AnswerFault::NotJson,
            "{end}"
        );
    }
    for body in [&b"<html>"[..], b"{} x", b"nul", b"{\"a\":\"\xff\"}"] {
        assert_eq!(check_completion(body).unwrap_err(), AnswerFault::NotJson);
    }
}

#[test]
fn other_json_is_of_the_wrong_shape() {
    for body in [
        "[]",
        "5",
        "null",
        "{}",
        r#"{"choices":null}"#,
        r#"{"choices":{}}"#,
        r#"{"choices":[]}"#,
        r#"{"choices":["hi"]}"#,
        r#"{"choices":[{"text":"hi"}]}"#,
        r#"{"choices":[{"message":"hi"}]}"#,
        r#"{"choices":[{"message":{"content":5}}]}"#,
        r#"{"choices":[{"message":{"content":"x","tool_calls":{}}}]}"#,
        r#"{"choices":[{"message":{"refusal":[]}}]}"#,
        r#"{"choices":[{"message":{"function_call":"f"}}]}"#,
        r#"{"type":"message","content":[{"type":"text","text":"hi"}]}"#,
    ] {
        let fault = check_completion(body.as_bytes()).unwrap_err();
        assert!(
            matches!(fault, AnswerFault::WrongShape(_)),
            "{body}: {fault:?}"
        );
    }
}

#[test]
fn error_objects_come_back_whole() {
    for body in [
        r#"{"error":{"message":"m","type":"server_error","param":null,"code":null}}"#,
        r#"{"error":"down"}"#,
        r#"{"object":"error","message":"m"}"#,
        r#"{"choices":[],"error":{"code":502}}"#,
    ] {
        assert_eq!(
            check_completion(body.as_bytes()).unwrap_err(),
            AnswerFault::Error(body.as_bytes().to_vec())
        );
    }
    for error in ["null", "false", "{}", "\"\""] {
        let body = format!(r#"{{"error":{error},"choices":[{{"message":{{"content":"x"}}}}]}}"#);
        assert!(check_completion(body.as_bytes()).is_ok(), "{error}");
    }
}

#[test]
fn the_empty_rule() {
    let zero = r#"{"prompt_tokens":5,"completion_tokens":0}"#;
    for message in [
        r#"{"role":"assistant","content":""}"#,
        r#"{"content":null,"refusal":null,"tool_calls":[]}"#,
        r#"{"content":[]}"#,
        "{}",
    ] {
        for usage in [zero, "null"] {
            let body = completion(message, "\"stop\"", usage);
            assert_eq!(
                check_completion(body.as_bytes()).unwrap_err(),
                AnswerFault::Empty,
                "{body}"
            );
        }
        let made = completion(message, "\"stop\"", r#"{"completion_tokens":1}"#);
        assert!(check_completion(made.as_bytes()).is_ok(), "{made}");
        for finish in ["\"length\"", "\"content_filter\"", "null"] {
            let body = completion(message, finish, zero);
            assert!(check_completion(body.as_bytes()).is_ok(), "{body}");
        }
    }
    for message in [
        r#"{"content":" "}"#,
        r#"{"refusal":"no"}"#,
        r#"{"tool_calls":[{}]}"#,
        r#"{"function_call":{"name":"f"}}"#,
        r#"{"content":null,"reasoning_content":"hm"}"#,
    ] {
        let body = completion(message, "\"stop\"", zero);
        assert!(check_completion(body.as_bytes()).is_ok(), "{body}");
    }
}

#[test]
fn the_first_choice_decides() {
    let body = r#"{"choices":[{"index":1,"message":{"content":"x"},"finish_reason":"length"},{"index":0,"message":{"content":"y"},"finish_reason":"stop"}]}"#;
    let answer = check_completion(body.as_bytes()).unwrap();
    assert_eq!(answer.stop_reason.as_deref(), Some("stop"));
    let body = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"length"}]}"#;
    let answer = check_completion(body.as_bytes()).unwrap();
    assert_eq!(answer.stop_reason.as_deref(), Some("length"));
}

#[test]
fn a_long_completion_is_counted_while_it_passes() {
    for cut in 1..40 {
        let mut tail = UsageTail::openai();
        for chunk in WHOLE.as_bytes().chunks(cut) {
            tail.feed(chunk);
        }
        let (usage, closed) = tail.finish();
        assert!(closed);
        assert_eq!((usage.tokens.input, usage.tokens.output), (80, 15));
    }
    let mut tail = UsageTail::openai();
    tail.feed(&WHOLE.as_bytes()[..WHOLE.len() - 1]);
    assert!(!tail.finish().1);
}
