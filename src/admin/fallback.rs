//! `/admin/fallback` and `/admin/explain`: what the planner sees, and what it would do.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;

use super::body::Fields;
use super::fault::{Answer, Fault};
use super::{AdminState, now};
use crate::config::{Health as HealthKind, Settings};
use crate::keys::{KeyEntry, KeyError};
use crate::routing::explain::{Explain, Fallback, explain as explain_route, fallback};
use crate::routing::model_allowed;

/// `GET /admin/fallback`
pub(super) async fn show(State(state): State<AdminState>) -> Answer {
    Ok(Json(view(&state)).into_response())
}

/// `POST /admin/fallback/poll`: as many callers as like share one poll.
pub(super) async fn poll(State(state): State<AdminState>) -> Answer {
    state.poller.poll_all().await;
    show(State(state)).await
}

/// `POST /admin/fallback/clear`
pub(super) async fn clear(State(state): State<AdminState>, body: Fields) -> Answer {
    body.only(&["model", "upstream"])?;
    let (model, upstream) = (body.text("model")?, body.text("upstream")?);
    if upstream.is_some_and(|name| !state.settings.load().upstreams.contains_key(name)) {
        return Err(Fault::field(
            "upstream",
            "no upstream of this name is configured",
        ));
    }
    let cleared = state.book.clear(model, upstream);
    log::info!("admin: {cleared} marks were cleared");
    show(State(state)).await
}

fn view(state: &AdminState) -> Fallback {
    let settings = state.settings.load_full();
    let urls: Vec<(&str, String)> = settings
        .upstreams
        .iter()
        .map(|(name, upstream)| (name.as_str(), upstream.url.to_string()))
        .collect();
    let urls = urls.iter().map(|(name, url)| (*name, url.as_str()));
    let mut view = fallback(&settings.rules, &state.book.snapshot(), urls, now());
    // What a reload has switched off is not stale, whatever its last poll was like.
    for (name, row) in &mut view.upstreams {
        row.stale &= settings
            .upstreams
            .get(name)
            .is_none_or(|upstream| upstream.health != HealthKind::None);
    }
    view.stale = view.upstreams.values().any(|row| row.stale);
    view
}

/// `POST /admin/explain`, and whether the key that was named may ask for it at all.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    explain: Explain,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<bool>,
}

pub(super) async fn explain(State(state): State<AdminState>, body: Fields) -> Answer {
    body.only(&["model", "key"])?;
    let model = body
        .text("model")?
        .ok_or_else(|| Fault::field("model", "is missing"))?;
    let now = now();
    let entry = match body.text("key")? {
        Some(key) => {
            let entry = state.keys.table().resolve(key, now).cloned();
            Some(entry.ok_or(KeyError::NotFound)?)
        }
        None => None,
    };
    let settings = state.settings.load_full();
    let mut explain = explain_route(&settings.rules, &state.book.snapshot(), model, now);
    let refused = entry
        .as_deref()
        .and_then(|entry| refused(&settings, entry, model, now));
    if let Some(why) = refused {
        for row in &mut explain.tiers {
            row.usable = false;
            row.why = format!("refused (403): {why}");
        }
    }
    let allowed = entry.map(|_| refused.is_none());
    Ok(Json(Explained { explain, allowed }).into_response())
}

/// Why a request of this key for this model is refused whatever the tiers are like.
fn refused(settings: &Settings, key: &KeyEntry, model: &str, now: u64) -> Option<&'static str> {
    if !key.enabled {
        Some("the key is disabled")
    } else if key.expires_at.is_some_and(|end| now >= end) {
        Some("the key has expired")
    } else if !model_allowed(&settings.rules.resolve(model), model, &key.models) {
        Some("the key may not use this model")
    } else {
        None
    }
}
