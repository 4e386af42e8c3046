//! "Poll" and the quota half of "Proactive".
use crate::routing::testkit::*;
use crate::routing::*;

fn state(book: &Book, model: &str, at: Millis) -> (TierState, Option<f64>, bool) {
    let view = view(book, model, at);
    (view.state, view.remaining_fraction, view.stale)
}

#[test]
fn first_account_at_zero_does_not_hide_the_second() {
    let book = book();
    let reset = Some(T0 + HOUR);
    let health = accounts(&[
        &[("m", Some(0.0), reset)],
        &[("m", Some(0.8), reset)],
        &[("m", Some(0.3), reset)],
    ]);
    book.poll_succeeded("up", T0, T0, health);
    assert_eq!(state(&book, "m", T0), (TierState::Usable, Some(0.8), false));
    assert_eq!(view(&book, "m", T0).accounts, 3);
    assert_eq!(order(&book, &route(&["m"]), T0), [0]);
}

#[test]
fn null_with_a_reset_is_zero_and_null_without_is_unknown() {
    let book = book();
    let reset = Some(T0 + HOUR);
    book.poll_succeeded(
        "up",
        T0,
        T0,
        accounts(&[&[("a", None, reset), ("b", None, None)]]),
    );
    assert_eq!(
        state(&book, "a", T0),
        (TierState::Exhausted, Some(0.0), false)
    );
    assert_eq!(view(&book, "a", T0).until, reset);
    assert_eq!(state(&book, "b", T0), (TierState::Unknown, None, false));
    assert!(view(&book, "b", T0).usable);
}

#[test]
fn an_account_whose_quota_is_unknown_may_have_some() {
    let book = book();
    let reset = Some(T0 + HOUR);
    let health = accounts(&[
        &[("a", Some(0.0), reset), ("b", Some(0.5), reset)],
        &[("a", None, None), ("b", None, None)],
    ]);
    book.poll_succeeded("up", T0, T0, health);
    assert_eq!(view(&book, "a", T0).state, TierState::Unknown);
    assert_eq!(state(&book, "b", T0), (TierState::Usable, Some(0.5), false));
}

#[test]
fn no_accounts_array_means_unknown_and_not_stale() {
    let book = book();
    poll(&book, T0, &[("m", 0.0, Some(T0 + HOUR))]);
    book.poll_succeeded(
        "up",
        T0 + S,
        T0 + S,
        health(r#"{"status":"ok","version":"4"}"#),
    );
    assert_eq!(state(&book, "m", T0 + S), (TierState::Unknown, None, false));
    let up = book.snapshot().upstream("up");
    assert!(up.reachable && !up.stale && up.polled_at == Some(T0 + S));
}

#[test]
fn a_failed_poll_keeps_the_last_value_until_stale_after() {
    let book = book();
    poll(&book, T0, &[("m", 0.03, None)]);
    book.poll_failed("up", T0 + 30 * S, T0 + 38 * S, "timed out");
    assert_eq!(
        state(&book, "m", T0 + 40 * S),
        (TierState::Low, Some(0.03), true)
    );
    assert_eq!(
        state(&book, "m", T0 + 120 * S - 1),
        (TierState::Low, Some(0.03), true)
    );
    assert_eq!(
        state(&book, "m", T0 + 120 * S),
        (TierState::Unknown, None, true)
    );
    let up = book.snapshot().upstream("up");
    assert_eq!(
        (up.reachable, up.stale, up.polled_at),
        (false, true, Some(T0))
    );
    assert_eq!(up.error.as_deref(), Some("timed out"));
    // The next good one mends all.
    poll(&book, T0 + 130 * S, &[("m", 0.5, None)]);
    assert_eq!(
        state(&book, "m", T0 + 130 * S),
        (TierState::Usable, Some(0.5), false)
    );
    assert!(book.snapshot().upstream("up").reachable);
}

#[test]
fn a_value_that_polls_confirm_never_grows_stale() {
    let book = book();
    poll(&book, T0, &[("m", 0.03, None)]);
    assert_eq!(
        state(&book, "m", T0 + HOUR),
        (TierState::Low, Some(0.03), false)
    );
}

#[test]
fn all_accounts_in_error_keep_the_last_value_stale() {
    let book = book();
    poll(&book, T0, &[("m", 0.5, None)]);
    let all_error = health(r#"{"accounts":[{"email":"a@x","status":"error","models":{}}]}"#);
    book.poll_succeeded("up", T0 + S, T0 + S, all_error);
    assert_eq!(
        state(&book, "m", T0 + S),
        (TierState::Usable, Some(0.5), true)
    );
    let up = book.snapshot().upstream("up");
    assert!(up.reachable && up.stale && up.accounts.len() == 1);
    // So does a model that no account lists any more.
    poll(&book, T0 + 2 * S, &[("other", 0.5, None)]);
    assert_eq!(
        state(&book, "m", T0 + 2 * S),
        (TierState::Usable, Some(0.5), true)
    );
    assert!(!book.snapshot().upstream("up").stale);
}

#[test]
fn some_account_in_error_leaves_the_rest_to_decide() {
    let book = book();
    book.poll_succeeded(
        "up",
        T0,
        T0,
        health(
            r#"{"accounts":[{"status":"error","models":{"m":{"remainingFraction":1}}},
               {"status":"rate-limited","models":{"m":{"remainingFraction":0.2}}}]}"#,
        ),
    );
    assert_eq!(state(&book, "m", T0), (TierState::Usable, Some(0.2), false));
}

#[test]
fn a_passed_reset_makes_the_model_unknown_without_a_poll() {
    let book = book();
    let (soon, late) = (Some(T0 + 10 * S), Some(T0 + HOUR));
    let health = accounts(&[
        &[
            ("zero", Some(0.0), late),
            ("low", Some(0.02), soon),
            ("fine", Some(0.5), late),
        ],
        &[("zero", Some(0.0), soon), ("fine", Some(0.9), soon)],
    ]);
    book.poll_succeeded("up", T0, T0, health);
    let before = T0 + 10 * S - 1;
    assert_eq!(
        state(&book, "zero", before),
        (TierState::Exhausted, Some(0.0), false)
    );
    assert_eq!(
        view(&book, "zero", before).until,
        soon,
        "the soonest reset of any account"
    );
    assert_eq!(state(&book, "low", before).0, TierState::Low);
    let at = T0 + 10 * S;
    assert_eq!(state(&book, "zero", at), (TierState::Unknown, None, false));
    assert_eq!(state(&book, "low", at), (TierState::Unknown, None, false));
    assert_eq!(
        state(&book, "fine", at),
        (TierState::Usable, Some(0.5), false)
    );
}

#[test]
fn low_below_threshold_and_usable_again_at_recover() {
    let book = book();
    let mut at = T0;
    for (fraction, expected) in [
        (0.07, TierState::Usable),
        (0.05, TierState::Usable),
        (0.049, TierState::Low),
        (0.07, TierState::Low),
        (0.099, TierState::Low),
        (0.10, TierState::Usable),
        (0.07, TierState::Usable),
        (0.0, TierState::Exhausted),
        (0.07, TierState::Low),
    ] {
        at += S;
        poll(&book, at, &[("m", fraction, None)]);
        assert_eq!(view(&book, "m", at).state, expected, "{fraction}");
    }
    // A poll without a number forgets nothing.
    at += S;
    book.poll_succeeded("up", at, at, accounts(&[&[("m", None, None)]]));
    assert_eq!(view(&book, "m", at).state, TierState::Unknown);
    poll(&book, at + S, &[("m", 0.07, None)]);
    assert_eq!(view(&book, "m", at + S).state, TierState::Low);
}

#[test]
fn a_reset_ends_the_hysteresis() {
    let book = book();
    poll(&book, T0, &[("m", 0.03, Some(T0 + 10 * S))]);
    poll(&book, T0 + 11 * S, &[("m", 0.07, Some(T0 + HOUR))]);
    assert_eq!(view(&book, "m", T0 + 11 * S).state, TierState::Usable);
}

#[test]
fn new_numbers_count_at_once() {
    let book = book();
    poll(&book, T0, &[("m", 0.15, None)]);
    assert_eq!(view(&book, "m", T0).state, TierState::Usable);
    book.set_params(Params {
        threshold: 0.2,
        recover: 0.3,
        ..Params::default()
    });
    assert_eq!(view(&book, "m", T0).state, TierState::Low);
}

#[test]
fn a_poll_that_began_before_the_newest_is_ignored() {
    let book = book();
    poll(&book, T0 + S, &[("m", 0.5, None)]);
    poll(&book, T0, &[("m", 0.0, None)]);
    book.poll_failed("up", T0, T0 + 9 * S, "late");
    assert_eq!(
        state(&book, "m", T0 + 9 * S),
        (TierState::Usable, Some(0.5), false)
    );
    assert!(book.snapshot().upstream("up").reachable);
}

#[test]
fn an_answer_that_is_no_report_is_stale_but_reachable() {
    let book = book();
    book.poll_refused("up", T0, T0, "401");
    let up = book.snapshot().upstream("up");
    assert_eq!((up.reachable, up.stale), (true, true));
    assert!(book.snapshot().upstream("never-heard-of").reachable);
}

#[test]
fn upstreams_do_not_share_quotas_and_go_when_they_are_not_configured() {
    let book = book();
    poll(&book, T0, &[("m", 0.0, None)]);
    let other = Tier::new("m", "other");
    assert_eq!(book.snapshot().view(&other, T0).state, TierState::Unknown);
    book.set_known([], &["other".into()]);
    assert_eq!(view(&book, "m", T0).state, TierState::Unknown);
    assert!(book.snapshot().tiers().is_empty());
}

#[test]
fn models_are_bounded_over_any_number_of_polls() {
    let book = book();
    for round in 0..10 {
        let names: Vec<String> = (0..900).map(|i| format!("m{round}-{i}")).collect();
        let models: Vec<_> = names.iter().map(|n| (n.as_str(), 0.5, None)).collect();
        poll(&book, T0 + round * S, &models);
    }
    assert!(book.snapshot().tiers().len() <= 2000);
    assert!(book.snapshot().reports("m9-0"));
}
