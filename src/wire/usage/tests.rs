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

fn merged_openai(reports: &[&str]) -> UsageSeen {
    let mut usage = UsageSeen::default();
    for report in reports {
        usage.merge_openai(report.as_bytes());
    }
    usage
}

fn four(usage: &UsageSeen) -> [u64; 4] {
    let tokens = usage.tokens;
    [
        tokens.input,
        tokens.output,
        tokens.cache_read,
        tokens.cache_creation,
    ]
}

#[test]
fn openai_prompts_are_taken_apart() {
    for (report, counts) in [
        (
            r#"{"prompt_tokens":100,"completion_tokens":7,"total_tokens":107,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":30,"audio_tokens":1},"completion_tokens_details":{"reasoning_tokens":5}}"#,
            [10, 7, 60, 30],
        ),
        (
            r#"{"prompt_tokens":100,"completion_tokens":7,"prompt_tokens_details":null}"#,
            [100, 7, 0, 0],
        ),
        (
            r#"{"prompt_tokens":100,"prompt_tokens_details":{"cached_tokens":null}}"#,
            [100, 0, 0, 0],
        ),
        (
            r#"{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":60}}"#,
            [0, 0, 60, 0],
        ),
        (
            r#"{"prompt_tokens":10,"prompt_tokens_details":[3]}"#,
            [10, 0, 0, 0],
        ),
    ] {
        let usage = merged_openai(&[report]);
        assert_eq!(four(&usage), counts, "{report}");
        assert!(usage.seen && usage.clamped == 0, "{report}");
    }
}

#[test]
fn later_openai_reports_replace_what_they_say() {
    let first = r#"{"prompt_tokens":100,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":60}}"#;
    let usage = merged_openai(&[first, r#"{"prompt_tokens":100,"completion_tokens":9}"#]);
    assert_eq!(four(&usage), [40, 9, 60, 0]);
    let usage = merged_openai(&[first, r#"{"completion_tokens":9,"prompt_tokens":null}"#]);
    assert_eq!(four(&usage), [40, 9, 60, 0]);
    let usage = merged_openai(&[first, first]);
    assert_eq!(four(&usage), [40, 1, 60, 0]);
    for nothing in ["null", "[]", "{}", "{\"prompt_tokens\":1", "7"] {
        assert_eq!(merged_openai(&[nothing]), UsageSeen::default(), "{nothing}");
    }
}

#[test]
fn impossible_openai_numbers_are_clamped() {
    let usage = merged_openai(&[
        r#"{"prompt_tokens":1e99,"completion_tokens":-3,"prompt_tokens_details":{"cached_tokens":"x"}}"#,
    ]);
    assert_eq!(four(&usage), [TOKENS_MAX, 0, 0, 0]);
    assert_eq!(usage.clamped, 3);
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
