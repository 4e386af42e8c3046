//! Copies the inside of JSON string literals from piece to piece, without decoding them.
//!
//! Invariant: what comes out is the inside of a literal without a lone surrogate. Upstreams written in JavaScript cut
//! an emoji between two pieces: its halves are put together again; a half that stays alone becomes U+FFFD.

use memchr::{memchr, memmem};
use serde_json::value::RawValue;

use crate::wire::convert::json;

const ESCAPE: usize = 6;
const REPLACEMENT: &[u8] = br"\ufffd";

/// What stands between the quotes of a string literal; `None` for any other value.
pub(in crate::wire::convert::a2o) fn inside(raw: &RawValue) -> Option<&str> {
    raw.get().strip_prefix('"')?.strip_suffix('"')
}

/// One literal out of the insides of several, with its quotes; `None` when they say nothing.
pub(in crate::wire::convert::a2o) fn joined(pieces: &[&str]) -> Option<String> {
    if pieces.iter().all(|piece| piece.is_empty()) {
        return None;
    }
    let mut out = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum::<usize>() + 8);
    out.push(b'"');
    let mut copy = Copy::default();
    for piece in pieces {
        copy.put(piece, &mut out);
    }
    copy.end(&mut out);
    out.push(b'"');
    // Cut only at escapes: always UTF-8.
    String::from_utf8(out).ok()
}

/// The text of any string literal.
pub(in crate::wire::convert::a2o) fn text_of(raw: &RawValue) -> Option<String> {
    if let Some(text) = json::text(raw) {
        return Some(text.into_owned());
    }
    let literal = joined(&[inside(raw)?])?;
    serde_json::from_str(&literal).ok()
}

/// The state between two pieces of one text.
#[derive(Debug, Default)]
pub(in crate::wire::convert::a2o) struct Copy {
    /// The escape of a high surrogate that ended the last piece.
    high: Option<[u8; ESCAPE]>,
}

impl Copy {
    /// Whether the next piece can be copied without looking at it for halves at its beginning.
    pub(in crate::wire::convert::a2o) fn is_whole(&self) -> bool {
        self.high.is_none()
    }

    /// Appends the next piece.
    pub(in crate::wire::convert::a2o) fn put(&mut self, inside: &str, out: &mut Vec<u8>) {
        let mut rest = inside.as_bytes();
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
                _ => out.extend_from_slice(REPLACEMENT),
            }
        }
        if memmem::find(rest, br"\u").is_none() {
            out.extend_from_slice(rest);
            return;
        }
        while let Some(at) = memchr(b'\\', rest) {
            let (before, escape) = rest.split_at(at);
            out.extend_from_slice(before);
            let length = if escape.get(1) == Some(&b'u') {
                ESCAPE
            } else {
                2
            };
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
                _ => out.extend_from_slice(REPLACEMENT),
            }
        }
        out.extend_from_slice(rest);
    }

    /// The text is over.
    pub(in crate::wire::convert::a2o) fn end(&mut self, out: &mut Vec<u8>) {
        if self.high.take().is_some() {
            out.extend_from_slice(REPLACEMENT);
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
pub(in crate::wire::convert::a2o) fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0, |code: u16, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(code << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop where it fails")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_meet_and_lone_ones_are_replaced() {
        for (pieces, text) in [
            (&[r"a\n\u00e9\/"][..], r"a\n\u00e9\/"),
            (&[r"\ud83d\ude00"], r"\ud83d\ude00"),
            (&[r"x\ud83d", r"\ude00y"], r"x\ud83d\ude00y"),
            (&[r"\uD83D", "", r"\uDE00"], r"\uD83D\uDE00"),
            (&[r"\ud83d", "x"], r"\ufffdx"),
            (&[r"\ud83d"], r"\ufffd"),
            (&[r"\ude00\ud83d\ud83d\ude00"], r"\ufffd\ufffd\ud83d\ude00"),
            (&[r"\\ud83d\\", r"\ud83dx"], r"\\ud83d\\\ufffdx"),
        ] {
            let expected = format!("\"{text}\"");
            assert_eq!(joined(pieces).as_deref(), Some(expected.as_str()));
        }
        assert_eq!(joined(&["", ""]), None);
    }

    proptest! {
        #[test]
        fn always_a_literal_that_can_be_decoded(
            pieces in prop::collection::vec(
                r#"(\\u[dD][89a-fA-F][0-9a-f]{2}|\\u[0-9a-f]{4}|\\["\\/bfnrt]|[a-zé\u{1f600}]){0,6}"#, 1..4)
        ) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            if let Some(literal) = joined(&pieces) {
                let text: Result<String, _> = serde_json::from_str(&literal);
                prop_assert!(text.is_ok(), "{literal}");
                // What could be decoded before is the same.
                if let Ok(plain) = serde_json::from_str::<String>(&format!("\"{}\"", pieces.concat())) {
                    prop_assert_eq!(text.unwrap(), plain);
                }
            }
        }
    }
}
