//! Token counts as the upstream reports them.
//!
//! Invariants: reports are cumulative, so a later field replaces an earlier one and is never added to it;
//! no report can make a count larger than [`TOKENS_MAX`] or a parse panic. Neighbours: the parsers of
//! `wire` find the usage objects, the `usage` module adds up what they say.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

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
        for (value, target) in [
            (report.input, &mut self.tokens.input),
            (report.output, &mut self.tokens.output),
            (report.cache_read, &mut self.tokens.cache_read),
            (report.cache_creation, &mut self.tokens.cache_creation),
        ] {
            let Some(raw) = value.map(RawValue::get).filter(|raw| *raw != "null") else {
                continue;
            };
            self.seen = true;
            let (count, possible) = count(raw);
            *target = count;
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

/// The fields of interest; raw, so that one strange value does not hide the others.
#[derive(Default)]
struct Report<'a> {
    input: Option<&'a RawValue>,
    output: Option<&'a RawValue>,
    cache_read: Option<&'a RawValue>,
    cache_creation: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Key {
    #[serde(rename = "input_tokens")]
    Input,
    #[serde(rename = "output_tokens")]
    Output,
    #[serde(rename = "cache_read_input_tokens")]
    CacheRead,
    #[serde(rename = "cache_creation_input_tokens")]
    CacheCreation,
    #[serde(other)]
    Other,
}

// By hand, because the derived code refuses a field that is given twice.
impl<'de> Deserialize<'de> for Report<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Report<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a usage object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut report = Report::default();
                while let Some(key) = map.next_key()? {
                    let target = match key {
                        Key::Input => &mut report.input,
                        Key::Output => &mut report.output,
                        Key::CacheRead => &mut report.cache_read,
                        Key::CacheCreation => &mut report.cache_creation,
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *target = Some(map.next_value()?);
                }
                Ok(report)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test may stop where it fails"
    )]

    use super::*;
    use proptest::prelude::*;

    fn merged(reports: &[&str]) -> UsageSeen {
        let mut usage = UsageSeen::default();
        for report in reports {
            usage.merge_anthropic(report.as_bytes());
        }
        usage
    }

    #[test]
    fn later_fields_replace() {
        let usage = merged(&[
            r#"{"input_tokens":10,"output_tokens":1,"cache_read_input_tokens":5,"cache_creation_input_tokens":7}"#,
            r#"{"output_tokens":20,"input_tokens":null,"server_tool_use":{"web_search_requests":1}}"#,
        ]);
        assert_eq!(
            usage.tokens,
            Tokens {
                input: 10,
                output: 20,
                cache_read: 5,
                cache_creation: 7
            }
        );
        assert!(usage.seen);
        assert_eq!(usage.clamped, 0);
    }

    #[test]
    fn impossible_numbers_are_clamped_and_counted() {
        for (value, count) in [
            ("-1", 0),
            ("1.5", 0),
            ("\"7\"", 0),
            ("true", 0),
            ("{}", 0),
            ("[1]", 0),
            ("1000000001", TOKENS_MAX),
            ("99999999999999999999999", TOKENS_MAX),
            ("1e999", TOKENS_MAX),
            ("-1e999", 0),
        ] {
            let report = format!(r#"{{"input_tokens":{value},"output_tokens":3}}"#);
            let usage = merged(&[&report]);
            assert_eq!(usage.tokens.input, count, "{value}");
            assert_eq!(usage.tokens.output, 3, "{value}");
            assert_eq!(usage.clamped, 1, "{value}");
        }
        let whole = merged(&[r#"{"input_tokens":1000000000,"output_tokens":2e3}"#]);
        assert_eq!((whole.tokens.output, whole.clamped), (2000, 0));
    }

    #[test]
    fn what_is_no_report_changes_nothing() {
        for report in [
            "",
            "null",
            "[]",
            "[1,2,3,4]",
            "7",
            "{}",
            "{\"x\":1}",
            "{\"input_tokens\":1",
        ] {
            assert_eq!(merged(&[report]), UsageSeen::default(), "{report}");
        }
        assert!(merged(&[r#"{"input_tokens":0}"#]).seen);
    }

    #[test]
    fn a_field_given_twice_counts_once() {
        let usage = merged(&[r#"{"input_tokens":1,"input_tokens":2}"#]);
        assert_eq!(usage.tokens.input, 2);
    }

    #[test]
    fn sums_stay_at_the_maximum() {
        let mut sum = Tokens {
            input: u64::MAX,
            ..Tokens::default()
        };
        sum.add(Tokens {
            input: 1,
            output: 2,
            cache_read: 3,
            cache_creation: 4,
        });
        assert_eq!(
            (sum.input, sum.output, sum.cache_read, sum.cache_creation),
            (u64::MAX, 2, 3, 4)
        );
        assert!(!sum.is_zero() && Tokens::default().is_zero());
    }

    proptest! {
        #[test]
        fn never_panics_and_never_exceeds(
            values in prop::collection::vec("(-?[0-9]{1,25}(\\.[0-9]{1,3})?(e-?[0-9]{1,4})?|null|\"x\"|.{0,5})", 2),
        ) {
            let report = format!(r#"{{"input_tokens":{},"output_tokens":{}}}"#, values[0], values[1]);
            let usage = merged(&[&report]);
            prop_assert!(usage.tokens.input <= TOKENS_MAX && usage.tokens.output <= TOKENS_MAX);
            prop_assert!(usage.clamped <= 2);
        }
    }
}
