#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

use super::*;
use proptest::prelude::*;

#[test]
fn cleans() {
    for (dirty, cleaned) in [
        ("", ""),
        ("plain text, kept.", "plain text, kept."),
        ("mail alice@x.com now", "mail a***@x.com now"),
        ("<alice.b+c@mail.x.com>", "<a***@mail.x.com>"),
        ("'o'hara@x.com'", "'o***@x.com'"),
        ("a@b@c.de", "a***@b***@c.de"),
        ("model-4@20250514", "model-4@20250514"),
        ("@media and a @ b", "@media and a @ b"),
        (
            "see https://u:p@x.com/a/b?k=v&l=(w)#f now",
            "see https://x.com/a/b now",
        ),
        ("\"https://x.com?k=v\"", "\"https://x.com\""),
        ("https://x.com#f", "https://x.com"),
        ("https://a/https://u:p@b/c?d", "https://a/https://b/c"),
        ("key luna-abc.", "key ***."),
        ("key=sk-ant-api03-a_b-C9, x", "key=***, x"),
        ("AIzaSyA1 ya29.a0Af_x", "*** ***"),
        ("risk-free task-force", "risk-free task-force"),
        (
            "Authorization: Bearer abc.def== x",
            "Authorization: Bearer *** x",
        ),
        ("bearer=abc", "bearer=***"),
        ("the bearer", "the bearer"),
        ("0123456789abcdef0123456789abcdef", "***"),
        ("t 1//0gAbCdEfGhIjKlMnOpQrStUvWxYz-12345 u", "t ***//*** u"),
        (
            "a claude-sonnet-4-5-20250929-thinking-max b",
            "a claude-sonnet-4-5-20250929-thinking-max b",
        ),
        (
            "https://cloudcode-pa.googleapis.com/v1internal:generateContent",
            "https://cloudcode-pa.googleapis.com/v1internal:generateContent",
        ),
        ("a\r\nb\0c\u{1b}[31m\u{85}\u{2028}", "a  b c [31m  "),
    ] {
        assert_eq!(clean(dirty), cleaned, "{dirty:?}");
    }
}

#[test]
fn cuts_between_characters() {
    let cut = clean(&format!("a{}", "\u{20ac} ".repeat(600)));
    assert!(cut.len() <= CLEAN_MAX && cut.len() > CLEAN_MAX - 4);
}

#[test]
fn time_is_linear() {
    // Quadratic work on these would take minutes.
    for unit in [
        "@", "a@", "://", "sk-", "bearer ", "a", "a-", "'", "?", "x://?", "bearer",
    ] {
        let text = unit.repeat(200_000 / unit.len());
        assert!(clean(&text).len() <= CLEAN_MAX);
    }
}

#[test]
fn tells_pages_from_answers() {
    for page in [
        &b"<!DOCTYPE html><p>"[..],
        b"\xef\xbb\xbf\n <HTML>",
        b"<?xml version='1.0'?>",
        b"502 Bad Gateway <HTML><body>",
    ] {
        assert!(looks_like_html(page));
    }
    for answer in [
        &b""[..],
        b" ",
        b"{\"a\":\"<html>\"}",
        b"error: a < b",
        b"[]",
    ] {
        assert!(!looks_like_html(answer));
    }
}

/// Texts made of the pieces that the rules look at.
fn tricky() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "@",
            "://",
            "https://",
            "?",
            "#",
            "/",
            "sk-",
            "luna-",
            "AIza",
            "ya29",
            "Bearer",
            " ",
            "=",
            ":",
            "a",
            "1",
            ".",
            "-",
            "_",
            "*",
            "***",
            "'",
            "\"",
            "`",
            "<",
            ",",
            "~",
            "+",
            "%",
            "x.com",
            "\n",
            "\u{e9}",
            "0123456789abcdef0123456789ABCDEF",
            "abcdef123",
            "thinking",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
        "[a-zA-Z0-9]{1,40}",
    ];
    (
        prop::collection::vec(piece, 0..24),
        prop_oneof![4 => Just(0), 1 => 900..1030_usize],
    )
        .prop_map(|(pieces, pad)| "w ".repeat(pad / 2) + &pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn cleaning_is_final(text in tricky()) {
        let once = clean(&text);
        prop_assert!(once.len() <= CLEAN_MAX);
        prop_assert!(!once.chars().any(is_break));
        prop_assert_eq!(clean(&once), once);
    }

    #[test]
    fn secrets_never_survive(
        before in "[ \"(,:=]{1,3}",
        secret in "[a-zA-Z0-9]{12}",
        kind in 0..6,
        after in "([ \"),].{0,9})?",
    ) {
        let text = match kind {
            0 => format!("luna-{secret}"),
            1 => format!("sk-ant-{secret}"),
            2 => format!("Bearer {secret}"),
            3 => format!("https://x.com/p?key={secret}"),
            4 => format!("http://u:{secret}@x.com/"),
            _ => format!("z{secret}@x.com"),
        };
        let shown = clean(&format!("{before}{text}{after}"));
        prop_assert!(!shown.contains(&secret), "{}", shown);
    }
}
