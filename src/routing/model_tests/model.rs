//! The contract once more, as plainly as it can be said: lists and sorting, no sharing, no speed.

use std::collections::HashMap;

use crate::routing::{Failure, Millis, Params, Reason};

type Reading = (Option<f64>, Option<Millis>);

pub struct Model {
    params: Params,
    newest_poll: Millis,
    quotas: HashMap<String, Quota>,
    /// By model; `""` is the whole upstream.
    marks: HashMap<String, Mark>,
    next_slot: u64,
}

struct Quota {
    readings: Vec<Reading>,
    started: Millis,
    seen: Millis,
    low: bool,
}

#[derive(Clone)]
struct Mark {
    since: Millis,
    polls_count_from: Millis,
    until: Millis,
    has_reset: bool,
    key: u64,
    failed_probes: u32,
    slot: u64,
    taken: bool,
}

/// The model's choice of a tier, with the slots that the attempt holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shot {
    pub index: usize,
    slots: Vec<u64>,
}

impl Shot {
    pub fn probes(&self) -> bool {
        !self.slots.is_empty()
    }
}

pub struct Choice {
    pub shot: Option<Shot>,
    /// Tiers passed over by this call, with the reason.
    pub passed: Vec<(usize, &'static str)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Left {
    Unknown,
    Enough(f64),
    Low(f64),
    ZeroUntilReset,
    Zero,
}

impl Model {
    pub fn new(params: Params) -> Self {
        Self {
            params,
            newest_poll: 0,
            quotas: HashMap::new(),
            marks: HashMap::new(),
            next_slot: 0,
        }
    }

    #[expect(
        clippy::type_complexity,
        reason = "accounts of (model, fraction, reset)"
    )]
    pub fn poll(
        &mut self,
        started: Millis,
        now: Millis,
        accounts: Option<&Vec<Vec<(&str, Option<f64>, Option<Millis>)>>>,
    ) {
        self.newest_poll = started;
        let mut by_model: HashMap<&str, Vec<Reading>> = HashMap::new();
        for (model, fraction, reset) in accounts.into_iter().flatten().flatten() {
            let fraction = fraction.or(reset.map(|_| 0.0));
            by_model.entry(model).or_default().push((fraction, *reset));
        }
        for (model, readings) in by_model {
            let was_low = self.quotas.get(model).is_some_and(|q| {
                q.low
                    && q.readings
                        .iter()
                        .all(|r| r.1.is_none_or(|reset| reset > now))
            });
            let low = match best(&readings, now) {
                None => was_low,
                Some(f) if was_low => f < self.params.recover,
                Some(f) => f < self.params.threshold,
            };
            let quota = Quota {
                readings,
                started,
                seen: now,
                low,
            };
            self.quotas.insert(model.to_owned(), quota);
        }
    }

    fn left(&self, model: &str, now: Millis) -> Left {
        let Some(quota) = self.quotas.get(model) else {
            return Left::Unknown;
        };
        let unconfirmed = quota.started < self.newest_poll;
        if unconfirmed && now - quota.seen >= self.params.stale_after {
            return Left::Unknown;
        }
        let counts = |r: &&Reading| r.0.is_some() && r.1.is_none_or(|reset| reset > now);
        let all_count = quota.readings.iter().all(|r| counts(&r));
        let has_reset = quota.readings.iter().any(|r| r.1.is_some());
        match best(&quota.readings, now) {
            None => Left::Unknown,
            Some(f) if f >= self.params.recover => Left::Enough(f),
            Some(f) if f >= self.params.threshold && !quota.low => Left::Enough(f),
            Some(_) if !all_count => Left::Unknown,
            Some(f) if f > 0.0 => Left::Low(f),
            Some(_) if has_reset => Left::ZeroUntilReset,
            Some(_) => Left::Zero,
        }
    }

    fn shown(&self, model: &str, now: Millis) -> Option<f64> {
        match self.left(model, now) {
            Left::Unknown => None,
            Left::Enough(f) | Left::Low(f) => Some(f),
            Left::ZeroUntilReset | Left::Zero => Some(0.0),
        }
    }

    /// A poll since the mark shows enough.
    fn contradicted(&self, mark: &Mark, model: &str, now: Millis) -> bool {
        let enough = self
            .shown(model, now)
            .is_some_and(|f| f >= self.params.recover);
        enough && self.quotas[model].started >= mark.polls_count_from
    }

    fn end(&self, mark: &Mark, model: &str, now: Millis) -> Millis {
        let params = &self.params;
        let mut end = mark.until;
        let with_quota = (0..mark.failed_probes).fold(params.cooldown_with_quota_max, |d, _| {
            (d * 2).min(params.cooldown_max)
        });
        match self.shown(model, now) {
            None if mark.has_reset => end = end.min(mark.since + params.cooldown_max),
            Some(f) if f > 0.2 => end = end.min(mark.since + with_quota),
            _ => {}
        }
        if self.contradicted(mark, model, now) {
            let wait = if mark.failed_probes == 0 {
                0
            } else {
                with_quota
            };
            end = end.min(mark.since + wait);
        }
        end
    }

    fn marks_of(&self, model: &str) -> Vec<&Mark> {
        [self.marks.get(""), self.marks.get(model)]
            .into_iter()
            .flatten()
            .collect()
    }

    fn holding(&self, model: &str, now: Millis) -> Option<Millis> {
        let ends = self
            .marks_of(model)
            .into_iter()
            .map(|mark| self.end(mark, model, now));
        ends.max().filter(|end| *end > now)
    }

    fn forbidden(&self, model: &str, now: Millis) -> bool {
        self.marks_of(model).into_iter().any(|mark| {
            mark.has_reset
                && self.end(mark, model, now) > now
                && !self.contradicted(mark, model, now)
        })
    }

    pub fn state(&self, model: &str, now: Millis) -> (&'static str, bool) {
        let free = self.marks_of(model).iter().all(|mark| !mark.taken);
        match self.left(model, now) {
            Left::Low(_) => ("low", false),
            Left::Zero | Left::ZeroUntilReset => ("exhausted", false),
            _ if self.holding(model, now).is_some() => ("cooldown", false),
            _ if !self.marks_of(model).is_empty() => ("probing", free),
            Left::Unknown => ("unknown", true),
            Left::Enough(_) => ("usable", true),
        }
    }

    pub fn choose(&mut self, names: &[&str], tried: &[usize], now: Millis) -> Choice {
        let mut passed = Vec::new();
        let mut rest = Vec::new();
        for (index, name) in names.iter().enumerate().filter(|(i, _)| !tried.contains(i)) {
            let (state, usable) = self.state(name, now);
            if usable {
                return self.shoot(index, name, passed, now);
            }
            let quota = matches!(state, "low" | "exhausted");
            passed.push((index, if quota { "quota" } else { "cooldown" }));
            let held = self.holding(name, now);
            let rank = match (self.left(name, now), held) {
                (Left::ZeroUntilReset, _) => continue,
                _ if self.forbidden(name, now) => continue,
                (Left::Zero, end) => (3, 0, end.unwrap_or(0)),
                (_, Some(end)) => (2, 0, end),
                // The fullest first: in millionths, downwards.
                (Left::Low(f), None) => (0, -((f * 1e6) as i64), 0),
                (_, None) => (1, 0, 0),
            };
            rest.push((rank, index));
        }
        rest.sort();
        match rest.first() {
            Some((_, index)) => self.shoot(*index, names[*index], passed, now),
            None => Choice { shot: None, passed },
        }
    }

    fn shoot(
        &mut self,
        index: usize,
        name: &str,
        passed: Vec<(usize, &'static str)>,
        now: Millis,
    ) -> Choice {
        let marks = self.marks_of(name);
        let may_probe = self.holding(name, now).is_none() && marks.iter().all(|mark| !mark.taken);
        let slots = if may_probe {
            marks.iter().map(|m| m.slot).collect()
        } else {
            Vec::new()
        };
        self.take(&slots, true);
        Choice {
            shot: Some(Shot { index, slots }),
            passed,
        }
    }

    fn take(&mut self, slots: &[u64], taken: bool) {
        for mark in self
            .marks
            .values_mut()
            .filter(|mark| slots.contains(&mark.slot))
        {
            mark.taken = taken;
        }
    }

    pub fn freed(&mut self, shot: &Shot) {
        self.take(&shot.slots, false);
    }

    pub fn committed(&mut self, model: &str, shot: &Shot) {
        self.freed(shot);
        self.marks.remove("");
        self.marks.remove(model);
    }

    pub fn failed(
        &mut self,
        model: &str,
        key: u64,
        began: Millis,
        shot: &Shot,
        failure: &Failure,
        now: Millis,
    ) {
        let connect = failure.reason == Reason::Connect;
        let probes = |mark: &Mark| shot.slots.contains(&mark.slot);
        self.freed(shot);
        if !connect && self.marks.get("").is_some_and(probes) {
            self.marks.remove("");
        }
        let name = if connect { "" } else { model };
        let old = self.marks.get(name).cloned();
        let params = &self.params;
        let mut failed_probes = 0;
        let mut keep = None;
        if let Some(old) = &old {
            if began <= old.since {
                return;
            }
            let soft = matches!(
                failure.reason,
                Reason::Timeout | Reason::Empty | Reason::StreamError | Reason::UpstreamError
            );
            let own_trouble = soft && old.key == key;
            failed_probes = old.failed_probes;
            if probes(old) {
                failed_probes += u32::from(!own_trouble);
            } else if own_trouble {
                return;
            } else {
                keep = Some((old.until, old.has_reset));
            }
        }
        let span = if failure.reason == Reason::ModelNotFound {
            params.cooldown_max
        } else {
            (0..failed_probes).fold(params.cooldown, |d, _| (d * 2).min(params.cooldown_max))
        };
        let mut end = (failure.reset.unwrap_or(now + span), failure.reset.is_some());
        if let Some(old_end) = keep.filter(|old_end| old_end.0 > end.0) {
            end = old_end;
        }
        self.next_slot += 1;
        let mark = Mark {
            since: now,
            polls_count_from: now.max(self.newest_poll + 1),
            until: end.0,
            has_reset: end.1,
            key,
            failed_probes,
            slot: old.as_ref().map_or(self.next_slot, |old| old.slot),
            taken: old.is_some_and(|old| old.taken),
        };
        self.marks.insert(name.to_owned(), mark);
    }
}

fn best(readings: &[Reading], now: Millis) -> Option<f64> {
    readings
        .iter()
        .filter(|r| r.1.is_none_or(|reset| reset > now))
        .filter_map(|r| r.0)
        .max_by(f64::total_cmp)
}
