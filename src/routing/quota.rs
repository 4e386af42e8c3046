//! What a poll said about one model, and what that means at a moment.
//!
//! The maximum over the accounts decides. A reset that has passed makes its account's reading
//! unknown, and with it the model, unless another account is known to have enough: nobody waits
//! for the next poll. A value that newer polls did not confirm is stale: trusted until
//! `stale_after`, then unknown.

use super::health::Reading;
use super::{Millis, Params};

/// The readings of one model from the newest poll in which an account answered for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelQuota {
    readings: Vec<Reading>,
    /// When that poll began: what it says is no older.
    pub started: Millis,
    /// When its answer was there.
    seen: Millis,
    /// It was below `threshold` and has not reached `recover` since.
    low: bool,
}

/// Where a fraction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Nobody knows: counts as usable.
    Unknown,
    /// Enough.
    Usable,
    /// Below `threshold`, or not yet at `recover` again.
    Low,
    /// Nothing left.
    Exhausted,
}

impl Level {
    /// Whether the tier may be asked as far as quotas go.
    pub const fn allows(self) -> bool {
        matches!(self, Self::Unknown | Self::Usable)
    }
}

/// A quota as it counts at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct QuotaAt {
    pub level: Level,
    /// 0 to 1, when it is known.
    pub fraction: Option<f64>,
    /// A reset still to come: the soonest when there is too little, else the fullest account's.
    pub reset: Option<Millis>,
    /// When the poll behind `fraction` began.
    pub started: Millis,
    /// Newer polls did not confirm it.
    pub stale: bool,
    /// How many accounts it is taken from.
    pub accounts: usize,
}

impl QuotaAt {
    /// No poll has said anything.
    pub const UNKNOWN: Self = Self {
        level: Level::Unknown,
        fraction: None,
        reset: None,
        started: 0,
        stale: false,
        accounts: 0,
    };

    /// Whether a poll that began at `since` or later shows enough on any account.
    pub fn recovered_since(&self, since: Millis, params: &Params) -> bool {
        self.started >= since && self.fraction.is_some_and(|f| f >= params.recover)
    }

    /// At 0 with a known reset: a call would be in vain.
    pub fn refuses(&self) -> bool {
        self.level == Level::Exhausted && self.reset.is_some()
    }
}

impl ModelQuota {
    /// A poll's readings. `before` is the model's last value: a low tier stays low until
    /// `recover` or its reset.
    pub fn new(
        readings: Vec<Reading>,
        started: Millis,
        seen: Millis,
        before: Option<&Self>,
        params: &Params,
    ) -> Self {
        let was_low = before.is_some_and(|b| b.low && !b.reset_passed(seen));
        let low = fullest(&readings, seen).map_or(was_low, |(fraction, _)| {
            fraction < params.threshold || (was_low && fraction < params.recover)
        });
        Self {
            readings,
            started,
            seen,
            low,
        }
    }

    /// What it means at `now`. `newest` is when the newest poll of the upstream began.
    pub fn at(&self, now: Millis, newest: Millis, params: &Params) -> QuotaAt {
        let stale = self.started < newest;
        let unknown = QuotaAt {
            stale,
            accounts: self.readings.len(),
            ..QuotaAt::UNKNOWN
        };
        if stale && now.saturating_sub(self.seen) >= params.stale_after {
            return unknown;
        }
        let Some((fraction, reset)) = fullest(&self.readings, now) else {
            return unknown;
        };
        let level = if fraction <= 0.0 {
            Level::Exhausted
        } else if fraction < params.threshold || (self.low && fraction < params.recover) {
            Level::Low
        } else {
            Level::Usable
        };
        let somebody_unknown = self.readings.iter().any(|r| known(r, now).is_none());
        if !level.allows() && somebody_unknown {
            return unknown;
        }
        QuotaAt {
            level,
            fraction: Some(fraction),
            reset: if level.allows() {
                reset
            } else {
                self.soonest_reset()
            },
            started: self.started,
            ..unknown
        }
    }

    /// Whether it has outlived `stale_after` without being confirmed.
    pub fn expired(&self, now: Millis, newest: Millis, params: &Params) -> bool {
        self.started < newest && now.saturating_sub(self.seen) >= params.stale_after
    }

    fn soonest_reset(&self) -> Option<Millis> {
        self.readings.iter().filter_map(|r| r.reset).min()
    }

    fn reset_passed(&self, now: Millis) -> bool {
        self.soonest_reset().is_some_and(|reset| reset <= now)
    }
}

/// The fraction of a reading that still counts.
fn known(reading: &Reading, now: Millis) -> Option<f64> {
    reading
        .fraction
        .filter(|_| reading.reset.is_none_or(|reset| reset > now))
}

/// The largest known fraction, with its reset.
fn fullest(readings: &[Reading], now: Millis) -> Option<(f64, Option<Millis>)> {
    readings
        .iter()
        .filter_map(|r| Some((known(r, now)?, r.reset)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
}
