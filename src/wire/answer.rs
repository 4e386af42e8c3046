//! Judges a Messages answer that does not stream: is it one, does it say anything, what did it cost. [`UsageTail`]
//! serves chat completions too.
//!
//! Invariants: the body is read once, borrowed, without building a tree; no content gets into an error text.
//! [`UsageTail`] keeps at most [`MAX_USAGE`] bytes however long the answer is.
//! Neighbours: `anthropic` does the same for streams and owns the empty rule's parts; the caller holds the body and
//! passes it on unchanged.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::anthropic::{Confession, Text, has_payload, says_nothing, short};
use super::usage::UsageSeen;

/// The largest `usage` object that [`UsageTail`] reads, in bytes.
pub const MAX_USAGE: usize = 4096;

/// What a good answer tells about itself.
#[derive(Clone, Debug)]
pub struct Answer {
    pub usage: UsageSeen,
    /// As the upstream names it.
    pub model: Option<String>,
    pub stop_reason: Option<String>,
}

/// Why a body is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerFault {
    /// Not JSON, or cut off.
    NotJson,
    /// JSON, but not a message; what was wrong, in our words.
    WrongShape(String),
    /// A message that says nothing (the empty rule of the gateway contract, section 5).
    Empty,
    /// An error object under a status of success: the whole body.
    Error(Vec<u8>),
}

/// Reads a whole body.
///
/// # Errors
/// See [`AnswerFault`].
pub fn check_message(body: &[u8]) -> Result<Answer, AnswerFault> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(_) => wrong("not an object"),
            Err(_) => AnswerFault::NotJson,
        });
    }
    let message: Message<'_> =
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                wrong("a member has the wrong type, or is there twice")
            }
            _ => AnswerFault::NotJson,
        })?;
    match message.kind.as_ref().map(|kind| kind.0.as_ref()) {
        Some("message") => {}
        Some("error") => return Err(AnswerFault::Error(body.to_vec())),
        _ if message.error.is_some() => return Err(AnswerFault::Error(body.to_vec())),
        _ => return Err(wrong("type is not message")),
    }
    let said = message.content.ok_or_else(|| wrong("content is missing"))?;
    let mut usage = UsageSeen::default();
    if let Some(seen) = message.usage {
        usage.merge_anthropic(seen.get().as_bytes());
    }
    let stop_reason = message.stop_reason.and_then(short);
    if !said.something && said.text.is_nothing() && says_nothing(&usage, stop_reason.as_deref()) {
        return Err(AnswerFault::Empty);
    }
    Ok(Answer {
        usage,
        model: message.model.and_then(short),
        stop_reason,
    })
}

fn wrong(what: &str) -> AnswerFault {
    AnswerFault::WrongShape(what.to_owned())
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    content: Option<Said>,
    model: Option<Cow<'a, str>>,
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    error: Option<IgnoredAny>,
}

/// What the blocks of an answer say together.
#[derive(Default)]
struct Said {
    text: Confession,
    /// There is content beyond empty text and the confession.
    something: bool,
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of blocks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Said, A::Error> {
        let mut said = Said::default();
        while let Some(block) = seq.next_element::<Block<'de>>()? {
            said.something |= match block.kind.as_deref() {
                Some("text") => said.text.outgrown_by(block.text),
                Some("thinking") => block.thinking.is_some_and(has_payload),
                _ => true,
            };
        }
        Ok(said)
    }
}

/// A block of content; only an object is one.
#[derive(Default)]
struct Block<'a> {
    kind: Option<Cow<'a, str>>,
    text: Option<&'a RawValue>,
    thinking: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Block<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BlockVisitor)
    }
}

struct BlockVisitor;

impl<'de> Visitor<'de> for BlockVisitor {
    type Value = Block<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block of content")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Block<'de>, A::Error> {
        let mut block = Block::default();
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                "type" if block.kind.is_some() => return Err(A::Error::duplicate_field("type")),
                "type" => block.kind = Some(map.next_value::<Text<'de>>()?.0),
                "text" => block.text = Some(map.next_value()?),
                "thinking" => block.thinking = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(block)
    }
}

/// Watches an answer that is too long to hold while it streams through: finds the top-level `usage` object, and whether
/// the top-level object was closed. Judges brackets and strings only, not whether the rest is JSON.
#[derive(Debug, Default)]
pub struct UsageTail {
    place: Place,
    depth: u64,
    in_string: bool,
    /// The last byte of a string was a backslash.
    escaped: bool,
    /// The next string is a key of the top-level object.
    expects_key: bool,
    /// The string being read is such a key.
    in_key: bool,
    /// The key's first bytes: enough to tell `usage` from any other.
    key: Vec<u8>,
    /// The `usage` object that is being read; the second member says whether it is still whole.
    capture: Option<(Vec<u8>, bool)>,
    found: Option<Vec<u8>>,
    /// The body is a chat completion, not a message.
    openai: bool,
}

#[derive(Debug, Default, PartialEq)]
enum Place {
    #[default]
    Before,
    Inside,
    After,
    /// Not one JSON object.
    Broken,
}

impl UsageTail {
    /// For a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// For a chat completion.
    pub fn openai() -> Self {
        Self {
            openai: true,
            ..Self::default()
        }
    }

    /// Reads on. The chunks together must be the whole body from its first byte.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let step = if self.in_string {
                self.string(rest)
            } else {
                self.structure(rest)
            };
            rest = rest.get(step..).unwrap_or_default();
        }
    }

    /// What was found, and whether the body was one complete object.
    pub fn finish(self) -> (UsageSeen, bool) {
        let mut usage = UsageSeen::default();
        match &self.found {
            Some(found) if self.openai => usage.merge_openai(found),
            Some(found) => usage.merge_anthropic(found),
            None => {}
        }
        (usage, self.place == Place::After)
    }

    /// Reads within a string; gives the number of bytes read.
    fn string(&mut self, bytes: &[u8]) -> usize {
        if std::mem::take(&mut self.escaped) {
            self.keep(bytes, 1);
            return 1;
        }
        let end = memchr2(b'"', b'\\', bytes);
        match end.and_then(|end| bytes.get(end)) {
            Some(b'"') => self.in_string = false,
            Some(_) => self.escaped = true,
            None => {}
        }
        let read = end.map_or(bytes.len(), |end| end + 1);
        self.keep(bytes, read);
        if self.in_key && !self.in_string {
            self.in_key = false;
            self.key.pop();
        }
        read
    }

    /// Reads outside strings up to and including the next byte that changes anything.
    fn structure(&mut self, bytes: &[u8]) -> usize {
        let notable = |b: &u8| matches!(b, b'"' | b'{' | b'}' | b'[' | b']' | b',');
        if self.place == Place::Inside {
            let skip = bytes.iter().position(notable).unwrap_or(bytes.len());
            let read = (skip + 1).min(bytes.len());
            let Some(byte) = bytes.get(skip) else {
                self.keep(bytes, read);
                return read;
            };
            if *byte == b'{' && self.depth == 1 && self.key == b"usage" {
                self.capture = Some((Vec::new(), true));
                self.keep(b"{", 1);
            } else {
                self.keep(bytes, read);
            }
            self.inside(*byte);
            return read;
        }
        if let Some(byte) = bytes.first() {
            match (&self.place, byte) {
                (_, b' ' | b'\t' | b'\r' | b'\n') => {}
                (Place::Before, b'{') => {
                    self.place = Place::Inside;
                    self.depth = 1;
                    self.expects_key = true;
                }
                _ => self.place = Place::Broken,
            }
        }
        if self.place == Place::Broken {
            bytes.len()
        } else {
            1
        }
    }

    fn inside(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 && self.expects_key {
                    self.expects_key = false;
                    self.in_key = true;
                    self.key.clear();
                }
            }
            b',' if self.depth == 1 => {
                self.expects_key = true;
                self.key.clear();
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 1
                    && let Some((usage, whole)) = self.capture.take()
                    && whole
                {
                    self.found = Some(usage);
                }
                if self.depth == 0 {
                    self.place = if byte == b'}' {
                        Place::After
                    } else {
                        Place::Broken
                    };
                }
            }
            _ => {}
        }
    }

    /// Keeps the first `count` of `bytes` where they are wanted, within bounds.
    fn keep(&mut self, bytes: &[u8], count: usize) {
        let bytes = bytes.get(..count).unwrap_or(bytes);
        if self.in_key {
            // The closing quote goes away again in `string`; a longer key only has to stay unequal.
            let room = ("usage".len() + 2).saturating_sub(self.key.len());
            self.key
                .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        if let Some((usage, whole)) = &mut self.capture {
            *whole &= usage.len() + bytes.len() <= MAX_USAGE;
            if *whole {
                usage.extend_from_slice(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests;
