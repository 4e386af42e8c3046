//! Finds halves of surrogate pairs, which are no characters, without decoding strings.

use memchr::{memchr, memmem};

/// Whether valid JSON holds a `\u` escape of one half of a surrogate pair without the other.
pub fn has_lone_surrogate(json: &[u8]) -> bool {
    let may_have = |escape: &[u8]| memmem::find(json, escape).is_some();
    if !may_have(b"\\ud") && !may_have(b"\\uD") {
        return false;
    }
    let mut rest = json;
    let mut half = false;
    while let Some(at) = memchr(b'\\', rest) {
        let code = escaped(rest, at);
        match code {
            Some(0xD800..=0xDBFF) if !half => half = true,
            Some(0xDC00..=0xDFFF) if half && at == 0 => half = false,
            Some(0xD800..=0xDFFF) => return true,
            _ if half => return true,
            _ => {}
        }
        let length = if code.is_some() { 6 } else { 2 };
        rest = rest.get(at + length..).unwrap_or_default();
    }
    half
}

/// The number of the `\uXXXX` at `at`; `None` for every other escape.
fn escaped(json: &[u8], at: usize) -> Option<u32> {
    if json.get(at + 1) != Some(&b'u') {
        return None;
    }
    json.get(at + 2..at + 6)?.iter().try_fold(0, |code, digit| {
        Some(code << 4 | char::from(*digit).to_digit(16)?)
    })
}
