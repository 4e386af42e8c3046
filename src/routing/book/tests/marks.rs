//! "Marks": who is marked, for how long, and what shortens it.
use crate::routing::testkit::*;
use crate::routing::*;

#[test]
fn a_failure_marks_its_tier_for_cooldown() {
    let book = book();
    let outcome = fail(&book, "m", T0, 1, &overloaded());
    assert!(outcome.marked && !outcome.whole_upstream && !outcome.suspect_429);
    assert_eq!(outcome.until, Some(T0 + 20 * S));
    let during = view(&book, "m", T0 + 20 * S - 1);
    assert_eq!(
        (during.state, during.reason),
        (TierState::Cooldown, Some(Reason::Overloaded))
    );
    assert_eq!((during.usable, during.until), (false, Some(T0 + 20 * S)));
    assert_eq!(view(&book, "m", T0 + 20 * S).state, TierState::Probing);
    assert_eq!(view(&book, "other", T0).state, TierState::Unknown);
}

#[test]
fn a_parsed_reset_decides_and_reaches_at_most_eight_days() {
    let day = 24 * HOUR;
    for (reset, until) in [
        (Some(T0 + HOUR), T0 + HOUR),
        (Some(T0 + 90 * day), T0 + 8 * day),
        (Some(u64::MAX), T0 + 8 * day),
        (Some(T0), T0 + 20 * S),
        (Some(T0 - S), T0 + 20 * S),
        (None, T0 + 20 * S),
    ] {
        let book = book();
        // Polls agree: nothing is left.
        poll(&book, T0, &[("m", 0.0, None)]);
        assert_eq!(
            fail(&book, "m", T0, 1, &exhausted(reset)).until,
            Some(until),
            "{reset:?}"
        );
    }
}

#[test]
fn model_not_found_marks_for_cooldown_max() {
    let outcome = fail(&book(), "m", T0, 1, &status(404, "no such model"));
    assert_eq!(outcome.until, Some(T0 + 300 * S));
}

#[test]
fn the_clients_fault_marks_nothing() {
    let book = book();
    for code in [400, 413, 422] {
        assert_eq!(
            fail(&book, "m", T0, 1, &status(code, "bad")),
            MarkOutcome::default()
        );
    }
    assert_eq!(book.snapshot().marks(), 0);
}

#[test]
fn failures_of_attempts_that_began_before_the_mark_change_nothing() {
    let book = book();
    fail(&book, "m", T0, 1, &overloaded());
    for (began, at) in [
        (T0 - 9 * S, T0 + S),
        (T0, T0 + 5 * S),
        (T0 - S, T0 + 25 * S),
    ] {
        let late = exhausted(Some(T0 + HOUR));
        let outcome = book.attempt_failed(
            &Attempt {
                key: 2,
                ..attempt(&tier("m"), began)
            },
            &late,
            at,
        );
        assert_eq!(outcome, MarkOutcome::default());
    }
    assert_eq!(view(&book, "m", T0).until, Some(T0 + 20 * S));
    assert_eq!(view(&book, "m", T0 + 25 * S).state, TierState::Probing);
}

#[test]
fn a_last_resort_that_fails_moves_the_end_but_never_nearer_and_never_doubles() {
    let book = book();
    fail(&book, "m", T0, 1, &overloaded());
    assert_eq!(
        fail(&book, "m", T0 + 5 * S, 1, &overloaded()).until,
        Some(T0 + 25 * S)
    );
    // One key's own trouble does not.
    fail(&book, "n", T0, 1, &Failure::timeout("first_event_s"));
    let again = fail(
        &book,
        "n",
        T0 + 5 * S,
        1,
        &Failure::timeout("first_event_s"),
    );
    assert_eq!(again, MarkOutcome::default());
    let other = fail(
        &book,
        "n",
        T0 + 6 * S,
        2,
        &Failure::timeout("first_event_s"),
    );
    assert_eq!(other.until, Some(T0 + 26 * S));
    // A longer end stays.
    poll(&book, T0, &[("x", 0.0, None)]);
    fail(&book, "x", T0, 1, &exhausted(Some(T0 + HOUR)));
    assert_eq!(
        fail(&book, "x", T0 + S, 2, &overloaded()).until,
        Some(T0 + HOUR)
    );
}

#[test]
fn a_commit_clears_mark_and_doubling() {
    let book = book();
    let up = tier("m");
    for n in 0..3 {
        fail(&book, "m", T0 + n * 100 * S, 1, &overloaded());
    }
    assert!(book.attempt_committed(&attempt(&up, T0 + 400 * S), T0 + 400 * S));
    assert_eq!(view(&book, "m", T0 + 400 * S).state, TierState::Unknown);
    assert!(!book.attempt_committed(&attempt(&up, T0 + 400 * S), T0 + 400 * S));
    assert_eq!(
        fail(&book, "m", T0 + 500 * S, 1, &overloaded()).until,
        Some(T0 + 520 * S)
    );
}

#[test]
fn a_commit_without_a_mark_takes_no_lock() {
    let book = book();
    poll(&book, T0, &[("m", 0.5, None)]);
    fail(&book, "other", T0, 1, &overloaded());
    let before = book.snapshot();
    book.attempt_committed(&attempt(&tier("m"), T0), T0);
    assert!(
        std::sync::Arc::ptr_eq(&before, &book.snapshot()),
        "nothing was written"
    );
}

#[test]
fn a_connection_that_cannot_be_made_marks_the_whole_upstream() {
    let book = book();
    assert!(fail(&book, "m", T0, 1, &Failure::connect("refused")).whole_upstream);
    assert_eq!(view(&book, "another", T0).reason, Some(Reason::Connect));
    assert_eq!(
        book.snapshot().view(&Tier::new("m", "other"), T0).state,
        TierState::Unknown
    );
    assert!(!book.snapshot().upstream("up").reachable);
    // A later poll that is answered says otherwise; a commit clears it for all.
    poll(&book, T0 + S, &[("m", 0.5, None)]);
    assert!(book.snapshot().upstream("up").reachable);
    book.attempt_committed(&attempt(&tier("another"), T0), T0 + S);
    assert_eq!(view(&book, "m", T0 + S).state, TierState::Usable);
}

#[test]
fn a_reset_after_the_request_was_written_marks_only_the_tier() {
    let book = book();
    let outcome = fail(&book, "m", T0, 1, &Failure::reset_by_upstream("reset"));
    assert!(outcome.marked && !outcome.whole_upstream);
    assert_eq!(view(&book, "m", T0).reason, Some(Reason::UpstreamError));
}

#[test]
fn all_accounts_invalid_marks_the_whole_upstream() {
    let book = book();
    let failure = status(
        500,
        "All accounts are invalid: x. Visit the WebUI to fix them.",
    );
    assert!(fail(&book, "m", T0, 1, &failure).whole_upstream);
}

#[test]
fn no_accounts_available_asks_health() {
    let none = status(500, "No accounts available");
    let working = r#"{"accounts":[{"status":"invalid"},{"status":"rate-limited"}]}"#;
    let broken = r#"{"accounts":[{"status":"invalid"},{"status":"error"}]}"#;
    for (body, whole) in [
        (Some(working), false),
        (Some(broken), true),
        (Some(r#"{"accounts":[]}"#), true),
        (Some("{}"), false),
        (None, false),
    ] {
        let book = book();
        if let Some(body) = body {
            book.poll_succeeded("up", T0 - S, T0 - S, health(body));
        }
        let outcome = fail(&book, "m", T0, 1, &none);
        assert_eq!(
            (outcome.marked, outcome.whole_upstream),
            (true, whole),
            "{body:?}"
        );
        // The poll that it asked for may still give the upstream up.
        book.poll_succeeded("up", T0 + S, T0 + S, health(broken));
        assert_eq!(
            view(&book, "another", T0 + S).state,
            TierState::Cooldown,
            "{body:?}"
        );
        // ... and a success of any tier takes that back.
        book.attempt_committed(&attempt(&tier("another"), T0 + S), T0 + 2 * S);
        assert!(view(&book, "another", T0 + 2 * S).usable);
    }
}

#[test]
fn one_poll_is_wanted_by_marks_at_most_every_five_seconds() {
    let book = book();
    let mut wanted = Vec::new();
    for n in 0..14 {
        let outcome = fail(&book, &format!("m{n}"), T0 + n * S, 1, &overloaded());
        if outcome.poll_wanted {
            wanted.push(n);
        }
        let expected = if n % 5 == 0 { n } else { n - n % 5 + 5 };
        assert_eq!(outcome.poll_at, Some(T0 + expected * S));
    }
    assert_eq!(wanted, [0, 5, 10]);
}

#[test]
fn a_refusal_with_plenty_left_is_suspect() {
    let book = book();
    poll(&book, T0, &[("much", 0.5, None), ("little", 0.2, None)]);
    assert!(fail(&book, "much", T0 + S, 1, &exhausted(None)).suspect_429);
    assert!(!fail(&book, "little", T0 + S, 1, &exhausted(None)).suspect_429);
    assert!(!fail(&book, "unknown", T0 + S, 1, &exhausted(None)).suspect_429);
    let limited = classify(429, None, b"", None, T0);
    let book = self::book();
    poll(&book, T0, &[("much", 0.5, None)]);
    assert!(fail(&book, "much", T0 + S, 1, &limited).suspect_429);
}

#[test]
fn clear_drops_what_it_names() {
    let marked = || {
        let book = book();
        fail(&book, "a", T0, 1, &overloaded());
        fail(&book, "b", T0, 1, &overloaded());
        fail(&book, "a", T0 + S, 1, &Failure::connect("refused"));
        book
    };
    for (model, upstream, dropped) in [
        (None, None, 3),
        (Some("a"), None, 1),
        (None, Some("up"), 3),
        (Some("b"), Some("up"), 1),
        (Some("b"), Some("other"), 0),
        (Some("c"), None, 0),
    ] {
        let book = marked();
        assert_eq!(
            book.clear(model, upstream),
            dropped,
            "{model:?} {upstream:?}"
        );
        assert_eq!(book.snapshot().marks(), 3 - dropped);
    }
}

#[test]
fn names_that_clients_invent_push_out_no_configured_mark() {
    let book = book();
    book.set_known(["mine".into()], &["up".into()]);
    fail(&book, "mine", T0, 1, &overloaded());
    for n in 0..2000 {
        fail(
            &book,
            &format!("invented-{n}"),
            T0 + n,
            1,
            &status(404, "no such model"),
        );
    }
    assert!(book.snapshot().marks() <= 520);
    assert_eq!(view(&book, "mine", T0 + 2 * S).state, TierState::Cooldown);
    assert_eq!(
        view(&book, "invented-1999", T0 + 2 * S).state,
        TierState::Cooldown
    );
    let long = "x".repeat(10_000);
    assert!(!fail(&book, &long, T0, 1, &overloaded()).marked);
}
