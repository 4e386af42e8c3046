//! Which tier to try next.
//!
//! First the order of the chain, over tiers with enough (or unknown) quota that no mark holds
//! back; a tier whose mark has ended takes one request at a time, the others go on. When no such
//! tier is left, the last resort: what is low, the fullest first; what somebody else is probing;
//! what is marked, the mark that ends first; what is at 0 without a known reset. Never what is at
//! 0 with a reset to come, and never what a parsed reset holds that no poll contradicts: then the
//! request is refused without a call.

#[cfg(test)]
mod tests;

use super::cooldown::ProbeGuard;
use super::quota::Level;
use super::snapshot::{Gate, Snapshot, Standing};
use super::trail::{Passed, Trail};
use super::{Millis, Reason, Route};

/// A mark that ends within this time, in milliseconds, will have ended before a first-event limit
/// does: its tier still counts as a candidate.
const SOON: Millis = 30_000;

/// The planner's answer.
#[derive(Debug)]
pub enum Next {
    /// Ask this tier.
    Try {
        /// Its place in the route, from 0.
        index: usize,
        /// The right to probe, when its mark has ended. Keep it until the commit or the failure.
        probe: Option<ProbeGuard>,
        /// Nothing worth trying comes after it: it has the longer time limits.
        last_candidate: bool,
    },
    /// No tier is left: ask [`super::verdict`].
    Out,
}

/// The order of the last resort; smaller is earlier.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Resort {
    /// Above 0 and unmarked, or its mark has ended: by what is used up.
    Low(f64),
    /// Somebody else is probing.
    Busy,
    /// Marked: by the end of the mark.
    Marked(Millis),
    /// At 0 without a known reset: by the end of the mark, if any.
    Empty(Millis),
}

/// Names the next tier. To be called once per attempt, with the newest snapshot.
#[must_use]
pub fn next(snapshot: &Snapshot, route: &Route, trail: &mut Trail, now: Millis) -> Next {
    if trail.ended() || trail.first_only && trail.asked() > 0 {
        return Next::Out;
    }
    if trail.first_only {
        let probe = route
            .tiers
            .first()
            .and_then(|tier| snapshot.standing(tier, now).gate.probe());
        trail.ask(0);
        return Next::Try {
            index: 0,
            probe,
            last_candidate: true,
        };
    }
    let mut best: Option<(Resort, usize)> = None;
    for (index, tier) in route.tiers.iter().enumerate() {
        if trail.tried(index) {
            continue;
        }
        let standing = snapshot.standing(tier, now);
        if standing.quota.level.allows() {
            let probe = standing.gate.probe();
            if probe.is_some() || matches!(standing.gate, Gate::Open) {
                return ask(snapshot, route, trail, now, index, probe);
            }
        }
        trail.pass(index, passed(&standing));
        if let Some(resort) = resort(&standing)
            && best.is_none_or(|(other, _)| resort < other)
        {
            best = Some((resort, index));
        }
    }
    match best {
        Some((_, index)) => {
            let tier = route.tiers.get(index);
            let probe = tier.and_then(|tier| snapshot.standing(tier, now).gate.probe());
            ask(snapshot, route, trail, now, index, probe)
        }
        None => Next::Out,
    }
}

fn ask(
    snapshot: &Snapshot,
    route: &Route,
    trail: &mut Trail,
    now: Millis,
    index: usize,
    probe: Option<ProbeGuard>,
) -> Next {
    trail.ask(index);
    let untried = route
        .tiers
        .iter()
        .enumerate()
        .filter(|(i, _)| !trail.tried(*i));
    let last_candidate = !untried
        .map(|(_, tier)| snapshot.standing(tier, now))
        .any(|standing| worth_trying(&standing, now));
    Next::Try {
        index,
        probe,
        last_candidate,
    }
}

/// Whether a slow attempt should make room for this tier.
fn worth_trying(standing: &Standing<'_>, now: Millis) -> bool {
    if standing.quota.level == Level::Exhausted {
        return false;
    }
    match standing.gate {
        Gate::Open | Gate::Ended { .. } => true,
        Gate::Closed {
            until, forbidden, ..
        } => !forbidden && until <= now.saturating_add(SOON),
    }
}

/// Where it stands among the last resorts, if it may be one at all.
fn resort(standing: &Standing<'_>) -> Option<Resort> {
    let quota = &standing.quota;
    if quota.refuses() {
        return None;
    }
    let marked_until = match standing.gate {
        Gate::Closed {
            forbidden: true, ..
        } => return None,
        Gate::Closed { until, .. } => Some(until),
        _ => None,
    };
    Some(match (quota.level, marked_until) {
        (Level::Exhausted, until) => Resort::Empty(until.unwrap_or(0)),
        (_, Some(until)) => Resort::Marked(until),
        (Level::Low, None) => Resort::Low(1.0 - quota.fraction.unwrap_or(0.0)),
        (_, None) => Resort::Busy,
    })
}

/// Why it is not taken in the order of the chain: too little quota is named before a mark.
fn passed(standing: &Standing<'_>) -> Passed {
    let quota = &standing.quota;
    let low = !quota.level.allows();
    let mark = standing.gate.mark();
    let mark_end = match standing.gate {
        Gate::Closed { until, .. } => Some(until),
        _ => None,
    };
    Passed {
        reason: if low { Reason::Quota } else { Reason::Cooldown },
        cause: match mark {
            Some(mark) if !low => mark.reason,
            _ => Reason::Quota,
        },
        ambiguous: !low && mark.is_some_and(|mark| mark.ambiguous),
        until: quota.reset.filter(|_| low).max(mark_end),
        reset: mark.and_then(|mark| mark.reset),
    }
}
