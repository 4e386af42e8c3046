//! Finds `model` and `stream` in a request body while its chunks arrive, without building a tree.
//!
//! Invariants: a body is only accepted if every JSON parser that accepts it reads the same top-level
//! `model` and `stream`: the top level is checked strictly, keys are compared after unescaping, a key
//! given twice is refused, and below the top level strings and brackets must match and nothing but JSON
//! punctuation and scalars may stand between them. The rest of the grammar is left to the upstream. Time
//! is linear, memory is constant. Neighbours: `gateway` feeds it and replaces the model through [`join`].

mod head;
mod join;

use memchr::memchr_iter;

pub use head::{Head, ModelField, ScanError};
use head::{LONG_MODEL, WRONG_MODEL, WRONG_STREAM, json};
pub use join::{join, json_string};

/// Longest raw key literal that could still be one of ours (each character as a six-byte escape).
const KEY_RAW_MAX: usize = 64 * 6;
/// Longest raw literal of the model.
const MODEL_RAW_MAX: usize = 3 * 1024;
/// Longest model name after unescaping, in bytes.
const MODEL_NAME_MAX: usize = 512;
/// Longest of `true`, `false` and `null`, and one more to see that a word is too long.
const WORD_MAX: usize = 6;
/// Objects and arrays within each other, below the top level.
const DEPTH_MAX: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Other,
    Model,
    Stream,
}

#[derive(Clone, Copy)]
enum State {
    /// Before the opening brace.
    Start,
    /// After the opening brace.
    FirstKey,
    /// After a comma.
    NextKey,
    Key,
    Colon,
    Value,
    Model,
    SkippedString,
    Word,
    Nested,
    NestedString,
    AfterValue,
    End,
}

/// The scanner; feed it the body chunk by chunk, cut anywhere.
pub struct Scanner {
    state: State,
    field: Field,
    /// Bytes of the chunks before this one.
    base: usize,
    /// The next byte of the current string is escaped by the last byte of the previous chunk.
    escaped: bool,
    /// The current key, model or word, bounded.
    literal: Vec<u8>,
    /// One bit per open bracket below the top level: set for an object.
    brackets: [u64; DEPTH_MAX / 64],
    depth: usize,
    model_start: usize,
    model_seen: bool,
    stream_seen: bool,
    model: Option<ModelField>,
    stream: bool,
    delicate: bool,
    failed: Option<ScanError>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the start of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Start,
            field: Field::Other,
            base: 0,
            escaped: false,
            literal: Vec::new(),
            brackets: [0; DEPTH_MAX / 64],
            depth: 0,
            model_start: 0,
            model_seen: false,
            stream_seen: false,
            model: None,
            stream: false,
            delicate: false,
            failed: None,
        }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// The body can be refused for what it has said so far; every later call repeats the error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), ScanError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let offset = self.base + (chunk.len() - rest.len());
            match self.step(rest, offset) {
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        self.base += chunk.len();
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// The body is empty or cut, or an earlier call failed.
    pub fn finish(self) -> Result<Head, ScanError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::End => Ok(Head {
                model: self.model,
                stream: self.stream,
                delicate: self.delicate,
            }),
            State::Start => Err(json(self.base, "it is empty")),
            _ => Err(json(self.base, "it ends too early")),
        }
    }

    /// Advances by the returned number of bytes of the non-empty `rest`; 0 only with a new state.
    fn step(&mut self, rest: &[u8], offset: usize) -> Result<usize, ScanError> {
        match self.state {
            State::Key => self.key(rest, offset),
            State::Model => self.model(rest, offset),
            State::SkippedString => Ok(self.skip_string(rest, State::AfterValue)),
            State::NestedString => Ok(self.skip_string(rest, State::Nested)),
            State::Nested => self.nested(rest, offset),
            State::Word => self.word(rest, offset),
            _ => self.punctuation(rest, offset),
        }
    }

    /// The strict part: what stands between the tokens of the top level.
    fn punctuation(&mut self, rest: &[u8], offset: usize) -> Result<usize, ScanError> {
        let blank = rest.iter().take_while(|byte| is_blank(**byte)).count();
        let Some(&byte) = rest.get(blank) else {
            return Ok(blank);
        };
        let offset = offset + blank;
        self.state = match (self.state, byte) {
            (State::Start, b'{') => State::FirstKey,
            (State::Start, _) => return Err(json(offset, "it must begin with {")),
            (State::FirstKey, b'}') | (State::AfterValue, b'}') => State::End,
            (State::FirstKey | State::NextKey, b'"') => {
                self.literal.clear();
                self.literal.push(b'"');
                State::Key
            }
            (State::FirstKey | State::NextKey, _) => return Err(json(offset, "expected a key")),
            (State::Colon, b':') => State::Value,
            (State::Colon, _) => return Err(json(offset, "expected : after a key")),
            (State::AfterValue, b',') => State::NextKey,
            (State::AfterValue, _) => return Err(json(offset, "expected , or } after a value")),
            (State::End, _) => return Err(json(offset, "something follows the object")),
            (_, byte) => return self.value(byte, offset).map(|taken| blank + taken),
        };
        Ok(blank + 1)
    }

    /// The first byte of a top-level value.
    fn value(&mut self, byte: u8, offset: usize) -> Result<usize, ScanError> {
        let wrong = match self.field {
            Field::Model if !matches!(byte, b'"' | b'n') => Some(WRONG_MODEL),
            Field::Stream if !matches!(byte, b't' | b'f' | b'n') => Some(WRONG_STREAM),
            _ => None,
        };
        self.literal.clear();
        self.state = match byte {
            b'"' if self.field == Field::Model => {
                self.model_start = offset;
                self.literal.push(b'"');
                State::Model
            }
            b'"' => State::SkippedString,
            b'{' | b'[' => {
                self.depth = 0;
                self.open(byte == b'{', offset)?;
                State::Nested
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => State::Word,
            _ => return Err(json(offset, "expected a value")),
        };
        if let Some(error) = wrong {
            return Err(error);
        }
        // The first byte belongs to the word.
        Ok(usize::from(!matches!(self.state, State::Word)))
    }

    fn key(&mut self, rest: &[u8], offset: usize) -> Result<usize, ScanError> {
        let (taken, closed) = self.string_part(rest, KEY_RAW_MAX);
        if !closed {
            return Ok(taken);
        }
        self.state = State::Colon;
        self.field = if self.literal.len() > KEY_RAW_MAX {
            Field::Other
        } else {
            let name = unescape(&self.literal)
                .ok_or_else(|| json(offset, "a key is not a valid string"))?;
            match name.as_str() {
                "model" => Field::Model,
                "stream" => Field::Stream,
                "stop_sequences" | "tool_choice" | "output_config" | "thread" => {
                    self.delicate = true;
                    Field::Other
                }
                _ => Field::Other,
            }
        };
        let (seen, field) = match self.field {
            Field::Model => (&mut self.model_seen, "model"),
            Field::Stream => (&mut self.stream_seen, "stream"),
            Field::Other => return Ok(taken),
        };
        if std::mem::replace(seen, true) {
            return Err(ScanError::Duplicate { field });
        }
        Ok(taken)
    }

    fn model(&mut self, rest: &[u8], offset: usize) -> Result<usize, ScanError> {
        let (taken, closed) = self.string_part(rest, MODEL_RAW_MAX);
        if self.literal.len() > MODEL_RAW_MAX {
            return Err(LONG_MODEL);
        }
        if closed {
            let name = unescape(&self.literal)
                .ok_or_else(|| json(self.model_start, "model is not a valid string"))?;
            if name.len() > MODEL_NAME_MAX {
                return Err(LONG_MODEL);
            }
            if name.chars().any(char::is_control) {
                return Err(ScanError::Type {
                    field: "model",
                    what: "must not contain control characters",
                });
            }
            self.model = Some(ModelField {
                name,
                start: self.model_start,
                end: offset + taken,
            });
            self.state = State::AfterValue;
        }
        Ok(taken)
    }

    /// A number, `true`, `false` or `null` at the top level.
    fn word(&mut self, rest: &[u8], offset: usize) -> Result<usize, ScanError> {
        let length = rest.iter().take_while(|byte| is_word(**byte)).count();
        let room = WORD_MAX.saturating_sub(self.literal.len()).min(length);
        self.literal
            .extend_from_slice(rest.get(..room).unwrap_or_default());
        if length == rest.len() {
            return Ok(length);
        }
        match (self.field, self.literal.as_slice()) {
            (Field::Stream, b"true") => self.stream = true,
            (Field::Stream, b"false" | b"null") | (Field::Model, b"null") => {}
            (Field::Other, b"true" | b"false" | b"null" | [b'-' | b'0'..=b'9', ..]) => {}
            _ => return Err(json(offset, "expected a value")),
        }
        self.state = State::AfterValue;
        Ok(length)
    }

    fn nested(&mut self, rest: &[u8], offset: usize) -> Result<usize, ScanError> {
        let plain = rest
            .iter()
            .take_while(|byte| is_word(**byte) || is_blank(**byte) || matches!(byte, b',' | b':'))
            .count();
        let Some(&byte) = rest.get(plain) else {
            return Ok(plain);
        };
        let offset = offset + plain;
        match byte {
            b'"' => self.state = State::NestedString,
            b'{' | b'[' => self.open(byte == b'{', offset)?,
            b'}' | b']' => {
                self.close(byte == b'}', offset)?;
                if self.depth == 0 {
                    self.state = State::AfterValue;
                }
            }
            _ => return Err(json(offset, "unexpected character")),
        }
        Ok(plain + 1)
    }

    fn open(&mut self, object: bool, offset: usize) -> Result<(), ScanError> {
        let Some(word) = self.brackets.get_mut(self.depth / 64) else {
            return Err(json(offset, "nested too deeply"));
        };
        let bit = 1 << (self.depth % 64);
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, object: bool, offset: usize) -> Result<(), ScanError> {
        self.depth = self.depth.saturating_sub(1);
        let word = self.brackets.get(self.depth / 64).copied().unwrap_or(0);
        if (word & (1 << (self.depth % 64)) != 0) == object {
            Ok(())
        } else {
            Err(json(offset, "the brackets do not match"))
        }
    }

    /// Collects up to `max` bytes of the current string, and one more to tell that there were more.
    fn string_part(&mut self, rest: &[u8], max: usize) -> (usize, bool) {
        let end = string_end(rest, &mut self.escaped);
        let taken = end.unwrap_or(rest.len());
        let room = (max + 1).saturating_sub(self.literal.len()).min(taken);
        self.literal
            .extend_from_slice(rest.get(..room).unwrap_or_default());
        (taken, end.is_some())
    }

    fn skip_string(&mut self, rest: &[u8], next: State) -> usize {
        match string_end(rest, &mut self.escaped) {
            Some(end) => {
                self.state = next;
                end
            }
            None => rest.len(),
        }
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// One past the quote that closes the string which `rest` continues. A quote is escaped by an odd run
/// of backslashes; looking at quotes only makes the many `\n` of prompts free of cost.
fn string_end(rest: &[u8], escaped: &mut bool) -> Option<usize> {
    let skip = usize::from(std::mem::take(escaped)).min(rest.len());
    let body = rest.get(skip..).unwrap_or_default();
    let odd_run_before = |end: usize| {
        let run = body
            .get(..end)
            .unwrap_or_default()
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\');
        run.count() % 2 == 1
    };
    let end = memchr_iter(b'"', body).find(|quote| !odd_run_before(*quote));
    if end.is_none() {
        *escaped = odd_run_before(body.len());
    }
    end.map(|quote| skip + quote + 1)
}

/// The string that a JSON literal with quotes stands for.
fn unescape(literal: &[u8]) -> Option<String> {
    serde_json::from_slice(literal).ok()
}

#[cfg(test)]
mod tests;
