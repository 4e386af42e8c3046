//! Members, texts, blanks, bounds, commas.

#![allow(clippy::unwrap_used, reason = "a test may stop where it fails")]

use super::*;

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}

#[test]
fn members_keep_order_digits_and_the_last_of_two() {
    let object =
        Object::parse(br#"{"b":1e400,"a":{"z":1.0,"y":2},"b":12345678901234567890123}"#).unwrap();
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

#[test]
fn no_more_members_and_elements_are_read_than_are_honest() {
    let object = |members: usize| {
        let all: Vec<String> = (0..members).map(|k| format!("\"k{k}\":{k}")).collect();
        format!("{{{}}}", all.join(","))
    };
    let most = object(MEMBERS_MAX);
    assert_eq!(Object::of(raw(&most)).unwrap().iter().count(), MEMBERS_MAX);
    let more = object(MEMBERS_MAX + 1);
    assert!(Object::of(raw(&more)).is_none());
    assert!(is_too_many(&Object::parse(more.as_bytes()).unwrap_err()));
    assert!(!is_too_many(&Object::parse(b"[]").unwrap_err()));
    assert!(unfit("an object", raw(&more)).contains("more than 4096 members"));
    assert_eq!(
        unfit("an object", raw("[]")),
        "must be an object, not an array"
    );
    assert_eq!(member(raw(&more), "k4096").unwrap().unwrap().get(), "4096");

    let array_of = |elements: usize| format!("[{}0]", "0,".repeat(elements - 1));
    assert_eq!(
        array(raw(&array_of(ELEMENTS_MAX))).unwrap().len(),
        ELEMENTS_MAX
    );
    let more = array_of(ELEMENTS_MAX + 1);
    assert!(array(raw(&more)).is_none());
    assert!(unfit("a string or an array", raw(&more)).contains("more than 1000000 elements"));
}

#[test]
fn a_member_is_found_whatever_stands_around_it() {
    let object = raw(r#"{"a":[1,{"type":5}],"type":1,"t\u0079pe":2,"b":null}"#);
    assert_eq!(member(object, "type").unwrap().unwrap().get(), "2");
    assert_eq!(member(object, "b").unwrap().unwrap().get(), "null");
    assert!(member(object, "c").unwrap().is_none());
    assert!(member(raw("[]"), "c").is_none());
}

#[test]
fn halves_of_surrogate_pairs_are_found_and_pairs_are_not() {
    for half in [
        r#""\ud800""#,
        r#""\uDC00""#,
        r#""\ud83d\ud83d\ude00""#,
        r#""\ud83d \ude00""#,
        r#""\ud83d\n\ude00""#,
        r#""\ud83d\u0041""#,
        r#"["\ud83d","\ude00"]"#,
        r#""\\\ud800""#,
        r#""\ud800x\udc00""#,
        r#""\uDbFf""#,
    ] {
        assert!(has_lone_surrogate(half.as_bytes()), "{half}");
        assert!(
            serde_json::from_str::<serde_json::Value>(half).is_err(),
            "{half}"
        );
    }
    for whole in [
        r#""\ud83d\ude00""#,
        r#""\uD83D\uDE00\ud83d\ude00""#,
        r#""\\ud800""#,
        r#""\\\\ud800""#,
        r#""ud800""#,
        r#""\ud7ff\ue000""#,
        r#""\n\u00e9""#,
        "\"😀\"",
    ] {
        assert!(!has_lone_surrogate(whole.as_bytes()), "{whole}");
        assert!(
            serde_json::from_str::<serde_json::Value>(whole).is_ok(),
            "{whole}"
        );
    }
}
