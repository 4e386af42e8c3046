//! Follows a call's arguments while they come in fragments: are they an object, and is it complete.

use crate::wire::convert::literal::unit;

/// Brackets and strings only; whether the rest is JSON does not matter here.
#[derive(Debug, Default)]
pub(super) struct Scan {
    beginning: Beginning,
    depth: u64,
    in_string: bool,
    /// The last character of a string was a backslash.
    escaped: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Nothing but white space so far.
    #[default]
    Blank,
    Object,
    /// Something that is no object.
    Other,
}

impl Scan {
    pub(super) fn beginning(&self) -> Beginning {
        self.beginning
    }

    /// Whether the object's last bracket has come.
    pub(super) fn is_complete(&self) -> bool {
        self.beginning == Beginning::Object && self.depth == 0
    }

    /// Reads a fragment, given as the inside of a string literal.
    pub(super) fn read(&mut self, inside: &str) {
        let mut rest = inside.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let (character, after) = match (first, after) {
                (b'\\', [b'u', tail @ ..]) => {
                    let code = unit(rest).and_then(|code| u8::try_from(code).ok());
                    (code.unwrap_or(b'?'), tail.get(4..).unwrap_or_default())
                }
                (b'\\', [b'n' | b't' | b'r', tail @ ..]) => (b' ', tail),
                (b'\\', [escaped, tail @ ..]) => (*escaped, tail),
                _ => (*first, after),
            };
            self.character(character);
            rest = after;
        }
    }

    fn character(&mut self, character: u8) {
        if self.in_string {
            match character {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match (self.beginning, character) {
            (_, b' ' | b'\n' | b'\t' | b'\r') | (Beginning::Other, _) => {}
            (Beginning::Blank, b'{') => {
                self.beginning = Beginning::Object;
                self.depth = 1;
            }
            (Beginning::Blank, _) => self.beginning = Beginning::Other,
            (Beginning::Object, b'"') => self.in_string = true,
            (Beginning::Object, b'{' | b'[') => self.depth += 1,
            (Beginning::Object, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            (Beginning::Object, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fragments: &[&str]) -> (Beginning, bool) {
        let mut scan = Scan::default();
        for fragment in fragments {
            scan.read(fragment);
        }
        (scan.beginning(), scan.is_complete())
    }

    #[test]
    fn the_end_of_an_object_is_seen_wherever_it_is_cut() {
        let whole = r#" {\"a\":\"}\\\"{\",\"b\":[1,{\"\u0063\":\"\\\\\"}]}"#;
        assert_eq!(read(&[whole]), (Beginning::Object, true));
        for at in 0..whole.len() {
            // Never cut within an escape of the literal: the pieces are literals themselves.
            let (left, right) = whole.split_at(at);
            let slashes = left.bytes().rev().take_while(|b| *b == b'\\').count();
            if slashes % 2 == 1 || left.contains("\\u") && !left.contains("\\u0063") {
                continue;
            }
            let complete = read(&[left]).1;
            assert!(!complete, "{left}");
            assert_eq!(read(&[left, right]), (Beginning::Object, true), "{left}");
        }
        assert_eq!(
            read(&[r"\u007b\u0022}\u0022\u007d"]),
            (Beginning::Object, true)
        );
    }

    #[test]
    fn what_is_no_object_is_told_by_its_beginning() {
        assert_eq!(read(&["", r" \n\t"]), (Beginning::Blank, false));
        for other in ["[1]", "null", r#"\"{}\""#, "7", "x{}"] {
            assert_eq!(read(&[" ", other]), (Beginning::Other, false), "{other}");
        }
    }
}
