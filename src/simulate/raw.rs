//! JSON that is looked into without building a tree: bodies are megabytes, and numbers of any size must pass.
//!
//! Invariants: no recursion on the input's depth (`serde_json` skips what it does not keep without recursing);
//! a doubled key behaves as in JavaScript, where the last one wins.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One value, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a>(&'a str);

struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl<'a> Node<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(|raw| Self(raw.get()))
    }

    pub(super) fn raw(self) -> &'a str {
        self.0
    }

    fn starts_with(self, letter: char) -> bool {
        self.0.starts_with(letter)
    }

    pub(super) fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub(super) fn is_object(self) -> bool {
        self.starts_with('{')
    }

    pub(super) fn is_string(self) -> bool {
        self.starts_with('"')
    }

    pub(super) fn is_bool(self) -> bool {
        matches!(self.0, "true" | "false")
    }

    /// JavaScript's idea of true.
    pub(super) fn is_truthy(self) -> bool {
        !matches!(self.0, "false" | "null" | "\"\"" | "0" | "-0" | "0.0")
    }

    /// The fields of an object in their order; none of anything else.
    pub(super) fn fields(self) -> Vec<(String, Node<'a>)> {
        let fields = serde_json::from_str(self.0).unwrap_or(Fields(Vec::new()));
        let wrap = |(name, raw): (String, &'a RawValue)| (name, Node(raw.get()));
        fields.0.into_iter().map(wrap).collect()
    }

    pub(super) fn get(self, name: &str) -> Option<Node<'a>> {
        let fields = self.fields().into_iter();
        fields.rev().find(|(key, _)| key == name).map(|(_, v)| v)
    }

    /// A field that is there and not null.
    pub(super) fn some(self, name: &str) -> Option<Node<'a>> {
        self.get(name).filter(|node| !node.is_null())
    }

    pub(super) fn items(self) -> Option<Vec<Node<'a>>> {
        let items: Vec<&'a RawValue> = serde_json::from_str(self.0).ok()?;
        Some(items.into_iter().map(|raw| Node(raw.get())).collect())
    }

    pub(super) fn text(self) -> Option<String> {
        self.is_string()
            .then(|| serde_json::from_str(self.0).ok())?
    }

    /// A field's string.
    pub(super) fn text_of(self, name: &str) -> Option<String> {
        self.get(name)?.text()
    }

    /// A number; what is beyond an `f64` is infinite.
    pub(super) fn number(self) -> Option<f64> {
        let first = self.0.chars().next()?;
        let is_number = first == '-' || first.is_ascii_digit();
        is_number.then(|| self.0.parse().ok())?
    }

    pub(super) fn integer(self) -> Option<u64> {
        self.0.parse().ok()
    }
}
