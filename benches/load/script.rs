//! The bytes of the bench: request bodies as agents send them, answers as Antigravity gives them.
//!
//! Both sides share this module, so that the driver knows how many bytes a whole answer has.

use std::fmt::Write;

use super::job::Body;

/// The answer to a request that does not stream.
pub const MESSAGE: &str = concat!(
    r#"{"id":"msg_01JQ8Zc4mT3sVfA7kLhYb2Wd","type":"message","role":"assistant","#,
    r#""content":[{"type":"text","text":"The function returns early when the list is empty, so the loop below never sees it. "#,
    r#"I would keep the check, and add a test that calls it with an empty list and with one element.\n\n"#,
    r#"Here is the change:\n\n```rust\nif items.is_empty() {\n    return None;\n}\n```\n\nShall I apply it?"}],"#,
    r#""model":"claude-sonnet-4-6","stop_reason":"end_turn","stop_sequence":null,"#,
    r#""usage":{"input_tokens":321,"output_tokens":87,"cache_read_input_tokens":0,"cache_creation_input_tokens":0}}"#
);

/// GET /health: quotas of one account, so that the gateway's poller has something to read.
pub const HEALTH: &str = concat!(
    r#"{"status":"ok","accounts":[{"email":"bench@example.com","status":"ok","modelRateLimits":{},"models":{"#,
    r#""claude-opus-4-6-thinking":{"remaining":"90%","remainingFraction":0.9,"resetTime":"2099-01-01T00:00:00Z"},"#,
    r#""claude-sonnet-4-6":{"remaining":"80%","remainingFraction":0.8,"resetTime":"2099-01-01T00:00:00Z"},"#,
    r#""gemini-3-flash":{"remaining":"70%","remainingFraction":0.7,"resetTime":"2099-01-01T00:00:00Z"}}}]}"#
);

const OPENING: [&str; 2] = [
    concat!(
        "event: message_start\ndata: ",
        r#"{"type":"message_start","message":{"id":"msg_01JQ8Zc4mT3sVfA7kLhYb2Wd","type":"message","role":"assistant","#,
        r#""content":[],"model":"claude-sonnet-4-6","stop_reason":null,"stop_sequence":null,"#,
        r#""usage":{"input_tokens":321,"output_tokens":0,"cache_read_input_tokens":0,"cache_creation_input_tokens":0}}}"#,
        "\n\n"
    ),
    concat!(
        "event: content_block_start\ndata: ",
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        "\n\n"
    ),
];
const DELTA: &str = concat!(
    "event: content_block_delta\ndata: ",
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a few words more "}}"#,
    "\n\n"
);
const CLOSING: [&str; 3] = [
    concat!(
        "event: content_block_stop\ndata: ",
        r#"{"type":"content_block_stop","index":0}"#,
        "\n\n"
    ),
    concat!(
        "event: message_delta\ndata: ",
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":95}}"#,
        "\n\n"
    ),
    concat!(
        "event: message_stop\ndata: ",
        r#"{"type":"message_stop"}"#,
        "\n\n"
    ),
];

/// The fewest events of a stream: opening, one delta, closing.
pub const MIN_EVENTS: u32 = 6;

/// Event `n` of a stream of `events`.
pub fn event(n: u32, events: u32) -> &'static str {
    let from_end = events.saturating_sub(n + 1) as usize;
    let closing = CLOSING.len().checked_sub(from_end + 1);
    OPENING
        .get(n as usize)
        .or_else(|| closing.and_then(|at| CLOSING.get(at)))
        .copied()
        .unwrap_or(DELTA)
}

/// Bytes of a whole stream, without framing.
pub fn stream_bytes(events: u32) -> usize {
    (0..events).map(|n| event(n, events).len()).sum()
}

const TOOL: &str = concat!(
    r#"{"name":"edit_file","description":"DESCRIPTION","input_schema":{"type":"object","properties":{"path":{"type":"string","#,
    r#""description":"Where the file is."},"old":{"type":"string","description":"What is replaced."},"new":{"type":"string"},"#,
    r#""all":{"type":"boolean","default":false}},"required":["path","old","new"],"additionalProperties":false}},"#
);
const TURN: &str = concat!(
    r#"{"role":"assistant","content":[{"type":"text","text":"I look at the file first, then at its tests."},"#,
    r#"{"type":"tool_use","id":"toolu_01A09q90qw90lq917835lq9","name":"read_file","input":{"path":"src/parse.rs","limit":200}}]},"#,
    r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_01A09q90qw90lq917835lq9","content":"FILE"}]},"#
);
const DENSE: &str = concat!(
    r#"{"role":"user","content":[{"type":"text","text":"Why is \"12 :x\" accepted?"},{"type":"text","text":"And 7?"}]},"#,
    r#"{"role":"assistant","content":[{"type":"tool_use","id":"toolu_01A","name":"read","input":{"path":"a.rs","limit":200}}]},"#
);
const LINE: &str =
    r#"    12\t    let (head, rest) = line.split_once(\":\").ok_or(Error::NoColon)?;\n"#;
const PROSE: &str =
    "Changes one place of a file. The old text must be there exactly once, or the call fails. ";

/// A request body of `bytes`, with the model after the messages, as the SDKs have it.
pub fn request_body(kind: Body, bytes: usize, model: &str, stream: bool) -> Vec<u8> {
    let tail = format!(
        r#"{{"role":"user","content":"Go on."}}],"model":"{model}","stream":{stream},"temperature":1.0}}"#
    );
    let mut body = String::from(r#"{"max_tokens":4096,"#);
    if kind == Body::Agent && bytes > 10_000 {
        let system = PROSE.repeat(bytes / 20 / PROSE.len());
        // A String takes everything.
        let _ = write!(
            body,
            r#""system":[{{"type":"text","text":"{system}"}}],"tools":["#
        );
        while body.len() < bytes / 4 {
            body.push_str(&TOOL.replace("DESCRIPTION", &PROSE.repeat(20)));
        }
        body.pop();
        body.push_str("],");
    }
    body.push_str(r#""messages":["#);
    let turn = match kind {
        Body::Agent => TURN.replace("FILE", &LINE.repeat(60)),
        Body::Dense => DENSE.to_owned(),
    };
    while body.len() + turn.len() + tail.len() <= bytes {
        body.push_str(&turn);
    }
    const FRAME: &str = r#"{"role":"user","content":""},"#;
    let missing = bytes.saturating_sub(body.len() + tail.len() + FRAME.len());
    if missing > 0 {
        let filler = PROSE.repeat(missing / PROSE.len() + 1);
        let filler = filler.get(..missing).unwrap_or_default();
        // A String takes everything.
        let _ = write!(body, r#"{{"role":"user","content":"{filler}"}},"#);
    }
    body.push_str(&tail);
    body.into_bytes()
}
