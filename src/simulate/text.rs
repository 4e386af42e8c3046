//! The text of an answer, cut into deltas, and the input of its tool call.

use std::borrow::Cow;

use super::peek::Peek;
use super::shape::filler;
use super::{Generation, js};

/// So much of the last user text is echoed, in characters.
const ECHO: usize = 80;
/// So much of each result is quoted, in characters.
const RESULT_ECHO: usize = 2_000;
/// So many results are quoted.
const MAX_RESULTS: usize = 64;

#[derive(Clone, Debug)]
pub(super) enum Text {
    /// The text and the ends of its deltas.
    Plain(String, Vec<usize>),
    Filler {
        bytes: u64,
        events: u32,
    },
}

impl Text {
    pub(super) fn plain(text: String, events: Option<u32>) -> Self {
        let mut ends = Vec::new();
        let wanted = events.map(|n| text.len().div_ceil((n as usize).max(1)).max(1));
        let (mut start, mut words) = (0, 0);
        for (index, letter) in text.char_indices() {
            let end = index + letter.len_utf8();
            words += usize::from(letter == ' ');
            let full = match wanted {
                Some(size) => end - start >= size,
                None => words == 3,
            };
            if full || end == text.len() {
                ends.push(end);
                (start, words) = (end, 0);
            }
        }
        Self::Plain(text, ends)
    }

    pub(super) fn deltas(&self) -> u64 {
        match self {
            Self::Plain(_, ends) => ends.len() as u64,
            Self::Filler { bytes: 0, .. } => 0,
            Self::Filler { events, .. } => u64::from(*events),
        }
    }

    pub(super) fn delta(&self, index: u64) -> Cow<'_, str> {
        match self {
            Self::Plain(text, ends) => {
                let at = usize::try_from(index).unwrap_or(usize::MAX);
                let start = at.checked_sub(1).and_then(|before| ends.get(before));
                let end = ends.get(at).copied().unwrap_or(text.len());
                Cow::Borrowed(text.get(start.copied().unwrap_or(0)..end).unwrap_or(""))
            }
            Self::Filler { bytes, events } => {
                // Spread evenly, so that any total goes into any number of deltas.
                let share = |n: u64| {
                    let exact = u128::from(*bytes) * u128::from(n) / u128::from((*events).max(1));
                    u64::try_from(exact).unwrap_or(u64::MAX)
                };
                let (start, end) = (share(index), share(index + 1));
                let len = usize::try_from(end - start).unwrap_or(0);
                Cow::Owned(filler(start, len))
            }
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Plain(text, _) => text.len() as u64,
            Self::Filler { bytes, .. } => *bytes,
        }
    }

    pub(super) fn whole(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text, _) => Cow::Borrowed(text),
            Self::Filler { bytes, .. } => {
                Cow::Owned(filler(0, usize::try_from(*bytes).unwrap_or(0)))
            }
        }
    }
}

/// Cuts at a character's boundary; says whether anything was cut.
pub(super) fn cut(text: &mut String, bytes: u64) -> bool {
    let mut end = usize::try_from(bytes).unwrap_or(usize::MAX);
    if end >= text.len() {
        return false;
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    true
}

/// Names the model, quotes what the tools said or echoes the user, and counts pictures.
pub(super) fn default_text(generation: Generation, peek: &Peek) -> String {
    let words: Vec<&str> = peek.last_user.split_whitespace().take(ECHO).collect();
    let echo: String = words.join(" ").chars().take(ECHO).collect();
    let mut text = format!(
        "Hello from {} of the simulated {}.",
        peek.model,
        generation.name()
    );
    for result in peek.results.iter().take(MAX_RESULTS) {
        let said: String = result.text.chars().take(RESULT_ECHO).collect();
        let how = if result.is_error {
            "failed with"
        } else {
            "said"
        };
        text.push_str(&format!(" {} {how}: {said}", result.id));
    }
    if !echo.is_empty() {
        text.push_str(&format!(" You wrote: {echo}"));
    }
    for (count, what) in [(peek.images, "Pictures"), (peek.documents, "Documents")] {
        if count > 0 {
            text.push_str(&format!(" {what}: {count}."));
        }
    }
    text
}

/// An input that fits the usual schemas: the first value of an enum, "Oslo" for a string, 1, true,
/// and empty arrays and objects; the required properties, or all when none is required.
pub(super) fn tool_input(schema: Option<&str>) -> String {
    let schema: serde_json::Value = schema
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let properties = schema.get("properties").and_then(|p| p.as_object());
    let required = schema.get("required").and_then(|r| r.as_array());
    let required = required.filter(|names| !names.is_empty());
    let wanted = |name: &str| {
        required.is_none_or(|names| names.iter().any(|other| other.as_str() == Some(name)))
    };
    let fields = properties.into_iter().flatten();
    let fields = fields.filter(|(name, _)| wanted(name.as_str()));
    let parts: Vec<String> = fields
        .map(|(name, property)| {
            let first = property.get("enum").and_then(|values| values.get(0));
            let kind = property.get("type").and_then(|kind| kind.as_str());
            let value = match (first, kind) {
                (Some(first), _) => first.to_string(),
                (None, Some("number" | "integer")) => "1".to_owned(),
                (None, Some("boolean")) => "true".to_owned(),
                (None, Some("array")) => "[]".to_owned(),
                (None, Some("object")) => "{}".to_owned(),
                (None, _) => "\"Oslo\"".to_owned(),
            };
            format!("{}:{value}", js(name))
        })
        .collect();
    format!("{{{}}}", parts.join(","))
}
