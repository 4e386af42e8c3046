//! "Marks": probes, doubling, and what polls do to a mark.
use crate::routing::testkit::*;
use crate::routing::*;

fn probe(book: &Book, model: &str, at: Millis) -> Option<ProbeGuard> {
    book.snapshot().standing(&tier(model), at).gate.probe()
}

/// Fails as the probe when the mark ends, and gives the length of the new mark in seconds.
fn fail_probe(book: &Book, at: &mut Millis, key: u64, failure: &Failure) -> Millis {
    *at = view(book, "m", *at).until.unwrap_or(*at);
    assert_eq!(view(book, "m", *at).state, TierState::Probing);
    let until = fail(book, "m", *at, key, failure).until.unwrap();
    (until - *at) / S
}

#[test]
fn only_failed_probes_double_up_to_cooldown_max() {
    let book = book();
    let mut at = T0;
    fail(&book, "m", at, 1, &overloaded());
    for expected in [40, 80, 160, 300, 300, 300] {
        assert_eq!(fail_probe(&book, &mut at, 1, &overloaded()), expected);
    }
}

#[test]
fn one_keys_own_trouble_never_doubles() {
    for soft in [
        Failure::timeout("first_event_s"),
        Failure::empty(),
        Failure::cut(),
        Failure::reset_by_upstream("reset"),
    ] {
        let book = book();
        let mut at = T0;
        fail(&book, "m", at, 1, &soft);
        for _ in 0..5 {
            assert_eq!(fail_probe(&book, &mut at, 1, &soft), 20, "{}", soft.reason);
        }
        // Another key's does.
        assert_eq!(fail_probe(&book, &mut at, 2, &soft), 40);
        assert_eq!(fail_probe(&book, &mut at, 2, &soft), 40);
        assert_eq!(fail_probe(&book, &mut at, 1, &soft), 80);
        // What no request can cause doubles whoever it was.
        assert_eq!(fail_probe(&book, &mut at, 1, &overloaded()), 160);
    }
}

#[test]
fn one_key_that_always_fails_never_holds_a_tier_down_for_others() {
    let book = book();
    // Key 1 repeats its request every second for ten minutes, as probe, as last resort, whatever.
    for n in 0..600 {
        let at = T0 + n * S;
        fail(&book, "m", at, 1, &Failure::timeout("first_event_s"));
        let end = view(&book, "m", at).until.unwrap_or(at);
        assert!(end - at <= 20 * S, "never longer than one cooldown");
    }
    let at = T0 + 620 * S;
    let guard = probe(&book, "m", at);
    assert!(guard.is_some());
    let up = tier("m");
    let ok = Attempt {
        key: 2,
        probe: guard.as_ref(),
        ..attempt(&up, at)
    };
    assert!(book.attempt_committed(&ok, at));
    assert!(view(&book, "m", at).usable);
}

#[test]
fn one_request_at_a_time_probes_and_its_slot_is_freed_by_commit_failure_and_drop() {
    let book = book();
    let up = tier("m");
    fail(&book, "m", T0, 1, &overloaded());
    assert!(probe(&book, "m", T0 + 19 * S).is_none(), "the mark holds");
    let at = T0 + 20 * S;

    // Dropped: the client has gone. Neither a success nor a failure.
    let gone = probe(&book, "m", at).unwrap();
    assert!(probe(&book, "m", at).is_none());
    let shown = view(&book, "m", at);
    assert_eq!((shown.state, shown.usable), (TierState::Probing, false));
    drop(gone);
    assert!(view(&book, "m", at).usable);

    // The slot survives that other things are written meanwhile.
    let held = probe(&book, "m", at).unwrap();
    poll(&book, at, &[("other", 0.5, None)]);
    fail(&book, "other", at, 1, &overloaded());
    assert!(probe(&book, "m", at).is_none());

    // Failure: doubled, and nobody gets the slot before the new mark ends.
    let failed = Attempt {
        probe: Some(&held),
        ..attempt(&up, at)
    };
    let stale_snapshot = book.snapshot();
    assert_eq!(
        book.attempt_failed(&failed, &overloaded(), at + S).until,
        Some(at + 41 * S)
    );
    assert!(
        stale_snapshot.standing(&up, at + S).gate.probe().is_none(),
        "an old snapshot"
    );
    drop(held);
    assert!(stale_snapshot.standing(&up, at + S).gate.probe().is_none());

    // Commit.
    let at = at + 41 * S;
    let held = probe(&book, "m", at).unwrap();
    book.attempt_committed(
        &Attempt {
            probe: Some(&held),
            ..attempt(&up, at)
        },
        at,
    );
    assert_eq!(view(&book, "m", at).state, TierState::Unknown);
}

#[test]
fn a_client_fault_frees_the_slot_and_leaves_the_mark() {
    let book = book();
    fail(&book, "m", T0, 1, &overloaded());
    let at = T0 + 20 * S;
    assert!(!fail(&book, "m", at, 1, &status(400, "bad")).marked);
    assert_eq!(view(&book, "m", at).state, TierState::Probing);
    assert!(view(&book, "m", at).usable);
}

#[test]
fn the_first_poll_after_the_mark_that_shows_recover_lets_it_be_probed_at_once() {
    for (fraction, started, probed) in [
        (0.10, T0 + S, true),
        (0.10, T0, true),
        (0.10, T0 - S, false),
        (0.09, T0 + S, false),
        (0.0, T0 + S, false),
    ] {
        let book = book();
        fail(&book, "m", T0, 1, &exhausted(Some(T0 + HOUR)));
        // The fullest account decides.
        let health = accounts(&[&[("m", Some(0.0), None)], &[("m", Some(fraction), None)]]);
        book.poll_succeeded("up", started, T0 + 2 * S, health);
        let expected = probed && fraction > 0.0;
        assert_eq!(
            probe(&book, "m", T0 + 2 * S).is_some(),
            expected,
            "{fraction} {started}"
        );
    }
}

#[test]
fn while_polls_show_plenty_a_mark_lasts_at_most_cooldown_with_quota_max() {
    let book = book();
    poll(&book, T0, &[("m", 0.9, None)]);
    let outcome = fail(&book, "m", T0 + S, 1, &exhausted(Some(T0 + 5 * HOUR)));
    assert_eq!(outcome.until, Some(T0 + 61 * S));
    let mut at = T0 + S;
    // After failed probes it doubles, also when each later poll shows plenty again.
    for expected in [120, 240, 300, 300] {
        let reset = exhausted(Some(at + 5 * HOUR));
        assert_eq!(fail_probe(&book, &mut at, 1, &reset), expected);
        poll(&book, at + S, &[("m", 0.9, None)]);
        assert_eq!(view(&book, "m", at + 2 * S).state, TierState::Cooldown);
    }
    // When polls agree in the end, the parsed reset holds.
    poll(&book, at + 3 * S, &[("m", 0.0, None)]);
    assert!(view(&book, "m", at + 3 * S).until.unwrap() > at + HOUR);
    assert!(probe(&book, "m", at + HOUR).is_none());
}

#[test]
fn twenty_percent_is_not_plenty() {
    let book = book();
    poll(&book, T0, &[("m", 0.20, None)]);
    let outcome = fail(&book, "m", T0 + S, 1, &exhausted(Some(T0 + HOUR)));
    assert_eq!(outcome.until, Some(T0 + HOUR));
}

#[test]
fn where_quotas_are_unknown_a_far_reset_is_probed_every_cooldown_max() {
    let book = book();
    let outcome = fail(&book, "m", T0, 1, &exhausted(Some(T0 + 5 * HOUR)));
    assert_eq!(outcome.until, Some(T0 + 300 * S));
    let mut at = T0;
    for _ in 0..3 {
        let reset = exhausted(Some(at + 5 * HOUR));
        assert_eq!(fail_probe(&book, &mut at, 1, &reset), 300);
    }
}

#[test]
fn a_whole_upstream_is_probed_by_one_request_over_all_its_models() {
    let book = book();
    fail(&book, "a", T0, 1, &overloaded());
    fail(&book, "b", T0, 1, &Failure::connect("refused"));
    let at = T0 + 20 * S;
    let held = probe(&book, "a", at).unwrap();
    assert!(probe(&book, "b", at).is_none());
    assert!(probe(&book, "c", at).is_none());
    drop(held);
    // A failure of the connection doubles the upstream's mark, not the tier's.
    assert_eq!(
        fail(&book, "a", at, 1, &Failure::connect("refused")).until,
        Some(at + 40 * S)
    );
    let at = at + 40 * S;
    // An error that was answered proves the connection: the tier is marked, the upstream free.
    let outcome = fail(&book, "a", at, 1, &overloaded());
    assert_eq!(
        (outcome.whole_upstream, outcome.until),
        (false, Some(at + 40 * S))
    );
    assert_eq!(view(&book, "c", at).state, TierState::Unknown);
}

#[test]
fn an_upstream_without_accounts_is_not_freed_by_a_tiers_failure() {
    let book = book();
    fail(
        &book,
        "a",
        T0,
        1,
        &status(500, "All accounts are invalid: x"),
    );
    let at = T0 + 20 * S;
    assert!(!fail(&book, "a", at, 1, &overloaded()).whole_upstream);
    assert_eq!(view(&book, "c", at).state, TierState::Probing);
}

#[test]
fn a_guard_that_was_released_frees_nothing_of_the_next_holder() {
    let book = book();
    let up = tier("m");
    fail(&book, "m", T0, 1, &overloaded());
    let at = T0 + 20 * S;
    let first = probe(&book, "m", at).unwrap();
    let attempt = Attempt {
        probe: Some(&first),
        ..attempt(&up, at)
    };
    book.attempt_failed(&attempt, &status(400, "bad"), at);
    let _second = probe(&book, "m", at).unwrap();
    drop(first);
    assert!(probe(&book, "m", at).is_none());
}

#[test]
fn a_probe_that_outlives_a_newer_mark_is_an_attempt_that_began_before_it() {
    let book = book();
    let up = tier("m");
    fail(&book, "m", T0, 1, &overloaded());
    let at = T0 + 20 * S;
    let held = probe(&book, "m", at).unwrap();
    // Somebody who had no other tier fails meanwhile.
    let last_resort = Attempt {
        key: 2,
        ..attempt(&up, at + S)
    };
    let outcome = book.attempt_failed(&last_resort, &overloaded(), at + 2 * S);
    assert_eq!(outcome.until, Some(at + 22 * S));
    assert!(
        probe(&book, "m", at + 22 * S).is_none(),
        "the first probe still holds the slot"
    );
    let slow = Attempt {
        probe: Some(&held),
        ..attempt(&up, at)
    };
    assert!(
        !book
            .attempt_failed(&slow, &overloaded(), at + 25 * S)
            .marked
    );
    assert!(probe(&book, "m", at + 25 * S).is_some());
}
