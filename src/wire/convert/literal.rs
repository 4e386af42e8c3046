//! String literals copied as they stand, piece by piece, without decoding them, except for halves of surrogate pairs.
//!
//! JavaScript upstreams cut text between the halves of an emoji, so a piece may end in one half and the next begin with
//! the other: [`Literals`] puts them together again. A half that stays alone becomes U+FFFD.
//! Invariants: what is appended is the inside of a valid string literal as long as what is given is; all other bytes are
//! copied untouched. Neighbours: the answers and streams of `o2a` and `a2o`, which put the quotes around it.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};
use serde_json::value::RawValue;

use super::json;

/// Bytes of `\uXXXX`.
const ESCAPE: usize = 6;
const LONE: &[u8] = br"\ufffd";

/// The state of one text that comes in pieces.
#[derive(Debug, Default)]
pub struct Literals {
    /// The escape of a first half, at the end of the last piece.
    high: Option<[u8; ESCAPE]>,
}

impl Literals {
    /// No half waits: the next piece may be copied by the caller when it has no `\u` escapes.
    pub fn is_whole(&self) -> bool {
        self.high.is_none()
    }

    /// Appends the inside of a literal (without quotes).
    pub fn copy(&mut self, inner: &str, out: &mut Vec<u8>) {
        let mut rest = inner.as_bytes();
        if rest.is_empty() {
            return;
        }
        if let Some(high) = self.high.take() {
            match rest.split_at_checked(ESCAPE) {
                Some((low, after)) if is_low(surrogate(low)) => {
                    out.extend_from_slice(&high);
                    out.extend_from_slice(low);
                    rest = after;
                }
                _ => out.extend_from_slice(LONE),
            }
        }
        // Also true of a backslash in front of a u, which the walk below tells apart.
        let spelled = |at: usize| rest.get(at + 1) == Some(&b'u');
        if !memchr_iter(b'\\', rest).any(spelled) {
            out.extend_from_slice(rest);
            return;
        }
        while let Some(at) = memchr(b'\\', rest) {
            let (before, escape) = rest.split_at(at);
            out.extend_from_slice(before);
            let spelled = escape.get(1) == Some(&b'u');
            let length = if spelled { ESCAPE } else { 2 };
            let (this, after) = escape.split_at_checked(length).unwrap_or((escape, b""));
            rest = after;
            match (surrogate(this), rest.split_at_checked(ESCAPE)) {
                (None, _) => out.extend_from_slice(this),
                (high, Some((low, after))) if !is_low(high) && is_low(surrogate(low)) => {
                    out.extend_from_slice(this);
                    out.extend_from_slice(low);
                    rest = after;
                }
                (high, _) if !is_low(high) && rest.is_empty() => {
                    self.high = this.try_into().ok();
                }
                _ => out.extend_from_slice(LONE),
            }
        }
        out.extend_from_slice(rest);
    }

    /// The text has ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.high.take().is_some() {
            out.extend_from_slice(LONE);
        }
    }
}

/// The surrogate that an escape stands for.
fn surrogate(escape: &[u8]) -> Option<u16> {
    let code = unit(escape)?;
    (0xd800..0xe000).contains(&code).then_some(code)
}

fn is_low(surrogate: Option<u16>) -> bool {
    surrogate.is_some_and(|code| code >= 0xdc00)
}

/// The code unit of an escape of the form `\uXXXX` at the beginning of `bytes`.
pub fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0, |code: u16, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(code << 4 | u16::try_from(digit).ok()?)
    })
}

/// What stands between the quotes of a string literal; `None` for any other value.
pub fn inside(raw: &RawValue) -> Option<&str> {
    unquoted(raw.get())
}

fn unquoted(literal: &str) -> Option<&str> {
    literal.strip_prefix('"')?.strip_suffix('"')
}

/// One literal out of the insides of several, with its quotes; `None` when they say nothing.
pub fn joined(pieces: &[&str]) -> Option<String> {
    if pieces.iter().all(|piece| piece.is_empty()) {
        return None;
    }
    let mut out = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum::<usize>() + 8);
    out.push(b'"');
    let mut literals = Literals::default();
    for piece in pieces {
        literals.copy(piece, &mut out);
    }
    literals.finish(&mut out);
    out.push(b'"');
    // Cut only at escapes: always UTF-8.
    String::from_utf8(out).ok()
}

/// The text of any string literal.
pub fn text_of(raw: &RawValue) -> Option<String> {
    if let Some(text) = json::text(raw) {
        return Some(text.into_owned());
    }
    let literal = joined(&[inside(raw)?])?;
    serde_json::from_str(&literal).ok()
}

/// The text that the inside of a literal stands for.
pub fn decode(inner: &[u8]) -> Cow<'_, str> {
    if memchr(b'\\', inner).is_none()
        && let Ok(text) = std::str::from_utf8(inner)
    {
        return Cow::Borrowed(text);
    }
    let literal = [b"\"", inner, b"\""].concat();
    Cow::Owned(serde_json::from_slice(&literal).unwrap_or_default())
}

/// Appends `text` as the inside of a literal.
pub fn encode(text: &str, out: &mut Vec<u8>) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.extend_from_slice(text.as_bytes());
    } else if let Ok(literal) = serde_json::to_string(text) {
        out.extend_from_slice(unquoted(&literal).unwrap_or_default().as_bytes());
    }
}

#[cfg(test)]
mod tests;
