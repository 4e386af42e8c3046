//! The immutable picture that requests read: polls and marks of every upstream at one moment.
//!
//! What depends on time (resets, staleness, the end of marks) is worked out when it is read, with
//! the reader's `now`, so a snapshot never grows wrong by waiting.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::cooldown::{Mark, ProbeGuard};
use super::quota::{Level, ModelQuota, QuotaAt};
use super::{Account, Millis, Reason, Tier};

/// The numbers of the state machine; durations in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Below this fraction a tier is low.
    pub threshold: f64,
    /// From this fraction on it is usable again.
    pub recover: f64,
    /// How long a value is trusted that newer polls do not confirm.
    pub stale_after: Millis,
    /// A mark without a parsed reset.
    pub cooldown: Millis,
    /// What doubling leads to, and a mark for model_not_found.
    pub cooldown_max: Millis,
    /// The longest mark while polls show more than 20 %.
    pub cooldown_with_quota_max: Millis,
}

impl Default for Params {
    /// The defaults of gateway.md section 2.
    fn default() -> Self {
        Self {
            threshold: 0.05,
            recover: 0.10,
            stale_after: 120_000,
            cooldown: 20_000,
            cooldown_max: 300_000,
            cooldown_with_quota_max: 60_000,
        }
    }
}

/// Polls and marks of every upstream. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) params: Params,
    pub(super) upstreams: HashMap<Arc<str>, Upstream>,
}

/// What is known of one upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstream {
    /// When the last successful poll's answer was there.
    pub polled_at: Option<Millis>,
    /// When the newest poll that ended began.
    pub newest: Option<Millis>,
    /// Why the newest poll failed, if it did.
    pub error: Option<Arc<str>>,
    /// The newest poll got no answer at all.
    pub unreached: bool,
    /// The newest poll gave an `accounts` array.
    pub tells_quotas: bool,
    /// ... with at least one account that answered.
    pub answered: bool,
    pub accounts: Arc<[Account]>,
    pub quotas: Arc<HashMap<Arc<str>, ModelQuota>>,
    pub marks: Arc<HashMap<Arc<str>, Mark>>,
    /// The mark of the whole upstream.
    pub mark: Option<Mark>,
}

/// A tier's standing at a moment.
pub(super) struct Standing<'a> {
    pub quota: QuotaAt,
    pub gate: Gate<'a>,
}

/// What marks say about a tier at a moment.
pub(super) enum Gate<'a> {
    /// No mark.
    Open,
    /// A mark holds.
    Closed {
        /// When the last of them ends.
        until: Millis,
        /// The mark that ends last.
        mark: &'a Mark,
        /// Not even as a last resort.
        forbidden: bool,
    },
    /// Every mark has ended: one request at a time.
    Ended {
        marks: [Option<&'a Mark>; 2],
        last: &'a Mark,
    },
}

impl<'a> Gate<'a> {
    /// The mark that counts most, if any.
    pub fn mark(&self) -> Option<&'a Mark> {
        match self {
            Self::Open => None,
            Self::Closed { mark, .. } | Self::Ended { last: mark, .. } => Some(mark),
        }
    }

    /// The right to probe, when the marks have ended and nobody else has it.
    pub fn probe(&self) -> Option<ProbeGuard> {
        match self {
            Self::Ended { marks, .. } => ProbeGuard::take(*marks),
            _ => None,
        }
    }

    /// Whether a request could go through now.
    pub fn lets_pass(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Closed { .. } => false,
            Self::Ended { marks, .. } => marks
                .iter()
                .flatten()
                .all(|mark| mark.slot.is_free(mark.turn)),
        }
    }
}

/// A tier's state as the admin API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierState {
    /// Enough quota, no mark.
    Usable,
    /// Below `threshold`, or not at `recover` again.
    Low,
    /// At 0.
    Exhausted,
    /// A mark holds.
    Cooldown,
    /// A mark has ended; one request at a time tries.
    Probing,
    /// No mark and no known quota: counts as usable.
    Unknown,
}

impl TierState {
    /// The word of GET /admin/fallback.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Low => "low",
            Self::Exhausted => "exhausted",
            Self::Cooldown => "cooldown",
            Self::Probing => "probing",
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for TierState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Everything that can be shown of a tier at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct TierView {
    /// The state; too little quota is named before a mark.
    pub state: TierState,
    /// Whether a request would be sent there now in the order of the chain.
    pub usable: bool,
    /// The maximum over the accounts, 0 to 1.
    pub remaining_fraction: Option<f64>,
    /// A reset of the quota that is still to come.
    pub reset_time: Option<Millis>,
    /// Accounts behind the fraction.
    pub accounts: usize,
    /// Newer polls did not confirm the fraction.
    pub stale: bool,
    /// When it may be usable again, if it is not and that is known.
    pub until: Option<Millis>,
    /// Why it is marked.
    pub reason: Option<Reason>,
    /// The reset that the upstream named when it failed.
    pub parsed_reset: Option<Millis>,
}

/// What can be shown of an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamView {
    /// Neither the newest poll nor a mark says otherwise.
    pub reachable: bool,
    /// The last successful poll.
    pub polled_at: Option<Millis>,
    /// Its quotas are known no longer for sure. Never for an upstream that has none.
    pub stale: bool,
    /// Masked accounts of the last successful poll.
    pub accounts: Arc<[Account]>,
    /// Why the newest poll failed. Upstream text: to be cleaned.
    pub error: Option<Arc<str>>,
}

impl Snapshot {
    /// The numbers it was made with.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    pub(super) fn standing(&self, tier: &Tier, now: Millis) -> Standing<'_> {
        let Some(upstream) = self.upstreams.get(&tier.upstream) else {
            return Standing {
                quota: QuotaAt::UNKNOWN,
                gate: Gate::Open,
            };
        };
        let quota = upstream.quota(&tier.model, now, &self.params);
        let gate = upstream.gate(&tier.model, &quota, now, &self.params);
        Standing { quota, gate }
    }

    /// A tier as it is at `now`.
    #[must_use]
    pub fn view(&self, tier: &Tier, now: Millis) -> TierView {
        let Standing { quota, gate } = self.standing(tier, now);
        let state = match (quota.level, &gate) {
            (Level::Low, _) => TierState::Low,
            (Level::Exhausted, _) => TierState::Exhausted,
            (_, Gate::Closed { .. }) => TierState::Cooldown,
            (_, Gate::Ended { .. }) => TierState::Probing,
            (Level::Unknown, Gate::Open) => TierState::Unknown,
            (Level::Usable, Gate::Open) => TierState::Usable,
        };
        let refill = quota.reset.filter(|_| !quota.level.allows());
        let mark_end = match gate {
            Gate::Closed { until, .. } => Some(until),
            _ => None,
        };
        TierView {
            state,
            usable: quota.level.allows() && gate.lets_pass(),
            remaining_fraction: quota.fraction,
            reset_time: quota.reset,
            accounts: quota.accounts,
            stale: quota.stale,
            until: refill.max(mark_end),
            reason: gate.mark().map(|mark| mark.reason),
            parsed_reset: gate.mark().and_then(|mark| mark.reset).filter(|r| *r > now),
        }
    }

    /// An upstream as it is; one that was never polled nor marked counts as reachable.
    #[must_use]
    pub fn upstream(&self, name: &str) -> UpstreamView {
        let unknown = Upstream::default();
        let upstream = self.upstreams.get(name).unwrap_or(&unknown);
        // A connection that failed counts until a success clears the mark or a later poll gets
        // an answer.
        let connects = upstream.mark.as_ref().is_none_or(|mark| {
            mark.reason != Reason::Connect || upstream.newest > Some(mark.since)
        });
        UpstreamView {
            reachable: connects && !upstream.unreached,
            polled_at: upstream.polled_at,
            stale: upstream.error.is_some() || upstream.tells_quotas && !upstream.answered,
            accounts: upstream.accounts.clone(),
            error: upstream.error.clone(),
        }
    }

    /// Every tier that a poll or a mark knows, sorted. Bounded.
    #[must_use]
    pub fn tiers(&self) -> Vec<Tier> {
        let of = |(name, upstream): (&Arc<str>, &Upstream)| -> Vec<Tier> {
            let models = upstream.quotas.keys().chain(upstream.marks.keys());
            let tier = |model: &Arc<str>| Tier {
                model: model.clone(),
                upstream: name.clone(),
            };
            models.map(tier).collect()
        };
        let mut all: Vec<Tier> = self.upstreams.iter().flat_map(of).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Every model that an upstream reports, sorted. Bounded: for metric labels and model lists.
    #[must_use]
    pub fn reported_models(&self) -> Vec<Arc<str>> {
        let mut all: Vec<_> = self
            .upstreams
            .values()
            .flat_map(|u| u.quotas.keys().cloned())
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether some upstream reports this model: the bounded test for a metric label.
    #[must_use]
    pub fn reports(&self, model: &str) -> bool {
        self.upstreams
            .values()
            .any(|u| u.quotas.contains_key(model))
    }

    /// How many marks there are.
    #[must_use]
    pub fn marks(&self) -> usize {
        let of = |u: &Upstream| u.marks.len() + usize::from(u.mark.is_some());
        self.upstreams.values().map(of).sum()
    }
}

impl Upstream {
    pub fn quota(&self, model: &str, now: Millis, params: &Params) -> QuotaAt {
        let newest = self.newest.unwrap_or(0);
        self.quotas
            .get(model)
            .map_or(QuotaAt::UNKNOWN, |quota| quota.at(now, newest, params))
    }

    pub fn gate(&self, model: &str, quota: &QuotaAt, now: Millis, params: &Params) -> Gate<'_> {
        let marks = [self.mark.as_ref(), self.marks.get(model)];
        let ends = |mark: &Mark| mark.end(quota, params);
        let holds = |mark: &&Mark| ends(mark) > now;
        let Some(last) = marks
            .iter()
            .flatten()
            .copied()
            .max_by_key(|mark| ends(mark))
        else {
            return Gate::Open;
        };
        if holds(&last) {
            Gate::Closed {
                until: ends(last),
                mark: last,
                forbidden: marks
                    .iter()
                    .flatten()
                    .any(|mark| holds(mark) && mark.forbids(quota, params)),
            }
        } else {
            Gate::Ended { marks, last }
        }
    }
}
