#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

mod client;
mod same;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use self::client::{Client, event, facts, send};
use super::*;

fn stream(back: Back) -> Stream {
    Stream::new(Arc::new(back), facts())
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}})
}

fn text(text: &str) -> Value {
    json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
}

fn tool(index: usize, input: &Value) -> Value {
    json!({"type": "content_block_start", "index": index,
           "content_block": {"type": "tool_use", "id": format!("t{index}"), "name": "f", "input": input}})
}

fn ended(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 2}})
}

#[test]
fn every_delta_goes_out_at_once() {
    let mut stream = stream(Back::default());
    send(&mut stream, &start());
    for piece in ["a", "\n", "😀", "\"\\"] {
        let out = send(&mut stream, &text(piece));
        assert_eq!(Client::read(&out).content, piece);
        assert!(out.ends_with(b"\n\n"));
    }
}

#[test]
fn an_event_of_a_megabyte_is_one_chunk() {
    let mut stream = stream(Back::default());
    send(&mut stream, &start());
    let long = "1234567é".repeat(1 << 17);
    let out = send(&mut stream, &text(&long));
    assert_eq!(Client::read(&out).content, long);
    assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 2);
}

#[test]
fn a_fault_appends_nothing() {
    let mut stream = stream(Back::default());
    let mut out = b"before".to_vec();
    for bad in [
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":""}}"#,
        r#"{"type":"content_block_start","index":0}"#,
        r#"{"type":"content_block_delta","index":0,"delta":[]}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":{}}}"#,
        r#"{"type":"message_start"}"#,
        r#"{"type":"error","error":{"type":"api_error"}}"#,
        r#"{"type":"message_stop""#,
        "[]",
    ] {
        let event = Event {
            raw: Bytes::from(format!("data: {bad}\n\n")),
        };
        assert!(stream.event(&event, &mut out).is_err(), "{bad}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn nothing_is_said_to_be_whole_without_a_stop_reason() {
    let mut stream = stream(Back::default());
    send(&mut stream, &start());
    send(&mut stream, &text("a"));
    let mut out = Vec::new();
    stream.finish(&mut out);
    assert!(out.is_empty() && !stream.is_complete());
    send(&mut stream, &ended("end_turn"));
    stream.finish(&mut out);
    assert_eq!(Client::read(&out).finish.unwrap(), "stop");
    let length = out.len();
    stream.finish(&mut out);
    out.extend(send(&mut stream, &json!({"type": "message_stop"})));
    assert_eq!(out.len(), length);
}

#[test]
fn at_a_stop_the_finish_chunk_goes_out_at_once() {
    let mut stream = stream(Back {
        stops: vec!["END".into()],
        include_usage: true,
        ..Back::default()
    });
    send(&mut stream, &start());
    assert!(!stream.is_complete());
    let out = send(&mut stream, &text("a END b"));
    let client = Client::read(&out);
    assert_eq!((client.content.as_str(), client.done), ("a ", false));
    assert_eq!(client.finish.unwrap(), "stop");
    assert!(stream.is_complete());
    for late in [text("c"), tool(1, &json!({"a": 1})), ended("max_tokens")] {
        assert_eq!(send(&mut stream, &late), b"");
    }
    let client = Client::read(&send(&mut stream, &json!({"type": "message_stop"})));
    assert_eq!(client.usage["completion_tokens"], 2);
    assert!(client.done);
}

#[test]
fn open_calls_are_bounded() {
    let mut stream = stream(Back::default());
    send(&mut stream, &start());
    for index in 0..256 {
        send(&mut stream, &tool(index, &json!({})));
    }
    let mut out = Vec::new();
    let result = stream.event(&event(&tool(256, &json!({}))), &mut out);
    assert!(matches!(result, Err(StreamFault::Garbage(_))));
    assert!(out.is_empty());
}

#[test]
fn what_is_kept_of_inputs_is_bounded_and_given_back() {
    let mut stream = stream(Back::default());
    send(&mut stream, &start());
    let input = json!({"a": "x".repeat(6 << 20)});
    for index in 0..2 {
        send(&mut stream, &tool(index, &input));
    }
    let mut out = Vec::new();
    assert!(stream.event(&event(&tool(2, &input)), &mut out).is_err());
    send(
        &mut stream,
        &json!({"type": "content_block_stop", "index": 0}),
    );
    send(&mut stream, &tool(3, &input));
}

#[test]
fn text_in_front_of_forced_json_is_held_only_so_long() {
    let mut stream = stream(Back {
        json: JsonAnswer::Tool("json".into()),
        ..Back::default()
    });
    send(&mut stream, &start());
    let piece = "x".repeat(1 << 19);
    assert_eq!(send(&mut stream, &text(&piece)), b"");
    assert_eq!(send(&mut stream, &text(&piece)), b"");
    let out = send(&mut stream, &text("y"));
    assert_eq!(Client::read(&out).content.len(), (1 << 20) + 1);
}

#[test]
fn an_index_that_is_used_again_ends_the_block_that_had_it() {
    let mut stream = stream(Back::default());
    let mut out = send(&mut stream, &start());
    out.extend(send(&mut stream, &tool(0, &json!({"a": 1}))));
    out.extend(send(&mut stream, &tool(0, &json!({"b": 2}))));
    out.extend(send(&mut stream, &ended("tool_use")));
    out.extend(send(&mut stream, &json!({"type": "message_stop"})));
    let client = Client::read(&out);
    let arguments: Vec<&str> = client.calls.iter().map(|call| call.2.as_str()).collect();
    assert_eq!(arguments, [r#"{"a":1}"#, r#"{"b":2}"#]);
}

const SEED: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"x\",\"usage\":{\"input_tokens\":1}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\\ud83d\\n\"}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1}\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":2}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

proptest! {
    #[test]
    fn whatever_comes_what_goes_is_json_in_utf8(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        stop in "[ab]{0,1}",
        legacy in any::<bool>(),
    ) {
        let mut bytes = SEED.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut events = Vec::new();
        let mut splitter = crate::wire::sse::Splitter::new(1 << 20);
        splitter.push(Bytes::from(bytes), &mut events).unwrap();
        for at in order {
            if !events.is_empty() {
                let event = events.remove(at.index(events.len()));
                events.push(event);
            }
        }
        let mut stream = stream(Back {
            stops: vec![stop],
            legacy_functions: legacy,
            include_usage: true,
            ..Back::default()
        });
        let mut out = Vec::new();
        for event in &events {
            let _ = stream.event(event, &mut out);
        }
        stream.finish(&mut out);
        Client::read(&out);
    }

    #[test]
    fn any_bytes_as_an_event_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80), named in any::<bool>()) {
        let head: &[u8] = if named {
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\""
        } else {
            b"data: "
        };
        let event = Event { raw: Bytes::from([head, &bytes, b"\"}}\n\n"].concat()) };
        let mut out = Vec::new();
        let _ = stream(Back::default()).event(&event, &mut out);
        Client::read(&out);
    }
}
