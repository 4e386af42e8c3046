//! Which tier answers a request: rules, quotas, cooldowns, and what to say when nobody can.
//!
//! Everything here is pure: no I/O, no async, no clock. `now` is always given, as unix
//! milliseconds ([`Millis`]). Shared state has one owner, [`Book`], which publishes an immutable
//! [`Snapshot`]; requests read it without a lock.
//!
//! The way of a request: [`Rules::resolve`] gives its [`Route`] (the tiers in order);
//! [`next`] is called once per attempt with the newest snapshot and names the tier to try; what
//! came back is read by [`classify`] into a [`Failure`], told to [`Book::attempt_failed`] (marks)
//! and to [`Trail::failed`] (this request's memory); a commit is told to
//! [`Book::attempt_committed`]. When no tier is left, [`verdict`] speaks for the whole chain.
//!
//! Neighbours: `config` builds [`Rules`] and [`Params`]; `quota` polls and feeds the book;
//! `gateway` drives the attempts; `admin` shows what [`explain`] prepares. This module knows none
//! of them.

mod book;
mod classify;
mod cooldown;
pub mod explain;
mod failure;
mod health;
mod pattern;
mod phrase;
mod plan;
mod quota;
mod reason;
mod rules;
mod snapshot;
#[cfg(test)]
mod testkit;
mod text;
mod trail;
mod verdict;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod property_tests;

use std::sync::Arc;

pub use book::{Attempt, Book, MarkOutcome};
pub use classify::{classify, classify_error_event};
pub use cooldown::{MAX_RESET_AHEAD, ProbeGuard};
pub use failure::{Failure, Scope};
pub use health::{Account, Health, Report, mask_email, parse as parse_health};
pub use pattern::matches as pattern_matches;
pub use plan::{Next, next};
pub use reason::Reason;
pub use rules::{At, ChainDef, Midstream, Route, RuleError, Rules, TierDef, Via, model_allowed};
pub use snapshot::{Params, Snapshot, TierState, TierView, UpstreamView};
pub use text::{duration_text, rfc3339, utc_text};
pub use trail::{After, Trail};
pub use verdict::{UpstreamError, Verdict, VerdictKind, verdict};

/// Unix time in milliseconds.
pub type Millis = u64;

/// A place that can answer: one model at one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tier {
    /// The model's name as that upstream knows it.
    pub model: Arc<str>,
    /// The upstream's name in the configuration.
    pub upstream: Arc<str>,
}

impl Tier {
    /// A tier from borrowed names.
    #[must_use]
    pub fn new(model: &str, upstream: &str) -> Self {
        Self {
            model: Arc::from(model),
            upstream: Arc::from(upstream),
        }
    }
}
