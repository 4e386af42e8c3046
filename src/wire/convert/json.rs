//! Reads JSON one level at a time, and writes it, without ever touching the digits, escapes or key order of what is
//! only carried.
//!
//! Invariants: what [`Writer`] gives is valid JSON as long as what is put in raw is; a lone surrogate never gets out
//! as text ([`text`] and [`literal`] refuse it); what is read takes memory in proportion to what is carried, because
//! objects and arrays of no honest size are refused, not read ([`MEMBERS_MAX`], [`ELEMENTS_MAX`]).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

mod surrogates;

pub use surrogates::has_lone_surrogate;

/// Members of an [`Object`]: a tiny one takes ten times its bytes in memory. Schemas and arguments, which may have more,
/// are carried raw.
pub const MEMBERS_MAX: usize = 4096;
/// Elements of an [`array`].
pub const ELEMENTS_MAX: usize = 1_000_000;
const TOO_MANY_MEMBERS: &str = "an object has too many members";

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

    /// How many members there are, nulls and repeated keys too.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(A::Error::custom(TOO_MANY_MEMBERS));
                    }
                    members.push((key, map.next_value()?));
                }
                Ok(Object { members })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The member called `name` of an object of any size, found without keeping the others; of two the last one. `None`:
/// `raw` is no object; `Some(None)`: it has no such member.
pub fn member<'a>(raw: &'a RawValue, name: &str) -> Option<Option<&'a RawValue>> {
    struct Last<'n>(&'n str);

    impl<'de> Visitor<'de> for Last<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut last = None;
            while let Some(Key(key)) = map.next_key()? {
                if key == self.0 {
                    last = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(last)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.deserialize_map(Last(name)).ok()
}

/// The elements of an array; `None` when `raw` is none, or has more than [`ELEMENTS_MAX`].
pub fn array(raw: &RawValue) -> Option<Vec<&RawValue>> {
    struct Elements<'a>(Vec<&'a RawValue>);

    impl<'de> Deserialize<'de> for Elements<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(All)
        }
    }

    struct All;

    impl<'de> Visitor<'de> for All {
        type Value = Elements<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element()? {
                if elements.len() == ELEMENTS_MAX {
                    return Err(A::Error::custom("an array has too many elements"));
                }
                elements.push(element);
            }
            Ok(Elements(elements))
        }
    }

    let elements: Elements<'_> = serde_json::from_str(raw.get()).ok()?;
    Some(elements.0)
}

/// Whether a body was refused for [`MEMBERS_MAX`].
pub fn is_too_many(error: &serde_json::Error) -> bool {
    error.is_data() && error.to_string().starts_with(TOO_MANY_MEMBERS)
}

/// Why a value that should be `wanted` (`an object`) cannot be read as one, for error texts: `must be an object, not
/// null`.
pub fn unfit(wanted: &str, raw: &RawValue) -> String {
    match kind(raw) {
        Kind::Object if wanted.contains("an object") => format!(
            "cannot be read: it has more than {MEMBERS_MAX} members, or a key that is no Unicode text"
        ),
        Kind::Array if wanted.contains("an array") => {
            format!("cannot be read: it has more than {ELEMENTS_MAX} elements")
        }
        other => format!("must be {wanted}, not {}", other.named()),
    }
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
mod tests;
