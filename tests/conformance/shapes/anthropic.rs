//! Messages and their events.

use serde_json::Value;

use super::{Findings, frames, is_json_object, parse, parse_bytes};

const STOP: [&str; 7] = [
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
];

pub(in super::super) fn message(body: &[u8]) -> Vec<String> {
    let mut found = Findings::default();
    let Some(answer) = parse_bytes(body) else {
        return vec!["shape: the answer is not JSON".into()];
    };
    head(&answer, &mut found);
    stop_reason(&answer, &mut found);
    let blocks = answer["content"].as_array().cloned().unwrap_or_default();
    for content in &blocks {
        block(content, &mut found);
    }
    let calls = blocks.iter().any(|block| block["type"] == "tool_use");
    found.check(answer["stop_reason"] != "tool_use" || calls, || {
        "stop_reason tool_use without a call".into()
    });
    found.check(answer["stop_reason"] != "end_turn" || !calls, || {
        "stop_reason end_turn with a call".into()
    });
    found.0
}

fn head(message: &Value, found: &mut Findings) {
    found.filled(message, "id", "message");
    found.is(message, "type", "message", "message");
    found.is(message, "role", "assistant", "message");
    found.filled(message, "model", "message");
    found.check(message["content"].is_array(), || {
        "message.content is no array".into()
    });
    found.present(message, "stop_reason", "message");
    found.present(message, "stop_sequence", "message");
    for key in ["input_tokens", "output_tokens"] {
        found.count(&message["usage"], key, "usage");
    }
}

fn stop_reason(holder: &Value, found: &mut Findings) {
    let reason = holder["stop_reason"].as_str().unwrap_or_default();
    found.check(STOP.contains(&reason), || format!("stop_reason {reason:?}"));
    found.text_or_null(holder, "stop_sequence", "");
}

fn block(block: &Value, found: &mut Findings) {
    match block["type"].as_str() {
        Some("text") => found.string(block, "text", "text block"),
        Some("thinking") => {
            found.string(block, "thinking", "thinking block");
            found.string(block, "signature", "thinking block");
        }
        Some("tool_use") => {
            found.filled(block, "id", "tool_use");
            found.filled(block, "name", "tool_use");
            found.check(block["input"].is_object(), || {
                "tool_use.input is no object".into()
            });
        }
        other => found.check(false, || format!("a block of type {other:?}")),
    }
}

/// The state of a client that reads events.
#[derive(Default)]
struct Reader {
    found: Findings,
    started: bool,
    /// The open block: its index and start, and the JSON fragments so far.
    open: Option<(u64, Value, String)>,
    next: u64,
    calls: usize,
    /// The arguments of some call are no object.
    broken: bool,
    stop_reason: Option<String>,
    stopped: bool,
}

pub(in super::super) fn stream(body: &[u8], cut: bool) -> Vec<String> {
    let mut reader = Reader::default();
    for frame in frames(body, &mut reader.found) {
        reader.frame(&frame);
    }
    reader.end(cut);
    reader.found.0
}

impl Reader {
    fn frame(&mut self, lines: &[String]) {
        let (name, data) = match lines {
            [line] if line.starts_with(':') => return,
            [name, data] => (
                name.strip_prefix("event: ").unwrap_or_default(),
                data.strip_prefix("data: ").unwrap_or_default(),
            ),
            _ => ("", ""),
        };
        let Some(event) = parse(data) else {
            self.found.check(false, || {
                format!("no event with an event and a data line: {lines:?}")
            });
            return;
        };
        self.found.is(&event, "type", name, "event");
        let stopped = self.stopped;
        self.found
            .check(!stopped, || "something comes after message_stop".into());
        let started = self.started;
        self.found
            .check(started || name == "message_start" || name == "ping", || {
                format!("{name} before message_start")
            });
        match name {
            "message_start" => self.start(&event["message"]),
            "content_block_start" => self.block_start(&event),
            "content_block_delta" => self.block_delta(&event),
            "content_block_stop" => self.block_stop(&event),
            "message_delta" => self.message_delta(&event),
            "message_stop" => {
                let told = self.stop_reason.is_some();
                self.found
                    .check(told, || "message_stop without message_delta".into());
                self.stopped = true;
            }
            "ping" => {}
            other => self
                .found
                .check(false, || format!("an event of type {other:?}")),
        }
    }

    fn start(&mut self, message: &Value) {
        let started = self.started;
        let found = &mut self.found;
        found.check(!started, || "two message_start".into());
        head(message, found);
        found.check(message["content"] == Value::Array(Vec::new()), || {
            "message_start with content".into()
        });
        found.check(message["stop_reason"].is_null(), || {
            "message_start with a stop_reason".into()
        });
        found.check(message["usage"]["input_tokens"] != 0, || {
            "message_start without input tokens".into()
        });
        self.started = true;
    }

    fn block_start(&mut self, event: &Value) {
        let found = &mut self.found;
        found.check(self.open.is_none(), || {
            "a block starts within another".into()
        });
        found.check(self.stop_reason.is_none(), || {
            "a block after message_delta".into()
        });
        found.check(event["index"] == self.next, || {
            format!("block index {}, not {}", event["index"], self.next)
        });
        let start = &event["content_block"];
        block(start, found);
        let empty = match start["type"].as_str() {
            Some("text") => start["text"] == "",
            Some("thinking") => start["thinking"] == "",
            _ => start["input"] == Value::Object(serde_json::Map::new()),
        };
        found.check(empty, || "a block starts with content".into());
        self.calls += usize::from(start["type"] == "tool_use");
        self.open = Some((self.next, start.clone(), String::new()));
        self.next += 1;
    }

    fn block_delta(&mut self, event: &Value) {
        let found = &mut self.found;
        let Some((index, start, json)) = &mut self.open else {
            found.check(false, || "a delta outside of any block".into());
            return;
        };
        found.check(event["index"] == *index, || {
            "a delta for a block that is not open".into()
        });
        let delta = &event["delta"];
        let (kind, key) = match delta["type"].as_str() {
            Some("text_delta") => ("text", "text"),
            Some("thinking_delta") => ("thinking", "thinking"),
            Some("signature_delta") => ("thinking", "signature"),
            Some("input_json_delta") => ("tool_use", "partial_json"),
            _ => ("", ""),
        };
        found.check(start["type"] == kind, || {
            format!("delta {} in a block {}", delta["type"], start["type"])
        });
        found.string(delta, key, "delta");
        if kind == "tool_use" {
            json.push_str(delta[key].as_str().unwrap_or_default());
        } else {
            found.filled(delta, key, "delta");
        }
    }

    fn block_stop(&mut self, event: &Value) {
        let Some((index, start, json)) = self.open.take() else {
            self.found
                .check(false, || "a block that is not open stops".into());
            return;
        };
        self.found.check(event["index"] == index, || {
            "another block than the open one stops".into()
        });
        // Cut arguments are the upstream's; the end of the message tells whether they may be.
        if start["type"] == "tool_use" && !json.is_empty() && !is_json_object(&json) {
            self.broken = true;
        }
    }

    fn message_delta(&mut self, event: &Value) {
        let found = &mut self.found;
        found.check(self.open.is_none(), || {
            "message_delta within a block".into()
        });
        found.check(self.stop_reason.is_none(), || "two message_delta".into());
        stop_reason(&event["delta"], found);
        for key in ["input_tokens", "output_tokens"] {
            found.count(&event["usage"], key, "message_delta.usage");
        }
        let reason = event["delta"]["stop_reason"].as_str().unwrap_or_default();
        found.check(reason != "tool_use" || self.calls > 0, || {
            "stop_reason tool_use without a call".into()
        });
        found.check(reason != "end_turn" || self.calls == 0, || {
            "stop_reason end_turn with a call".into()
        });
        found.check(!self.broken || reason == "max_tokens", || {
            "the arguments of a call are no object".into()
        });
        self.stop_reason = Some(reason.to_owned());
    }

    fn end(&mut self, cut: bool) {
        let stopped = self.stopped;
        self.found.check(stopped != cut, || {
            if cut {
                "message_stop after a fault".into()
            } else {
                "message_stop is missing".into()
            }
        });
    }
}
