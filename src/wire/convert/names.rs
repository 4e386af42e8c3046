//! Tool names that the other side accepts, and the way back.
//!
//! Both sides take `[A-Za-z0-9_-]{1,64}`. Any other name is sent with its foreign characters replaced and eight
//! hexadecimal digits of its SHA-256 behind it, so the same name is sent the same way in every turn.
//! Invariant: two names are never sent as one.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::ids::push_hex;

/// Longest name that every upstream takes, in bytes.
pub const NAME_MAX: usize = 64;
const HEX: usize = 8;

/// The names of one request.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Client's name to sent name, all of them.
    sent: HashMap<String, String>,
    /// Sent name to client's name, all of them.
    client: HashMap<String, String>,
}

/// Whether a name can be sent as it is.
pub fn is_plain(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl Names {
    /// Maps all names of a request. Plain ones stay as they are, whatever the others are made into.
    pub fn of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mut all = Self::default();
        for name in names.clone().filter(|name| is_plain(name)) {
            all.insert(name, name.to_owned());
        }
        for name in names.filter(|name| !is_plain(name)) {
            if all.sent.contains_key(name) {
                continue;
            }
            let mut round = 0_u32;
            let free = loop {
                let made = made_plain(name, round);
                if !all.client.contains_key(&made) {
                    break made;
                }
                round += 1;
            };
            all.insert(name, free);
        }
        all
    }

    fn insert(&mut self, client: &str, sent: String) {
        self.client.insert(sent.clone(), client.to_owned());
        self.sent.insert(client.to_owned(), sent);
    }

    /// What is sent for the client's `name`; the name itself when it is not one of this request's.
    pub fn sent<'a>(&'a self, name: &'a str) -> &'a str {
        self.sent.get(name).map_or(name, String::as_str)
    }

    /// The client's name for what the upstream calls `name`.
    pub fn client<'a>(&'a self, name: &'a str) -> &'a str {
        self.client.get(name).map_or(name, String::as_str)
    }
}

fn made_plain(name: &str, round: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    if round > 0 {
        hash.update(round.to_be_bytes());
    }
    let mut made: String = name
        .chars()
        .map(|c| match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' => c,
            _ => '_',
        })
        .take(NAME_MAX - HEX - 1)
        .collect();
    made.push('_');
    push_hex(&mut made, &hash.finalize(), HEX);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_go_and_come_back_and_never_meet() {
        let long = "x".repeat(100);
        let twin = made_plain("a.b", 0);
        let all = ["ok", "a.b", "a/b", &long, &twin, "", "気象"];
        let names = Names::of(all.iter().copied());
        let mut sent: Vec<&str> = all.iter().map(|name| names.sent(name)).collect();
        for (name, sent) in all.iter().zip(&sent) {
            assert!(is_plain(sent), "{sent}");
            assert_eq!(names.client(sent), *name);
        }
        assert_eq!(names.sent("ok"), "ok");
        assert_eq!(names.sent(&twin), twin);
        sent.sort_unstable();
        sent.dedup();
        assert_eq!(sent.len(), all.len());
    }

    #[test]
    fn the_same_name_is_sent_the_same_way_in_every_request() {
        let alone = Names::of(["a.b"].into_iter());
        let among = Names::of(["z", "a.b", "c d"].into_iter());
        assert_eq!(alone.sent("a.b"), among.sent("a.b"));
        assert!(alone.sent("a.b").starts_with("a_b_"));
    }
}
