#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it fails"
)]

use proptest::prelude::*;

use super::*;
use crate::wire::sse::Splitter;

const ROLE: &str = r#"{"model":"gpt","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#;
const HELLO: &str =
    r#"{"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
const NO_TOKENS: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":0}}"#;
const AZURE: &str = r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#;

fn data(data: &str) -> Event {
    Event {
        raw: Bytes::from(format!("data: {data}\n\n")),
    }
}

/// The steps, one letter each.
fn steps(watch: &mut StreamWatch, events: &[&str]) -> String {
    let letter = |step| match step {
        Step::Hold => 'h',
        Step::Restart => 'r',
        Step::Commit => 'C',
        Step::Pass => 'p',
        Step::Ignore => 'i',
        Step::Fail(_) => 'F',
    };
    events
        .iter()
        .map(|event| letter(watch.on_event(&data(event))))
        .collect()
}

fn chunk(delta: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#)
}

#[test]
fn an_ordinary_stream() {
    let mut watch = StreamWatch::new(false);
    let all = [AZURE, ROLE, HELLO, HELLO, STOP, USAGE, "[DONE]", HELLO];
    assert_eq!(steps(&mut watch, &all), "hhCppppi");
    assert!(watch.finished() && watch.committed());
    assert_eq!(watch.model(), Some("gpt"));
    assert_eq!(watch.stop_reason(), Some("stop"));
    assert_eq!(watch.usage().tokens.output, 3);
    assert_eq!(watch.on_end(), Ok(()));
}

#[test]
fn usage_that_the_client_did_not_ask_for_is_read_and_hidden() {
    let mut watch = StreamWatch::new(true);
    let finish_with_usage =
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}"#;
    let all = [ROLE, HELLO, finish_with_usage, USAGE, "[DONE]"];
    assert_eq!(steps(&mut watch, &all), "hCpip");
    assert_eq!(watch.usage().tokens.output, 3);
}

#[test]
fn each_kind_of_content_commits_and_empty_ones_do_not() {
    for delta in [
        r#"{"content":" "}"#,
        r#"{"content":[{"type":"text","text":"x"}]}"#,
        r#"{"reasoning_content":"x"}"#,
        r#"{"reasoning":"x"}"#,
        r#"{"refusal":"x"}"#,
        r#"{"tool_calls":[{"index":0,"function":{"name":"f"}}]}"#,
        r#"{"function_call":{"name":"f"}}"#,
    ] {
        let mut watch = StreamWatch::new(false);
        assert_eq!(steps(&mut watch, &[&chunk(delta)]), "C", "{delta}");
    }
    for delta in [
        r#"{"role":"assistant"}"#,
        r#"{"role":"assistant","content":""}"#,
        r#"{"content":null,"reasoning":null,"refusal":null,"tool_calls":[],"function_call":null}"#,
        "{}",
        "null",
        "[]",
    ] {
        let mut watch = StreamWatch::new(false);
        assert_eq!(steps(&mut watch, &[&chunk(delta)]), "h", "{delta}");
        assert_eq!(watch.on_end(), Err(StreamFault::Cut));
    }
    let whole = r#"{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}"#;
    assert_eq!(steps(&mut StreamWatch::new(false), &[whole]), "C");
}

#[test]
fn an_end_commits_unless_nothing_was_said_and_made() {
    for finish in ["length", "content_filter", "tool_calls", "odd"] {
        let finish = STOP.replace("stop", finish);
        let mut watch = StreamWatch::new(false);
        assert_eq!(steps(&mut watch, &[&finish]), "C");
        assert_eq!(watch.on_end(), Ok(()));
        assert!(watch.finished());
    }
    let mut watch = StreamWatch::new(false);
    assert_eq!(steps(&mut watch, &[ROLE, STOP, USAGE, "[DONE]"]), "hhCp");
    for (events, says) in [
        (&[ROLE, STOP, NO_TOKENS, "[DONE]"][..], "hhFF"),
        (&[ROLE, STOP, "[DONE]"], "hhF"),
        (&["[DONE]"], "F"),
        (&[ROLE, "[DONE]"], "hF"),
        (&[NO_TOKENS, STOP, "[DONE]"], "hhF"),
    ] {
        let mut watch = StreamWatch::new(true);
        assert_eq!(steps(&mut watch, events), says);
        assert_eq!(watch.on_end(), Err(StreamFault::Empty));
        assert!(!watch.committed() && !watch.finished());
    }
    let mut watch = StreamWatch::new(false);
    steps(&mut watch, &[ROLE, STOP]);
    assert_eq!(watch.on_end(), Err(StreamFault::Empty));
    let at_once =
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}"#;
    assert_eq!(steps(&mut StreamWatch::new(false), &[at_once]), "C");
}

#[test]
fn done_is_an_end_without_a_finish_reason_too() {
    let mut watch = StreamWatch::new(false);
    assert_eq!(steps(&mut watch, &[HELLO, "[DONE]", "junk"]), "Cpi");
    assert!(watch.finished());
    let mut watch = StreamWatch::new(false);
    assert_eq!(steps(&mut watch, &[USAGE, "[DONE]"]), "hC");
    assert!(watch.finished() && watch.committed());
}

#[test]
fn a_stream_that_stops_in_the_middle_is_cut() {
    let mut watch = StreamWatch::new(false);
    assert_eq!(steps(&mut watch, &[ROLE, HELLO, HELLO]), "hCp");
    assert_eq!(watch.on_end(), Err(StreamFault::Cut));
    assert!(watch.committed() && !watch.finished());
    let mut two = StreamWatch::new(false);
    let other = HELLO.replace("\"index\":0", "\"index\":1");
    assert_eq!(steps(&mut two, &[HELLO, &other, STOP]), "Cpp");
    assert_eq!(two.on_end(), Err(StreamFault::Cut));
    let mut two = StreamWatch::new(false);
    let end = STOP.replace("\"index\":0", "\"index\":1");
    assert_eq!(steps(&mut two, &[HELLO, &other, STOP, &end]), "Cppp");
    assert_eq!(two.on_end(), Ok(()));
}

#[test]
fn errors_are_seen_before_and_after_the_commit() {
    for error in [
        r#"{"error":{"message":"m"}}"#,
        r#"{"error":"m","choices":[]}"#,
        r#"{"object":"error","message":"m"}"#,
        r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}],"error":{"code":502}}"#,
        r#"{"\u0065rror":{"code":502}}"#,
    ] {
        for before in [&[ROLE][..], &[ROLE, HELLO]] {
            let mut watch = StreamWatch::new(false);
            steps(&mut watch, before);
            let Step::Fail(fault) = watch.on_event(&data(error)) else {
                panic!("{error}");
            };
            assert_eq!(fault, StreamFault::ErrorEvent(Bytes::from(error)));
            assert_eq!(watch.on_end(), Err(fault));
        }
    }
    let mut watch = StreamWatch::new(false);
    let named = Event {
        raw: Bytes::from_static(b"event: error\ndata: {\"message\":\"m\"}\n\n"),
    };
    assert!(matches!(
        watch.on_event(&named),
        Step::Fail(StreamFault::ErrorEvent(_))
    ));
}

#[test]
fn garbage_is_no_chunk_and_comments_are_nothing() {
    for junk in ["<html>", "[1]", "\"x\"", "{", "7", "[done]"] {
        for before in [&[][..], &[HELLO]] {
            let mut watch = StreamWatch::new(false);
            steps(&mut watch, before);
            assert!(
                matches!(
                    watch.on_event(&data(junk)),
                    Step::Fail(StreamFault::Garbage(_))
                ),
                "{junk}"
            );
        }
    }
    let bad = "{\"a\":\"\\q\"}";
    assert_eq!(steps(&mut StreamWatch::new(false), &[bad]), "F");
    for raw in [
        ": OPENROUTER PROCESSING\n\n",
        "\n",
        "data:\n\n",
        "id: 7\n\n",
    ] {
        let quiet = Event {
            raw: Bytes::from(raw),
        };
        let mut watch = StreamWatch::new(false);
        assert!(matches!(watch.on_event(&quiet), Step::Hold), "{raw}");
        steps(&mut watch, &[HELLO]);
        assert!(matches!(watch.on_event(&quiet), Step::Pass), "{raw}");
    }
    let mut watch = StreamWatch::new(false);
    let page = Event {
        raw: Bytes::from_static(b"<html>\n\n"),
    };
    assert!(matches!(watch.on_event(&page), Step::Fail(_)));
    let mut watch = StreamWatch::new(false);
    assert_eq!(steps(&mut watch, &["{}", "{\"x\":1}"]), "hh");
}

#[test]
fn only_plain_chunks_of_content_are_hot() {
    for hot in [
        HELLO,
        &chunk(r#"{"content":"\"usage\":{\"finish_reason\":\"stop\"}"}"#),
    ] {
        assert!(is_hot(&data(hot)), "{hot}");
        assert!(is_hot(&Event {
            raw: Bytes::from(format!("data:{hot}\r\n\r\n"))
        }));
    }
    for cold in [
        ROLE,
        STOP,
        USAGE,
        "[DONE]",
        r#"{"error":1}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"x"}}]}"#,
        r#"{"choices":[{"index":0,"finish_reason":"nullx"}]}"#,
        r#"{"us\u0061ge":{"completion_tokens":1}}"#,
        r#"{"usage" : {"completion_tokens":1}}"#,
    ] {
        assert!(!is_hot(&data(cold)), "{cold}");
    }
    for raw in [
        format!("data: {HELLO}\ndata: {HELLO}\n\n"),
        format!("event: error\ndata: {HELLO}\n\n"),
        format!("data: {HELLO}\rdata: {HELLO}\n\n"),
    ] {
        let raw = Bytes::from(raw);
        assert!(!is_hot(&Event { raw }));
    }
}

#[test]
fn a_chunk_like_the_last_one_is_recognised_by_its_frame() {
    let mut watch = StreamWatch::new(false);
    let world = HELLO.replace("Hello", " \\\"world\\\" \u{e9}");
    assert_eq!(steps(&mut watch, &[ROLE, HELLO, HELLO, &world]), "hCpp");
    assert_eq!(watch.strange, 0);
    let end = HELLO.replace(r#""finish_reason":null"#, r#""finish_reason":"stop""#);
    let counted = HELLO.replace(r#""usage":null"#, r#""usage":{"completion_tokens":3}"#);
    assert_eq!(steps(&mut watch, &[&counted, HELLO, &end]), "ppp");
    assert_eq!(watch.usage().tokens.output, 3);
    assert_eq!(watch.stop_reason(), Some("stop"));
    // Chunks that differ elsewhere are read without it.
    let other = |at: u32| HELLO.replace(r#""usage""#, &format!("\"x{at}\":{at},\"usage\""));
    let mut watch = StreamWatch::new(false);
    for at in 0..40 {
        let step = steps(&mut watch, &[&other(at)]);
        assert_eq!(step, if at == 0 { "C" } else { "p" });
    }
    assert_eq!(watch.strange, 39);
    assert_eq!(watch.on_end(), Err(StreamFault::Cut));
}

fn any_chunk() -> impl Strategy<Value = String> {
    let text = "(\"[a-z\\\\u00e9 ]{0,3}(\\\\\\\\\"usage\\\\\\\\\":\\{\\}|\\\\\\\\n|\\\\\\\\u0065)?\"|null|\\[\\])";
    let finish = "(null|\"stop\"|\"length\"|\"\"|7)";
    let usage = "(null|\\{\"completion_tokens\":[0-3]\\}| \\{\\})";
    let error = "(,\"error\":(null|\"m\"|\\{\"code\":1\\}))?";
    (text, finish, usage, error, 0..3_u8, any::<bool>()).prop_map(
        |(text, finish, usage, error, index, late)| {
            let choice = if late {
                format!(
                    r#"{{"delta":{{"content":{text}}},"finish_reason": {finish},"index":{index}}}"#
                )
            } else {
                format!(
                    r#"{{"index":{index},"delta":{{"reasoning":{text}}},"finish_reason":{finish}}}"#
                )
            };
            format!(r#"{{"choices":[{choice}],"usage":{usage}{error}}}"#)
        },
    )
}

proptest! {
    #[test]
    fn what_is_hot_holds_nothing_that_matters(json in any_chunk()) {
        if is_hot(&data(&json)) {
            // The generator also makes what is no JSON; the conversion finds that out.
            let Some(chunk) = Chunk::read(json.as_bytes()) else {
                return Ok(());
            };
            prop_assert!(!chunk.is_error && chunk.usage.is_none());
            for choice in &chunk.choices {
                prop_assert!(choice.index == 0 && choice.finish.is_none());
            }
        }
    }

    #[test]
    fn any_bytes_and_any_cut(
        parts in prop::collection::vec(prop_oneof![
            any_chunk().prop_map(|json| format!("data: {json}\n\n").into_bytes()),
            Just(b"data: [DONE]\n\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ], 0..8),
        cut in 1..40_usize,
    ) {
        let bytes = parts.concat();
        let run = |cut: usize| {
            let (mut splitter, mut watch) = (Splitter::new(1 << 20), StreamWatch::new(true));
            let (mut events, mut commits) = (Vec::new(), 0);
            for chunk in bytes.chunks(cut) {
                splitter.push(Bytes::copy_from_slice(chunk), &mut events).unwrap();
            }
            events.extend(splitter.finish());
            let mut steps = Vec::new();
            for event in &events {
                let step = watch.on_event(event);
                commits += usize::from(matches!(step, Step::Commit));
                steps.push(format!("{step:?}"));
            }
            (steps, commits, format!("{:?}", watch.on_end()), *watch.usage())
        };
        let whole = run(bytes.len().max(1));
        prop_assert!(whole.1 <= 1);
        prop_assert_eq!(whole, run(cut));
    }
}

/// The upstream begins anew: another completion, with a role.
#[test]
fn a_second_start_is_told_from_chunks_with_ids_of_their_own() {
    let chunk = |id: &str, delta: &str| {
        data(&format!(
            r#"{{"id":"{id}","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#
        ))
    };
    let role = r#"{"role":"assistant","content":""}"#;
    let text = r#"{"content":"x"}"#;
    let mut watch = StreamWatch::new(false);
    assert!(matches!(watch.on_event(&chunk("a", role)), Step::Hold));
    assert!(matches!(watch.on_event(&chunk("b", role)), Step::Restart));
    assert!(matches!(watch.on_event(&chunk("b", text)), Step::Commit));
    assert!(matches!(watch.on_event(&chunk("c", text)), Step::Pass));
    assert!(matches!(watch.on_event(&chunk("b", role)), Step::Pass));
    assert!(matches!(
        watch.on_event(&chunk("c", role)),
        Step::Fail(StreamFault::SecondStart)
    ));
}
