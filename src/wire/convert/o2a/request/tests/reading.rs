//! The small readers: base64, data URLs, wishes that golden cases leave out.

use std::borrow::Cow;

use super::super::media::{Media, base64, data_url};
use super::super::read::{said, short};
use super::{convert, converted, hi};
use crate::wire::convert::Capabilities;

#[test]
fn blank_is_white_space_in_any_spelling() {
    let is_said = |literal: &str| said(serde_json::from_str(literal).unwrap()).is_some();
    for blank in [
        r#""""#,
        r#"" \t\n\r\f""#,
        r#""\u0020\u00A0\u3000""#,
        "\"\u{3000}\u{a0}\"",
    ] {
        assert!(!is_said(blank), "{blank}");
    }
    for text in [
        r#""  x""#,
        r#""\\n""#,
        r#""\"""#,
        r#""\/""#,
        r#""\b""#,
        r#""\u0041""#,
        r#""\ud83d\ude00""#,
        "\"é\"",
        "\"\u{200b}\"",
    ] {
        assert!(is_said(text), "{text}");
    }
}

#[test]
fn broken_messages_are_told_from_broken_json() {
    let param = |body| convert(body, &Capabilities::ANTHROPIC).unwrap_err().param;
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        param(r#"{"model":"m","messages":[{},7]}"#),
        named("messages[1]")
    );
    assert_eq!(param(r#"{"model":"m","messages":"x"}"#), named("messages"));
    assert_eq!(param(r#"{"model":"m","messages":null}"#), named("messages"));
    assert_eq!(param(r#"{"model":"m","messages":[{}"#), None);
    assert_eq!(
        param(r#"{"model":"m","messages":7,"messages":[{}]}"#),
        named("messages")
    );
    let twice = r#"{"model":"m","messages":[{}],"messages":[{"role":"user","content":"x"}]}"#;
    assert!(convert(twice, &Capabilities::ANTHROPIC).is_ok());
}

#[test]
fn base64_is_strict_but_for_line_breaks() {
    for good in ["AAAA", "AA==", "AAA=", "+/09"] {
        assert_eq!(base64(Cow::Borrowed(good)), Ok(Cow::Borrowed(good)));
    }
    assert_eq!(base64(Cow::Borrowed("AA\r\nAA ")).unwrap(), "AAAA");
    for bad in [
        "",
        "A",
        "AA",
        "AAA",
        "A===",
        "====",
        "=AAA",
        "AA=A",
        "-_AA",
        "AAA\u{e9}",
        "AAAAA",
    ] {
        assert!(base64(Cow::Borrowed(bad)).is_err(), "{bad}");
    }
}

#[test]
fn data_urls_are_read_in_any_spelling() {
    let read = |url| data_url(Cow::Borrowed(url));
    let png = Media::Image("image/png", Cow::Borrowed("AAAA"));
    assert_eq!(read("data:image/png;base64,AAAA").unwrap(), png);
    assert_eq!(read("DATA:Image/PNG ; name=a ; BASE64,AAAA").unwrap(), png);
    assert_eq!(
        read("data:text/csv;base64,YSxi").unwrap(),
        Media::Text("a,b".to_owned())
    );
    for bad in [
        "data:",
        "data:,",
        "data:image/png",
        "data:image/png,AAAA",
        "data:base64,AAAA",
        "data:;base64,AAAA",
        "data:image/png;base64;x=y,AAAA",
        "data:application/octet-stream;base64,AAAA",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn words_are_cut_between_characters() {
    assert_eq!(short("a\nb"), "a b");
    assert_eq!(short(&"é".repeat(60)), "é".repeat(60));
    assert_eq!(short(&"é".repeat(61)), format!("{}...", "é".repeat(60)));
}

fn sent(more: &str, on: &Capabilities) -> String {
    String::from_utf8(converted(&hi(more), on).body).unwrap()
}

#[test]
fn adaptive_models_get_efforts_for_budgets() {
    let on = Capabilities {
        adaptive_thinking: true,
        ..Capabilities::ANTHROPIC
    };
    for (budget, effort) in [
        (1, "low"),
        (2048, "low"),
        (8192, "medium"),
        (20_000, "high"),
        (90_000, "max"),
    ] {
        let asked = format!(r#","thinking":{{"type":"enabled","budget_tokens":{budget}}}"#);
        let expected =
            format!(r#""thinking":{{"type":"adaptive"}},"output_config":{{"effort":"{effort}"}}"#);
        let sent = sent(&asked, &on);
        assert!(sent.contains(&expected), "{sent}");
    }
}

#[test]
fn budgets_stand_in_for_adaptive_thinking() {
    let on = &Capabilities::ANTHROPIC;
    let high = sent(r#","thinking":{"type":"adaptive","display":"omitted"}"#, on);
    let expected = r#""thinking":{"type":"enabled","budget_tokens":16384,"display":"omitted"}"#;
    assert!(high.contains(expected), "{high}");
    let low = sent(
        r#","thinking":{"type":"adaptive"},"output_config":{"effort":"low"}"#,
        on,
    );
    assert!(
        low.contains(r#""budget_tokens":2048},"output_config":{"effort":"low"}"#),
        "{low}"
    );
    let without = convert(
        &hi(r#","output_config":{"effort":"low"}"#),
        &Capabilities::ANTIGRAVITY,
    )
    .unwrap();
    assert_eq!(without.warnings.header(), "effort:dropped");
}

#[test]
fn an_absurd_budget_stays_below_the_limit() {
    let on = &Capabilities::ANTHROPIC;
    let huge = format!(
        r#","thinking":{{"type":"enabled","budget_tokens":{}}}"#,
        u64::MAX
    );
    let limited = sent(&format!(r#"{huge},"max_tokens":5000"#), on);
    assert!(limited.contains(r#""budget_tokens":4000"#), "{limited}");
    let free = sent(&huge, on);
    assert!(!free.contains(&u64::MAX.to_string()), "{free}");
}

#[test]
fn anthropics_own_format_is_taken_too() {
    let asked = r#","output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}"#;
    let native = sent(asked, &Capabilities::ANTHROPIC);
    assert!(native.ends_with(&format!("{asked}}}")), "{native}");
    let told = convert(&hi(asked), &Capabilities::ANTIGRAVITY).unwrap();
    assert_eq!(told.warnings.header(), "response_format:emulated");
}

#[test]
fn a_prefilled_answer_in_json_is_asked_for_in_words() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"{"}],"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"object"}}}}"#;
    let converted = converted(body, &Capabilities::ANTHROPIC);
    assert_eq!(converted.warnings.header(), "response_format:emulated");
}
