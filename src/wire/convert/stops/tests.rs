#![allow(clippy::unwrap_used, reason = "a test may stop where it fails")]

use proptest::prelude::*;

use super::*;

fn cut(stops: &[&str], pieces: &[&str]) -> (String, bool) {
    let mut out = String::new();
    let Some(mut state) = Stops::new(stops.iter().copied()) else {
        return (pieces.concat(), false);
    };
    for piece in pieces {
        state.push(piece, &mut out);
    }
    out.push_str(&state.finish());
    (out, state.found())
}

/// What the rule says, without any cleverness.
fn by_the_book(stops: &[&str], text: &str) -> (String, bool) {
    for end in 0..=text.len() {
        let Some(seen) = text.get(..end) else {
            continue;
        };
        let ends = stops
            .iter()
            .filter(|stop| !stop.is_empty() && seen.ends_with(**stop));
        if let Some(longest) = ends.map(|stop| stop.len()).max() {
            return (seen[..seen.len() - longest].to_owned(), true);
        }
    }
    (text.to_owned(), false)
}

#[test]
fn text_is_cut_before_the_stop_that_ends_first() {
    for (stops, text, left) in [
        (&["STOP"][..], "go STOP there", "go "),
        (&["STOP"], "go STO there", "go STO there"),
        (&["abcd", "bc"], "xabcd", "xa"),
        (&["abc", "bc"], "xabcd", "x"),
        (&["\n\n"], "a\n b\n\nc", "a\n b"),
        (&["aab"], "aaab", "a"),
        (&["日本"], "今日日本語", "今日"),
        (&["END"], "END", ""),
        (&[""], "x", "x"),
    ] {
        assert_eq!(cut(stops, &[text]).0, left, "{stops:?} {text}");
    }
}

#[test]
fn only_what_could_become_a_stop_is_held() {
    let mut state = Stops::new(["STOP", "###"]).unwrap();
    let mut out = String::new();
    assert!(!state.push("so ST", &mut out));
    assert_eq!(out, "so ");
    state.push("A #", &mut out);
    assert_eq!(out, "so STA ");
    state.push("#x", &mut out);
    assert_eq!(out, "so STA ##x");
    state.push("S", &mut out);
    assert_eq!(out, "so STA ##x");
    assert_eq!(state.finish(), "S");
}

#[test]
fn nothing_goes_out_after_a_hit() {
    let mut state = Stops::new(["."]).unwrap();
    let mut out = String::new();
    assert!(state.push("a.b", &mut out));
    assert!(state.push("c", &mut out));
    assert_eq!((out.as_str(), state.finish().as_str()), ("a", ""));
    assert!(Stops::new([""]).is_none());
}

#[test]
fn a_long_run_of_near_misses_costs_linear_time() {
    let stop = format!("{}b", "a".repeat(10_000));
    let mut state = Stops::new([stop.as_str()]).unwrap();
    let mut out = String::new();
    let piece = "a".repeat(1000);
    for _ in 0..1000 {
        state.push(&piece, &mut out);
    }
    assert_eq!(out.len(), 990_000);
    assert!(state.push("b", &mut out));
    assert_eq!(out.len(), 990_000);
}

proptest! {
    #[test]
    fn any_cut_gives_what_the_rule_says(
        stops in prop::collection::vec("[ab\u{e9}\u{1f600}]{0,4}", 0..4),
        pieces in prop::collection::vec("[abc\u{e9}\u{1f600}]{0,5}", 0..8),
    ) {
        let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let text = pieces.concat();
        let expected = by_the_book(&stops, &text);
        prop_assert_eq!(&cut(&stops, &pieces), &expected);
        prop_assert_eq!(&cut(&stops, &[&text]), &expected);
    }
}
