//! Tool call ids that the other side accepts.
//!
//! Antigravity keeps Gemini's thought signatures under these ids, so a clean one is never changed.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Hexadecimal digits of the hash: two different ids never meet.
const HEX: usize = 32;

/// The id itself when it is made of `[A-Za-z0-9_-]`, else one made from its hash: the same on the call and on its result,
/// in every turn.
pub fn clean_id(id: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !id.is_empty() && id.bytes().all(plain) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(made_id("call_", id.as_bytes()))
}

/// An id that depends on nothing but `seed`.
pub fn made_id(prefix: &str, seed: &[u8]) -> String {
    let mut made = String::with_capacity(prefix.len() + HEX);
    made.push_str(prefix);
    push_hex(&mut made, &Sha256::digest(seed), HEX);
    made
}

/// Appends the first `digits` hexadecimal digits of `bytes`.
pub(super) fn push_hex(text: &mut String, bytes: &[u8], digits: usize) {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    text.extend(
        nibbles
            .take(digits)
            .filter_map(|nibble| char::from_digit(u32::from(nibble), 16)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_ids_stay_and_others_are_told_apart() {
        assert_eq!(clean_id("toolu_01-A"), "toolu_01-A");
        assert_eq!(clean_id("a.b"), clean_id("a.b"));
        assert_ne!(clean_id("a.b"), clean_id("a:b"));
        assert!(clean_id("").starts_with("call_"));
        assert_eq!(clean_id(&clean_id("a b")), clean_id("a b"));
    }
}
