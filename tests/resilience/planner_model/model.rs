//! The planner once more, in the plainest way: what gateway.md section 5 says about thresholds,
//! marks, probes and the last resort, and section 4 about the answer when nothing is left.

use std::collections::BTreeMap;

use super::script::{MODELS, Step};
use super::upstream::{Failed, Upstream};

/// Milliseconds, as configured; a script takes far less than the shortest.
const COOLDOWN: u64 = 1_000_000;
const COOLDOWN_MAX: u64 = 3_000_000;
const WITH_QUOTA_MAX: u64 = 500_000;
/// Some hours; only that it is longer than any cooldown counts.
const RESET: u64 = 10_000_000;

/// What the client sees of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub status: u16,
    pub served: String,
    pub tier: String,
    pub reasons: String,
}

#[derive(Clone, Debug)]
struct Mark {
    since: u64,
    until: u64,
    reset: bool,
    reason: &'static str,
    ambiguous: bool,
    key: usize,
    failed_probes: u32,
}

/// A model's quota as the last poll showed it.
#[derive(Clone, Debug, Default)]
struct Seen {
    at: u64,
    fraction: Option<f64>,
    reset: bool,
    low: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    Unknown,
    Usable,
    Low,
    Exhausted,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    Open,
    /// Until then; true: not even as a last resort.
    Closed(u64, bool),
    Ended,
}

/// What became of a tier in one request.
#[derive(Clone, Debug)]
enum Fate {
    Passed {
        label: &'static str,
        cause: &'static str,
        ambiguous: bool,
    },
    Failed {
        failed: Failed,
        nth: usize,
    },
}

#[derive(Debug, Default)]
pub struct Model {
    /// Counts events; the order of all that happens.
    now: u64,
    seen: BTreeMap<&'static str, Seen>,
    marks: BTreeMap<&'static str, Mark>,
}

fn doubled(span: u64, times: u32) -> u64 {
    (span << times.min(8)).min(COOLDOWN_MAX)
}

impl Seen {
    fn level(&self) -> Level {
        match self.fraction {
            None => Level::Unknown,
            Some(f) if f <= 0.0 => Level::Exhausted,
            Some(f) if f < 0.05 || (self.low && f < 0.10) => Level::Low,
            Some(_) => Level::Usable,
        }
    }

    fn allows(&self) -> bool {
        matches!(self.level(), Level::Unknown | Level::Usable)
    }
}

impl Mark {
    /// A poll that began after the mark shows enough.
    fn contradicted(&self, seen: &Seen) -> bool {
        seen.at > self.since && seen.fraction.is_some_and(|f| f >= 0.10)
    }

    fn gate(&self, seen: &Seen, now: u64) -> Gate {
        let within = |span: u64| self.until.min(self.since + span);
        let with_quota = within(doubled(WITH_QUOTA_MAX, self.failed_probes));
        let end = match seen.fraction {
            None if self.reset => within(COOLDOWN_MAX),
            None => self.until,
            // Probed at once; when that failed too, only after a time that doubles.
            Some(_) if self.contradicted(seen) && self.failed_probes == 0 => self.since,
            Some(_) if self.contradicted(seen) => with_quota,
            Some(f) if f > 0.20 => with_quota,
            Some(_) => self.until,
        };
        if end <= now {
            Gate::Ended
        } else {
            Gate::Closed(end, self.reset && !self.contradicted(seen))
        }
    }
}

impl Model {
    pub fn step(&mut self, step: &Step, upstream: &mut Upstream) -> Option<Outcome> {
        self.now += 1;
        upstream.step(step);
        match step {
            Step::Poll => self.poll(upstream),
            Step::Clear(Some(model)) => {
                self.marks.remove(model);
            }
            Step::Clear(None) => self.marks.clear(),
            Step::Quota { .. } | Step::Faults(_) => {}
            Step::Ask {
                model,
                stream,
                key,
                off,
            } => {
                let from = MODELS.iter().position(|name| name == model).unwrap();
                let last = if *off { from + 1 } else { MODELS.len() };
                return Some(self.ask(&MODELS[from..last], *stream, *key, *off, upstream));
            }
        }
        None
    }

    fn poll(&mut self, upstream: &Upstream) {
        for model in MODELS {
            let (left, reset) = upstream.quota(model);
            let known = left
                .into_iter()
                .filter_map(|left| left.or(reset.then_some(0.0)));
            let fraction = known.reduce(f64::max);
            let was_low = self.seen.get(model).is_some_and(|seen| seen.low);
            let low = fraction.map_or(was_low, |f| f < 0.05 || (was_low && f < 0.10));
            self.seen.insert(
                model,
                Seen {
                    at: self.now,
                    fraction,
                    reset,
                    low,
                },
            );
        }
    }

    fn gate(&self, model: &str) -> Gate {
        let mark = self.marks.get(model);
        mark.map_or(Gate::Open, |mark| mark.gate(&self.seen[model], self.now))
    }

    /// As GET /admin/fallback names them.
    pub fn states(&self) -> Vec<String> {
        let state = |model: &&str| match (self.seen[*model].level(), self.gate(model)) {
            (Level::Low, _) => "low",
            (Level::Exhausted, _) => "exhausted",
            (_, Gate::Closed(..)) => "cooldown",
            (_, Gate::Ended) => "probing",
            (Level::Unknown, Gate::Open) => "unknown",
            (Level::Usable, Gate::Open) => "usable",
        };
        if self.seen.is_empty() {
            // Before the first step: what the gateway's own first poll saw.
            return vec!["usable".to_owned(); MODELS.len()];
        }
        MODELS.iter().map(|model| state(model).to_owned()).collect()
    }

    fn ask(
        &mut self,
        chain: &[&'static str],
        stream: bool,
        key: usize,
        off: bool,
        upstream: &mut Upstream,
    ) -> Outcome {
        let mut fates: BTreeMap<usize, Fate> = BTreeMap::new();
        let mut failures = 0;
        while let Some(index) = self.next(chain, &mut fates, off) {
            let model = chain[index];
            let probes = self.gate(model) == Gate::Ended;
            self.now += 1;
            match upstream.ask(model, stream) {
                Ok(()) => {
                    self.marks.remove(model);
                    fates.remove(&index);
                    return answered(model, index, &fates);
                }
                Err(failed) => {
                    self.mark(model, &failed, key, probes);
                    let ends = failed.clients && failures == 0;
                    fates.insert(
                        index,
                        Fate::Failed {
                            failed,
                            nth: failures,
                        },
                    );
                    failures += 1;
                    if ends {
                        return refused(400);
                    }
                }
            }
        }
        refused(self.verdict(chain, &fates))
    }

    /// The next tier of this request, in the order of the chain, else by the rules of the last resort.
    fn next(
        &self,
        chain: &[&'static str],
        fates: &mut BTreeMap<usize, Fate>,
        off: bool,
    ) -> Option<usize> {
        if off {
            return (!tried(fates, 0)).then_some(0);
        }
        let mut resorts: Vec<((u8, f64), usize)> = Vec::new();
        for (index, model) in chain.iter().enumerate() {
            if tried(fates, index) {
                continue;
            }
            let (seen, gate) = (&self.seen[model], self.gate(model));
            if seen.allows() && !matches!(gate, Gate::Closed(..)) {
                return Some(index);
            }
            let mark = self.marks.get(model).filter(|_| seen.allows());
            fates.insert(
                index,
                Fate::Passed {
                    label: if seen.allows() { "cooldown" } else { "quota" },
                    cause: mark.map_or("quota", |mark| mark.reason),
                    ambiguous: mark.is_some_and(|mark| mark.ambiguous),
                },
            );
            let exhausted = seen.level() == Level::Exhausted;
            let rank = match gate {
                _ if exhausted && seen.reset => continue,
                Gate::Closed(_, true) => continue,
                Gate::Closed(until, false) if exhausted => (3, until as f64),
                _ if exhausted => (3, 0.0),
                // A mark that holds, whatever the quota: the one that ends first.
                Gate::Closed(until, false) => (2, until as f64),
                // The fullest first.
                _ => (1, 1.0 - seen.fraction.unwrap_or(0.0)),
            };
            resorts.push((rank, index));
        }
        resorts.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap().then(a.1.cmp(&b.1)));
        resorts.first().map(|(_, index)| *index)
    }

    fn mark(&mut self, model: &'static str, failed: &Failed, key: usize, probe: bool) {
        if failed.clients {
            return;
        }
        let old = self.marks.get(model).cloned();
        let may_be_the_request =
            ["timeout", "empty", "stream_error", "upstream_error"].contains(&failed.reason);
        let own_trouble = old
            .as_ref()
            .is_some_and(|old| may_be_the_request && old.key == key);
        if old.is_some() && !probe && own_trouble {
            return;
        }
        let failed_probes =
            old.as_ref().map_or(0, |old| old.failed_probes) + u32::from(probe && !own_trouble);
        let span = match failed.reason {
            "model_not_found" => COOLDOWN_MAX,
            _ => doubled(COOLDOWN, failed_probes),
        };
        let mut mark = Mark {
            since: self.now,
            until: self.now + if failed.reset { RESET } else { span },
            reset: failed.reset,
            reason: failed.reason,
            ambiguous: failed.ambiguous,
            key,
            failed_probes,
        };
        if let Some(old) = old.filter(|old| !probe && old.until > mark.until) {
            (mark.until, mark.reset) = (old.until, old.reset);
        }
        self.marks.insert(model, mark);
    }

    /// The status when no tier is left.
    fn verdict(&self, chain: &[&'static str], fates: &BTreeMap<usize, Fate>) -> u16 {
        let told = |index: usize, reason: &'static str, ambiguous: bool| {
            let gone = matches!(
                self.seen[chain[index]].level(),
                Level::Low | Level::Exhausted
            );
            if ambiguous && !gone {
                "overloaded"
            } else {
                reason
            }
        };
        let mut causes: Vec<(&'static str, usize, u16)> = Vec::new();
        for (index, fate) in fates {
            match fate {
                Fate::Failed { failed, .. } if failed.clients => {}
                Fate::Failed { failed, nth } => {
                    causes.push((
                        told(*index, failed.reason, failed.ambiguous),
                        nth + 1,
                        failed.status,
                    ));
                }
                Fate::Passed {
                    cause, ambiguous, ..
                } => {
                    causes.push((told(*index, cause, *ambiguous), 0, 0));
                }
            }
        }
        for (reason, status) in [
            ("quota", 429),
            ("exhausted", 429),
            ("rate_limited", 429),
            ("overloaded", 529),
            ("timeout", 504),
            ("connect", 502),
        ] {
            if causes.iter().any(|cause| cause.0 == reason) {
                return status;
            }
        }
        let others = causes.iter().filter(|cause| cause.0 != "model_not_found");
        match others.max_by_key(|cause| cause.1) {
            Some((_, _, 500)) => 500,
            Some(_) => 502,
            None => 404,
        }
    }
}

fn tried(fates: &BTreeMap<usize, Fate>, index: usize) -> bool {
    matches!(fates.get(&index), Some(Fate::Failed { .. }))
}

fn refused(status: u16) -> Outcome {
    let none = String::new;
    Outcome {
        status,
        served: none(),
        tier: none(),
        reasons: none(),
    }
}

fn answered(model: &str, index: usize, fates: &BTreeMap<usize, Fate>) -> Outcome {
    let reason = |(at, fate): (&usize, &Fate)| match fate {
        Fate::Failed { failed, .. } => Some(failed.reason),
        Fate::Passed { label, .. } => (*at < index).then_some(*label),
    };
    let reasons: Vec<&str> = fates.iter().filter_map(reason).collect();
    Outcome {
        status: 200,
        served: model.to_owned(),
        tier: (index + 1).to_string(),
        reasons: reasons.join(","),
    }
}
