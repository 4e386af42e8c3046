//! Reads JSON one level at a time, and writes it, without ever touching the digits, escapes or key order of what is
//! only carried.
//!
//! Invariants: what [`Writer`] gives is valid JSON as long as what is put in raw is; a lone surrogate never gets out
//! as text ([`text`] and [`literal`] refuse it).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What a JSON value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// With its article, for error texts: `a string`.
    pub const fn named(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// What `raw` is.
pub fn kind(raw: &RawValue) -> Kind {
    match raw.get().as_bytes().first() {
        Some(b'"') => Kind::String,
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// An object's members in their order; values undecoded. Of a key given twice the last one counts, as in JavaScript.
#[derive(Debug, Default)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// serde_json's, when it is no JSON object in UTF-8.
    pub fn parse(body: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }

    /// `None` when `raw` is no object.
    pub fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// The member, when it is there and not null.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
            .filter(|value| value.get() != "null")
    }

    /// The member as text, when it is a string.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        text(self.get(name)?)
    }

    /// All members, in their order; nulls and repeated keys too.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members
            .iter()
            .map(|(key, value)| (key.as_ref(), *value))
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        #[derive(Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Object { members })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// The elements of an array; `None` when `raw` is none.
pub fn array(raw: &RawValue) -> Option<Vec<&RawValue>> {
    if kind(raw) != Kind::Array {
        return None;
    }
    serde_json::from_str(raw.get()).ok()
}

/// A string, borrowed when it has no escapes; `None` when `raw` is none, or holds a lone surrogate.
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str::<Text<'_>>(raw.get())
        .ok()
        .map(|text| text.0)
}

/// A string's literal with its quotes, to be copied as it stands; `None` when `raw` is no string, or one with a lone
/// surrogate. Decodes only strings that have `\u` escapes.
pub fn literal(raw: &RawValue) -> Option<&str> {
    let literal = raw.get();
    if !literal.starts_with('"') {
        return None;
    }
    let escaped = memchr::memmem::find(literal.as_bytes(), b"\\u").is_some();
    (!escaped || text(raw).is_some()).then_some(literal)
}

/// Whether a string literal (with its quotes) holds nothing but white space. Escapes other than those of white space
/// make it text.
pub fn is_blank_literal(literal: &str) -> bool {
    let mut inner = literal.trim_matches('"').as_bytes();
    loop {
        inner = match inner {
            [] => return true,
            [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] => rest,
            [b'\\', b'n' | b't' | b'r' | b'f', rest @ ..] => rest,
            // Anything else is rare enough to be decoded.
            [first, ..] if *first == b'\\' || !first.is_ascii() => {
                return serde_json::from_str::<String>(literal)
                    .is_ok_and(|text| text.trim().is_empty());
            }
            _ => return false,
        };
    }
}

/// A non-negative whole number; `None` for everything else, floats too.
pub fn whole(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok()
}

/// Writes JSON; commas come by themselves.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    comma: bool,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            comma: false,
        }
    }

    /// Writes on after what `out` already holds.
    pub fn onto(out: Vec<u8>) -> Self {
        Self { out, comma: false }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    pub fn open_object(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'{');
        self.comma = false;
        self
    }

    pub fn close_object(&mut self) -> &mut Self {
        self.out.push(b'}');
        self.comma = true;
        self
    }

    pub fn open_array(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'[');
        self.comma = false;
        self
    }

    pub fn close_array(&mut self) -> &mut Self {
        self.out.push(b']');
        self.comma = true;
        self
    }

    /// A key of ours, which needs no escapes.
    pub fn key(&mut self, name: &'static str) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.comma = false;
        self
    }

    /// A string value.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.separate();
        // A str always serializes into memory.
        if serde_json::to_writer(&mut self.out, text).is_err() {
            self.out.extend_from_slice(b"\"\"");
        }
        self
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    pub fn number(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_string())
    }

    pub fn flag(&mut self, flag: bool) -> &mut Self {
        self.raw(if flag { "true" } else { "false" })
    }

    pub fn null(&mut self) -> &mut Self {
        self.raw("null")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop where it fails")]

    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn members_keep_order_digits_and_the_last_of_two() {
        let object =
            Object::parse(br#"{"b":1e400,"a":{"z":1.0,"y":2},"b":12345678901234567890123}"#)
                .unwrap();
        assert_eq!(object.get("b").unwrap().get(), "12345678901234567890123");
        assert_eq!(object.get("a").unwrap().get(), r#"{"z":1.0,"y":2}"#);
        let keys: Vec<&str> = object.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["b", "a", "b"]);
        assert!(Object::parse(b"[1]").is_err());
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn null_is_absent() {
        let object = Object::parse(br#"{"a":null,"\u0062":"x"}"#).unwrap();
        assert!(object.get("a").is_none());
        assert_eq!(object.text("b").unwrap(), "x");
    }

    #[test]
    fn lone_surrogates_are_no_text() {
        assert!(literal(raw(r#""\ud800""#)).is_none());
        assert!(text(raw(r#""\ud800""#)).is_none());
        assert_eq!(
            literal(raw(r#""\ud83d\ude00\/""#)),
            Some(r#""\ud83d\ude00\/""#)
        );
        assert_eq!(literal(raw("1")), None);
    }

    #[test]
    fn blank_is_white_space_in_any_spelling() {
        for blank in [
            r#""""#,
            r#"" ""#,
            r#""\n \t""#,
            r#""\u0020\u00a0""#,
            "\"\u{3000}\"",
        ] {
            assert!(is_blank_literal(blank), "{blank}");
        }
        for said in [
            r#""x""#,
            r#"" x""#,
            r#""\\""#,
            r#""\"""#,
            r#""\u0041""#,
            "\"é\"",
        ] {
            assert!(!is_blank_literal(said), "{said}");
        }
    }

    #[test]
    fn the_writer_puts_the_commas() {
        let mut w = Writer::default();
        w.open_object()
            .key("a")
            .open_array()
            .number(1)
            .text("x\"\n");
        w.open_object().close_object().close_array();
        w.key("b").null().key("c").flag(true).key("d").raw("1e400");
        w.close_object();
        assert_eq!(
            String::from_utf8(w.into_bytes()).unwrap(),
            r#"{"a":[1,"x\"\n",{}],"b":null,"c":true,"d":1e400}"#
        );
    }
}
