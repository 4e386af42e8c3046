//! A client that reads chunks, as strictly as the tests need it.

use bytes::Bytes;
use serde_json::Value;

use super::super::Stream;
use crate::wire::convert::Facts;
use crate::wire::sse::Event;

pub(super) fn facts() -> Facts {
    Facts {
        model: "tier".into(),
        created: 1,
        request_id: "req_1".into(),
    }
}

/// The event as an upstream writes it, its members in the usual order.
pub(super) fn event(data: &Value) -> Event {
    let kind = data["type"].as_str().unwrap();
    let rest = data.as_object().unwrap().iter().filter(|m| m.0 != "type");
    let mut text = format!("{{\"type\":\"{kind}\"");
    for (key, value) in rest.rev() {
        // serde_json sorts the members: index stands before delta in the usual order.
        text.push_str(&format!(",\"{key}\":{}", typed(value)));
    }
    Event {
        raw: Bytes::from(format!("event: {kind}\ndata: {text}}}\n\n")),
    }
}

/// A value whose `type` stands first.
fn typed(value: &Value) -> String {
    let Some((object, kind)) = value.as_object().zip(value.get("type")) else {
        return value.to_string();
    };
    let mut text = format!("{{\"type\":{kind}");
    for (key, value) in object.iter().filter(|member| member.0 != "type") {
        text.push_str(&format!(",\"{key}\":{value}"));
    }
    text.push('}');
    text
}

pub(super) fn send(stream: &mut Stream, data: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    stream.event(&event(data), &mut out).unwrap();
    out
}

/// What the chunks say together.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) content: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    /// Id, name, arguments.
    pub(super) calls: Vec<(String, String, String)>,
    pub(super) legacy: Option<(String, String)>,
    pub(super) finish: Option<String>,
    pub(super) usage: Value,
    pub(super) done: bool,
}

impl Client {
    /// Panics at anything but chunks.
    pub(super) fn read(out: &[u8]) -> Self {
        let mut client = Self::default();
        let text = std::str::from_utf8(out).unwrap();
        for frame in text.split_terminator("\n\n") {
            let data = frame.strip_prefix("data: ").unwrap();
            assert!(!data.contains(['\n', '\r']) && !client.done);
            if data == "[DONE]" {
                client.done = true;
                continue;
            }
            let chunk: Value = serde_json::from_str(data).unwrap();
            client.chunk(&chunk);
        }
        client
    }

    fn chunk(&mut self, chunk: &Value) {
        let Some(choice) = chunk["choices"].get(0) else {
            self.usage = chunk["usage"].clone();
            return;
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let delta = &choice["delta"];
        self.content += &text(&delta["content"]);
        self.reasoning += &text(&delta["reasoning_content"]);
        self.refusal += &text(&delta["refusal"]);
        if let Some(call) = delta["tool_calls"].get(0) {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if index == self.calls.len() {
                let name = text(&call["function"]["name"]);
                self.calls.push((text(&call["id"]), name, String::new()));
            }
            self.calls[index].2 += &text(&call["function"]["arguments"]);
        }
        if let Some(call) = delta.get("function_call") {
            let legacy = self
                .legacy
                .get_or_insert_with(|| (text(&call["name"]), String::new()));
            legacy.1 += &text(&call["arguments"]);
        }
        if let Some(finish) = choice["finish_reason"].as_str() {
            assert!(self.finish.is_none());
            self.finish = Some(finish.to_owned());
        }
    }
}
