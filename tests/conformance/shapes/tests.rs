use super::{anthropic, openai};

const CHUNK: &str =
    r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":["#;

/// A stream of chunks with these choices; `[]` stands for a usage chunk, an empty text for `[DONE]`.
fn chunks(choices: &[&str]) -> Vec<String> {
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}"#;
    let frames: String = choices
        .iter()
        .map(|choice| match *choice {
            "" => "data: [DONE]\n\n".into(),
            "[]" => format!("data: {CHUNK}],{usage}}}\n\n"),
            choice => format!("data: {CHUNK}{{\"index\":0,{choice}}}]}}\n\n"),
        })
        .collect();
    openai::stream(frames.as_bytes(), false)
}

const ROLE: &str = r#""delta":{"role":"assistant","content":""},"finish_reason":null"#;
const TEXT: &str = r#""delta":{"content":"a"},"finish_reason":null"#;
const STOP: &str = r#""delta":{},"finish_reason":"stop""#;
const CALL: &str = r#""delta":{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null"#;

#[test]
fn chunks_out_of_order_are_found() {
    assert!(chunks(&[ROLE, TEXT, STOP, "[]", ""]).is_empty());
    for wrong in [
        &[TEXT, STOP, ""][..],
        &[ROLE, ROLE, STOP, ""],
        &[ROLE, TEXT, ""],
        &[ROLE, STOP, STOP, ""],
        &[ROLE, STOP, TEXT, ""],
        &[ROLE, STOP],
        &[ROLE, STOP, "", "[]"],
        &[ROLE, "[]", STOP, ""],
        &[ROLE, CALL, STOP, ""],
        &[
            ROLE,
            r#""delta":{"content":""},"finish_reason":null"#,
            STOP,
            "",
        ],
        &[ROLE, r#""delta":{},"finish_reason":"end_turn""#, ""],
        &[ROLE, r#""delta":{},"finish_reason":"tool_calls""#, ""],
        &[ROLE, CALL, r#""delta":{},"finish_reason":"tool_calls""#, ""],
    ] {
        assert!(!chunks(wrong).is_empty(), "{wrong:?}");
    }
}

/// Events whose data is `type` and these members.
fn events(all: &[(&str, &str)]) -> Vec<String> {
    let frames: String = all
        .iter()
        .map(|(kind, rest)| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n"))
        .collect();
    anthropic::stream(frames.as_bytes(), false)
}

type Told = (&'static str, &'static str);
const START: Told = (
    "message_start",
    r#","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"x","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":0}}"#,
);
const OPEN: Told = (
    "content_block_start",
    r#","index":0,"content_block":{"type":"text","text":""}"#,
);
const DELTA: Told = (
    "content_block_delta",
    r#","index":0,"delta":{"type":"text_delta","text":"a"}"#,
);
const CLOSE: Told = ("content_block_stop", r#","index":0"#);
const ENDS: Told = (
    "message_delta",
    r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":1,"output_tokens":1}"#,
);
const END: Told = ("message_stop", "");

#[test]
fn events_out_of_order_are_found() {
    assert!(events(&[START, OPEN, DELTA, CLOSE, ENDS, END]).is_empty());
    let skipped = (
        "content_block_start",
        r#","index":1,"content_block":{"type":"text","text":""}"#,
    );
    let json = (
        "content_block_delta",
        r#","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}"#,
    );
    for wrong in [
        &[OPEN, DELTA, CLOSE, ENDS, END][..],
        &[START, START, ENDS, END],
        &[START, DELTA, ENDS, END],
        &[START, OPEN, skipped, CLOSE, ENDS, END],
        &[START, skipped, ENDS, END],
        &[START, OPEN, DELTA, ENDS, END],
        &[START, OPEN, json, CLOSE, ENDS, END],
        &[START, OPEN, CLOSE, OPEN, CLOSE, ENDS, END],
        &[START, OPEN, CLOSE, CLOSE, ENDS, END],
        &[START, OPEN, CLOSE, END],
        &[START, OPEN, CLOSE, ENDS],
        &[START, OPEN, CLOSE, ENDS, ENDS, END],
        &[START, OPEN, CLOSE, ENDS, END, DELTA],
    ] {
        assert!(!events(wrong).is_empty(), "{wrong:?}");
    }
}
