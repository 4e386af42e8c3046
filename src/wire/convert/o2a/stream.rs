//! A Messages event stream as chat completion chunks (contracts/conversion.md, sections 3, 6, 7 and 10).
//!
//! Invariants: an event gives whole chunks or, when it is a fault, nothing; every chunk is one data line; nothing is
//! held back but what could become a stop sequence, what may be a fence's opening or closing, half of a surrogate pair,
//! and text in front of forced JSON. The chunks together say what `answer` makes of the same message: a legacy answer
//! has the first call only. Memory is bounded.
//! Neighbours: `anthropic::StreamWatch` has judged the events, `hot` recognises the deltas, `tools` keeps the open
//! calls, `chunk` writes.

use std::sync::Arc;

use self::chunk::Chunks;
use self::hot::Delta;
use self::tools::{Kind, Tools};
use super::answer::part::{Usage, arguments, call_id, explanation, finish_reason};
use super::answer::shown::Shown;
use super::{Back, JsonAnswer};
use crate::wire::anthropic::StreamFault;
use crate::wire::convert::Facts;
use crate::wire::convert::json::{self, Object};
use crate::wire::convert::literal::{Literals, decode, encode, inside};
use crate::wire::sse::Event;

mod chunk;
mod hot;
mod tools;

/// Text in front of forced JSON is held up to this size, in bytes.
const MAX_PREFACE: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Open,
    /// A stop sequence was found: the finish chunk is out, only the usage is still of interest.
    Cut,
    Done,
}

/// What becomes of text blocks.
#[derive(Debug)]
enum Text {
    /// It is the content.
    Content,
    /// Held until it is known whether the forced tool's input is the content.
    Preface(Vec<u8>),
    /// The forced tool's input is the content.
    Dropped,
}

/// The state of one converted stream.
#[derive(Debug)]
pub struct Stream {
    back: Arc<Back>,
    facts: Facts,
    chunks: Chunks,
    phase: Phase,
    text: Text,
    text_literals: Literals,
    reasoning_literals: Literals,
    shown: Shown,
    tools: Tools,
    usage: Usage,
    stop_reason: Option<String>,
    /// Why the upstream refuses: the inside of a literal.
    refusal: Vec<u8>,
}

impl Stream {
    pub fn new(back: Arc<Back>, facts: Facts) -> Self {
        let shown = Shown::new(&back);
        let text = match back.json {
            JsonAnswer::Tool(_) => Text::Preface(Vec::new()),
            JsonAnswer::Plain | JsonAnswer::Fenced => Text::Content,
        };
        Self {
            back,
            facts,
            chunks: Chunks::default(),
            phase: Phase::Open,
            text,
            text_literals: Literals::default(),
            reasoning_literals: Literals::default(),
            shown,
            tools: Tools::default(),
            usage: Usage::default(),
            stop_reason: None,
            refusal: Vec::new(),
        }
    }

    /// Appends to `out` what the client gets for `event`, which `anthropic::StreamWatch` has let pass.
    ///
    /// # Errors
    /// The event cannot be read; then nothing is appended.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if self.phase == Phase::Done {
            return Ok(());
        }
        if let Some((index, delta)) = hot::delta(event) {
            self.begin(&Object::default(), out);
            self.delta(index, &delta, out);
            return Ok(());
        }
        let before = out.len();
        let read = self.read(event, out);
        if read.is_err() {
            out.truncate(before);
        }
        read
    }

    /// The upstream's stream is over without a fault: what the client still lacks. Nothing after `message_stop`, and
    /// nothing when no stop reason has come: such an answer is not whole.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.is_complete() || self.stop_reason.is_some() {
            self.end(out);
        }
    }

    /// Whether the client has its finish chunk. From then on a fault of the upstream takes nothing from the answer:
    /// [`Stream::finish`] ends it well.
    pub fn is_complete(&self) -> bool {
        self.phase != Phase::Open
    }

    fn read(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let Some(data) = event.data().filter(|data| !data.is_empty()) else {
            return Ok(());
        };
        let body = Object::parse(&data)
            .map_err(|_| garbage("the data of an event is not a JSON object"))?;
        let told = body.text("type");
        let kind = told.as_deref().map(str::as_bytes).or(event.name());
        match kind.unwrap_or_default() {
            b"message_start" => {
                let message = object(&body, "message")?;
                self.usage.merge(message.get("usage"));
                self.begin(&message, out);
            }
            b"content_block_start" if self.phase == Phase::Open => self.block_start(&body, out)?,
            b"content_block_delta" => self.block_delta(&body, out)?,
            b"content_block_stop" => {
                self.tools.stop(index(&body), &self.chunks, out);
            }
            b"message_delta" => self.message_delta(&body)?,
            b"message_stop" => {
                self.begin(&Object::default(), out);
                self.end(out);
            }
            b"error" => {
                let data = event.data_bytes().unwrap_or_default();
                return Err(StreamFault::ErrorEvent(data));
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends the first chunk, once.
    fn begin(&mut self, message: &Object<'_>, out: &mut Vec<u8>) {
        if !self.chunks.begun() {
            self.chunks = Chunks::new(message, &self.facts);
            self.chunks.role(out);
        }
    }

    fn block_start(&mut self, body: &Object<'_>, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let block = object(body, "content_block")?;
        self.begin(&Object::default(), out);
        match block.text("type").as_deref() {
            Some("text") => self.text(string(&block, "text")?, out),
            Some("thinking") => self.thinking(string(&block, "thinking")?, out),
            Some("tool_use") => self.tool_start(index(body), &block, out)?,
            _ => {}
        }
        Ok(())
    }

    fn tool_start(
        &mut self,
        index: u64,
        block: &Object<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        let name = block
            .text("name")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| garbage("a tool_use block has no name"))?;
        // The block that had this index never stopped.
        self.tools.stop(index, &self.chunks, out);
        let kind = if matches!(&self.back.json, JsonAnswer::Tool(tool) if *tool == name) {
            if matches!(self.text, Text::Dropped) {
                return Ok(());
            }
            self.text = Text::Dropped;
            Kind::Content
        } else if self.back.legacy_functions {
            // A legacy answer has room for one call.
            if self.tools.calls() > 0 {
                return Ok(());
            }
            Kind::Legacy
        } else {
            Kind::Call(self.tools.calls())
        };
        if !self.tools.start(index, kind, arguments(block)) {
            return Err(garbage("too many tool calls are open"));
        }
        let name = self.back.names.client(&name);
        match kind {
            Kind::Call(k) => {
                let id = call_id(block, k, &self.facts);
                self.chunks.call(k, &id, name, out);
            }
            Kind::Legacy => self.chunks.legacy_call(name, out),
            Kind::Content => {}
        }
        Ok(())
    }

    fn block_delta(&mut self, body: &Object<'_>, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let delta = object(body, "delta")?;
        let delta = match delta.text("type").as_deref() {
            Some("text_delta") => Delta::Text(string(&delta, "text")?),
            Some("thinking_delta") => Delta::Thinking(string(&delta, "thinking")?),
            Some("input_json_delta") => Delta::Json(string(&delta, "partial_json")?),
            _ => return Ok(()),
        };
        self.begin(&Object::default(), out);
        self.delta(index(body), &delta, out);
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: &Delta<'_>, out: &mut Vec<u8>) {
        if self.phase != Phase::Open {
            return;
        }
        match delta {
            Delta::Text(inner) => self.text(inner, out),
            Delta::Thinking(inner) => self.thinking(inner, out),
            Delta::Json(inner) => self.tools.fragment(index, inner, &self.chunks, out),
        }
    }

    fn thinking(&mut self, inner: &str, out: &mut Vec<u8>) {
        let literals = &mut self.reasoning_literals;
        self.chunks.reasoning(out, |out| literals.copy(inner, out));
    }

    fn text(&mut self, inner: &str, out: &mut Vec<u8>) {
        let literals = &mut self.text_literals;
        let found = match &mut self.text {
            Text::Content if self.shown.is_plain() => {
                self.chunks.content(out, |out| literals.copy(inner, out));
                false
            }
            Text::Content => {
                let mut copied = Vec::new();
                literals.copy(inner, &mut copied);
                self.say(&copied, out)
            }
            Text::Preface(preface) => {
                literals.copy(inner, preface);
                preface.len() > MAX_PREFACE && self.release_preface(out)
            }
            Text::Dropped => false,
        };
        if found {
            self.cut(out);
        }
    }

    /// Sends text, up to a stop sequence; true when one was found.
    fn say(&mut self, inner: &[u8], out: &mut Vec<u8>) -> bool {
        if self.shown.is_plain() {
            self.chunks.content(out, |out| out.extend_from_slice(inner));
            return false;
        }
        let mut go = String::new();
        let found = self.shown.push(&decode(inner), &mut go);
        self.chunks.content(out, |out| encode(&go, out));
        found
    }

    /// The text in front of the forced tool is the content after all; true when a stop sequence was found in it.
    fn release_preface(&mut self, out: &mut Vec<u8>) -> bool {
        match std::mem::replace(&mut self.text, Text::Content) {
            Text::Preface(preface) => self.say(&preface, out),
            other => {
                self.text = other;
                false
            }
        }
    }

    fn message_delta(&mut self, body: &Object<'_>) -> Result<(), StreamFault> {
        self.usage.merge(body.get("usage"));
        if body.get("delta").is_none() {
            return Ok(());
        }
        let delta = object(body, "delta")?;
        if let Some(reason) = delta.text("stop_reason") {
            self.stop_reason = Some(reason.into_owned());
        }
        if let Some(text) = explanation(&delta) {
            self.refusal.clear();
            let mut literals = Literals::default();
            literals.copy(inside(text).unwrap_or_default(), &mut self.refusal);
            literals.finish(&mut self.refusal);
        }
        Ok(())
    }

    /// A stop sequence was found: for the client the answer ends here.
    fn cut(&mut self, out: &mut Vec<u8>) {
        self.stop_reason = Some("stop_sequence".to_owned());
        self.close(out);
        self.phase = Phase::Cut;
    }

    /// Everything that is still held, and the finish chunk.
    fn close(&mut self, out: &mut Vec<u8>) {
        let literals = &mut self.reasoning_literals;
        self.chunks.reasoning(out, |out| literals.finish(out));
        self.close_text(out);
        self.tools.stop_all(&self.chunks, out);
        let stop_reason = self.stop_reason.as_deref();
        if stop_reason == Some("refusal") {
            self.chunks.refusal(&self.refusal, out);
        }
        let called = self.tools.calls() > 0;
        self.chunks
            .finish(finish_reason(stop_reason, called, &self.back), out);
    }

    fn close_text(&mut self, out: &mut Vec<u8>) {
        if matches!(self.text, Text::Dropped) {
            return;
        }
        let mut found = self.release_preface(out);
        let mut last = Vec::new();
        self.text_literals.finish(&mut last);
        found |= self.say(&last, out);
        let mut held = String::new();
        self.shown.finish(&mut held);
        self.chunks.content(out, |out| encode(&held, out));
        if found {
            self.stop_reason = Some("stop_sequence".to_owned());
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.phase == Phase::Done {
            return;
        }
        if self.phase == Phase::Open {
            self.begin(&Object::default(), out);
            self.close(out);
        }
        if self.back.include_usage {
            self.chunks.usage(&self.usage, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.phase = Phase::Done;
    }
}

fn garbage(what: &str) -> StreamFault {
    StreamFault::Garbage(what.to_owned())
}

fn object<'a>(holder: &Object<'a>, key: &str) -> Result<Object<'a>, StreamFault> {
    holder
        .get(key)
        .and_then(Object::of)
        .ok_or_else(|| garbage(&format!("an event without the object {key}")))
}

/// The inside of a string member; nothing when it is missing.
fn string<'a>(holder: &Object<'a>, key: &str) -> Result<&'a str, StreamFault> {
    match holder.get(key) {
        None => Ok(""),
        Some(text) => inside(text).ok_or_else(|| garbage("the text of an event is no string")),
    }
}

/// The block's index; the first block's when it is missing, as for the judge.
fn index(body: &Object<'_>) -> u64 {
    body.get("index").and_then(json::whole).unwrap_or_default()
}

#[cfg(test)]
mod tests;
