//! Marks: what a failure leaves behind, how long it lasts, and who may try again.
//!
//! A mark holds a tier (or a whole upstream) back until its end. Then it is a *probe* that
//! decides: one request at a time, which holds the mark's `Slot` through a [`ProbeGuard`].
//! Only a failed probe doubles the next mark; a commit removes mark and doubling (gateway.md
//! section 5, "Marks").
//!
//! Invariant: a slot is held by at most one guard, over all renewals of its mark. Each renewal
//! gives the slot a new turn, so that a request which still reads an older snapshot cannot take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::quota::{Level, QuotaAt};
use super::{Failure, Millis, Params, Reason};

/// How far ahead a parsed reset is believed: 8 days.
pub const MAX_RESET_AHEAD: u64 = 8 * 24 * 3600 * 1000;
/// Polls that show more than this contradict a long mark.
pub(super) const PLENTY: f64 = 0.20;
/// Beyond this many doublings every sane duration is past its maximum.
const MAX_DOUBLINGS: u8 = 20;

/// The memory of failures of one tier or upstream. Immutable, but for its shared slot.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// When the failure was seen.
    pub since: Millis,
    /// A poll that began then or later began after the failure.
    pub heeds_from: Millis,
    /// When it ends, whatever polls say.
    pub until: Millis,
    /// The end was told by the upstream.
    pub reset: Option<Millis>,
    pub reason: Reason,
    /// "Max retries exceeded": it may be quota or anything else.
    pub ambiguous: bool,
    /// Whose request failed.
    pub key: u64,
    /// How many failed probes double it.
    pub doublings: u8,
    /// "No accounts available", to be held against the next poll.
    pub ask_health: bool,
    pub slot: Arc<Slot>,
    /// The slot's turn that this mark gives out.
    pub turn: u64,
}

/// The facts about a failed attempt that decide about its mark.
pub(super) struct Failed<'a> {
    pub failure: &'a Failure,
    pub key: u64,
    pub began: Millis,
    /// It held the probe slot of the mark in question.
    pub probe: bool,
    /// When the newest poll that has ended began.
    pub newest_poll: Option<Millis>,
}

impl Mark {
    /// The mark after a failed attempt, or `None` when the old one stays as it is.
    pub fn after(
        old: Option<&Self>,
        failed: &Failed<'_>,
        params: &Params,
        now: Millis,
    ) -> Option<Self> {
        let failure = failed.failure;
        let mut doublings = 0;
        let mut at_least = None;
        if let Some(old) = old {
            if failed.began <= old.since {
                return None;
            }
            // One key's own trouble proves nothing about the tier a second time.
            let same_trouble = failure.reason.may_be_the_request() && failed.key == old.key;
            doublings = old.doublings;
            match (failed.probe, same_trouble) {
                (true, true) => {}
                (true, false) => doublings = (doublings + 1).min(MAX_DOUBLINGS),
                (false, true) => return None,
                (false, false) => at_least = Some((old.until, old.reset)),
            }
        }
        let span = match failure.reason {
            Reason::ModelNotFound => params.cooldown_max,
            _ => doubled(params.cooldown, doublings, params),
        };
        let latest = now.saturating_add(MAX_RESET_AHEAD);
        let mut reset = failure
            .reset
            .filter(|reset| *reset > now)
            .map(|reset| reset.min(latest));
        let mut until = reset.unwrap_or_else(|| now.saturating_add(span).min(latest));
        if let Some((old_until, old_reset)) = at_least.filter(|(old, _)| *old > until) {
            (until, reset) = (old_until, old_reset);
        }
        let (slot, turn) = old.map_or_else(
            || (Arc::new(Slot::default()), 0),
            |old| (old.slot.clone(), old.slot.next_turn()),
        );
        Some(Self {
            since: now,
            // What is in the book already began before, also in the same millisecond.
            heeds_from: now.max(failed.newest_poll.map_or(0, |poll| poll.saturating_add(1))),
            until,
            reset,
            reason: failure.reason,
            ambiguous: failure.ambiguous_max_retries,
            key: failed.key,
            doublings,
            ask_health: failure.scope == super::Scope::AskHealth,
            slot,
            turn,
        })
    }

    /// When it ends, given what polls show. A moment that is past means that it is to be probed.
    pub fn end(&self, quota: &QuotaAt, params: &Params) -> Millis {
        let within = |span: u64| self.until.min(self.since.saturating_add(span));
        let with_quota = || {
            within(doubled(
                params.cooldown_with_quota_max,
                self.doublings,
                params,
            ))
        };
        if quota.level == Level::Unknown {
            return if self.reset.is_some() {
                within(params.cooldown_max)
            } else {
                self.until
            };
        }
        if quota.recovered_since(self.heeds_from, params) {
            // The first such poll lets it be probed at once. When that probe failed too, polls
            // and the upstream contradict each other, and doubling bounds the cost of asking.
            return if self.doublings == 0 {
                self.since
            } else {
                with_quota()
            };
        }
        if quota.fraction.is_some_and(|f| f > PLENTY) {
            return with_quota();
        }
        self.until
    }

    /// Whether it stands even against a chain's last resort: a parsed reset that the latest poll
    /// does not contradict.
    pub fn forbids(&self, quota: &QuotaAt, params: &Params) -> bool {
        self.reset.is_some() && !quota.recovered_since(self.heeds_from, params)
    }
}

/// `span` doubled `times`, to at most cooldown_max (or `span` itself if that is longer).
fn doubled(span: u64, times: u8, params: &Params) -> u64 {
    let factor = 1_u64 << times.min(MAX_DOUBLINGS);
    span.saturating_mul(factor)
        .min(params.cooldown_max.max(span))
}

/// One request at a time: bit 0 says that it is taken, the rest counts the turns.
#[derive(Debug, Default)]
pub(super) struct Slot(AtomicU64);

impl Slot {
    fn take(&self, turn: u64) -> bool {
        let free = turn << 1;
        self.0
            .compare_exchange(free, free | 1, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether [`Slot::take`] would succeed now.
    pub fn is_free(&self, turn: u64) -> bool {
        self.0.load(Ordering::Acquire) == turn << 1
    }

    fn free(&self) {
        self.0.fetch_and(!1, Ordering::AcqRel);
    }

    /// Begins a new turn and gives its number. Whoever holds the slot holds it on.
    fn next_turn(&self) -> u64 {
        (self.0.fetch_add(2, Ordering::AcqRel) >> 1) + 1
    }
}

/// The right to probe. Dropping it frees the slot: at the commit, at the failure, or when the
/// client has gone.
#[derive(Debug)]
pub struct ProbeGuard {
    held: [Option<Held>; 2],
}

#[derive(Debug)]
struct Held {
    slot: Arc<Slot>,
    /// Freed already.
    done: AtomicBool,
}

impl ProbeGuard {
    /// Takes the slots of all `marks`, or none.
    pub(super) fn take(marks: [Option<&Mark>; 2]) -> Option<Self> {
        let mut guard = Self { held: [None, None] };
        for (held, mark) in guard.held.iter_mut().zip(marks) {
            let Some(mark) = mark else { continue };
            if !mark.slot.take(mark.turn) {
                return None;
            }
            *held = Some(Held {
                slot: mark.slot.clone(),
                done: AtomicBool::new(false),
            });
        }
        Some(guard)
    }

    /// Whether it probes this mark.
    pub(super) fn probes(&self, mark: &Mark) -> bool {
        let of = |held: &Held| Arc::ptr_eq(&held.slot, &mark.slot);
        self.held.iter().flatten().any(of)
    }

    /// Frees what is still held; what others hold by now stays theirs.
    pub(super) fn release(&self) {
        for held in self.held.iter().flatten() {
            if !held.done.swap(true, Ordering::AcqRel) {
                held.slot.free();
            }
        }
    }
}

impl Drop for ProbeGuard {
    fn drop(&mut self) {
        self.release();
    }
}
