//! Pieces that are cut anywhere, halves that meet and halves that stay alone.

#![allow(clippy::unwrap_used, reason = "a test may stop where it fails")]

use proptest::prelude::*;

use super::*;

fn copied(pieces: &[&str]) -> String {
    let mut literals = Literals::default();
    let mut out = Vec::new();
    for piece in pieces {
        literals.copy(piece, &mut out);
    }
    literals.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn everything_but_lone_halves_is_copied_as_it_stands() {
    for same in [
        "",
        "plain é",
        r"a\n\t\/ \u00e9 \u0000",
        r"\ud83d\ude00\uD83D\uDE00",
        r"\\ud83d",
        r"\\\\ud800\\",
    ] {
        assert_eq!(copied(&[same]), same);
    }
    for (lone, mended) in [
        (r"\ud83d", r"\ufffd"),
        (r"\ud83dx", r"\ufffdx"),
        (r"x\ude00", r"x\ufffd"),
        (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
        (r"\ud83d\u0041", r"\ufffd\u0041"),
        (r"\ude00\ud83d", r"\ufffd\ufffd"),
    ] {
        assert_eq!(copied(&[lone]), mended);
    }
}

#[test]
fn halves_of_two_pieces_meet() {
    for (pieces, text) in [
        (&[r"a\ud83d", "", r"\ude00b"][..], r"a\ud83d\ude00b"),
        (&[r"\uD83D", r"\uDE00"], r"\uD83D\uDE00"),
        (&[r"a\ud83d", "b"], r"a\ufffdb"),
        (&[r"\ud83d", r"\ud83d", r"\ude00"], r"\ufffd\ud83d\ude00"),
        (&[r"\\ud83d\\", r"\ud83dx"], r"\\ud83d\\\ufffdx"),
    ] {
        assert_eq!(copied(pieces), text);
        assert_eq!(joined(pieces).unwrap(), format!("\"{text}\""));
    }
    assert_eq!(joined(&["", ""]), None);
    let mut literals = Literals::default();
    literals.copy(r"\ud83d", &mut Vec::new());
    assert!(!literals.is_whole());
    literals.copy("x", &mut Vec::new());
    assert!(literals.is_whole());
}

#[test]
fn text_goes_there_and_back() {
    let mut out = Vec::new();
    encode("a\"\\\n\u{1}é😀", &mut out);
    assert_eq!(decode(&out), "a\"\\\n\u{1}é😀");
    let raw: &RawValue = serde_json::from_str(r#""a\n\ud83d""#).unwrap();
    assert_eq!(text_of(raw).unwrap(), "a\n\u{fffd}");
    assert_eq!(inside(raw), Some(r"a\n\ud83d"));
    let number: &RawValue = serde_json::from_str("7").unwrap();
    assert!(text_of(number).is_none() && inside(number).is_none());
}

proptest! {
    #[test]
    fn always_a_literal_that_can_be_decoded(
        pieces in prop::collection::vec(
            r#"(\\u[dD][89a-fA-F][0-9a-f]{2}|\\u[0-9a-f]{4}|\\["\\/bfnrt]|[a-zé\u{1f600}]){0,6}"#, 1..4)
    ) {
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        if let Some(literal) = joined(&pieces) {
            let text: Result<String, _> = serde_json::from_str(&literal);
            prop_assert!(text.is_ok(), "{literal}");
            // What could be decoded before is the same.
            if let Ok(plain) = serde_json::from_str::<String>(&format!("\"{}\"", pieces.concat())) {
                prop_assert_eq!(text.unwrap(), plain);
            }
        }
    }
}
