//! The memory of one request: which tiers it tried, how they failed, which it passed over and why.

use super::{Failure, Millis, Reason};

/// What has become of the tiers so far.
#[derive(Debug, Default)]
pub struct Trail {
    pub(super) first_only: bool,
    /// By index of the tier; shorter than the chain while the rest is untouched.
    fates: Vec<Fate>,
    /// The tier that is being asked, or that answered.
    current: Option<usize>,
    asked: usize,
    /// A tier other than the chain's first was asked.
    moved: bool,
    failures: usize,
    ended: bool,
}

/// What has become of one tier.
#[derive(Debug, Default)]
pub(super) enum Fate {
    #[default]
    Untouched,
    Passed(Passed),
    Asked,
    Failed {
        failure: Failure,
        /// Place in the order of failures.
        nth: usize,
    },
}

/// Why a tier was passed over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Passed {
    /// `quota` or `cooldown`.
    pub reason: Reason,
    /// The reason of the mark, or `quota`.
    pub cause: Reason,
    /// The mark is from "Max retries exceeded".
    pub ambiguous: bool,
    /// When it may be usable again.
    pub until: Option<Millis>,
    /// The reset that the upstream named.
    pub reset: Option<Millis>,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Ask [`super::next`] for another tier.
    MoveOn,
    /// The failure is the client's fault and ends the request: ask [`super::verdict`].
    End,
}

impl Trail {
    /// A request that may use its whole chain.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request with `x-luna-fallback: off`: the first tier, whatever its state, and no other.
    #[must_use]
    pub fn first_only() -> Self {
        Self {
            first_only: true,
            ..Self::default()
        }
    }

    /// The tier at `index` failed. A stale pooled connection is no failure.
    pub fn failed(&mut self, index: usize, failure: Failure) -> After {
        let ends = failure.ends_request(self.asked <= 1);
        self.ended |= ends;
        let nth = self.failures;
        self.failures += 1;
        self.set(index, Fate::Failed { failure, nth });
        if self.current == Some(index) {
            self.current = None;
        }
        if ends { After::End } else { After::MoveOn }
    }

    /// One reason for each tier that was passed over before the one that is being asked or has
    /// answered, in the order of the chain; for all of them when there is none. A tier that was
    /// skipped and later tried has the reason of its failure, and none if it answered.
    #[must_use]
    pub fn fallback_reasons(&self) -> Vec<Reason> {
        self.passed_over()
            .into_iter()
            .map(|(_, reason)| reason)
            .collect()
    }

    /// The same, with the index of each tier.
    #[must_use]
    pub fn passed_over(&self) -> Vec<(usize, Reason)> {
        let before = self.current.unwrap_or(usize::MAX);
        let reason = |(index, fate): (usize, &Fate)| match fate {
            Fate::Failed { failure, .. } => Some((index, failure.reason)),
            Fate::Passed(passed) if index < before => Some((index, passed.reason)),
            _ => None,
        };
        self.fates.iter().enumerate().filter_map(reason).collect()
    }

    /// Whether a tier was passed over for another one that was asked, however that one ended. Not so when nobody was asked,
    /// nor when only the chain's first was: then there are reasons, but no fallback.
    #[must_use]
    pub const fn fell_back(&self) -> bool {
        // Tiers are asked in the order of the chain, but for the last resort: whoever is asked after the first, or instead
        // of it, has passed one over.
        self.moved
    }

    /// How many tiers were asked.
    #[must_use]
    pub const fn asked(&self) -> usize {
        self.asked
    }

    /// The tier that is being asked, or that answered.
    #[must_use]
    pub const fn current(&self) -> Option<usize> {
        self.current
    }

    /// The failure of the tier at `index`, if it failed.
    #[must_use]
    pub fn failure(&self, index: usize) -> Option<&Failure> {
        match self.fates.get(index) {
            Some(Fate::Failed { failure, .. }) => Some(failure),
            _ => None,
        }
    }

    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the tier was asked already.
    pub(super) fn tried(&self, index: usize) -> bool {
        matches!(
            self.fates.get(index),
            Some(Fate::Asked | Fate::Failed { .. })
        )
    }

    pub(super) fn ask(&mut self, index: usize) {
        self.asked += 1;
        self.moved |= index > 0;
        self.current = Some(index);
        self.set(index, Fate::Asked);
    }

    pub(super) fn pass(&mut self, index: usize, passed: Passed) {
        self.set(index, Fate::Passed(passed));
    }

    pub(super) fn fates(&self) -> impl Iterator<Item = (usize, &Fate)> {
        self.fates.iter().enumerate()
    }

    fn set(&mut self, index: usize, fate: Fate) {
        if self.fates.len() <= index {
            self.fates.resize_with(index + 1, Fate::default);
        }
        if let Some(slot) = self.fates.get_mut(index) {
            *slot = fate;
        }
    }
}
