#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]
//! "Proactive", the last resort of "Marks", and what the trail remembers.
use crate::routing::testkit::*;
use crate::routing::*;

const SOON: Option<Millis> = Some(T0 + HOUR);

fn reasons(trail: &Trail) -> Vec<&'static str> {
    trail
        .fallback_reasons()
        .into_iter()
        .map(Reason::as_str)
        .collect()
}

#[test]
fn the_chain_is_followed_and_ends() {
    assert_eq!(order(&book(), &route(&["a", "b", "c"]), T0), [0, 1, 2]);
}

#[test]
fn a_low_tier_is_skipped_and_comes_last() {
    let book = book();
    poll(
        &book,
        T0,
        &[("a", 0.03, SOON), ("b", 0.5, SOON), ("c", 0.04, SOON)],
    );
    let route = route(&["a", "b", "c"]);
    assert_eq!(
        order(&book, &route, T0),
        [1, 2, 0],
        "then the fullest of the low ones"
    );
    let mut trail = Trail::new();
    assert_eq!(step(&book, &route, &mut trail, T0), Some((1, false, false)));
    assert_eq!(reasons(&trail), ["quota"]);
}

#[test]
fn when_none_is_usable_the_fullest_goes_first_then_zero_without_a_reset() {
    let book = book();
    poll(
        &book,
        T0,
        &[
            ("z", 0.0, None),
            ("a", 0.01, SOON),
            ("b", 0.04, None),
            ("r", 0.0, SOON),
        ],
    );
    assert_eq!(order(&book, &route(&["z", "r", "a", "b"]), T0), [3, 2, 0]);
}

#[test]
fn all_at_zero_with_a_reset_to_come_is_refused_without_a_call() {
    let book = book();
    poll(
        &book,
        T0,
        &[("a", 0.0, SOON), ("b", 0.0, Some(T0 + 2 * HOUR))],
    );
    let route = route(&["a", "b"]);
    let mut trail = Trail::new();
    assert_eq!(step(&book, &route, &mut trail, T0), None);
    assert_eq!(
        (trail.asked(), reasons(&trail)),
        (0, vec!["quota", "quota"])
    );
    // The reset frees it without a poll.
    assert_eq!(order(&book, &route, T0 + HOUR), [0]);
}

#[test]
fn unknown_counts_as_usable() {
    let book = book();
    poll(&book, T0, &[("b", 1.0, None)]);
    assert_eq!(order(&book, &route(&["a", "b"]), T0), [0, 1]);
}

#[test]
fn a_marked_tier_is_skipped_and_is_the_last_resort() {
    let book = book();
    fail(&book, "a", T0, 1, &overloaded());
    fail(&book, "b", T0 - 5 * S, 1, &overloaded());
    let all = route(&["a", "b", "c"]);
    let mut trail = Trail::new();
    assert_eq!(step(&book, &all, &mut trail, T0).unwrap().0, 2);
    assert_eq!(reasons(&trail), ["cooldown", "cooldown"]);
    assert_eq!(
        order(&book, &all, T0),
        [2, 1, 0],
        "then the mark that ends first"
    );
    assert_eq!(
        order(&book, &route(&["a"]), T0),
        [0],
        "a mark never blocks a last resort"
    );
}

#[test]
fn a_parsed_reset_blocks_even_the_last_resort_until_a_poll_contradicts_it() {
    let book = book();
    fail(&book, "a", T0, 1, &exhausted(SOON));
    let route = route(&["a"]);
    assert_eq!(order(&book, &route, T0 + S), [] as [usize; 0]);
    // An older poll contradicts nothing; nor does a later one that shows little.
    poll(&book, T0 - S, &[("a", 0.9, None)]);
    assert_eq!(order(&book, &route, T0 + S), [] as [usize; 0]);
    poll(&book, T0 + S, &[("a", 0.07, None)]);
    assert_eq!(order(&book, &route, T0 + S), [] as [usize; 0]);
    poll(&book, T0 + 2 * S, &[("a", 0.15, None)]);
    assert_eq!(order(&book, &route, T0 + 2 * S), [0]);
    // Its probe failed: the mark stands, but is contradicted again: only a last resort.
    fail(&book, "a", T0 + 3 * S, 1, &exhausted(SOON));
    assert_eq!(order(&book, &route, T0 + 4 * S), [] as [usize; 0]);
    poll(&book, T0 + 5 * S, &[("a", 0.15, None)]);
    assert_eq!(order(&book, &self::route(&["a", "b"]), T0 + 5 * S), [1, 0]);
}

#[test]
fn a_herd_sends_one_probe_and_goes_on_to_the_next_tier() {
    let book = book();
    fail(&book, "a", T0, 1, &overloaded());
    let at = T0 + 20 * S;
    let route = route(&["a", "b"]);
    let mut guards = Vec::new();
    let mut firsts = Vec::new();
    for _ in 0..100 {
        let mut trail = Trail::new();
        match next(&book.snapshot(), &route, &mut trail, at) {
            Next::Try { index, probe, .. } => {
                firsts.push(index);
                guards.push(probe);
                assert_eq!(reasons(&trail), ["cooldown"][..index]);
            }
            Next::Out => panic!("there are tiers"),
        }
    }
    assert_eq!(firsts.iter().filter(|first| **first == 0).count(), 1);
    // Who has no other tier does not wait.
    let mut trail = Trail::new();
    assert_eq!(
        step(&book, &self::route(&["a"]), &mut trail, at),
        Some((0, false, true))
    );
    drop(guards);
    let mut trail = Trail::new();
    assert_eq!(step(&book, &route, &mut trail, at), Some((0, true, false)));
}

#[test]
fn the_last_resort_prefers_low_then_busy_then_marked_then_empty() {
    let book = book();
    poll(
        &book,
        T0,
        &[
            ("low", 0.02, None),
            ("zero", 0.0, None),
            ("busy", 0.5, None),
        ],
    );
    fail(&book, "busy", T0 + 1, 1, &overloaded());
    let at = T0 + 21 * S;
    fail(&book, "marked", at, 1, &overloaded());
    let up = tier("busy");
    let snapshot = book.snapshot();
    let held = snapshot.standing(&up, at).gate.probe();
    assert!(held.is_some());
    assert_eq!(
        order(&book, &route(&["zero", "marked", "busy", "low"]), at),
        [3, 2, 1, 0]
    );
}

#[test]
fn reasons_are_right_when_a_skipped_tier_is_tried_after_all() {
    let book = book();
    poll(&book, T0, &[("a", 0.02, None), ("c", 0.04, None)]);
    fail(&book, "b", T0, 1, &overloaded());
    let route = route(&["a", "b", "c"]);
    let mut trail = Trail::new();
    assert_eq!(step(&book, &route, &mut trail, T0).unwrap().0, 2);
    assert_eq!(reasons(&trail), ["quota", "cooldown"]);
    trail.failed(2, Failure::timeout("first_event_s"));
    assert_eq!(step(&book, &route, &mut trail, T0).unwrap().0, 0);
    assert_eq!(
        reasons(&trail),
        ["timeout"],
        "the first tier answers: only the last was passed"
    );
    trail.failed(0, Failure::empty());
    assert_eq!(step(&book, &route, &mut trail, T0).unwrap().0, 1);
    assert_eq!(reasons(&trail), ["empty", "timeout"]);
    trail.failed(1, overloaded());
    assert_eq!(step(&book, &route, &mut trail, T0), None);
    assert_eq!(reasons(&trail), ["empty", "overloaded", "timeout"]);
    assert_eq!(trail.asked(), 3);
}

#[test]
fn it_fell_back_when_another_tier_than_the_first_was_asked() {
    // One tier, failed.
    let mut trail = Trail::new();
    assert!(step(&book(), &route(&["a"]), &mut trail, T0).is_some());
    trail.failed(0, overloaded());
    assert_eq!(step(&book(), &route(&["a"]), &mut trail, T0), None);
    assert_eq!((reasons(&trail).len(), trail.fell_back()), (1, false));
    // Nobody was asked.
    let book = book();
    poll(&book, T0, &[("a", 0.0, SOON), ("b", 0.0, SOON)]);
    let mut trail = Trail::new();
    assert_eq!(step(&book, &route(&["a", "b"]), &mut trail, T0), None);
    assert_eq!((reasons(&trail).len(), trail.fell_back()), (2, false));
    // The first failed, nobody else was asked.
    let mut trail = Trail::new();
    assert_eq!(
        step(&book, &route(&["c", "b"]), &mut trail, T0).unwrap().0,
        0
    );
    trail.failed(0, overloaded());
    assert_eq!(step(&book, &route(&["c", "b"]), &mut trail, T0), None);
    assert!(!trail.fell_back());
    // The first was skipped, the second is asked.
    let mut trail = Trail::new();
    assert_eq!(
        step(&book, &route(&["a", "c"]), &mut trail, T0).unwrap().0,
        1
    );
    assert!(trail.fell_back());
    trail.failed(1, overloaded());
    assert!(trail.fell_back(), "however it ended");
}

#[test]
fn a_tier_that_frees_up_meanwhile_is_taken() {
    let book = book();
    fail(&book, "a", T0, 1, &overloaded());
    let route = route(&["a", "b"]);
    let mut trail = Trail::new();
    assert_eq!(step(&book, &route, &mut trail, T0).unwrap().0, 1);
    trail.failed(1, overloaded());
    assert_eq!(
        step(&book, &route, &mut trail, T0 + 25 * S),
        Some((0, true, true))
    );
    assert_eq!(reasons(&trail), ["overloaded"]);
}

#[test]
fn the_last_candidate_is_the_one_after_which_nothing_is_worth_trying() {
    let last = |book: &Book, tiers: &[&str], at| {
        step(book, &route(tiers), &mut Trail::new(), at).unwrap().2
    };
    let book = book();
    poll(
        &book,
        T0,
        &[
            ("low", 0.03, None),
            ("zero", 0.0, None),
            ("gone", 0.0, SOON),
        ],
    );
    fail(&book, "short", T0, 1, &overloaded());
    fail(&book, "long", T0, 1, &status(404, "no"));
    fail(&book, "reset", T0, 1, &exhausted(Some(T0 + 10 * S)));
    for (tiers, expected) in [
        (&["a"][..], true),
        (&["a", "b"], false),
        (&["a", "low"], false),
        (&["a", "short"], false),
        (&["a", "long"], true),
        (&["a", "zero"], true),
        (&["a", "gone"], true),
        (&["a", "reset"], true),
    ] {
        assert_eq!(last(&book, tiers, T0), expected, "{tiers:?}");
    }
    assert!(
        !last(&book, &["a", "long"], T0 + 290 * S),
        "its mark ends soon"
    );
}

#[test]
fn fallback_off_asks_the_first_tier_whatever_its_state_and_no_other() {
    let book = book();
    poll(&book, T0, &[("a", 0.0, SOON)]);
    fail(&book, "a", T0 + 1, 1, &exhausted(SOON));
    let route = route(&["a", "b"]);
    let mut trail = Trail::first_only();
    assert_eq!(
        step(&book, &route, &mut trail, T0 + S),
        Some((0, false, true))
    );
    assert!(reasons(&trail).is_empty());
    trail.failed(0, overloaded());
    assert_eq!(step(&book, &route, &mut trail, T0 + S), None);
    assert_eq!(reasons(&trail), ["overloaded"]);
    // It probes where a probe is due.
    let book = self::book();
    fail(&book, "a", T0, 1, &overloaded());
    let mut trail = Trail::first_only();
    assert_eq!(
        step(&book, &route, &mut trail, T0 + 20 * S),
        Some((0, true, true))
    );
}

#[test]
fn whose_fault_decides_whether_the_request_goes_on() {
    for (status, first, later) in [
        (413, After::End, After::End),
        (400, After::End, After::MoveOn),
        (422, After::End, After::MoveOn),
        (404, After::MoveOn, After::MoveOn),
        (500, After::MoveOn, After::MoveOn),
    ] {
        let (book, route) = (book(), route(&["a", "b", "c"]));
        let mut trail = Trail::new();
        step(&book, &route, &mut trail, T0);
        assert_eq!(
            trail.failed(0, self::status(status, "x")),
            first,
            "{status}"
        );
        let goes_on = step(&book, &route, &mut trail, T0).is_some();
        assert_eq!(goes_on, first == After::MoveOn);
        let mut trail = Trail::new();
        step(&book, &route, &mut trail, T0);
        trail.failed(0, overloaded());
        step(&book, &route, &mut trail, T0);
        assert_eq!(
            trail.failed(1, self::status(status, "x")),
            later,
            "{status}"
        );
    }
    // The first tier that was asked need not be the first of the chain.
    let (book, route) = (book(), route(&["a", "b"]));
    fail(&book, "a", T0, 1, &overloaded());
    let mut trail = Trail::new();
    assert_eq!(step(&book, &route, &mut trail, T0).unwrap().0, 1);
    assert_eq!(trail.failed(1, status(400, "x")), After::End);
    // An exhaustion in a 400 is not the client's fault.
    let mut trail = Trail::new();
    step(&book, &route, &mut trail, T0);
    assert_eq!(trail.failed(1, exhausted(None)), After::MoveOn);
}
