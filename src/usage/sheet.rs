//! `{KEY_ID: {MODEL: COUNTERS}}` as it is read from a file: a list that borrows its names, because a day with its hours has
//! thousands of them and each is needed only until it is a number of [`Names`].

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::Counters;
use super::book::{Cells, Names};

/// Counters by key and model.
pub(super) type Sheet<'a> = Entries<'a, Entries<'a, Counters>>;

/// A JSON object in its own order. A name that stands twice counts with its last value, as in any JSON map.
pub(super) struct Entries<'a, V>(pub(super) Vec<(Cow<'a, str>, V)>);

impl Sheet<'_> {
    /// The same with numbers for names.
    pub(super) fn cells(&self, names: &mut Names) -> Cells {
        let mut cells = Cells::new();
        for (key, models) in &self.0 {
            let key = names.intern(key);
            for (model, counters) in &models.0 {
                cells.insert((key, names.intern(model)), *counters);
            }
        }
        cells
    }
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Entries<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

struct Reader<'a, V>(PhantomData<Entries<'a, V>>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for Reader<'a, V> {
    type Value = Entries<'a, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            entries.push((name, value));
        }
        Ok(Entries(entries))
    }
}
