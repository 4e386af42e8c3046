//! The shapes in which the Python proxy kept its keys, read as tolerantly as is safe.
//!
//! A map from secret to object (or to a name, or to on/off), a list of objects that hold their
//! secret (or of bare secrets), either of them at the top or under one of a few names, or a map
//! from name to an object that holds the secret. What cannot be read is skipped and said.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::fields;
use crate::keys::digest::MAX_SECRET_BYTES;
use crate::keys::file::MAX_KEYS;
use crate::keys::input::{MAX_NAME_CHARS, printable};
use crate::keys::record::Totals;

/// Under these names a file may hold the keys instead of at its top.
const WRAPPERS: [&str; 5] = ["keys", "api_keys", "apiKeys", "users", "clients"];
/// Top-level names that are not secrets, whatever their value.
const NOT_SECRETS: [&str; 14] = [
    "version",
    "schema",
    "$schema",
    "comment",
    "_comment",
    "description",
    "note",
    "created",
    "created_at",
    "updated",
    "updated_at",
    "last_updated",
    "metadata",
    "_metadata",
];
const ADMIN_NAMES: [&str; 4] = ["admin_key", "adminKey", "master_key", "admin"];
const SECRET_FIELDS: [&str; 6] = ["key", "api_key", "apiKey", "secret", "token", "value"];
const NAME_FIELDS: [&str; 8] = [
    "name", "user", "username", "label", "alias", "title", "owner", "email",
];
/// Shorter secrets are taken over with a warning.
const SHORT_SECRET: usize = 16;
/// Warnings beyond this number are counted instead of listed.
const MAX_WARNINGS: usize = 100;

/// One key of the old file.
pub(in crate::keys) struct OldKey {
    pub secret: String,
    pub name: Option<String>,
    pub enabled: bool,
    pub models: Vec<String>,
    pub created_at: Option<u64>,
    pub expires_at: Option<u64>,
    pub last_used_at: Option<u64>,
    pub usage: Totals,
    /// How messages call it: never its secret.
    pub label: String,
}

/// A whole old file.
#[derive(Default)]
pub(in crate::keys) struct OldFile {
    pub keys: Vec<OldKey>,
    /// Entries that could not be read.
    pub skipped: usize,
    pub warnings: Vec<String>,
}

impl OldFile {
    /// `None` when the text is JSON but holds nothing that could be a key, so that a wrong file is
    /// not taken for an empty one; `{}` and `[]` are empty.
    pub(in crate::keys) fn parse(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let items = match serde_json::from_str::<Top>(text)? {
            Top::Entries(items) => unwrap_items(items),
            Top::Other => return Ok(None),
        };
        if items.len() > MAX_KEYS {
            return Ok(None);
        }
        let mut file = Self::default();
        let any = !items.is_empty();
        for (number, (key, value)) in items.into_iter().enumerate() {
            file.add(number + 1, key, value);
        }
        file.keep_last_of_each_secret();
        if file.warnings.len() > MAX_WARNINGS {
            let more = file.warnings.len() - MAX_WARNINGS;
            file.warnings.truncate(MAX_WARNINGS);
            file.warnings
                .push(format!("and {more} more warnings of this kind"));
        }
        Ok((!any || !file.keys.is_empty()).then_some(file))
    }

    fn add(&mut self, number: usize, key: Option<String>, value: Value) {
        let mut label = format!("entry {number}");
        if let Some(key) = key.as_deref()
            && !value.is_object()
        {
            if NOT_SECRETS.contains(&key) {
                return;
            }
            if ADMIN_NAMES.contains(&key) {
                self.warnings.push(format!(
                    "{label}: the old admin key was not taken over; set ADMIN_KEY to keep it"
                ));
                return;
            }
        }
        let Some((secret, name, object)) = identify(key, value) else {
            return self.skip(format!(
                "{label}: has no secret that can be read; it was left out"
            ));
        };
        if secret.is_empty()
            || secret.len() > MAX_SECRET_BYTES
            || !secret.chars().all(|c| c.is_ascii_graphic())
        {
            let what = "is no secret that a client could send in a header (1 to 512 ASCII characters, no spaces)";
            return self.skip(format!("{label}: {what}; it was left out"));
        }
        let name = name.and_then(|n| clean_name(&n, &secret));
        if let Some(name) = &name {
            label = format!("{label} ({name:?})");
        }
        if secret.len() < SHORT_SECRET {
            self.warnings.push(format!(
                "{label}: the secret is short and could be guessed; rotate the key"
            ));
        }
        let mut warn = |what: &str| self.warnings.push(format!("{label}: {what}"));
        let mut enabled = fields::enabled(&object, &mut warn);
        let models = fields::models(&object, &mut warn).unwrap_or_else(|| {
            enabled = false;
            Vec::new()
        });
        let expires_at = fields::expires_at(&object, &mut warn).unwrap_or_else(|| {
            enabled = false;
            None
        });
        fields::say_what_is_lost(&object, &mut warn);
        let usage = fields::usage(&object, &mut warn);
        self.keys.push(OldKey {
            secret,
            name,
            enabled,
            models,
            created_at: fields::time_of(&object, &fields::CREATED),
            expires_at,
            last_used_at: fields::time_of(&object, &fields::LAST_USED),
            usage,
            label,
        });
    }

    fn skip(&mut self, warning: String) {
        self.skipped += 1;
        self.warnings.push(warning);
    }

    /// As a map in Python: of two entries with one secret the later counts, but a key that either
    /// of them switches off stays off.
    fn keep_last_of_each_secret(&mut self) {
        let mut last: HashMap<String, (usize, bool)> = HashMap::new();
        for (at, key) in self.keys.iter().enumerate() {
            let seen = last.entry(key.secret.clone()).or_insert((at, true));
            *seen = (at, seen.1 && key.enabled);
        }
        if last.len() == self.keys.len() {
            return;
        }
        self.warnings
            .push("a secret is given more than once: the last entry counts".to_owned());
        let mut at = 0;
        self.keys.retain_mut(|key| {
            let (keep, enabled) = last.get(&key.secret).copied().unwrap_or((at, key.enabled));
            key.enabled = enabled;
            at += 1;
            keep + 1 == at
        });
    }
}

/// Secret, name and fields of an entry; `key` is its key when the file is a map.
fn identify(
    key: Option<String>,
    value: Value,
) -> Option<(String, Option<String>, Map<String, Value>)> {
    match (key, value) {
        (key, Value::Object(object)) => {
            let own = first_string(&object, &SECRET_FIELDS);
            let name = first_string(&object, &NAME_FIELDS);
            match (own, key) {
                (Some(secret), key) => Some((secret, name.or(key), object)),
                (None, Some(key)) => Some((key, name, object)),
                (None, None) => None,
            }
        }
        (Some(key), Value::String(text)) => {
            let (secret, name) = if looks_secret(&text) && !looks_secret(&key) {
                (text, key)
            } else {
                (key, text)
            };
            Some((secret, Some(name), Map::new()))
        }
        (Some(key), value @ (Value::Bool(_) | Value::Number(_))) => {
            Some((key, None, Map::from_iter([("enabled".to_owned(), value)])))
        }
        (Some(key), Value::Null) => Some((key, None, Map::new())),
        (None, Value::String(secret)) => Some((secret, None, Map::new())),
        _ => None,
    }
}

fn first_string(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|n| object.get(*n)?.as_str().filter(|s| !s.trim().is_empty()))
        .map(str::to_owned)
}

/// Whether a text is a secret rather than a name, when a file does not say which of two is which.
fn looks_secret(text: &str) -> bool {
    let token = text.len() >= 20 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'@');
    let marked = ["sk-", "sk_", "luna-", "key-", "pk-"]
        .iter()
        .any(|p| text.starts_with(p));
    marked || (token && text.bytes().any(|b| b.is_ascii_digit()))
}

/// A name that can be shown: never the secret itself.
fn clean_name(name: &str, secret: &str) -> Option<String> {
    if name.contains(secret) || looks_secret(name) {
        return None;
    }
    let shown: String = name
        .chars()
        .map(|c| if printable(c) { c } else { ' ' })
        .collect();
    let cut: String = shown.trim().chars().take(MAX_NAME_CHARS).collect();
    let cut = cut.trim_end();
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// Steps into a wrapper, if the top is one.
fn unwrap_items(items: Vec<(Option<String>, Value)>) -> Vec<(Option<String>, Value)> {
    let wrapper = items.iter().position(|(key, value)| {
        let named = key.as_deref().is_some_and(|k| WRAPPERS.contains(&k));
        named && (value.is_array() || value.as_object().is_some_and(|o| !o.contains_key("name")))
    });
    let Some(at) = wrapper else { return items };
    let mut inner = Vec::new();
    for (number, (key, value)) in items.into_iter().enumerate() {
        match value {
            Value::Array(list) if number == at => inner.extend(list.into_iter().map(|v| (None, v))),
            Value::Object(map) if number == at => {
                inner.extend(map.into_iter().map(|(k, v)| (Some(k), v)))
            }
            // An admin key beside the wrapper is still worth its warning.
            other if key.as_deref().is_some_and(|k| ADMIN_NAMES.contains(&k)) => {
                inner.push((key, other))
            }
            _ => {}
        }
    }
    inner
}

/// The top of an old file with its entries in the order of the file, which `Value` would lose:
/// of equal names the first keeps it.
enum Top {
    Entries(Vec<(Option<String>, Value)>),
    Other,
}

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TopVisitor)
    }
}

struct TopVisitor;

impl<'de> Visitor<'de> for TopVisitor {
    type Value = Top;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list of keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top, A::Error> {
        let mut items = Vec::new();
        while let Some((key, value)) = map.next_entry()? {
            items.push((Some(key), value));
        }
        Ok(Top::Entries(items))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Top, A::Error> {
        let mut items = Vec::new();
        while let Some(value) = seq.next_element()? {
            items.push((None, value));
        }
        Ok(Top::Entries(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Top, E> {
        Ok(Top::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Top, E> {
        Ok(Top::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Top, E> {
        Ok(Top::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Top, E> {
        Ok(Top::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Top, E> {
        Ok(Top::Other)
    }

    fn visit_unit<E>(self) -> Result<Top, E> {
        Ok(Top::Other)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Top, D::Error> {
        IgnoredAny::deserialize(d).map(|_| Top::Other)
    }
}
