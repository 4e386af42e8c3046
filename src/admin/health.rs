//! `GET /health` and `GET /ready`.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::lifecycle::Stage;
use super::peer::peer_of;
use super::{AdminState, now};
use crate::config::{Health as HealthKind, Settings};
use crate::routing::{Millis, Snapshot, Tier, rfc3339};

/// `GET /health` (gateway.md section 3).
#[derive(Debug, Serialize)]
struct Health {
    status: Status,
    version: &'static str,
    uptime_s: u64,
    /// Only for those who may know names.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstreams: Option<BTreeMap<String, Row>>,
    models_available: usize,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<BTreeSet<Problem>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Degraded,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Problem {
    ChainUnusable,
    QuotasStale,
    UpstreamUnreachable,
    UsageUnwritten,
}

#[derive(Debug, Serialize)]
struct Row {
    reachable: bool,
    polled_at: Option<String>,
    stale: bool,
}

/// Always 200 while the process lives: whether it should get requests is for `/ready` to say.
pub(super) async fn health(State(state): State<AdminState>, request: Request) -> Response {
    let settings = state.settings.load_full();
    let now = now();
    let peer = peer_of(request.extensions());
    let address = peer.known_address(request.headers(), &settings.server.trusted_proxies);
    let shown =
        address.is_some_and(|a| a.is_loopback()) || state.auth.is_valid(request.headers(), now);
    let written = state.usage.trouble().is_none();
    let mut health = judge(&settings, &state.book.snapshot(), written, now);
    health.uptime_s = state.life.uptime().as_secs();
    if !shown {
        health.upstreams = None;
        health.problems = None;
    }
    Json(health).into_response()
}

fn judge(settings: &Settings, snapshot: &Snapshot, usage_written: bool, now: Millis) -> Health {
    let row = |name: &String, kind: HealthKind| {
        let view = snapshot.upstream(name);
        Row {
            reachable: view.reachable,
            polled_at: view.polled_at.map(rfc3339),
            // Left over from the time before a reload, where quotas are asked for no longer.
            stale: view.stale && kind != HealthKind::None,
        }
    };
    let upstreams: BTreeMap<String, Row> = settings
        .upstreams
        .iter()
        .map(|(name, upstream)| (name.clone(), row(name, upstream.health)))
        .collect();
    // The planner may still trust the last quotas of an upstream that does not answer; nobody
    // else should count on it.
    let usable = |tier: &Tier| {
        snapshot.view(tier, now).usable
            && upstreams
                .get(&*tier.upstream)
                .is_some_and(|row| row.reachable)
    };
    let mut tiers: BTreeSet<Tier> = settings.rules.tiers().into_iter().cloned().collect();
    // A mark alone, on a name that only a client knows, makes no model.
    tiers.extend(
        snapshot
            .tiers()
            .into_iter()
            .filter(|tier| snapshot.reports(&tier.model)),
    );
    let mut problems = BTreeSet::new();
    if upstreams.values().any(|row| !row.reachable) {
        problems.insert(Problem::UpstreamUnreachable);
    }
    if upstreams.values().any(|row| row.stale) {
        problems.insert(Problem::QuotasStale);
    }
    if !usage_written {
        problems.insert(Problem::UsageUnwritten);
    }
    if settings
        .rules
        .chains()
        .iter()
        .any(|(_, chain)| !chain.iter().any(usable))
    {
        problems.insert(Problem::ChainUnusable);
    }
    let status = if upstreams.values().all(|row| !row.reachable) {
        Status::Down
    } else if problems.is_empty() {
        Status::Ok
    } else {
        Status::Degraded
    };
    Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: 0,
        models_available: tiers.iter().filter(|tier| usable(tier)).count(),
        upstreams: Some(upstreams),
        problems: Some(problems),
    }
}

/// 200 when requests should come here, else 503.
pub(super) async fn ready(State(state): State<AdminState>) -> Response {
    let polled = *state.poller.first_round().borrow();
    let (code, stage) = match state.life.stage(polled) {
        Stage::Ready => (StatusCode::OK, "ready"),
        Stage::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Stage::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let body = json!({"ready": code == StatusCode::OK, "status": stage});
    (code, Json(body)).into_response()
}
