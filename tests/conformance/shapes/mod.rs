//! What the official SDKs require of an answer, and the order that both protocols prescribe.
//!
//! Written from the SDKs' types, not from the conversion: an answer that passes its golden file and fails here shows a
//! golden file that blesses a mistake.

use serde_json::Value;

pub(super) mod anthropic;
pub(super) mod openai;

mod tests;

/// Collects what is wrong.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn check(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.0.push(format!("shape: {}", what()));
        }
    }

    fn string(&mut self, value: &Value, key: &str, place: &str) {
        self.check(value[key].is_string(), || {
            format!("{place}.{key} is no string")
        });
    }

    fn filled(&mut self, value: &Value, key: &str, place: &str) {
        let filled = value[key].as_str().is_some_and(|text| !text.is_empty());
        self.check(filled, || {
            format!("{place}.{key} is no string with something in it")
        });
    }

    fn count(&mut self, value: &Value, key: &str, place: &str) {
        self.check(value[key].is_u64(), || format!("{place}.{key} is no count"));
    }

    fn is(&mut self, value: &Value, key: &str, expected: &str, place: &str) {
        self.check(value[key] == expected, || {
            format!("{place}.{key} is {}, not {expected}", value[key])
        });
    }

    fn present(&mut self, value: &Value, key: &str, place: &str) {
        self.check(value.get(key).is_some(), || {
            format!("{place}.{key} is missing")
        });
    }

    fn text_or_null(&mut self, value: &Value, key: &str, place: &str) {
        let right = matches!(value.get(key), Some(Value::Null | Value::String(_)));
        self.check(right, || format!("{place}.{key} is neither text nor null"));
    }
}

/// The frames of a stream, each as its lines; all must end in one blank line, and no line may have a CR in it.
fn frames(body: &[u8], found: &mut Findings) -> Vec<Vec<String>> {
    let Ok(text) = std::str::from_utf8(body) else {
        found.check(false, || "the stream is not UTF-8".into());
        return Vec::new();
    };
    found.check(!text.contains('\r'), || "a CR in the stream".into());
    if text.is_empty() {
        return Vec::new();
    }
    let Some(text) = text.strip_suffix("\n\n") else {
        found.check(false, || "the stream ends within an event".into());
        return Vec::new();
    };
    text.split("\n\n")
        .map(|frame| frame.split('\n').map(str::to_owned).collect())
        .collect()
}

/// Parses JSON in which numbers may be larger than a float, as most languages read them.
fn parse(text: &str) -> Option<Value> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '-' | '0'..='9' => rest
                .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
                .unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        let huge = first != '"' && token.parse::<f64>().is_ok_and(f64::is_infinite);
        plain.push_str(if huge { "0" } else { token });
        rest = after;
    }
    serde_json::from_str(&plain).ok()
}

/// The length of the string literal at the beginning of `text`.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn parse_bytes(body: &[u8]) -> Option<Value> {
    parse(std::str::from_utf8(body).ok()?)
}

fn is_json_object(text: &str) -> bool {
    parse(text).is_some_and(|value| value.is_object())
}
