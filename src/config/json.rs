//! JSON with line numbers, for fallback.json: serde_json does the reading, one level at a time, and the place of each
//! raw value within the text gives its line. A key given twice is an error.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{LineIndex, quoted};

/// A file's text, and the way from a value to its line.
#[derive(Debug)]
pub(super) struct Text<'a> {
    text: &'a str,
    lines: LineIndex,
}

/// One value within a text.
pub(super) type Value<'a> = &'a RawValue;

/// The members of an object, in their order.
pub(super) type Members<'a> = Vec<(String, Value<'a>)>;

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            lines: LineIndex::new(text),
        }
    }

    /// The whole text as one value; the error has its line.
    pub(super) fn root(&self) -> Result<Value<'a>, (usize, String)> {
        serde_json::from_str(self.text).map_err(|error| {
            let message = error.to_string();
            // serde_json ends its messages with the place, which is given apart.
            let what = message
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned();
            (error.line().max(1), format!("not valid JSON: {what}"))
        })
    }

    /// The line on which a value begins.
    pub(super) fn line(&self, value: Value<'_>) -> usize {
        let start = self.text.as_ptr().addr();
        self.lines
            .line(value.get().as_ptr().addr().saturating_sub(start))
    }

    /// That line's text.
    pub(super) fn quote(&self, line: usize) -> String {
        quoted(self.lines.text(self.text, line))
    }
}

/// The members of an object; `None` when the value is something else.
pub(super) fn members(value: Value<'_>) -> Option<Members<'_>> {
    serde_json::from_str::<Object<'_>>(value.get())
        .ok()
        .map(|object| object.0)
}

/// The items of an array; `None` when the value is something else.
pub(super) fn items(value: Value<'_>) -> Option<Vec<Value<'_>>> {
    serde_json::from_str::<Array<'_>>(value.get())
        .ok()
        .map(|array| array.0)
}

/// The text of a string; `None` when the value is something else.
pub(super) fn text(value: Value<'_>) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// A finite number; `None` when the value is something else.
pub(super) fn number(value: Value<'_>) -> Option<f64> {
    serde_json::from_str::<f64>(value.get())
        .ok()
        .filter(|number| number.is_finite())
}

/// What kind of value it is, in words.
pub(super) fn kind(value: Value<'_>) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The first key that is given twice, with its second value.
pub(super) fn repeated<'m, 'a>(members: &'m Members<'a>) -> Option<(&'m str, Value<'a>)> {
    let mut seen = std::collections::BTreeSet::new();
    members
        .iter()
        .find(|(key, _)| !seen.insert(key.as_str()))
        .map(|(key, value)| (key.as_str(), *value))
}

struct Object<'a>(Members<'a>);
struct Array<'a>(Vec<Value<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    members.push((key.into_owned(), value));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Object)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Array<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<&'de RawValue>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(Collect).map(Array)
    }
}
