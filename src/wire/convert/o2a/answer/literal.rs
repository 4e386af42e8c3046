//! String literals copied as they stand, except for halves of surrogate pairs.
//!
//! JavaScript upstreams cut text between the halves of an emoji, so a piece may end in one half and the next begin with
//! the other: [`Literals`] puts them together again. A half that stays alone becomes U+FFFD.
//! Invariants: what [`Literals`] appends is the inside of a valid string literal as long as what it is given is; all
//! other bytes are copied untouched.
//! Neighbours: `answer` and `stream`, which put the quotes around it.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

const LONE: &[u8] = br"\ufffd";

/// The state of one text that comes in pieces.
#[derive(Debug, Default)]
pub(in super::super) struct Literals {
    /// A first half at the end of the last piece.
    high: Option<[u8; 6]>,
}

enum Half {
    High,
    Low,
}

impl Literals {
    /// Appends the inside of a literal (without quotes).
    pub(in super::super) fn copy(&mut self, inner: &str, out: &mut Vec<u8>) {
        let inner = inner.as_bytes();
        // Also true of a backslash in front of a u, which the walk below tells apart.
        let spelled = |at: usize| inner.get(at + 1) == Some(&b'u');
        if self.high.is_none() && !memchr_iter(b'\\', inner).any(spelled) {
            out.extend_from_slice(inner);
            return;
        }
        if inner.is_empty() {
            return;
        }
        let mut rest = inner;
        if let Some(high) = self.high.take() {
            match half(rest) {
                Some((Half::Low, low)) => {
                    out.extend_from_slice(&high);
                    out.extend_from_slice(&low);
                    rest = rest.get(6..).unwrap_or_default();
                }
                _ => out.extend_from_slice(LONE),
            }
        }
        while let Some(at) = memchr(b'\\', rest) {
            let (plain, escape) = rest.split_at(at);
            out.extend_from_slice(plain);
            let taken = self.escape(escape, out);
            rest = escape.get(taken..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
    }

    /// The text has ended.
    pub(in super::super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.high.take().is_some() {
            out.extend_from_slice(LONE);
        }
    }

    /// Copies the escape at the beginning; gives the number of bytes taken.
    fn escape(&mut self, escape: &[u8], out: &mut Vec<u8>) -> usize {
        let Some((kind, first)) = half(escape) else {
            out.extend_from_slice(escape.get(..2).unwrap_or(escape));
            return 2;
        };
        let after = escape.get(6..).unwrap_or_default();
        match (kind, half(after)) {
            (Half::High, Some((Half::Low, low))) => {
                out.extend_from_slice(&first);
                out.extend_from_slice(&low);
                12
            }
            (Half::High, _) if after.is_empty() => {
                self.high = Some(first);
                6
            }
            _ => {
                out.extend_from_slice(LONE);
                6
            }
        }
    }
}

/// The half of a surrogate pair that stands at the beginning, if one does.
fn half(bytes: &[u8]) -> Option<(Half, [u8; 6])> {
    let escape: [u8; 6] = bytes.get(..6)?.try_into().ok()?;
    let [b'\\', b'u', b'd' | b'D', second, _, _] = escape else {
        return None;
    };
    match second {
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some((Half::High, escape)),
        b'c'..=b'f' | b'C'..=b'F' => Some((Half::Low, escape)),
        _ => None,
    }
}

/// The inside of a literal; empty for what is none.
pub(in super::super) fn inside(literal: &str) -> &str {
    literal
        .strip_prefix('"')
        .and_then(|literal| literal.strip_suffix('"'))
        .unwrap_or_default()
}

/// The text that the inside of a literal stands for.
pub(in super::super) fn decode(inner: &[u8]) -> Cow<'_, str> {
    if memchr(b'\\', inner).is_none()
        && let Ok(text) = std::str::from_utf8(inner)
    {
        return Cow::Borrowed(text);
    }
    let literal = [b"\"", inner, b"\""].concat();
    Cow::Owned(serde_json::from_slice(&literal).unwrap_or_default())
}

/// Appends `text` as the inside of a literal.
pub(in super::super) fn encode(text: &str, out: &mut Vec<u8>) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.extend_from_slice(text.as_bytes());
    } else if let Ok(literal) = serde_json::to_string(text) {
        out.extend_from_slice(inside(&literal).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(pieces: &[&str]) -> String {
        let mut literals = Literals::default();
        let mut out = Vec::new();
        for piece in pieces {
            literals.copy(piece, &mut out);
        }
        literals.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn everything_but_lone_halves_is_copied_as_it_stands() {
        for same in [
            "",
            "plain é",
            r"\n\t\/ \u00e9 \u0000",
            r"\ud83d\ude00\uD83D\uDE00",
            r"\\ud83d",
            r"\\\\ud800\\",
        ] {
            assert_eq!(copied(&[same]), same);
        }
        for (lone, mended) in [
            (r"\ud83d", r"\ufffd"),
            (r"\ud83dx", r"\ufffdx"),
            (r"x\ude00", r"x\ufffd"),
            (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
            (r"\ud83d\u0041", r"\ufffd\u0041"),
            (r"\ude00\ud83d", r"\ufffd\ufffd"),
        ] {
            assert_eq!(copied(&[lone]), mended);
        }
    }

    #[test]
    fn halves_of_two_pieces_meet() {
        assert_eq!(copied(&[r"a\ud83d", "", r"\ude00b"]), r"a\ud83d\ude00b");
        assert_eq!(copied(&[r"a\ud83d", "b"]), r"a\ufffdb");
        assert_eq!(
            copied(&[r"\ud83d", r"\ud83d", r"\ude00"]),
            r"\ufffd\ud83d\ude00"
        );
    }

    #[test]
    fn text_goes_there_and_back() {
        let mut out = Vec::new();
        encode("a\"\\\n\u{1}é😀", &mut out);
        assert_eq!(decode(&out), "a\"\\\n\u{1}é😀");
    }
}
