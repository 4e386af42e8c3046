//! The one owner of poll results and marks. Writers take a lock, change a copy and publish it;
//! readers load the newest [`Snapshot`] without one.
//!
//! Bounded whatever clients send: models come from polls (capped by `health`) and marks are capped
//! per upstream, names that only clients know giving way first.

mod polls;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::cooldown::{Failed, Mark, PLENTY, ProbeGuard};
use super::snapshot::Upstream;
use super::{Failure, Health, Millis, Params, Reason, Scope, Snapshot, Tier};

/// Marks kept per upstream, beyond those of configured models.
const MAX_MARKS: usize = 512;
/// A longer model name is not remembered.
const MAX_NAME: usize = 256;
/// Marks trigger at most one poll in this time, in milliseconds.
const POLL_SPACING: Millis = 5_000;

/// The owner of the routing state.
#[derive(Debug)]
pub struct Book {
    inner: Mutex<Inner>,
    published: ArcSwap<Snapshot>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Configured model names, whose marks are never given up for others.
    known: HashSet<Arc<str>>,
    /// When a mark last asked for a poll.
    poll_asked: Option<Millis>,
}

/// One attempt, as the gateway tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The tier that was asked.
    pub tier: &'a Tier,
    /// A tag of the client's key; only compared.
    pub key: u64,
    /// When it began.
    pub began: Millis,
    /// The guard that [`super::next`] gave with the tier.
    pub probe: Option<&'a ProbeGuard>,
    /// No other tier was asked before in this request.
    pub first: bool,
}

/// What a failed attempt led to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MarkOutcome {
    /// A mark was set or renewed.
    pub marked: bool,
    /// ... on the whole upstream.
    pub whole_upstream: bool,
    /// A poll is wanted now (at most one every 5 s).
    pub poll_wanted: bool,
    /// When a poll for this mark may begin: now, or at the end of those 5 s. Whoever waits for the
    /// latter needs one timer only, as all marks until then give the same moment.
    pub poll_at: Option<Millis>,
    /// The upstream refuses for quota although polls show more than 20 %: for
    /// `luna_suspect_429_total`.
    pub suspect_429: bool,
    /// When the mark ends.
    pub until: Option<Millis>,
}

impl Book {
    /// An empty book: everything is unknown.
    #[must_use]
    pub fn new(params: Params) -> Self {
        Self {
            inner: Mutex::default(),
            published: ArcSwap::from_pointee(Snapshot {
                params,
                ..Snapshot::default()
            }),
        }
    }

    /// The newest picture.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// New numbers, from a reload. Marks that stand keep their end.
    pub fn set_params(&self, params: Params) {
        self.write(|_, snapshot| snapshot.params = params);
    }

    /// The configured model names and upstreams, at start and after a reload. State of upstreams
    /// that are gone is dropped.
    pub fn set_known(&self, models: impl IntoIterator<Item = Arc<str>>, upstreams: &[Arc<str>]) {
        self.write(|inner, snapshot| {
            inner.known = models.into_iter().collect();
            snapshot
                .upstreams
                .retain(|name, _| upstreams.contains(name));
        });
    }

    /// A poll of `upstream` that began at `started` was answered. One that began before the
    /// newest that ended is ignored.
    pub fn poll_succeeded(&self, upstream: &str, started: Millis, now: Millis, health: Health) {
        self.write(|_, snapshot| {
            let params = snapshot.params;
            let Some(state) = polls::begin(snapshot, upstream, started) else {
                return;
            };
            state.polled_at = Some(now);
            state.error = None;
            state.unreached = false;
            match health {
                Health::Unknown => {
                    state.tells_quotas = false;
                    state.answered = false;
                    state.accounts = Arc::default();
                    state.quotas = Arc::default();
                }
                Health::Known(report) => polls::take_report(state, report, started, now, &params),
            }
        });
    }

    /// A poll got no answer. Quotas keep their last values and are stale.
    pub fn poll_failed(&self, upstream: &str, started: Millis, now: Millis, error: &str) {
        self.poll_without_quotas(upstream, started, now, error, true);
    }

    /// A poll was answered with something that is no health report (a status, HTML): as
    /// [`Book::poll_failed`], but the upstream counts as reachable.
    pub fn poll_refused(&self, upstream: &str, started: Millis, now: Millis, error: &str) {
        self.poll_without_quotas(upstream, started, now, error, false);
    }

    fn poll_without_quotas(
        &self,
        upstream: &str,
        started: Millis,
        _now: Millis,
        error: &str,
        unreached: bool,
    ) {
        self.write(|_, snapshot| {
            if let Some(state) = polls::begin(snapshot, upstream, started) {
                state.error = Some(Arc::from(super::failure::cut(error, 512)));
                state.unreached = unreached;
            }
        });
    }

    /// An attempt failed. Marks the tier or the upstream, and frees the probe's slot.
    ///
    /// Not to be called for a stale pooled connection, which is tried again on the same tier.
    pub fn attempt_failed(
        &self,
        attempt: &Attempt<'_>,
        failure: &Failure,
        now: Millis,
    ) -> MarkOutcome {
        let mut outcome = MarkOutcome::default();
        if !failure.client_fault && attempt.tier.model.len() <= MAX_NAME {
            self.write(|inner, snapshot| {
                outcome = mark(inner, snapshot, attempt, failure, now);
            });
        }
        // Only now: whoever takes the slot next must find the new mark.
        if let Some(probe) = attempt.probe {
            probe.release();
        }
        outcome
    }

    /// An attempt reached its commit: its marks and their doubling are cleared, and the probe's
    /// slot is freed. Without a mark this takes no lock. Says whether a mark was cleared.
    pub fn attempt_committed(&self, attempt: &Attempt<'_>, _now: Millis) -> bool {
        let marked = |state: &Upstream| {
            state.mark.is_some() || state.marks.contains_key(&attempt.tier.model)
        };
        let upstream = &attempt.tier.upstream;
        let found = self
            .published
            .load()
            .upstreams
            .get(upstream)
            .is_some_and(marked);
        if found {
            self.write(|_, snapshot| {
                if let Some(state) = snapshot.upstreams.get_mut(upstream) {
                    state.mark = None;
                    if state.marks.contains_key(&attempt.tier.model) {
                        Arc::make_mut(&mut state.marks).remove(&attempt.tier.model);
                    }
                }
            });
        }
        if let Some(probe) = attempt.probe {
            probe.release();
        }
        found
    }

    /// Drops marks: all, those of a model, those of an upstream (its own included), or one tier's.
    /// Gives their number.
    pub fn clear(&self, model: Option<&str>, upstream: Option<&str>) -> usize {
        self.write(|_, snapshot| {
            let before = snapshot.marks();
            for (name, state) in &mut snapshot.upstreams {
                if upstream.is_some_and(|wanted| wanted != &**name) {
                    continue;
                }
                match model {
                    Some(model) => {
                        if state.marks.contains_key(model) {
                            Arc::make_mut(&mut state.marks).remove(model);
                        }
                    }
                    None => {
                        state.mark = None;
                        state.marks = Arc::default();
                    }
                }
            }
            before - snapshot.marks()
        })
    }

    fn write<T>(&self, change: impl FnOnce(&mut Inner, &mut Snapshot) -> T) -> T {
        let mut inner: MutexGuard<'_, Inner> =
            self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.published.load());
        let out = change(&mut inner, &mut next);
        self.published.store(Arc::new(next));
        out
    }
}

fn mark(
    inner: &mut Inner,
    snapshot: &mut Snapshot,
    attempt: &Attempt<'_>,
    failure: &Failure,
    now: Millis,
) -> MarkOutcome {
    let params = snapshot.params;
    let model = &attempt.tier.model;
    let upstream = attempt.tier.upstream.clone();
    let state = snapshot.upstreams.entry(upstream).or_default();
    let whole_upstream = match failure.scope {
        Scope::Tier => false,
        Scope::Upstream => true,
        Scope::AskHealth => state.shows_no_account(),
    };
    if !whole_upstream
        && state.mark.as_ref().is_some_and(|m| {
            // Something answered, or at least took the request: connections can be made.
            m.reason == Reason::Connect && attempt.probe.is_some_and(|probe| probe.probes(m))
        })
    {
        state.mark = None;
    }
    let old = if whole_upstream {
        state.mark.as_ref()
    } else {
        state.marks.get(model)
    };
    let failed = Failed {
        failure,
        key: attempt.key,
        began: attempt.began,
        probe: old.is_some_and(|old| attempt.probe.is_some_and(|probe| probe.probes(old))),
        newest_poll: state.newest,
    };
    let Some(new) = Mark::after(old, &failed, &params, now) else {
        return MarkOutcome::default();
    };
    let quota = state.quota(model, now, &params);
    let refused = matches!(failure.reason, Reason::Exhausted | Reason::RateLimited);
    let until = new.end(&quota, &params);
    if whole_upstream {
        state.mark = Some(new);
    } else {
        let marks = Arc::make_mut(&mut state.marks);
        make_room(marks, &inner.known, model, now);
        marks.insert(model.clone(), new);
    }
    let poll_at = inner.ask_poll(now);
    MarkOutcome {
        marked: true,
        whole_upstream,
        poll_wanted: poll_at == now,
        poll_at: Some(poll_at),
        suspect_429: refused && quota.fraction.is_some_and(|f| f > PLENTY),
        until: Some(until),
    }
}

impl Inner {
    /// When the poll that a mark asks for may begin.
    fn ask_poll(&mut self, now: Millis) -> Millis {
        let next = self
            .poll_asked
            .map_or(now, |last| last.saturating_add(POLL_SPACING));
        if next <= now {
            self.poll_asked = Some(now);
        }
        next.max(now)
    }
}

impl Upstream {
    /// The newest poll shows no account with which a request could be served.
    fn shows_no_account(&self) -> bool {
        self.error.is_none()
            && self.tells_quotas
            && !self.accounts.iter().any(super::Account::works)
    }
}

/// Gives up one mark when there are too many: of names that only clients know, one that has ended
/// or ends first.
fn make_room(
    marks: &mut HashMap<Arc<str>, Mark>,
    known: &HashSet<Arc<str>>,
    model: &Arc<str>,
    now: Millis,
) {
    if marks.len() < MAX_MARKS || marks.contains_key(model) {
        return;
    }
    marks.retain(|name, mark| known.contains(name) || mark.until > now);
    if marks.len() >= MAX_MARKS {
        let strangers = marks.iter().filter(|(name, _)| !known.contains(*name));
        let first = strangers
            .min_by_key(|(_, mark)| mark.until)
            .map(|(name, _)| name.clone());
        if let Some(name) = first {
            marks.remove(&name);
        }
    }
}
