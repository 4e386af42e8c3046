//! How the end of a poll changes what is known of its upstream.

use std::collections::HashMap;
use std::sync::Arc;

use crate::routing::cooldown::Mark;
use crate::routing::health::MAX_MODELS;
use crate::routing::quota::ModelQuota;
use crate::routing::snapshot::Upstream;
use crate::routing::{Account, Millis, Params, Report, Snapshot};

/// The state to write a poll's end into, unless a later poll has ended before.
pub(super) fn begin<'a>(
    snapshot: &'a mut Snapshot,
    upstream: &str,
    started: Millis,
) -> Option<&'a mut Upstream> {
    let state = snapshot.upstreams.entry(Arc::from(upstream)).or_default();
    if state.newest.is_some_and(|newest| newest > started) {
        return None;
    }
    state.newest = Some(started);
    Some(state)
}

pub(super) fn take_report(
    state: &mut Upstream,
    report: Report,
    started: Millis,
    now: Millis,
    params: &Params,
) {
    let works = report.accounts.iter().any(Account::works);
    state.tells_quotas = true;
    state.answered = !report.models.is_empty() || works;
    state.accounts = report.accounts.into();
    let mut quotas: HashMap<_, _> = HashMap::clone(&state.quotas);
    for (model, readings) in report.models {
        let quota = ModelQuota::new(readings, started, now, quotas.get(&model), params);
        quotas.insert(model, quota);
    }
    if quotas.len() > MAX_MODELS {
        quotas.retain(|_, quota| !quota.expired(now, started, params));
    }
    if quotas.len() > 2 * MAX_MODELS {
        quotas.retain(|_, quota| quota.started == started);
    }
    state.quotas = Arc::new(quotas);
    if !works && state.mark.is_none() {
        // The poll that a "No accounts available" asked for: there is none indeed.
        let asked = |mark: &&Mark| mark.ask_health && mark.since <= started && mark.until > now;
        let asked = state
            .marks
            .values()
            .filter(asked)
            .max_by_key(|mark| mark.until);
        state.mark = asked.map(|mark| Mark {
            slot: Arc::default(),
            turn: 0,
            ..mark.clone()
        });
    }
}
