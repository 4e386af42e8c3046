#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it fails"
)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::anthropic::Step;
use crate::wire::openai::StreamWatch;
use crate::wire::sse::Splitter;

mod equal;

pub(super) fn stream() -> Stream {
    let back = Back {
        stream: true,
        input_estimate: 7,
        ..Back::default()
    };
    let facts = Facts {
        model: "tier".into(),
        created: 1,
        request_id: "req_1".into(),
    };
    Stream::new(Arc::new(back), facts)
}

pub(super) fn data(data: &str) -> Event {
    Event {
        raw: Bytes::from(format!("data: {data}\n\n")),
    }
}

fn chunk(delta: &str) -> Event {
    data(&format!(
        r#"{{"id":"x","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#
    ))
}

fn call(index: usize, rest: &str, arguments: &str) -> Event {
    let arguments = serde_json::to_string(arguments).unwrap();
    chunk(&format!(
        r#"{{"tool_calls":[{{"index":{index},{rest}"function":{{"name":"f","arguments":{arguments}}}}}]}}"#
    ))
}

fn say(stream: &mut Stream, event: &Event) -> String {
    let mut out = Vec::new();
    stream.event(event, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Checks the form of every event and gives the data.
pub(super) fn datas(out: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(out).unwrap();
    let mut all = Vec::new();
    for event in text.split_terminator("\n\n") {
        let (name, data) = event.split_once('\n').unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        assert!(!data.contains(['\n', '\r']), "{data}");
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        let kind = value["type"].as_str().unwrap();
        assert_eq!(name, format!("event: {kind}"));
        all.push(value);
    }
    assert!(text.is_empty() || text.ends_with("\n\n"));
    all
}

#[test]
fn each_chunk_of_text_gives_its_event_at_once() {
    let mut stream = stream();
    let first = say(&mut stream, &chunk(r#"{"role":"assistant"}"#));
    assert!(first.starts_with("event: message_start\n") && first.contains("\"id\":\"msg_x\""));
    assert!(first.contains("\"input_tokens\":7"));
    let one = say(&mut stream, &chunk(r#"{"content":"a"}"#));
    assert_eq!(datas(one.as_bytes()).len(), 2);
    assert_eq!(
        say(&mut stream, &chunk(r#"{"content":"b\n"}"#)),
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"b\\n\"}}\n\n"
    );
    let mut end = Vec::new();
    stream.finish(&mut end);
    stream.finish(&mut end);
    let kinds: Vec<_> = datas(&end).iter().map(|d| d["type"].clone()).collect();
    assert_eq!(
        kinds,
        ["content_block_stop", "message_delta", "message_stop"]
    );
    assert_eq!(say(&mut stream, &chunk(r#"{"content":"late"}"#)), "");
}

#[test]
fn the_second_chunk_of_a_kind_is_recognised_by_its_frame() {
    let mut stream = stream();
    say(&mut stream, &chunk(r#"{"content":"a"}"#));
    let frame = stream.frame.as_ref().unwrap();
    for (event, text) in [
        (chunk(r#"{"content":"b \" \\ é"}"#), Some("b \\\" \\\\ é")),
        (chunk(r#"{"content":""}"#), Some("")),
        (chunk(r#"{"content":"\u00e9"}"#), None),
        (chunk(r#"{"content":"\q"}"#), None),
        (chunk("{\"content\":\"\t\"}"), None),
        (chunk(r#"{"content":"a","x":1}"#), None),
        (chunk(r#"{"content":null}"#), None),
        (chunk(r#"{"content":"a"#), None),
    ] {
        let found = frame.text_of(&event.raw);
        assert_eq!(found, text.map(str::as_bytes), "{event:?}");
    }
    let mut bad = chunk(r#"{"content":"#).raw.to_vec();
    bad.extend_from_slice(b"\"\xff\"}}\n\n");
    assert_eq!(frame.text_of(&bad), None);
}

#[test]
fn what_waits_is_bounded() {
    let mut stream = stream();
    let mut out = Vec::new();
    say(&mut stream, &call(0, r#""id":"a","#, "{\"x\":"));
    let piece = "y".repeat(1 << 20);
    let mut waited = 0;
    let fault = loop {
        match stream.event(&call(1, r#""id":"b","#, &piece), &mut out) {
            Ok(()) => waited += piece.len(),
            Err(fault) => break fault,
        }
        assert!(waited <= MAX_WAITING);
    };
    assert_eq!(fault, StreamFault::TooLarge);
    assert!(waited >= MAX_WAITING - 2 * piece.len());
    let mut many = self::stream();
    let fault = (0..5000).find_map(|index| many.event(&call(index, "", ""), &mut out).err());
    assert_eq!(fault, Some(StreamFault::TooLarge));
}

#[test]
fn arguments_after_the_end_of_their_call_are_a_fault() {
    let mut stream = stream();
    let mut out = Vec::new();
    say(&mut stream, &call(0, r#""id":"a","#, "{\"x\":"));
    say(&mut stream, &chunk(r#"{"content":"text"}"#));
    assert_eq!(say(&mut stream, &call(0, "", " \n")), "");
    let fault = stream.event(&call(0, "", "1}"), &mut out).unwrap_err();
    assert!(matches!(fault, StreamFault::Garbage(_)));
}

#[test]
fn an_incomplete_call_waits_behind_the_text() {
    let mut stream = stream();
    say(&mut stream, &call(0, r#""id":"a","#, "{\"x\":"));
    say(&mut stream, &call(1, r#""id":"b","#, "{\"y\""));
    let text = say(&mut stream, &chunk(r#"{"content":"text"}"#));
    let kinds: Vec<_> = datas(text.as_bytes())
        .iter()
        .map(|d| d["type"].clone())
        .collect();
    assert_eq!(
        kinds,
        [
            "content_block_stop",
            "content_block_start",
            "content_block_delta"
        ]
    );
    let rest = say(&mut stream, &call(1, "", ":2}"));
    let rest = datas(rest.as_bytes());
    assert_eq!(rest[1]["content_block"]["id"], "b");
    assert_eq!(rest[2]["delta"]["partial_json"], "{\"y\":2}");
}

#[test]
fn an_end_in_a_nameless_call_is_an_error_event() {
    let mut stream = stream();
    let nameless = chunk(r#"{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{}"}}]}"#);
    say(&mut stream, &nameless);
    let mut end = Vec::new();
    stream.finish(&mut end);
    let end = datas(&end);
    assert_eq!(end.len(), 1);
    assert_eq!(end[0]["error"]["type"], "api_error");
}

#[test]
fn a_stream_of_nothing_is_still_a_message() {
    let mut out = Vec::new();
    stream().finish(&mut out);
    let all = datas(&out);
    assert_eq!(all[0]["message"]["id"], "msg_req_1");
    assert_eq!(all[0]["message"]["model"], "tier");
    assert_eq!(all[1]["delta"]["stop_reason"], "end_turn");
    assert_eq!(all[1]["usage"]["input_tokens"], 7);
}

/// Deltas of every kind, sane and odd.
fn any_delta() -> impl Strategy<Value = String> {
    let text = r#"("([a-zé ]|\\n|\\"|\\u00e9|\\ud83d|\\ude00|\\\\){0,4}"|null|7|\[\{"type":"text","text":"p"\},"q"\])"#;
    let id = r#"("id":("a"|"b"|"c:d"|""|null),)?"#;
    let index = r#"("index":[0-2],)?"#;
    let name = r#"("name":("f"|"g"|""|null),)?"#;
    let arguments = r#"("(\{|\}|\\"|:|[a-z1 ]|\\\\){0,5}"|""|null|\{"a":1\}|7)"#;
    let call = (index, id, name, arguments).prop_map(|(index, id, name, arguments)| {
        format!(r#"{{{index}{id}"function":{{{name}"arguments":{arguments}}}}}"#)
    });
    prop_oneof![
        text.prop_map(|text| format!(r#"{{"content":{text}}}"#)),
        text.prop_map(|text| format!(r#"{{"role":"assistant","reasoning_content":{text}}}"#)),
        text.prop_map(|text| format!(r#"{{"refusal":{text},"content":null}}"#)),
        prop::collection::vec(call, 0..3)
            .prop_map(|calls| format!(r#"{{"tool_calls":[{}]}}"#, calls.join(","))),
        Just(r#"{"function_call":{"name":"f","arguments":"{"}}"#.to_owned()),
        Just("null".to_owned()),
    ]
}

fn any_event() -> impl Strategy<Value = Vec<u8>> {
    let finish = "(null|null|null|\"stop\"|\"length\"|\"tool_calls\"|\"odd\")";
    let usage = r#"(,"usage":(null|\{"prompt_tokens":[0-9]{1,3},"completion_tokens":[0-9]\}))?"#;
    let padding = r#"(,"obfuscation":"[a-z]{0,3}")?"#;
    let usual = (any_delta(), finish, usage, padding, 0..8_u8).prop_map(
        |(delta, finish, usage, padding, index)| {
            let index = index / 7;
            format!("data: {{\"id\":\"x\",\"choices\":[{{\"index\":{index},\"delta\":{delta},\"finish_reason\":{finish}}}]{usage}{padding}}}\n\n").into_bytes()
        },
    );
    prop_oneof![
        12 => usual,
        1 => Just(b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\n".to_vec()),
        1 => Just(b"data: [DONE]\n\n".to_vec()),
        1 => Just(b": comment\n\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

/// What the client gets of these bytes, and whether it ended well.
fn run(bytes: &[u8], cut: usize, cold: bool) -> (Vec<u8>, bool) {
    let (mut splitter, mut watch, mut stream) =
        (Splitter::new(1 << 20), StreamWatch::new(false), stream());
    let (mut events, mut held, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in bytes.chunks(cut.max(1)) {
        splitter
            .push(Bytes::copy_from_slice(chunk), &mut events)
            .unwrap();
    }
    events.extend(splitter.finish());
    for event in events {
        match watch.on_event(&event) {
            Step::Hold => held.push(event),
            Step::Restart => unreachable!("an OpenAI stream never begins anew"),
            Step::Commit | Step::Pass => {
                held.push(event);
                for event in held.drain(..) {
                    if cold {
                        stream.frame = None;
                    }
                    if stream.event(&event, &mut out).is_err() {
                        return (out, false);
                    }
                }
            }
            Step::Ignore => {}
            Step::Fail(_) => return (out, false),
        }
    }
    let well = watch.on_end().is_ok();
    if well {
        stream.finish(&mut out);
    }
    (out, well)
}

/// The order that clients rely on.
fn check_order(all: &[serde_json::Value], well: bool) {
    let mut open = None;
    let mut next = 0;
    for (at, data) in all.iter().enumerate() {
        match data["type"].as_str().unwrap() {
            "message_start" => assert_eq!(at, 0),
            "content_block_start" => {
                assert_eq!((open, data["index"].as_u64().unwrap()), (None, next));
                open = Some(next);
            }
            "content_block_delta" => assert_eq!(data["index"].as_u64(), open),
            "content_block_stop" => {
                assert_eq!(data["index"].as_u64(), open);
                open = None;
                next += 1;
            }
            "message_delta" => assert!(open.is_none() && well && at + 2 == all.len()),
            "message_stop" => assert_eq!(at + 1, all.len()),
            "error" => assert_eq!(at + 1, all.len()),
            other => panic!("{other}"),
        }
    }
    let last = all.last().map(|last| last["type"].clone());
    assert!(!well || last == Some("message_stop".into()) || last == Some("error".into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_events_give_a_stream_in_order(
        events in prop::collection::vec(any_event(), 0..10),
        cut in 1..50_usize,
    ) {
        let bytes = events.concat();
        let (out, well) = run(&bytes, bytes.len(), false);
        check_order(&datas(&out), well);
        prop_assert_eq!(&(out.clone(), well), &run(&bytes, cut, false));
        prop_assert_eq!(&(out, well), &run(&bytes, bytes.len(), true));
    }

    #[test]
    fn a_hot_chunk_is_read_as_in_full(
        texts in prop::collection::vec(r#"([a-zé ]|\\n|\\"|\\u00e9|\\ud83d|\\ude00|\\\\|\\q|[\x01-\x1f"]){0,5}"#, 2..8),
        shape in 0..3_usize,
    ) {
        let shape = [
            r#"{"choices":[{"delta":{"content":"@"},"index":0}]}"#,
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","reasoning":"@"}}],"obfuscation":"x"}"#,
            r#"{ "choices" : [ { "delta" : { "content" : "@" } , "finish_reason" : null } ] , "usage" : null }"#,
        ][shape];
        let (mut warm, mut cold) = (stream(), stream());
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for text in &texts {
            let event = data(&shape.replace('@', text));
            cold.frame = None;
            let (a, b) = (warm.event(&event, &mut one), cold.event(&event, &mut two));
            prop_assert_eq!(a.is_err(), b.is_err());
            prop_assert_eq!(&one, &two);
        }
    }
}
