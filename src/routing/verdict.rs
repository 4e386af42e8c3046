//! What the client is told when no tier is left (gateway.md section 4).
//!
//! The first of these that occurred decides: quota, exhausted, rate_limited (429); overloaded
//! (529); timeout (504); connect (502); a cooldown counts as the reason of its mark. Otherwise the
//! last tier's error, mapped as conversion.md section 8 has it; 404 only when every tier said that
//! it does not offer the model. A 400 of a later tier decides nothing.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::failure::cut;
use super::trail::{Fate, Passed};
use super::{Failure, Millis, Reason, Route, Snapshot, Tier, TierView, Trail, text};

/// The longest `retry-after`, in seconds.
const MAX_RETRY_AFTER: u64 = 900;
/// So many tiers are named in a message.
const NAMED: usize = 8;

/// The kind of answer, to be written in the client's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictKind {
    /// 429 rate_limit_error.
    RateLimit,
    /// 529 overloaded_error (OpenAI: 503 server_error).
    Overloaded,
    /// 504 timeout_error.
    Timeout,
    /// 500 or 502 api_error (OpenAI: server_error).
    Api,
    /// 404 not_found_error (OpenAI: invalid_request_error, code model_not_found).
    NotFound,
    /// 400 invalid_request_error with the upstream's words.
    InvalidRequest,
    /// 413 request_too_large.
    TooLarge,
}

/// The failure of the upstream that decided, for logs; its message is raw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    /// Its HTTP status, 0 without any.
    pub status: u16,
    /// Its `error.type`.
    pub error_type: Option<String>,
    /// Its words, to be cleaned.
    pub message: String,
}

/// One answer for the whole chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The status for Anthropic clients.
    pub status: u16,
    /// The kind.
    pub kind: VerdictKind,
    /// The label that decided.
    pub reason: Reason,
    /// What to tell. Luna's own words, but for [`VerdictKind::InvalidRequest`], where they are the
    /// upstream's: to be cleaned.
    pub message: String,
    /// 1 to 900, with 429 and 529.
    pub retry_after_s: Option<u64>,
    /// The failure behind it, when one decided.
    pub upstream_error: Option<UpstreamError>,
}

/// What one tier contributes.
struct Cause<'a> {
    tier: &'a Tier,
    reason: Reason,
    /// Place in the order of failures; tiers that were passed over come first.
    order: usize,
    failure: Option<&'a Failure>,
    /// When the tier may be usable again.
    again: Option<Millis>,
    /// The reset to name.
    reset: Option<Millis>,
}

/// The answer when [`super::next`] said `Out` or [`Trail::failed`] said `End`. `snapshot` is the
/// newest one, with the marks of this request's failures.
#[must_use]
pub fn verdict(route: &Route, trail: &Trail, snapshot: &Snapshot, now: Millis) -> Verdict {
    let mut client_fault = None;
    let mut causes = Vec::new();
    for (index, fate) in trail.fates() {
        let Some(tier) = route.tiers.get(index) else {
            continue;
        };
        match fate {
            Fate::Failed { failure, .. } if failure.client_fault => client_fault = Some(failure),
            Fate::Failed { failure, nth } => {
                causes.push(of_failure(
                    tier,
                    failure,
                    *nth,
                    &snapshot.view(tier, now),
                    now,
                ));
            }
            Fate::Passed(passed) => {
                causes.push(of_passed(tier, passed, &snapshot.view(tier, now), now));
            }
            Fate::Untouched | Fate::Asked => {}
        }
    }
    if let Some(failure) = client_fault.filter(|_| trail.ended() || causes.is_empty()) {
        return clients_fault(failure);
    }
    let (kind, status, deciding) = decide(&causes);
    let has_wait = matches!(kind, VerdictKind::RateLimit | VerdictKind::Overloaded);
    let retry_after_s = has_wait.then(|| retry_after(&causes, snapshot, now));
    Verdict {
        status,
        kind,
        reason: deciding.map_or(Reason::UpstreamError, |cause| cause.reason),
        message: message(kind, route, &causes, retry_after_s, now),
        retry_after_s,
        upstream_error: deciding.and_then(|cause| cause.failure).map(upstream_error),
    }
}

fn of_failure<'a>(
    tier: &'a Tier,
    failure: &'a Failure,
    nth: usize,
    view: &TierView,
    now: Millis,
) -> Cause<'a> {
    let reset = failure.reset.filter(|reset| *reset > now);
    let reason = told(failure.reason, failure.ambiguous_max_retries, view);
    // An overloaded tier with a full quota does not wait for that quota's reset.
    let waits = view.until.is_some() && matches!(reason, Reason::Quota | Reason::Exhausted);
    Cause {
        tier,
        reason,
        order: nth + 1,
        failure: Some(failure),
        again: reset.or(view.until),
        reset: reset.or(view.reset_time.filter(|_| waits)),
    }
}

fn of_passed<'a>(tier: &'a Tier, passed: &Passed, view: &TierView, now: Millis) -> Cause<'a> {
    Cause {
        tier,
        reason: told(passed.cause, passed.ambiguous, view),
        order: 0,
        failure: None,
        again: passed.until,
        reset: passed.reset.max(passed.until).filter(|reset| *reset > now),
    }
}

/// "Max retries exceeded" is exhaustion only when /health confirms that quota is gone.
fn told(reason: Reason, ambiguous: bool, view: &TierView) -> Reason {
    use super::TierState::{Exhausted, Low};
    if ambiguous && !matches!(view.state, Low | Exhausted) {
        Reason::Overloaded
    } else {
        reason
    }
}

fn decide<'a, 'c>(causes: &'c [Cause<'a>]) -> (VerdictKind, u16, Option<&'c Cause<'a>>) {
    use VerdictKind as Kind;
    let of = |reason: Reason| causes.iter().find(|cause| cause.reason == reason);
    for (reason, kind, status) in [
        (Reason::Quota, Kind::RateLimit, 429),
        (Reason::Exhausted, Kind::RateLimit, 429),
        (Reason::RateLimited, Kind::RateLimit, 429),
        (Reason::Overloaded, Kind::Overloaded, 529),
        (Reason::Timeout, Kind::Timeout, 504),
        (Reason::Connect, Kind::Api, 502),
    ] {
        if let Some(cause) = of(reason) {
            return (kind, status, Some(cause));
        }
    }
    let missing = |cause: &&Cause<'_>| cause.reason == Reason::ModelNotFound;
    let last = causes
        .iter()
        .filter(|c| !missing(c))
        .max_by_key(|cause| cause.order);
    match last {
        Some(cause) if cause.failure.is_some_and(|f| f.status == 500) => {
            (Kind::Api, 500, Some(cause))
        }
        Some(cause) => (Kind::Api, 502, Some(cause)),
        None if causes.is_empty() => (Kind::Api, 502, None),
        None => (Kind::NotFound, 404, causes.last()),
    }
}

fn clients_fault(failure: &Failure) -> Verdict {
    let too_large = failure.status == 413;
    let message = if too_large {
        "The request is larger than the upstream accepts: send less".to_owned()
    } else if failure.html || failure.message.is_empty() {
        "The upstream refused the request as invalid".to_owned()
    } else {
        failure.message.clone()
    };
    Verdict {
        status: if too_large { 413 } else { 400 },
        kind: if too_large {
            VerdictKind::TooLarge
        } else {
            VerdictKind::InvalidRequest
        },
        reason: failure.reason,
        message,
        retry_after_s: None,
        upstream_error: Some(upstream_error(failure)),
    }
}

fn upstream_error(failure: &Failure) -> UpstreamError {
    UpstreamError {
        status: failure.status,
        error_type: failure.error_type.clone(),
        message: failure.message.clone(),
    }
}

/// Seconds until some tier may answer again, rounded up, 1 to 900.
fn retry_after(causes: &[Cause<'_>], snapshot: &Snapshot, now: Millis) -> u64 {
    let hopeful = causes
        .iter()
        .filter(|cause| cause.reason != Reason::ModelNotFound);
    let soonest = hopeful
        .filter_map(|cause| cause.again)
        .filter(|at| *at > now)
        .min();
    let wait = soonest.map_or(snapshot.params().cooldown, |at| at - now);
    wait.div_ceil(1000).clamp(1, MAX_RETRY_AFTER)
}

fn message(
    kind: VerdictKind,
    route: &Route,
    causes: &[Cause<'_>],
    retry_after_s: Option<u64>,
    now: Millis,
) -> String {
    let model = cut(&route.resolved, 64);
    let mut out = match kind {
        VerdictKind::RateLimit => format!("No quota is left for {model}"),
        VerdictKind::Overloaded => format!("Every tier for {model} is overloaded"),
        VerdictKind::Timeout => format!("No tier for {model} answered in time"),
        VerdictKind::NotFound => format!("No upstream offers the model {model}"),
        _ => format!("No tier for {model} could answer"),
    };
    for (nth, cause) in causes.iter().take(NAMED).enumerate() {
        let (model, upstream) = (cut(&cause.tier.model, 64), cut(&cause.tier.upstream, 32));
        let before = if nth == 0 { ": " } else { "; " };
        let _ = write!(out, "{before}{model} on {upstream}: {}", cause.reason);
        if let Some(reset) = cause.reset.or(cause.again).filter(|at| *at > now) {
            let (at, left) = (text::utc_text(reset), text::duration_text(reset - now));
            let _ = write!(out, ", until {at} (in {left})");
        }
    }
    if causes.len() > NAMED {
        let _ = write!(out, "; and {} more", causes.len() - NAMED);
    }
    if let Some(seconds) = retry_after_s {
        let left = text::duration_text(seconds.saturating_mul(1000));
        let _ = write!(out, ". Try again in {left}.");
    }
    out
}
