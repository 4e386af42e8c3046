#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]
use super::*;
use crate::routing::testkit::*;
use crate::routing::{Book, Next, next};

/// A request on which every tier that is asked fails as `failures` say; marks are set.
fn run(book: &Book, route: &Route, at: Millis, failures: &[(&str, Failure)]) -> Verdict {
    let mut trail = Trail::new();
    loop {
        match next(&book.snapshot(), route, &mut trail, at) {
            Next::Try { index, .. } => {
                let model = route.tiers[index].model.clone();
                let failure = failures
                    .iter()
                    .find(|(m, _)| *m == &*model)
                    .unwrap()
                    .1
                    .clone();
                fail(book, &model, at, 1, &failure);
                trail.failed(index, failure);
            }
            Next::Out => return verdict(route, &trail, &book.snapshot(), at),
        }
    }
}

fn outcome(failures: &[(&str, Failure)]) -> (u16, VerdictKind, Reason) {
    let models: Vec<&str> = failures.iter().map(|(model, _)| *model).collect();
    let told = run(&book(), &route(&models), T0, failures);
    (told.status, told.kind, told.reason)
}

#[test]
fn every_tier_alike() {
    for (failure, status, kind) in [
        (exhausted(None), 429, VerdictKind::RateLimit),
        (
            super::super::classify(429, None, b"", None, T0),
            429,
            VerdictKind::RateLimit,
        ),
        (overloaded(), 529, VerdictKind::Overloaded),
        (self::status(503, "busy"), 529, VerdictKind::Overloaded),
        (Failure::timeout("first_event_s"), 504, VerdictKind::Timeout),
        (Failure::connect("refused"), 502, VerdictKind::Api),
        (Failure::cut(), 502, VerdictKind::Api),
        (Failure::empty(), 502, VerdictKind::Api),
        (Failure::not_an_answer("garbage"), 502, VerdictKind::Api),
        (self::status(500, "boom"), 500, VerdictKind::Api),
        (self::status(502, "boom"), 502, VerdictKind::Api),
        (self::status(401, "key"), 502, VerdictKind::Api),
        (self::status(403, "no"), 502, VerdictKind::Api),
        (self::status(404, "no"), 404, VerdictKind::NotFound),
    ] {
        let told = outcome(&[("a", failure.clone()), ("b", failure.clone())]);
        assert_eq!(told, (status, kind, failure.reason));
    }
}

#[test]
fn the_first_in_the_list_that_occurred_decides() {
    let by_rank = [
        (exhausted(None), 429),
        (super::super::classify(429, None, b"", None, T0), 429),
        (overloaded(), 529),
        (Failure::timeout("t"), 504),
        (Failure::connect("c"), 502),
        (self::status(500, "boom"), 500),
    ];
    for (high, (winner, status)) in by_rank.iter().enumerate() {
        for (loser, _) in by_rank.iter().skip(high + 1) {
            // A refused connection marks both tiers of its upstream; the other is tried all the same.
            for pair in [[winner, loser], [loser, winner]] {
                let told = outcome(&[("a", pair[0].clone()), ("b", pair[1].clone())]);
                assert_eq!((told.0, told.2), (*status, winner.reason));
            }
        }
    }
}

#[test]
fn otherwise_the_last_tiers_error_and_404_only_from_all() {
    let missing = self::status(404, "no");
    let boom = self::status(500, "boom");
    assert_eq!(
        outcome(&[("a", missing.clone()), ("b", boom.clone())]).0,
        500
    );
    assert_eq!(
        outcome(&[("a", boom.clone()), ("b", missing.clone())]).0,
        500
    );
    assert_eq!(
        outcome(&[("a", boom.clone()), ("b", Failure::cut())]).0,
        502
    );
    assert_eq!(outcome(&[("a", Failure::cut()), ("b", boom)]).0, 500);
    assert_eq!(outcome(&[("a", missing.clone()), ("b", missing)]).0, 404);
}

#[test]
fn a_400_of_a_later_tier_decides_nothing() {
    let bad = self::status(400, "field x");
    assert_eq!(
        outcome(&[("a", Failure::timeout("t")), ("b", bad.clone())]).0,
        504
    );
    assert_eq!(
        outcome(&[("a", self::status(500, "boom")), ("b", bad.clone())]).0,
        500
    );
    assert_eq!(
        outcome(&[("a", self::status(404, "no")), ("b", bad.clone())]).0,
        404
    );
    // From the first tier that was asked it ends the request.
    let told = run(&book(), &route(&["a", "b"]), T0, &[("a", bad)]);
    assert_eq!((told.status, told.kind), (400, VerdictKind::InvalidRequest));
    assert_eq!(told.message, "field x");
    for (failure, status, message) in [
        (self::status(422, "field y"), 400, "field y"),
        (self::status(413, "big"), 413, "The request is larger"),
        (
            super::super::classify(400, Some("text/html"), b"<b>", None, T0),
            400,
            "The upstream refused",
        ),
    ] {
        let told = run(&book(), &route(&["a", "b"]), T0, &[("a", failure)]);
        assert_eq!(told.status, status);
        assert!(told.message.starts_with(message), "{}", told.message);
    }
    // 413 ends it from any tier.
    let told = outcome(&[
        ("a", overloaded()),
        ("b", self::status(413, "big")),
        ("c", overloaded()),
    ]);
    assert_eq!(told.0, 413);
}

#[test]
fn a_cooldown_counts_as_the_reason_of_its_mark() {
    let book = book();
    let at_reset = Some(T0 + HOUR);
    let limited = Failure {
        reset: at_reset,
        ..super::super::classify(429, None, b"", None, T0)
    };
    fail(&book, "a", T0, 1, &limited);
    let told = run(&book, &route(&["a"]), T0 + S, &[]);
    assert_eq!((told.status, told.reason), (429, Reason::RateLimited));
    assert_eq!(told.upstream_error, None);
    // Too little quota in the snapshot is named before the mark's reason.
    poll(&book, T0 + S, &[("a", 0.0, at_reset)]);
    let told = run(&book, &route(&["a"]), T0 + 2 * S, &[]);
    assert_eq!((told.status, told.reason), (429, Reason::Quota));
}

#[test]
fn max_retries_exceeded_is_429_only_when_health_confirms() {
    let retries = self::status(500, "Max retries exceeded");
    for (fraction, status, reason) in [
        (None, 529, Reason::Overloaded),
        (Some(0.9), 529, Reason::Overloaded),
        (Some(0.0), 429, Reason::Exhausted),
    ] {
        let book = book();
        if let Some(fraction) = fraction {
            poll(&book, T0, &[("a", fraction, None), ("b", fraction, None)]);
        }
        let failures = [("a", retries.clone()), ("b", retries.clone())];
        let told = run(&book, &route(&["a", "b"]), T0 + S, &failures);
        assert_eq!((told.status, told.reason), (status, reason), "{fraction:?}");
        assert_eq!(told.retry_after_s, Some(20));
    }
    // Also as the reason of a mark, and beside a clear cause.
    let told = outcome(&[("a", retries.clone()), ("b", Failure::timeout("t"))]);
    assert_eq!(told.0, 529);
    assert_eq!(outcome(&[("a", retries), ("b", exhausted(None))]).0, 429);
}

#[test]
fn retry_after_is_the_soonest_way_out() {
    let wait = |failures: &[(&str, Failure)]| {
        let models: Vec<&str> = failures.iter().map(|(model, _)| *model).collect();
        run(&book(), &route(&models), T0, failures).retry_after_s
    };
    let reset = |ms: Millis| exhausted(Some(T0 + ms));
    assert_eq!(wait(&[("a", reset(5 * HOUR))]), Some(900));
    assert_eq!(
        wait(&[("a", reset(5 * HOUR)), ("b", reset(100 * S))]),
        Some(100)
    );
    assert_eq!(wait(&[("a", reset(1500))]), Some(2), "rounded up");
    assert_eq!(wait(&[("a", reset(1))]), Some(1));
    assert_eq!(
        wait(&[("a", reset(HOUR)), ("b", overloaded())]),
        Some(20),
        "the end of a cooldown"
    );
    assert_eq!(wait(&[("a", overloaded())]), Some(20));
    // A tier without the model is no way out.
    assert_eq!(
        wait(&[("a", self::status(404, "no")), ("b", reset(600 * S))]),
        Some(600)
    );
    assert_eq!(wait(&[("a", Failure::timeout("t"))]), None);
    // Without a call, from the snapshot.
    let book = book();
    poll(
        &book,
        T0,
        &[("a", 0.0, Some(T0 + 70 * S)), ("b", 0.0, Some(T0 + HOUR))],
    );
    assert_eq!(
        run(&book, &route(&["a", "b"]), T0 + S, &[]).retry_after_s,
        Some(69)
    );
}

#[test]
fn the_message_names_each_tier_with_its_reset() {
    let book = book();
    poll(&book, T0, &[("a", 0.0, Some(T0 + 2 * HOUR))]);
    let failures = [("b", exhausted(Some(T0 + 17_989 * S)))];
    let told = run(&book, &route(&["a", "b"]), T0, &failures);
    assert_eq!(
        told.message,
        "No quota is left for a: a on up: quota, until 2026-11-24 10:06:57 UTC (in 2h0m0s); \
         b on up: exhausted, until 2026-11-24 13:06:46 UTC (in 4h59m49s). Try again in 15m0s."
    );
    assert_eq!(
        told.upstream_error, None,
        "the quota decided, not a failure"
    );
}

#[test]
fn an_overloaded_tier_does_not_wait_for_the_reset_of_a_full_quota() {
    let book = book();
    poll(&book, T0, &[("a", 1.0, Some(T0 + 2 * HOUR))]);
    let told = run(
        &book,
        &route(&["a"]),
        T0,
        &[("a", status(529, "Overloaded"))],
    );
    assert_eq!(
        told.message,
        "Every tier for a is overloaded: a on up: overloaded, until 2026-11-24 08:07:17 UTC (in 20s). \
         Try again in 20s."
    );
}

#[test]
fn messages_are_bounded_and_never_quote_the_upstream() {
    let names: Vec<String> = (0..40).map(|n| format!("{}{n}", "m".repeat(200))).collect();
    let secret = self::status(500, "secret at /home/u");
    let failures: Vec<_> = names.iter().map(|n| (n.as_str(), secret.clone())).collect();
    let models: Vec<&str> = names.iter().map(String::as_str).collect();
    let told = run(&book(), &route(&models), T0, &failures);
    assert!(
        told.message.len() < 1500 && told.message.ends_with("and 32 more"),
        "{}",
        told.message
    );
    assert!(!told.message.contains("secret"));
}

#[test]
fn fallback_off_tells_the_failure_of_the_one_tier() {
    let (book, route) = (book(), route(&["a", "b"]));
    let mut trail = Trail::first_only();
    let _ = next(&book.snapshot(), &route, &mut trail, T0);
    trail.failed(0, Failure::timeout("t"));
    let told = verdict(&route, &trail, &book.snapshot(), T0);
    assert_eq!(told.status, 504);
    assert!(!told.message.contains("b on up"));
}
