//! `/v1/models`: the names that a key may ask for, in the shape that its client expects.
//!
//! Listed are the models that the default upstream reports, chains and aliases. A model that only
//! another upstream reports is not there: without a chain nothing leads to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use http::HeaderMap;
use serde_json::{Value, json};

use super::AdminState;
use super::fault::{Answer, Fault};
use super::layers::{Caller, format_of};
use crate::admission::Refusal;
use crate::config::Settings;
use crate::keys::KeyEntry;
use crate::routing::{Snapshot, model_allowed};
use crate::wire::error::{ClientFormat, ErrorKind};
use crate::wire::text::clean;

/// Nobody knows when the models were made; the SDKs want a time.
const CREATED: &str = "1970-01-01T00:00:00Z";

pub(super) async fn list(
    State(state): State<AdminState>,
    Extension(Caller(key)): Extension<Caller>,
    headers: HeaderMap,
) -> Answer {
    let settings = state.settings.load_full();
    let format = format_of("/v1/models", &headers);
    let names = names(&settings, &state.book.snapshot());
    let allowed: Vec<_> = names
        .into_iter()
        .filter(|name| may_use(&settings, &key, name))
        .collect();
    let data: Vec<Value> = allowed.iter().map(|name| model(format, name)).collect();
    let body = match format {
        ClientFormat::Anthropic => json!({
            "data": data,
            "has_more": false,
            "first_id": allowed.first(),
            "last_id": allowed.last(),
        }),
        ClientFormat::OpenAi => json!({"object": "list", "data": data}),
    };
    Ok(Json(body).into_response())
}

pub(super) async fn one(
    State(state): State<AdminState>,
    Extension(Caller(key)): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Answer {
    let asked = path.map(|Path(name)| name).unwrap_or_default();
    let settings = state.settings.load_full();
    let name = asked.strip_suffix("[1m]").unwrap_or(&asked);
    let known = names(&settings, &state.book.snapshot()).contains(name)
        // A name that only matches the pattern of an alias works as well.
        || settings.rules.resolve(name).alias.is_some();
    if known && may_use(&settings, &key, name) {
        return Ok(Json(model(format_of("/v1/models", &headers), &asked)).into_response());
    }
    let mut refusal = Refusal::new(
        404,
        ErrorKind::NotFound,
        format!(
            "the model {} is not offered here, or not to this API key; GET /v1/models lists what is",
            clean(&asked)
        ),
    );
    refusal.error.param = Some("model".to_owned());
    refusal.error.code = Some("model_not_found");
    Err(Fault::from(refusal))
}

fn names(settings: &Settings, snapshot: &Snapshot) -> BTreeSet<Arc<str>> {
    let rules = &settings.rules;
    let plain = |name: &&Arc<str>| !name.contains('*');
    let chains = rules
        .chains()
        .into_iter()
        .map(|(name, _)| name)
        .filter(plain)
        .cloned();
    let aliases = rules
        .aliases()
        .into_iter()
        .map(|(name, _)| name)
        .filter(plain)
        .cloned();
    let reported = snapshot
        .tiers()
        .into_iter()
        .filter(|tier| {
            &*tier.upstream == Settings::DEFAULT_UPSTREAM && snapshot.reports(&tier.model)
        })
        .map(|tier| tier.model);
    chains.chain(aliases).chain(reported).collect()
}

fn may_use(settings: &Settings, key: &KeyEntry, name: &str) -> bool {
    model_allowed(&settings.rules.resolve(name), name, &key.models)
}

fn model(format: ClientFormat, name: &str) -> Value {
    match format {
        ClientFormat::Anthropic => json!({
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": CREATED,
            "lifecycle": "active",
        }),
        ClientFormat::OpenAi => json!({
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "luna",
        }),
    }
}
