//! What the admin API shows of the routing: GET /admin/fallback and POST /admin/explain, with
//! exactly the field names of gateway.md section 3. Times are RFC 3339 in UTC.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::{
    Account, Millis, Reason, Rules, Snapshot, Tier, TierState, TierView, Trail, rfc3339, text,
};

/// GET /admin/fallback.
#[derive(Clone, Debug, Serialize)]
pub struct Fallback {
    /// The newest successful poll of any upstream.
    pub polled_at: Option<String>,
    /// Some upstream's quotas are stale.
    pub stale: bool,
    /// Of the rules.
    pub threshold: f64,
    /// Of the rules.
    pub recover: f64,
    /// Every tier that chains, polls or marks know.
    pub tiers: Vec<TierRow>,
    /// Every chain, `*` included.
    pub chains: BTreeMap<Arc<str>, Vec<ChainRow>>,
    /// Every configured upstream.
    pub upstreams: BTreeMap<String, UpstreamRow>,
}

/// One tier of GET /admin/fallback.
#[derive(Clone, Debug, Serialize)]
pub struct TierRow {
    /// The model.
    pub model: Arc<str>,
    /// The upstream.
    pub upstream: Arc<str>,
    /// The maximum over the accounts, null when unknown.
    pub remaining_fraction: Option<f64>,
    /// A quota reset to come.
    pub reset_time: Option<String>,
    /// Accounts behind the fraction.
    pub accounts: usize,
    /// The state.
    pub state: TierState,
    /// Newer polls did not confirm the fraction.
    pub stale: bool,
    /// When it may be usable again.
    pub until: Option<String>,
    /// Why it is marked.
    pub reason: Option<Reason>,
}

/// One tier of a chain in GET /admin/fallback.
#[derive(Clone, Debug, Serialize)]
pub struct ChainRow {
    /// The model.
    pub model: Arc<str>,
    /// The upstream.
    pub upstream: Arc<str>,
    /// Whether a request would be sent there now.
    pub usable: bool,
    /// Why, or why not.
    pub why: String,
}

/// One upstream of GET /admin/fallback.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamRow {
    /// As configured.
    pub url: String,
    /// The newest evidence.
    pub reachable: bool,
    /// The last successful poll.
    pub polled_at: Option<String>,
    /// Its quotas are known no longer for sure.
    pub stale: bool,
    /// Masked accounts.
    pub accounts: Vec<Account>,
}

/// POST /admin/explain.
#[derive(Clone, Debug, Serialize)]
pub struct Explain {
    /// As asked.
    pub requested: String,
    /// After `[1m]` and aliases.
    pub resolved: Arc<str>,
    /// `alias`, `chain` or `default`.
    pub via: &'static str,
    /// The tiers in the order of the chain.
    pub tiers: Vec<ExplainRow>,
}

/// One tier of POST /admin/explain.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainRow {
    /// The model.
    pub model: Arc<str>,
    /// The upstream.
    pub upstream: Arc<str>,
    /// Whether a request would be sent there now.
    pub usable: bool,
    /// Why, or why not.
    pub why: String,
    /// The maximum over the accounts, null when unknown.
    pub remaining_fraction: Option<f64>,
    /// When it may be usable again.
    pub until: Option<String>,
}

/// The whole of GET /admin/fallback. `upstreams` are the configured names with their URLs, which
/// are shown as they are.
#[must_use]
pub fn fallback<'a>(
    rules: &Rules,
    snapshot: &Snapshot,
    upstreams: impl IntoIterator<Item = (&'a str, &'a str)>,
    now: Millis,
) -> Fallback {
    let row = |(name, url): (&str, &str)| {
        let view = snapshot.upstream(name);
        let row = UpstreamRow {
            url: url.to_owned(),
            reachable: view.reachable,
            polled_at: view.polled_at.map(rfc3339),
            stale: view.stale,
            accounts: view.accounts.to_vec(),
        };
        (name.to_owned(), view.polled_at, row)
    };
    let rows: Vec<_> = upstreams.into_iter().map(row).collect();
    let chain = |(name, tiers): (&Arc<str>, &[Tier])| {
        let rows = tiers
            .iter()
            .map(|tier| chain_row(tier, snapshot, now))
            .collect();
        (name.clone(), rows)
    };
    Fallback {
        polled_at: rows.iter().filter_map(|(_, at, _)| *at).max().map(rfc3339),
        stale: rows.iter().any(|(_, _, row)| row.stale),
        threshold: rules.threshold(),
        recover: rules.recover(),
        tiers: tiers(rules, snapshot, now),
        chains: rules.chains().into_iter().map(chain).collect(),
        upstreams: rows.into_iter().map(|(name, _, row)| (name, row)).collect(),
    }
}

/// Every tier that chains, polls or marks know, sorted by model and upstream.
#[must_use]
pub fn tiers(rules: &Rules, snapshot: &Snapshot, now: Millis) -> Vec<TierRow> {
    let mut all: Vec<Tier> = snapshot.tiers();
    all.extend(rules.tiers().into_iter().cloned());
    all.sort();
    all.dedup();
    let row = |tier: Tier| {
        let view = snapshot.view(&tier, now);
        TierRow {
            model: tier.model,
            upstream: tier.upstream,
            remaining_fraction: view.remaining_fraction,
            reset_time: view.reset_time.map(rfc3339),
            accounts: view.accounts,
            state: view.state,
            stale: view.stale,
            until: view.until.map(rfc3339),
            reason: view.reason,
        }
    };
    all.into_iter().map(row).collect()
}

fn chain_row(tier: &Tier, snapshot: &Snapshot, now: Millis) -> ChainRow {
    let view = snapshot.view(tier, now);
    ChainRow {
        model: tier.model.clone(),
        upstream: tier.upstream.clone(),
        usable: view.usable,
        why: why(&view, snapshot, now),
    }
}

/// Which tiers a request for `requested` would try now, in order, and why.
#[must_use]
pub fn explain(rules: &Rules, snapshot: &Snapshot, requested: &str, now: Millis) -> Explain {
    let route = rules.resolve(requested);
    let last_resort = last_resort(&route, snapshot, now);
    let row = |(index, tier): (usize, &Tier)| {
        let view = snapshot.view(tier, now);
        let mut why = why(&view, snapshot, now);
        if last_resort == Some(index) {
            why.push_str("; tried all the same, as no tier of the chain is usable");
        }
        ExplainRow {
            model: tier.model.clone(),
            upstream: tier.upstream.clone(),
            usable: view.usable,
            why,
            remaining_fraction: view.remaining_fraction,
            until: view.until.map(rfc3339),
        }
    };
    Explain {
        requested: requested.to_owned(),
        tiers: route.tiers.iter().enumerate().map(row).collect(),
        via: route.via.as_str(),
        resolved: route.resolved,
    }
}

/// The tier that would be asked first although none is usable.
fn last_resort(route: &super::Route, snapshot: &Snapshot, now: Millis) -> Option<usize> {
    if route
        .tiers
        .iter()
        .any(|tier| snapshot.view(tier, now).usable)
    {
        return None;
    }
    match super::next(snapshot, route, &mut Trail::new(), now) {
        super::Next::Try { index, .. } => Some(index),
        super::Next::Out => None,
    }
}

/// One line that begins with the label of `x-luna-fallback` for a tier that is not usable.
fn why(view: &TierView, snapshot: &Snapshot, now: Millis) -> String {
    let percent = |fraction: f64| format!("{}%", (fraction * 1000.0).round() / 10.0);
    let left = view.remaining_fraction.map_or_else(
        || "quota unknown".to_owned(),
        |fraction| format!("{} left", percent(fraction)),
    );
    let until = view
        .until
        .filter(|until| *until > now)
        .map_or_else(String::new, |until| {
            let (at, wait) = (text::utc_text(until), text::duration_text(until - now));
            format!(", until {at} (in {wait})")
        });
    let params = snapshot.params();
    let reason = view.reason.map_or("", Reason::as_str);
    match view.state {
        TierState::Usable => format!("usable: {left}"),
        TierState::Unknown => "usable: quota unknown".to_owned(),
        TierState::Low => format!(
            "quota: {left}, below {} and not at {} again{until}",
            percent(params.threshold),
            percent(params.recover)
        ),
        TierState::Exhausted => format!("quota: nothing left{until}"),
        TierState::Cooldown => format!("cooldown: {reason}{until}; {left}"),
        TierState::Probing if view.usable => {
            format!("usable: the next request probes it after {reason}; {left}")
        }
        TierState::Probing => format!("cooldown: {reason}, a request is probing it; {left}"),
    }
}
