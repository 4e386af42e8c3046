#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it fails"
)]

use proptest::prelude::*;

use super::event::begins_with_type;
use super::*;
use crate::wire::sse::Splitter;

mod faults;

/// A stream with thinking, text and a tool call, as Antigravity sends it (its contract, section 8).
const RECORDED: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"claude-opus-4-5-thinking\",\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":100,\"output_tokens\":0,\"cache_read_input_tokens\":20,\"cache_creation_input_tokens\":0}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Let me \"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Oslo\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_abc\",\"name\":\"get_weather\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"city\\\":\\\"Oslo\\\"}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":15,\"cache_read_input_tokens\":20,\"cache_creation_input_tokens\":0}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

fn event(raw: &str) -> Event {
    Event {
        raw: Bytes::copy_from_slice(raw.as_bytes()),
    }
}

/// An event in the usual form from its type and the rest of its data.
fn usual(kind: &str, rest: &str) -> String {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n")
}

fn start() -> String {
    usual(
        "message_start",
        r#","message":{"model":"m","usage":{"input_tokens":0,"output_tokens":0}}"#,
    )
}

fn block(index: u64, block: &str) -> String {
    usual(
        "content_block_start",
        &format!(",\"index\":{index},\"content_block\":{block}"),
    )
}

fn delta(delta: &str) -> String {
    usual(
        "content_block_delta",
        &format!(",\"index\":0,\"delta\":{delta}"),
    )
}

fn text(text: &str) -> String {
    delta(&format!(
        "{{\"type\":\"text_delta\",\"text\":{}}}",
        serde_json::to_string(text).unwrap()
    ))
}

fn block_stop(index: u64) -> String {
    usual("content_block_stop", &format!(",\"index\":{index}"))
}

fn end(stop: &str, output: u64) -> String {
    usual(
        "message_delta",
        &format!(",\"delta\":{{\"stop_reason\":{stop}}},\"usage\":{{\"output_tokens\":{output}}}"),
    )
}

fn stop() -> String {
    usual("message_stop", "")
}

const ERROR: &str = r#"{"type":"error","error":{"type":"api_error","message":"terminated"}}"#;

fn error() -> String {
    format!("event: error\ndata: {ERROR}\n\n")
}

fn letter(step: &Step) -> char {
    match step {
        Step::Hold => 'h',
        Step::Restart => 'r',
        Step::Commit => 'C',
        Step::Pass => 'p',
        Step::Ignore => 'i',
        Step::Fail(_) => 'F',
    }
}

/// The steps as letters, the last fault, and the watch.
fn run<S: AsRef<str>>(events: &[S]) -> (String, Option<StreamFault>, StreamWatch) {
    let mut watch = StreamWatch::new();
    let mut fault = None;
    let mut steps = String::new();
    for raw in events {
        let step = watch.on_event(&event(raw.as_ref()));
        steps.push(letter(&step));
        if let Step::Fail(found) = step {
            fault = Some(found);
        }
    }
    (steps, fault, watch)
}

fn steps<S: AsRef<str>>(events: &[S]) -> String {
    run(events).0
}

fn counts(watch: &StreamWatch) -> [u64; 4] {
    let tokens = &watch.usage().tokens;
    [
        tokens.input,
        tokens.output,
        tokens.cache_read,
        tokens.cache_creation,
    ]
}

#[test]
fn the_recorded_stream_through_every_cut() {
    let bytes = Bytes::from_static(RECORDED.as_bytes());
    for cut in 0..=bytes.len() {
        let mut splitter = Splitter::new(1 << 20);
        let mut watch = StreamWatch::new();
        let mut events = Vec::new();
        splitter.push(bytes.slice(..cut), &mut events).unwrap();
        splitter.push(bytes.slice(cut..), &mut events).unwrap();
        let steps: String = events.iter().map(|e| letter(&watch.on_event(e))).collect();
        assert_eq!(steps, "hhCpppppppppp", "{cut}");
        assert_eq!(watch.on_end(), Ok(()));
        assert!(watch.committed() && watch.finished());
        assert_eq!(
            (watch.model(), watch.stop_reason()),
            (Some("claude-opus-4-5-thinking"), Some("tool_use"))
        );
        assert_eq!(counts(&watch), [100, 15, 20, 0]);
        assert_eq!(splitter.pending(), 0);
    }
}

#[test]
fn the_recorded_stream_ended_anywhere_is_cut() {
    for end in 0..RECORDED.len() {
        let mut events = Vec::new();
        Splitter::new(1 << 20)
            .push(Bytes::from_static(&RECORDED.as_bytes()[..end]), &mut events)
            .unwrap();
        let mut watch = StreamWatch::new();
        for event in &events {
            watch.on_event(event);
        }
        assert_eq!(watch.on_end(), Err(StreamFault::Cut), "{end}");
        assert!(!watch.finished());
    }
}

#[test]
fn what_commits() {
    for content in [
        text("x"),
        text(" "),
        delta(r#"{"type":"thinking_delta","thinking":"x"}"#),
        delta(r#"{"type":"signature_delta","signature":"x"}"#),
        delta(r#"{"type":"input_json_delta","partial_json":"{}"}"#),
        delta(r#"{"type":"citations_delta","citation":{"cited_text":"x"}}"#),
        delta(r#"{"type":"new_delta","thing":[1]}"#),
        delta(r#"{"type":"text_delta","text":"\ud83d"}"#),
        block(
            0,
            r#"{"type":"image","source":{"type":"base64","data":"x"}}"#,
        ),
        block(0, r#"{"type":"redacted_thinking","data":"x"}"#),
        block(0, r#"{"type":"text","text":"x"}"#),
        block(0, r#"{"type":"thinking","thinking":"x"}"#),
        block(
            0,
            r#"{"type":"tool_use","id":"a","name":"b","input":{"c":1}}"#,
        ),
        block(
            0,
            r#"{"type":"web_search_tool_result","tool_use_id":"a","content":[1]}"#,
        ),
        end("\"end_turn\"", 1),
        end("\"refusal\"", 0),
        end("\"max_tokens\"", 0),
        end("null", 0),
    ] {
        let (steps, fault, watch) = run(&[start(), content.clone(), block_stop(0)]);
        assert_eq!(steps, "hCp", "{content} {fault:?}");
        assert!(watch.committed() && !watch.finished());
    }
}

#[test]
fn what_is_held() {
    for nothing in [
        text(""),
        delta(r#"{"type":"thinking_delta","thinking":""}"#),
        delta(r#"{"type":"input_json_delta","partial_json":""}"#),
        delta(r#"{"type":"new_delta","thing":[ ],"other":null}"#),
        block(0, r#"{"type":"text","text":""}"#),
        block(0, r#"{"type":"text","text":"","citations":null}"#),
        block(0, r#"{"type":"thinking","thinking":"","signature":""}"#),
        block(0, r#"{"type":"tool_use","id":"a","name":"b","input":{}}"#),
        block(
            0,
            r#"{"type":"server_tool_use","id":"a","name":"b","input":{ }}"#,
        ),
        usual("ping", ""),
        usual("something_new", ",\"x\":1"),
        ": comment\n\n".to_owned(),
        "\n".to_owned(),
        "event: ping\n\n".to_owned(),
        "id: 4\nretry: 5\n\n".to_owned(),
        "event: message_stop\ndata:\n\n".to_owned(),
    ] {
        assert_eq!(
            steps(&[start(), nothing.clone(), text("x"), nothing.clone()]),
            "hhCp",
            "{nothing}"
        );
    }
    assert_eq!(
        steps(&[usual("ping", ""), usual("new", ""), start(), text("x")]),
        "hhhC"
    );
}

#[test]
fn the_stop_of_a_tool_call_commits() {
    let tool = r#"{"type":"tool_use","id":"a","name":"b","input":{}}"#;
    let words = r#"{"type":"text","text":""}"#;
    assert_eq!(
        steps(&[
            start(),
            block(0, words),
            block_stop(0),
            block(1, tool),
            block_stop(1)
        ]),
        "hhhhC"
    );
    assert_eq!(
        steps(&[
            start(),
            block(0, words),
            block_stop(0),
            block(1, tool),
            end("\"end_turn\"", 0),
            stop()
        ]),
        "hhhhCp"
    );
    let many: Vec<String> = std::iter::once(start())
        .chain((0..300).map(|i| block(i, tool)))
        .collect();
    assert!(matches!(run(&many).1, Some(StreamFault::Garbage(_))));
}

#[test]
fn the_empty_rule() {
    let words = block(0, r#"{"type":"text","text":""}"#);
    let thinking = block(0, r#"{"type":"thinking","thinking":""}"#);
    let whole = text(NO_RESPONSE);
    let (front, back) = (text(&NO_RESPONSE[..5]), text(&NO_RESPONSE[5..]));
    let bodies: [&[&String]; 6] = [
        &[],
        &[&words],
        &[&thinking, &words],
        &[&words, &whole],
        &[&words, &front, &back],
        &[&words, &front, &words, &back],
    ];
    for body in bodies {
        let with = |stop: &str, output| {
            let mut events = vec![start()];
            events.extend(body.iter().map(|e| (*e).clone()));
            events.push(block_stop(0));
            events.push(end(stop, output));
            run(&events)
        };
        let (steps, fault, mut watch) = with("\"end_turn\"", 0);
        assert_eq!(steps, format!("{}F", "h".repeat(body.len() + 2)));
        assert_eq!(fault, Some(StreamFault::Empty));
        assert!(!watch.committed());
        assert_eq!(watch.on_end(), Err(StreamFault::Empty));
        for (stop, output) in [
            ("\"end_turn\"", 1),
            ("\"refusal\"", 0),
            ("\"max_tokens\"", 0),
        ] {
            assert!(with(stop, output).0.ends_with("hC"), "{stop} {output}");
        }
    }
    // An answer of its own that only begins alike.
    assert_eq!(
        steps(&[
            start(),
            words.clone(),
            front.clone(),
            end("\"end_turn\"", 0)
        ]),
        "hhhC"
    );
    assert_eq!(
        steps(&[start(), words.clone(), front.clone(), text("x")]),
        "hhhC"
    );
    assert_eq!(
        steps(&[start(), words.clone(), whole.clone(), text("x")]),
        "hhhC"
    );
    assert_eq!(
        steps(&[start(), words, text(&format!("{NO_RESPONSE} ")), front]),
        "hhCp"
    );
}

/// Events of all kinds in any order, some of them broken.
fn any_event() -> impl Strategy<Value = String> {
    let usual = prop::sample::select(vec![
        start(),
        text("x"),
        text(""),
        text("[No"),
        text(NO_RESPONSE),
        block(0, r#"{"type":"text","text":""}"#),
        block(1, r#"{"type":"tool_use","input":{}}"#),
        block_stop(0),
        block_stop(1),
        end("\"end_turn\"", 0),
        end("\"end_turn\"", 5),
        end("null", 0),
        stop(),
        error(),
        usual("ping", ""),
        "\n".to_owned(),
    ]);
    prop_oneof![9 => usual, 1 => "(event: [a-z_]{0,20}\n)?data: [{}\\[\\]\":,a-z0-9\\\\]{0,30}\n\n"]
}

proptest! {
    #[test]
    fn one_commit_and_the_order_of_steps(events in prop::collection::vec(any_event(), 0..14)) {
        let (steps, _, mut watch) = run(&events);
        // Held or begun anew, then at most one commit, then passed on; at last ignored or failed for good.
        let rest = steps.trim_start_matches(['h', 'r']);
        let after = rest.strip_prefix('C').map(|r| r.trim_start_matches('p'));
        let tail = after.unwrap_or(rest);
        prop_assert!(tail.chars().all(|c| c == 'F') || (after.is_some() && tail.chars().all(|c| c == 'i')), "{}", steps);
        prop_assert_eq!(watch.committed(), after.is_some());
        let finished = watch.finished();
        prop_assert_eq!(watch.on_end().is_ok(), finished);
    }

    #[test]
    fn random_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..200), late in any::<bool>()) {
        let mut watch = StreamWatch::new();
        if late {
            watch = run(&[start(), text("x")]).2;
        }
        watch.on_event(&Event { raw: Bytes::from(raw) });
        let _ = watch.on_end();
    }

    #[test]
    fn broken_recordings_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 1usize..200) {
        let mut bytes = RECORDED.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut splitter = Splitter::new(1 << 20);
        let mut watch = StreamWatch::new();
        let mut events = Vec::new();
        for chunk in bytes.chunks(cut) {
            splitter.push(Bytes::copy_from_slice(chunk), &mut events).unwrap();
        }
        events.extend(splitter.finish());
        let commits = events.iter().filter(|e| matches!(watch.on_event(e), Step::Commit)).count();
        prop_assert!(commits <= 1);
        let _ = watch.on_end();
    }
}
