//! Chat completion chunks as a Messages event stream (contracts/conversion.md, section 5).
//!
//! Text goes out with the chunk that brings it. Only one block is open at a time: a call that begins while another one is
//! not complete waits in memory, within [`MAX_WAITING`]. The end of the message waits for `[DONE]` or the end of the
//! stream, because usage may come as late as that.
//! Invariants: each event is one `event` and one `data` line; text is copied, never decoded; only the first choice counts.
//! Neighbours: `blocks` writes the blocks, `calls` puts fragments of calls together, `openai::frame` recognises a
//! chunk that differs from an earlier one in its text alone.

use std::sync::Arc;

use serde_json::value::RawValue;

use self::blocks::{Blocks, Kind};
use self::calls::Calls;
use super::Back;
use super::answer::parts::{Said, Usage, message_id, model, stop_reason};
use crate::wire::anthropic::StreamFault;
use crate::wire::convert::Facts;
use crate::wire::convert::json::{self, Object, Writer};
use crate::wire::error::{ClientError, ClientFormat, ErrorKind, render_sse};
use crate::wire::openai::frame::{Frame, Voice};
use crate::wire::sse::Event;

mod arguments;
mod blocks;
mod calls;

/// Bytes of calls that may wait for another call's end.
pub const MAX_WAITING: usize = 16 << 20;
/// A finish reason that is longer is an unknown one.
const MAX_REASON: usize = 64;

/// The state of one converted stream.
#[derive(Debug)]
pub struct Stream {
    back: Arc<Back>,
    facts: Facts,
    started: bool,
    done: bool,
    refused: bool,
    blocks: Blocks,
    calls: Calls,
    finish: Option<String>,
    usage: Usage,
    /// How the upstream writes a chunk of text.
    frame: Option<Frame>,
}

impl Stream {
    pub fn new(back: Arc<Back>, facts: Facts) -> Self {
        Self {
            back,
            facts,
            started: false,
            done: false,
            refused: false,
            blocks: Blocks::default(),
            calls: Calls::default(),
            finish: None,
            usage: Usage::default(),
            frame: None,
        }
    }

    /// Appends to `out` what the client gets for `event`, which `openai::StreamWatch` has let pass.
    ///
    /// # Errors
    /// The event cannot be read, or calls a tool in a way that cannot be told to the client; more waits than
    /// [`MAX_WAITING`].
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if self.done {
            return Ok(());
        }
        if let Some(frame) = &self.frame
            && let Some(text) = frame.text_of(&event.raw)
            && self.blocks.say_plain(frame.voice.into(), text, out)
        {
            return Ok(());
        }
        let Some(data) = event.data() else {
            return Ok(());
        };
        let data = data.trim_ascii();
        match data {
            b"" => Ok(()),
            b"[DONE]" => self.end(out),
            _ => {
                let chunk =
                    Object::parse(data).map_err(|_| garbage("a chunk that is no JSON object"))?;
                self.chunk(&chunk, out)?;
                self.frame = Frame::of(&event.raw, &chunk).or(self.frame.take());
                Ok(())
            }
        }
    }

    /// The upstream's stream is over without a fault: what the client still lacks. Nothing after `[DONE]`.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.done && self.end(out).is_err() {
            let error = ClientError::new(
                502,
                ErrorKind::Api,
                "The upstream ended its answer in the middle of a tool call.",
            );
            let id = &self.facts.request_id;
            out.extend_from_slice(&render_sse(ClientFormat::Anthropic, &error, id));
            self.done = true;
        }
    }

    fn chunk(&mut self, chunk: &Object<'_>, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if let Some(usage) = chunk.get("usage") {
            self.usage.merge(usage);
        }
        let choices = chunk.get("choices").and_then(json::array);
        let choices = choices.unwrap_or_default();
        if !choices.is_empty() && !self.started {
            self.start(chunk, out);
        }
        for choice in choices {
            let Some(choice) = object(choice)? else {
                continue;
            };
            if choice.get("index").and_then(json::whole).unwrap_or(0) == 0 {
                self.choice(&choice, out)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, chunk: &Object<'_>, out: &mut Vec<u8>) {
        self.started = true;
        let mut w = begin("message_start", out);
        w.key("message").open_object();
        w.key("id")
            .text(&message_id(chunk.text("id").as_deref(), &self.facts));
        w.key("type").text("message").key("role").text("assistant");
        w.key("model")
            .text(model(chunk.text("model").as_deref(), &self.facts));
        w.key("content").open_array().close_array();
        w.key("stop_reason").null().key("stop_sequence").null();
        w.key("usage");
        Usage::default().write(self.back.input_estimate.max(1), &mut w);
        w.close_object();
        end(w, out);
    }

    fn choice(&mut self, choice: &Object<'_>, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let delta = choice.get("delta").or_else(|| choice.get("message"));
        if let Some(delta) = delta.map_or(Ok(None), object)? {
            let said = Said::of(&delta).ok_or_else(|| garbage("content of too many parts"))?;
            self.say(Kind::Thinking, &said.thinking, out);
            self.say(Kind::Text, &said.text, out);
            self.say(Kind::Refusal, &said.refusal, out);
            self.refused |= !said.refusal.is_empty();
            if let Some(calls) = delta.get("tool_calls").and_then(json::array) {
                self.fragments(&calls, out)?;
            }
            if let Some(function) = delta.get("function_call").and_then(Object::of) {
                self.calls.legacy(&function, &mut self.blocks, out)?;
                self.advance(out);
            }
        }
        // Some upstreams have an empty one where others have null.
        if let Some(finish) = choice.text("finish_reason").filter(|f| !f.is_empty()) {
            let known = finish.len() <= MAX_REASON;
            self.finish = Some(if known {
                finish.into_owned()
            } else {
                String::new()
            });
        }
        Ok(())
    }

    fn say(&mut self, kind: Kind, text: &[&str], out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if !self.blocks.is_open(kind) {
            self.calls
                .leave(&mut self.blocks, &self.back.names, &self.facts, out);
            self.blocks.open(kind, out);
        }
        for piece in text {
            self.blocks.say(piece, out);
        }
    }

    fn fragments(&mut self, calls: &[&RawValue], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        for (place, call) in calls.iter().enumerate() {
            if call.get() == "null" {
                continue;
            }
            let call = Object::of(call).ok_or_else(|| garbage("a tool call is no object"))?;
            self.calls.fragment(&call, place, &mut self.blocks, out)?;
            self.advance(out);
        }
        Ok(())
    }

    fn advance(&mut self, out: &mut Vec<u8>) {
        self.calls
            .advance(&mut self.blocks, &self.back.names, &self.facts, out);
    }

    /// Closes everything and ends the message.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if !self.started {
            let nothing = Object::default();
            self.start(&nothing, out);
        }
        self.calls
            .finish(&mut self.blocks, &self.back.names, &self.facts, out)?;
        self.blocks.close(out);
        let reason = stop_reason(self.finish.as_deref(), self.calls.called(), self.refused);
        let mut w = begin("message_delta", out);
        w.key("delta").open_object().key("stop_reason").text(reason);
        w.key("stop_sequence").null().close_object();
        w.key("usage");
        self.usage.write(self.back.input_estimate.max(1), &mut w);
        end(w, out);
        end(begin("message_stop", out), out);
        self.done = true;
        Ok(())
    }
}

impl From<Voice> for Kind {
    fn from(voice: Voice) -> Self {
        match voice {
            Voice::Content => Self::Text,
            Voice::Reasoning => Self::Thinking,
        }
    }
}

/// The two lines of an event, up to the type in its data.
fn begin(kind: &str, out: &mut Vec<u8>) -> Writer {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let mut w = Writer::onto(std::mem::take(out));
    w.open_object().key("type").text(kind);
    w
}

/// The end of an event that [`begin`] has begun.
fn end(mut w: Writer, out: &mut Vec<u8>) {
    w.close_object();
    *out = w.into_bytes();
    out.extend_from_slice(b"\n\n");
}

/// `None` for what is no object.
///
/// # Errors
/// An object that cannot be read: what it says would be lost.
fn object(raw: &RawValue) -> Result<Option<Object<'_>>, StreamFault> {
    if json::kind(raw) != json::Kind::Object {
        return Ok(None);
    }
    let object = Object::of(raw).ok_or_else(|| garbage("an object that cannot be read"))?;
    Ok(Some(object))
}

fn garbage(what: &str) -> StreamFault {
    StreamFault::Garbage(what.to_owned())
}

#[cfg(test)]
mod tests;
