//! Cuts a byte stream into server-sent events without copying or decoding them.
//!
//! Invariants: the concatenation of all `Event::raw` and of what is pending equals the bytes that were pushed, less a
//! byte order mark at the very start (which belongs to the stream, not to an event). Where the chunks are cut never
//! changes the events. Memory is bounded by `max_event_bytes` plus one chunk.
//! Neighbours: `anthropic` and the OpenAI stream reader judge the events; nothing here knows what they mean.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// An event grew beyond the limit of the [`Splitter`]; the stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge {
    /// The limit in bytes.
    pub limit: usize,
}

impl std::fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an event is larger than {} bytes", self.limit)
    }
}

impl std::error::Error for EventTooLarge {}

/// One event: its exact bytes, the blank line that ends it included.
///
/// A blank line on its own, and a comment with the blank line after it, are events too: see [`Event::is_blank`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub raw: Bytes,
}

impl Event {
    /// The value of the last `event` field; `None` when it is missing or empty.
    pub fn name(&self) -> Option<&[u8]> {
        self.fields()
            .filter(|(name, _)| *name == b"event")
            .last()
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    }

    /// The values of the `data` fields joined by LF; borrowed when there is only one. `None` without a `data` field.
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        let mut values = self
            .fields()
            .filter(|(name, _)| *name == b"data")
            .map(|(_, value)| value);
        let mut data = Cow::Borrowed(values.next()?);
        for value in values {
            let joined = data.to_mut();
            joined.push(b'\n');
            joined.extend_from_slice(value);
        }
        Some(data)
    }

    /// As [`Event::data`], but sharing the memory of `raw` where possible.
    pub fn data_bytes(&self) -> Option<Bytes> {
        self.data().map(|data| match data {
            Cow::Borrowed(slice) => self.raw.slice_ref(slice),
            Cow::Owned(joined) => Bytes::from(joined),
        })
    }

    /// Whether there is no field at all: only a comment, or nothing.
    pub fn is_blank(&self) -> bool {
        self.fields().next().is_none()
    }

    /// The event name and what follows `data:`, when the event has the usual form (`event:` on the first line, `data:`
    /// on the second). The second part runs to the end of `raw`: only its beginning is meant to be looked at, and
    /// finding it costs the same however long the data is.
    pub fn head(&self) -> Option<(&[u8], &[u8])> {
        let after = self.raw.strip_prefix(b"event:")?;
        let end = memchr(b'\n', after)?;
        let (line, rest) = (after.get(..end)?, after.get(end + 1..)?);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if memchr(b'\r', line).is_some() {
            return None;
        }
        Some((strip_space(line), strip_space(rest.strip_prefix(b"data:")?)))
    }

    /// Whether some line is no field of an event stream: text of another kind, such as HTML.
    pub fn is_foreign(&self) -> bool {
        let known: [&[u8]; 4] = [b"event", b"data", b"id", b"retry"];
        self.fields().any(|(name, _)| !known.contains(&name))
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Lines { rest: &self.raw }.filter_map(field)
    }
}

/// One leading space after the colon belongs to the syntax, not to the value.
fn strip_space(value: &[u8]) -> &[u8] {
    value.strip_prefix(b" ").unwrap_or(value)
}

/// Name and value of a line; `None` for a comment or an empty line. A line without a colon is a field without value.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    match memchr(b':', line) {
        Some(0) => None,
        Some(colon) => Some((line.get(..colon)?, strip_space(line.get(colon + 1..)?))),
        None if line.is_empty() => None,
        None => Some((line, b"")),
    }
}

struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(end) = memchr2(b'\n', b'\r', self.rest) else {
            return Some(std::mem::take(&mut self.rest));
        };
        let (line, after) = self.rest.split_at(end);
        self.rest = match after {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => after,
        };
        Some(line)
    }
}

/// Cuts chunks of bytes into events. See the module for its invariants.
#[derive(Debug)]
pub struct Splitter {
    max: usize,
    /// The unfinished event: only bytes of chunks before the current one.
    partial: BytesMut,
    /// Nothing of the current line has been seen yet.
    line_empty: bool,
    /// The last byte was a CR that ended a line; an LF now would belong to it.
    after_cr: bool,
    /// That CR ended a blank line: the event is complete but for that LF.
    ended: bool,
    /// Bytes of the byte order mark matched so far; `None` once the start of the stream is past.
    bom: Option<usize>,
    failed: bool,
}

impl Splitter {
    /// A splitter for one stream; an event of more than `max_event_bytes` bytes is an error.
    pub fn new(max_event_bytes: usize) -> Self {
        Splitter {
            max: max_event_bytes,
            partial: BytesMut::new(),
            line_empty: true,
            after_cr: false,
            ended: false,
            bom: Some(0),
            failed: false,
        }
    }

    /// Appends to `out` the events that `chunk` completes. An event that lies within the chunk is a slice of it.
    ///
    /// An event whose blank line ends in a CR at the end of the chunk waits for the next byte (which may be the LF of
    /// a CRLF) or for [`Splitter::finish`].
    ///
    /// # Errors
    /// [`EventTooLarge`], now and on every later call; the events before the large one are in `out`.
    pub fn push(&mut self, mut chunk: Bytes, out: &mut Vec<Event>) -> Result<(), EventTooLarge> {
        if !self.failed && self.bom.is_some() {
            self.skip_bom(&mut chunk);
        }
        while !self.failed
            && let Some(end) = self.scan(&chunk)
        {
            let tail = chunk.split_to(end);
            if self.partial.len() + end > self.max {
                self.failed = true;
            } else if self.partial.is_empty() {
                out.push(Event { raw: tail });
            } else {
                self.partial.extend_from_slice(&tail);
                out.push(Event {
                    raw: self.partial.split().freeze(),
                });
            }
        }
        if self.failed || self.partial.len() + chunk.len() > self.max {
            self.failed = true;
            self.partial.clear();
            return Err(EventTooLarge { limit: self.max });
        }
        self.partial.extend_from_slice(&chunk);
        Ok(())
    }

    /// At the end of the stream: the event that only waited to see whether an LF follows its last CR.
    pub fn finish(&mut self) -> Option<Event> {
        if !self.ended {
            return None;
        }
        Some(Event {
            raw: self.take_rest(),
        })
    }

    /// Bytes of the unfinished event.
    pub fn pending(&self) -> usize {
        self.partial.len()
    }

    /// The bytes of the unfinished event; the next byte begins a new one.
    pub fn take_rest(&mut self) -> Bytes {
        self.line_empty = true;
        self.after_cr = false;
        self.ended = false;
        self.partial.split().freeze()
    }

    fn skip_bom(&mut self, chunk: &mut Bytes) {
        while let (Some(matched), Some(byte)) = (self.bom, chunk.first()) {
            if BOM.get(matched) == Some(byte) {
                *chunk = chunk.slice(1..);
                self.bom = (matched + 1 < BOM.len()).then_some(matched + 1);
            } else {
                // No mark after all: the bytes taken for one begin the first line.
                self.partial
                    .extend_from_slice(BOM.get(..matched).unwrap_or_default());
                self.line_empty = matched == 0;
                self.bom = None;
            }
        }
    }

    /// Where the current event ends in `bytes`; `None` when it does not end there. The usual event costs three searches:
    /// the end of its `event` line, of its `data` line, and the blank line.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if self.after_cr {
                let next = bytes.get(at)?;
                at += usize::from(*next == b'\n');
                self.after_cr = false;
                if std::mem::take(&mut self.ended) {
                    return Some(at);
                }
            }
            let rest = bytes.get(at..)?;
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.line_empty &= rest.is_empty();
                return None;
            };
            let blank = self.line_empty && end == 0;
            self.line_empty = true;
            at += end + 1;
            if rest.get(end) == Some(&b'\r') {
                self.after_cr = true;
                self.ended = blank;
            } else if blank {
                return Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
