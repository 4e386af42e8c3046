//! Short ways to say what tests of this module need: two upstreams, polls, failures, routes.
#![allow(clippy::indexing_slicing, reason = "a test may fail loudly")]

use super::*;

/// A moment; everything in tests is told relative to it.
pub const T0: Millis = 1_795_507_617_000;
pub const S: Millis = 1000;
pub const HOUR: Millis = 3600 * S;

pub fn book() -> Book {
    Book::new(Params::default())
}

pub fn tier(model: &str) -> Tier {
    Tier::new(model, "up")
}

/// A route over `model` or `model@upstream`.
pub fn route(tiers: &[&str]) -> Route {
    let tiers: Vec<Tier> = tiers
        .iter()
        .map(|text| match text.split_once('@') {
            Some((model, upstream)) => Tier::new(model, upstream),
            None => tier(text),
        })
        .collect();
    Route {
        resolved: tiers[0].model.clone(),
        via: Via::Chain,
        tiers: tiers.into(),
        midstream_continue: false,
        alias: None,
    }
}

type Quota<'a> = (&'a str, Option<f64>, Option<Millis>);

/// A /health body with one account per entry; each entry lists `(model, fraction, reset)`.
pub fn accounts(list: &[&[Quota<'_>]]) -> Health {
    let account = |models: &&[Quota<'_>]| {
        let models: serde_json::Map<String, serde_json::Value> = models
            .iter()
            .map(|(model, fraction, reset)| {
                let reset = reset.map(rfc3339);
                let quota = serde_json::json!({"remainingFraction": fraction, "resetTime": reset});
                ((*model).to_owned(), quota)
            })
            .collect();
        serde_json::json!({"email": "a@x", "status": "ok", "models": models})
    };
    let accounts: Vec<_> = list.iter().map(account).collect();
    health(&serde_json::json!({"status": "ok", "accounts": accounts}).to_string())
}

pub fn health(body: &str) -> Health {
    parse_health(body.as_bytes(), T0).unwrap_or(Health::Unknown)
}

/// A poll of one account that began and ended at `at`.
pub fn poll(book: &Book, at: Millis, models: &[(&str, f64, Option<Millis>)]) {
    let models: Vec<_> = models.iter().map(|(m, f, r)| (*m, Some(*f), *r)).collect();
    book.poll_succeeded("up", at, at, accounts(&[&models]));
}

pub fn exhausted(reset: Option<Millis>) -> Failure {
    Failure {
        reset,
        ..Failure::new(
            Reason::Exhausted,
            400,
            "You have exhausted your capacity on m.",
        )
    }
}

pub fn overloaded() -> Failure {
    Failure::new(Reason::Overloaded, 529, "busy")
}

pub fn status(status: u16, message: &str) -> Failure {
    let body =
        serde_json::json!({"type": "error", "error": {"type": "api_error", "message": message}});
    classify(
        status,
        Some("application/json"),
        body.to_string().as_bytes(),
        None,
        T0,
    )
}

/// An attempt of key 1 without a probe.
pub fn attempt(tier: &Tier, began: Millis) -> Attempt<'_> {
    Attempt {
        tier,
        key: 1,
        began,
        probe: None,
        first: true,
    }
}

/// A whole attempt that fails at once, as whoever may probe it.
pub fn fail(book: &Book, model: &str, at: Millis, key: u64, failure: &Failure) -> MarkOutcome {
    let tier = tier(model);
    let probe = book.snapshot().standing(&tier, at).gate.probe();
    let attempt = Attempt {
        key,
        probe: probe.as_ref(),
        ..attempt(&tier, at)
    };
    book.attempt_failed(&attempt, failure, at)
}

/// The state of a tier of the upstream `up`.
pub fn view(book: &Book, model: &str, at: Millis) -> TierView {
    book.snapshot().view(&tier(model), at)
}

/// What [`next`] answers, as `(index, has a probe, last candidate)`.
pub fn step(
    book: &Book,
    route: &Route,
    trail: &mut Trail,
    at: Millis,
) -> Option<(usize, bool, bool)> {
    match next(&book.snapshot(), route, trail, at) {
        Next::Try {
            index,
            probe,
            last_candidate,
        } => Some((index, probe.is_some(), last_candidate)),
        Next::Out => None,
    }
}

/// The tiers that a request tries when each fails for itself without a mark.
pub fn order(book: &Book, route: &Route, at: Millis) -> Vec<usize> {
    let mut trail = Trail::new();
    let mut tried = Vec::new();
    while let Some((index, ..)) = step(book, route, &mut trail, at) {
        trail.failed(index, overloaded());
        tried.push(index);
    }
    tried
}
