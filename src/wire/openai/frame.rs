//! Recognises a chunk that differs from an earlier one in nothing but its text.
//!
//! Upstreams write all chunks of text alike. When the bytes before and after the text are those of a chunk that has been
//! read in full and said nothing else, the new one says nothing else either: only its text has to be looked at.
//! Invariant: what [`Frame::text_of`] gives is the inside of a valid string literal without `\u` escapes, in UTF-8.
//! Neighbours: `watch` passes such a chunk on, the conversion of streams copies its text.

use memchr::{memchr, memchr2, memmem};
use serde_json::value::RawValue;

use crate::wire::anthropic::has_payload;
use crate::wire::convert::json::{self, Object};

/// A longer frame is not kept.
const MAX_FRAME: usize = 1024;
/// OpenAI pads its chunks with a member that means nothing.
const PADDING: &[u8] = b"\"obfuscation\":\"";

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Voice {
    Content,
    Reasoning,
}

/// The bytes around the text.
#[derive(Debug)]
pub(in crate::wire) struct Frame {
    pub(in crate::wire) voice: Voice,
    /// Up to and with the quote before the text.
    head: Vec<u8>,
    /// From the quote after the text on; up to and with the quote before the padding, if there is one.
    tail: Vec<u8>,
    /// From the quote after the padding on.
    after_padding: Option<Vec<u8>>,
}

impl Frame {
    /// Made of a whole event and its only `data` line, when all that it says is one text of the first choice.
    pub(in crate::wire) fn of(raw: &[u8], chunk: &Object<'_>) -> Option<Self> {
        let quiet = |name| chunk.get(name).is_none();
        if !(quiet("usage") && quiet("error") && raw.starts_with(b"data:")) {
            return None;
        }
        let [choice] = json::array(chunk.get("choices")?)?.try_into().ok()?;
        let choice = Object::of(choice)?;
        let first = choice.get("index").is_none_or(|index| index.get() == "0");
        if !first || choice.get("finish_reason").is_some() || choice.get("message").is_some() {
            return None;
        }
        let delta = Object::of(choice.get("delta")?)?;
        let mut says = delta
            .iter()
            .filter(|(name, value)| *name != "role" && has_payload(value));
        let (name, text) = says.next()?;
        let voice = match name {
            "content" => Voice::Content,
            "reasoning_content" | "reasoning" => Voice::Reasoning,
            _ => return None,
        };
        let text = inside(text)?;
        if says.next().is_some() || delta.get(name).and_then(inside) != Some(text) {
            return None;
        }
        // The chunk was read out of these bytes, unless it came in several lines.
        let start = (text.as_ptr() as usize).checked_sub(raw.as_ptr() as usize)?;
        let head = raw.get(..start)?;
        let tail = raw.get(start + text.len()..)?;
        if raw.get(start..start + text.len()) != Some(text.as_bytes())
            || head.len() + tail.len() > MAX_FRAME
            || memchr2(b'\n', b'\r', head).is_some()
        {
            return None;
        }
        let (tail, after_padding) = cut_padding(tail);
        Some(Self {
            voice,
            head: head.to_vec(),
            tail: tail.to_vec(),
            after_padding: after_padding.map(<[u8]>::to_vec),
        })
    }

    /// The inside of the text's literal, when `raw` has this form.
    pub(in crate::wire) fn text_of<'a>(&self, raw: &'a [u8]) -> Option<&'a [u8]> {
        let rest = raw.strip_prefix(self.head.as_slice())?;
        let end = end_of_literal(rest)?;
        let (text, rest) = rest.split_at_checked(end)?;
        let rest = rest.strip_prefix(self.tail.as_slice())?;
        let whole = match &self.after_padding {
            None => rest.is_empty(),
            Some(after) => {
                let padding = memchr(b'"', rest)?;
                let (padding, rest) = rest.split_at_checked(padding)?;
                padding.iter().all(u8::is_ascii_alphanumeric) && rest == after.as_slice()
            }
        };
        (whole && is_plain(text)).then_some(text)
    }
}

/// What stands between the quotes of a string literal.
fn inside(raw: &RawValue) -> Option<&str> {
    raw.get().strip_prefix('"')?.strip_suffix('"')
}

/// Splits before the padding, when it is the tail's last member.
fn cut_padding(tail: &[u8]) -> (&[u8], Option<&[u8]>) {
    let cut = memmem::rfind(tail, PADDING).and_then(|at| {
        let (before, padded) = tail.split_at_checked(at + PADDING.len())?;
        let end = memchr(b'"', padded)?;
        let (padding, after) = padded.split_at_checked(end)?;
        let plain = padding.iter().all(u8::is_ascii_alphanumeric);
        plain.then_some((before, Some(after)))
    });
    cut.unwrap_or((tail, None))
}

/// Where the quote stands that ends the literal; `None` when an escape is not one of the simple ones.
fn end_of_literal(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        match bytes.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
            _ => return None,
        }
    }
}

/// No control characters, which a literal must not have, and UTF-8.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte >= b' ') && std::str::from_utf8(text).is_ok()
}
