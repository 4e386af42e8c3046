//! Secrets and what is left of them: hash, prefix, random ids.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::KeyError;

/// What every secret made here begins with.
const SECRET_PREFIX: &str = "luna-";
/// Random bytes in a secret: 256 bits, 43 base64url characters.
const SECRET_BYTES: usize = 32;
/// Longest secret that is looked at; longer ones are unknown without being hashed.
pub(super) const MAX_SECRET_BYTES: usize = 512;
/// Characters of a secret that are shown again: the fixed part and 24 random bits.
const SHOWN_CHARS: usize = 9;
/// Of a short secret no more than this part is shown.
const SHOWN_PART: usize = 3;
const ID_PREFIX: &str = "key_";
const ID_CHARS: usize = 12;
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A secret in clear, on its way to the one person who is shown it. `Debug` hides it, and there
/// is no `Display` and no `Serialize`: whoever wants it says [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new secret: `luna-` and 43 base64url characters of the system's random source.
    pub(super) fn generate() -> Result<Self, KeyError> {
        let mut bytes = [0u8; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| KeyError::Random)?;
        Ok(Self(format!(
            "{SECRET_PREFIX}{}",
            URL_SAFE_NO_PAD.encode(bytes)
        )))
    }

    /// The secret in clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// SHA-256 of a secret. Secrets made here have 256 random bits, so that a slow password hash
/// would add nothing; equality needs no constant time, as nobody can choose a hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(super) fn to_hex(self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 {
            return None;
        }
        let mut bytes = [0u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return None };
            let digit = |c: u8| char::from(c).to_digit(16);
            *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
        }
        Some(Self(bytes))
    }

    fn first_word(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(***)")
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.first_word());
    }
}

/// The hash of a hash is its first word: SHA-256 spreads better than any hasher would.
#[derive(Default)]
pub(super) struct FirstWord(u64);

impl Hasher for FirstWord {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

pub(super) type DigestMap<V> = HashMap<Digest, V, BuildHasherDefault<FirstWord>>;

/// The part of a secret by which a person recognises it: nine characters, fewer of a short one.
pub(super) fn shown_prefix(secret: &str) -> String {
    let shown = SHOWN_CHARS.min(secret.chars().count() / SHOWN_PART);
    secret
        .chars()
        .take(shown)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// A new random id, `key_` and 12 base32 characters (60 bits).
pub(super) fn random_id() -> Result<String, KeyError> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(id_from(u64::from_le_bytes(bytes)))
}

/// The id of a record that a person wrote without one: the same at each reading of the file.
pub(super) fn derived_id(hash: Digest) -> String {
    id_from(Digest::of(&hash.0).first_word())
}

/// A number that stands for a key where only "the same key or another" matters.
pub(super) fn tag_of(id: &str) -> u64 {
    Digest::of(id.as_bytes()).first_word()
}

fn id_from(mut bits: u64) -> String {
    let mut id = String::from(ID_PREFIX);
    for _ in 0..ID_CHARS {
        // Five bits are always within the alphabet.
        id.extend(
            ID_ALPHABET
                .get((bits & 31) as usize)
                .map(|c| char::from(*c)),
        );
        bits >>= 5;
    }
    id
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn secrets_are_luna_and_43_characters_and_never_debugged() {
        let secret = Secret::generate().unwrap();
        let random = secret.reveal().strip_prefix("luna-").unwrap();
        assert_eq!(random.len(), 43);
        assert!(
            random
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert_ne!(secret, Secret::generate().unwrap());
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }

    #[test]
    fn a_digest_is_sha_256_in_hex() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_hex(), empty);
        assert_eq!(
            Digest::from_hex(&empty.to_uppercase()),
            Some(Digest::of(b""))
        );
        assert_eq!(Digest::from_hex(&empty.replace('e', "g")), None);
        assert_eq!(Digest::from_hex("e3"), None);
        assert_eq!(Digest::from_hex(&"é".repeat(32)), None);
    }

    #[test]
    fn a_short_secret_is_not_shown_whole() {
        assert_eq!(
            shown_prefix("luna-abcdefghijklmnopqrstuvwxyz0123456789"),
            "luna-abcd"
        );
        assert_eq!(shown_prefix("sk-123"), "sk");
        assert_eq!(shown_prefix("x"), "");
    }

    #[test]
    fn ids_have_their_form() {
        let id = random_id().unwrap();
        assert!(id.starts_with("key_") && id.len() == 16, "{id}");
        assert_ne!(id, random_id().unwrap());
        assert_eq!(derived_id(Digest::of(b"a")), derived_id(Digest::of(b"a")));
        assert_ne!(derived_id(Digest::of(b"a")), derived_id(Digest::of(b"b")));
    }
}
