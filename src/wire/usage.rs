//! Token counts as the upstream reports them.
//!
//! Invariants: reports are cumulative, so a later field replaces an earlier one and is never added to it;
//! no report can make a count larger than [`TOKENS_MAX`] or a parse panic. Neighbours: the parsers of
//! `wire` find the usage objects, the `usage` module adds up what they say.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::anthropic::Text;

/// The largest count that one answer can have; what is above is taken for an upstream's mistake.
pub const TOKENS_MAX: u64 = 1_000_000_000;

/// Tokens by price class; the four are disjoint.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// Input that was neither read from nor written to a cache (`input_tokens`).
    pub input: u64,
    /// `output_tokens`.
    pub output: u64,
    /// `cache_read_input_tokens`.
    pub cache_read: u64,
    /// `cache_creation_input_tokens`.
    pub cache_creation: u64,
}

impl Tokens {
    /// Adds the tokens of another answer; stays at the maximum instead of wrapping.
    pub const fn add(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_creation = self.cache_creation.saturating_add(other.cache_creation);
    }

    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.input == 0 && self.output == 0 && self.cache_read == 0 && self.cache_creation == 0
    }
}

/// The usage of one answer, as far as it has been seen.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UsageSeen {
    /// The last value of each field.
    pub tokens: Tokens,
    /// Whether any field has been reported, even as zero.
    pub seen: bool,
    /// How many reported values were impossible and have been replaced by 0 or the maximum.
    pub clamped: u32,
}

impl UsageSeen {
    /// Takes over the fields of an Anthropic `usage` object that are present and not null. Anything
    /// but one whole JSON object is ignored.
    pub fn merge_anthropic(&mut self, usage_object_json: &[u8]) {
        let Ok(report) = serde_json::from_slice::<Report>(usage_object_json) else {
            return;
        };
        let mut tokens = self.tokens;
        self.take([
            (report.input, &mut tokens.input),
            (report.output, &mut tokens.output),
            (report.cache_read, &mut tokens.cache_read),
            (report.cache_creation, &mut tokens.cache_creation),
        ]);
        self.tokens = tokens;
    }

    /// Takes over the fields of an OpenAI `usage` object that are present and not null (contracts/conversion.md,
    /// section 7): `prompt_tokens` holds the cached and the cache-written ones too, here they are taken out of it.
    /// Anything but one whole JSON object is ignored.
    pub fn merge_openai(&mut self, usage_object_json: &[u8]) {
        let Ok(report) = serde_json::from_slice::<OpenAiReport>(usage_object_json) else {
            return;
        };
        let details = report
            .details
            .and_then(|details| serde_json::from_str::<OpenAiDetails>(details.get()).ok())
            .unwrap_or_default();
        let mut tokens = self.tokens;
        let mut prompt = tokens
            .input
            .saturating_add(tokens.cache_read)
            .saturating_add(tokens.cache_creation);
        self.take([
            (report.prompt, &mut prompt),
            (report.completion, &mut tokens.output),
            (details.cached, &mut tokens.cache_read),
            (details.cache_write, &mut tokens.cache_creation),
        ]);
        tokens.input = prompt
            .saturating_sub(tokens.cache_read)
            .saturating_sub(tokens.cache_creation);
        self.tokens = tokens;
    }

    /// Puts each value that is there and not null into its place, and notes the impossible ones.
    fn take(&mut self, values: [(Option<&RawValue>, &mut u64); 4]) {
        for (value, place) in values {
            let Some(raw) = value.map(RawValue::get).filter(|raw| *raw != "null") else {
                continue;
            };
            self.seen = true;
            let (count, possible) = count(raw);
            *place = count;
            if !possible {
                self.clamped = self.clamped.saturating_add(1);
            }
        }
    }
}

/// The count that a JSON value stands for, and whether it is a possible one.
fn count(raw: &str) -> (u64, bool) {
    if let Ok(count) = raw.parse::<u64>() {
        return (count.min(TOKENS_MAX), count <= TOKENS_MAX);
    }
    // A string, object or bool is no f64 either: JSON knows no inf or nan.
    match raw.parse::<f64>() {
        #[allow(
            clippy::cast_precision_loss,
            reason = "the maximum is exact as a float"
        )]
        Ok(number) if number > TOKENS_MAX as f64 => (TOKENS_MAX, false),
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative and at most the maximum"
        )]
        Ok(number) if number >= 0.0 && number.fract() == 0.0 => (number as u64, true),
        _ => (0, false),
    }
}

/// A report's fields of interest; raw, so that one strange value does not hide the others. By hand, because the derived
/// code refuses a field that is given twice.
macro_rules! report {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $key:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $name<'a> {
            $($field: Option<&'a RawValue>,)+
        }

        impl<'de> Deserialize<'de> for $name<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;

                impl<'de> Visitor<'de> for Fields {
                    type Value = $name<'de>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a usage object")
                    }

                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut report = $name::default();
                        while let Some(Text(key)) = map.next_key()? {
                            match key.as_ref() {
                                $($key => report.$field = Some(map.next_value()?),)+
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(report)
                    }
                }

                deserializer.deserialize_map(Fields)
            }
        }
    };
}

report! {
    /// `usage` of the Messages API.
    Report {
        input = "input_tokens",
        output = "output_tokens",
        cache_read = "cache_read_input_tokens",
        cache_creation = "cache_creation_input_tokens",
    }
}

report! {
    /// `usage` of Chat Completions.
    OpenAiReport {
        prompt = "prompt_tokens",
        completion = "completion_tokens",
        details = "prompt_tokens_details",
    }
}

report! {
    /// `usage.prompt_tokens_details` of Chat Completions.
    OpenAiDetails {
        cached = "cached_tokens",
        cache_write = "cache_write_tokens",
    }
}

#[cfg(test)]
mod tests;
