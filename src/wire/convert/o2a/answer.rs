//! A whole Messages answer as a chat completion (contracts/conversion.md, sections 2, 6, 7 and 10).
//!
//! Invariants: text is copied as the literals that came, joined with nothing between, unless Luna has to cut it at a
//! stop sequence or take a code fence off; arguments are the exact JSON of the input.
//! A legacy answer (the request had `functions`) has room for one call: the first one; further calls are left out.
//! Neighbours: `literal` (of `convert`) copies strings, `shown` cuts text, `part` is what answers and streams have in common, `stream`
//! does the same for events and gives the same answer for the same message.

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::part::{Usage, arguments, call_id, explanation, finish_reason};
use self::shown::Shown;
use super::{Back, JsonAnswer};
use crate::wire::answer::AnswerFault;
use crate::wire::convert::Facts;
use crate::wire::convert::json::{self, Object, Writer};
use crate::wire::convert::literal::{Literals, decode, encode, inside};

mod fence;
pub(super) mod part;
pub(super) mod shown;

/// Turns a message (already judged by `wire::answer::check_message`) into a `chat.completion`. Of several calls a client
/// that sent `functions` gets the first only, because its format has room for no more.
///
/// # Errors
/// The body is not what it was judged to be.
pub fn answer(body: &[u8], back: &Back, facts: &Facts) -> Result<Vec<u8>, AnswerFault> {
    let message = Object::parse(body).map_err(|_| AnswerFault::NotJson)?;
    let blocks = message
        .get("content")
        .and_then(json::array)
        .ok_or_else(|| wrong("content is no array"))?;
    let mut said = Said::new(back, facts);
    for block in blocks {
        let block = Object::of(block).ok_or_else(|| wrong("a block is no object"))?;
        said.block(&block)?;
    }
    said.finish();

    let mut usage = Usage::default();
    usage.merge(message.get("usage"));
    let told = message.text("stop_reason");
    let stop_reason = if said.cut {
        Some("stop_sequence")
    } else {
        told.as_deref()
    };
    let refusal = explanation(&message).filter(|_| stop_reason == Some("refusal"));

    let mut w = Writer::with_capacity(body.len() + 512);
    part::open(&mut w, &message, "chat.completion", facts);
    w.key("choices").open_array().open_object();
    w.key("index").number(0).key("message");
    said.write(&mut w, refusal);
    w.key("logprobs").null().key("finish_reason");
    w.text(finish_reason(stop_reason, !said.calls.is_empty(), back));
    w.close_object().close_array().key("usage");
    usage.write(&mut w);
    w.close_object();
    Ok(w.into_bytes())
}

fn wrong(what: &str) -> AnswerFault {
    AnswerFault::WrongShape(what.to_owned())
}

struct Call<'a> {
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    arguments: &'a str,
}

/// The content of an answer.
struct Said<'a, 'b> {
    back: &'b Back,
    facts: &'b Facts,
    shown: Shown,
    /// A stop sequence was found: what follows was never said.
    cut: bool,
    /// The inside of the content's literal.
    content: Vec<u8>,
    content_literals: Literals,
    reasoning: Vec<u8>,
    reasoning_literals: Literals,
    calls: Vec<Call<'a>>,
    /// The input of the tool that JSON was forced by.
    json: Option<&'a str>,
}

impl<'a, 'b> Said<'a, 'b> {
    fn new(back: &'b Back, facts: &'b Facts) -> Self {
        Self {
            back,
            facts,
            shown: Shown::new(back),
            cut: false,
            content: Vec::new(),
            content_literals: Literals::default(),
            reasoning: Vec::new(),
            reasoning_literals: Literals::default(),
            calls: Vec::new(),
            json: None,
        }
    }

    fn block(&mut self, block: &Object<'a>) -> Result<(), AnswerFault> {
        if self.cut {
            return Ok(());
        }
        match block.text("type").as_deref() {
            Some("text") => self.text(string(block, "text")?),
            Some("thinking") => self
                .reasoning_literals
                .copy(string(block, "thinking")?, &mut self.reasoning),
            Some("tool_use") => self.tool_use(block)?,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, inner: &str) {
        // Whether text beside a forced tool is the content is known only at the end.
        let forced = matches!(self.back.json, JsonAnswer::Tool(_));
        if forced || self.shown.is_plain() {
            self.content_literals.copy(inner, &mut self.content);
            return;
        }
        let mut copied = Vec::new();
        self.content_literals.copy(inner, &mut copied);
        let mut out = String::new();
        self.cut = self.shown.push(&decode(&copied), &mut out);
        encode(&out, &mut self.content);
    }

    fn tool_use(&mut self, block: &Object<'a>) -> Result<(), AnswerFault> {
        let name = block
            .text("name")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| wrong("a tool_use block has no name"))?;
        if matches!(&self.back.json, JsonAnswer::Tool(tool) if *tool == name) {
            self.json.get_or_insert(arguments(block));
            return Ok(());
        }
        // A legacy answer has room for one call.
        if self.back.legacy_functions && !self.calls.is_empty() {
            return Ok(());
        }
        let k = self.calls.len() as u64;
        self.calls.push(Call {
            id: call_id(block, k, self.facts),
            name: self.client_name(name),
            arguments: arguments(block),
        });
        Ok(())
    }

    fn client_name(&self, sent: Cow<'a, str>) -> Cow<'a, str> {
        let name = self.back.names.client(&sent);
        if name == sent {
            return sent;
        }
        Cow::Owned(name.to_owned())
    }

    /// All blocks have been read.
    fn finish(&mut self) {
        self.reasoning_literals.finish(&mut self.reasoning);
        if let Some(json) = self.json {
            self.content.clear();
            encode(json, &mut self.content);
            return;
        }
        if self.shown.is_plain() {
            self.content_literals.finish(&mut self.content);
            return;
        }
        let mut last = Vec::new();
        if matches!(self.back.json, JsonAnswer::Tool(_)) {
            last.append(&mut self.content);
        }
        self.content_literals.finish(&mut last);
        let mut out = String::new();
        self.cut |= self.shown.push(&decode(&last), &mut out);
        self.shown.finish(&mut out);
        encode(&out, &mut self.content);
    }

    fn write(&self, w: &mut Writer, refusal: Option<&RawValue>) {
        w.open_object().key("role").text("assistant");
        w.key("content");
        if self.content.is_empty() && !self.calls.is_empty() {
            w.null();
        } else {
            literal(&self.content, w);
        }
        w.key("refusal");
        match refusal {
            Some(text) => {
                let mut inner = Vec::new();
                let mut literals = Literals::default();
                literals.copy(inside(text).unwrap_or_default(), &mut inner);
                literals.finish(&mut inner);
                literal(&inner, w);
            }
            None => {
                w.null();
            }
        }
        if !self.reasoning.is_empty() {
            w.key("reasoning_content");
            literal(&self.reasoning, w);
        }
        match self.calls.as_slice() {
            [] => {}
            [call, ..] if self.back.legacy_functions => {
                w.key("function_call");
                function(call, w);
            }
            calls => {
                w.key("tool_calls").open_array();
                for call in calls {
                    w.open_object().key("id").text(&call.id);
                    w.key("type").text("function").key("function");
                    function(call, w);
                    w.close_object();
                }
                w.close_array();
            }
        }
        w.close_object();
    }
}

fn function(call: &Call<'_>, w: &mut Writer) {
    w.open_object().key("name").text(&call.name);
    w.key("arguments").text(call.arguments).close_object();
}

/// Writes a literal whose inside was copied from literals.
fn literal(inner: &[u8], w: &mut Writer) {
    match std::str::from_utf8(inner) {
        Ok(inner) => w.raw(&format!("\"{inner}\"")),
        Err(_) => w.raw("\"\""),
    };
}

/// The inside of a string member; nothing when it is missing.
fn string<'a>(block: &Object<'a>, key: &str) -> Result<&'a str, AnswerFault> {
    match block.get(key) {
        None => Ok(""),
        Some(text) => inside(text).ok_or_else(|| wrong("the text of a block is no string")),
    }
}

#[cfg(test)]
mod tests;
