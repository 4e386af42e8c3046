//! `/admin/keys`: making, showing and changing keys. `{key}` in a path is an id or a secret.
//!
//! Every change writes and syncs keys.json, so it runs on a blocking thread, to its end even when
//! the caller has gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::body::Fields;
use super::fault::{Answer, Fault};
use super::{AdminState, now};
use crate::keys::{KeyError, KeyInfo, KeyPatch, KeyStore, NewKey, Secret, Totals, grace_from_json};
use crate::routing::rfc3339;
use crate::usage::{Counters, Usage};
use crate::wire::error::ErrorKind;

/// KEY of the contract (gateway.md section 3), with the newest usage instead of what keys.json says.
#[derive(Serialize)]
struct Key {
    id: String,
    name: String,
    prefix: String,
    enabled: bool,
    admin: bool,
    permissions: Vec<String>,
    models: Vec<String>,
    limits: Map<String, Value>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    usage: Usage,
    /// The secret, where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// `{key}` of a path. What cannot be decoded is no key.
pub(super) type KeyPath = Result<Path<String>, PathRejection>;

/// The text of `{key}`.
pub(super) fn named(path: KeyPath) -> Result<String, Fault> {
    match path {
        Ok(Path(key)) => Ok(key),
        Err(_) => Err(KeyError::NotFound.into()),
    }
}

pub(super) async fn list(State(state): State<AdminState>) -> Answer {
    let infos = state.keys.list();
    let usage = usage_by_key(&state).await;
    let keys: Vec<Key> = infos
        .into_iter()
        .map(|info| view(info, &usage, None))
        .collect();
    Ok(Json(json!({ "keys": keys })).into_response())
}

pub(super) async fn create(State(state): State<AdminState>, body: Fields) -> Answer {
    let new = NewKey::from_json(&body.into_value())?;
    let (info, secret) = change(&state, move |keys| keys.create(new, now())).await?;
    log::info!("admin: key {} ({:?}) was made", info.id, info.name);
    let key = shown(&state, info, Some(&secret)).await;
    Ok((StatusCode::CREATED, Json(key)).into_response())
}

pub(super) async fn show(State(state): State<AdminState>, path: KeyPath) -> Answer {
    let info = state.keys.get(&named(path)?, now())?;
    Ok(Json(shown(&state, info, None).await).into_response())
}

pub(super) async fn patch(State(state): State<AdminState>, path: KeyPath, body: Fields) -> Answer {
    let key = named(path)?;
    let patch = KeyPatch::from_json(&body.into_value())?;
    done(&state, "changed", move |keys| {
        keys.patch(&key, patch, now())
    })
    .await
}

pub(super) async fn delete(State(state): State<AdminState>, path: KeyPath) -> Answer {
    let key = named(path)?;
    done(&state, "deleted", move |keys| keys.delete(&key, now())).await
}

pub(super) async fn disable(State(state): State<AdminState>, path: KeyPath) -> Answer {
    let key = named(path)?;
    done(&state, "disabled", move |keys| keys.disable(&key, now())).await
}

pub(super) async fn enable(State(state): State<AdminState>, path: KeyPath) -> Answer {
    let key = named(path)?;
    done(&state, "enabled", move |keys| keys.enable(&key, now())).await
}

pub(super) async fn rotate(State(state): State<AdminState>, path: KeyPath, body: Fields) -> Answer {
    let key = named(path)?;
    let grace = grace_from_json(&body.into_value())?;
    let (info, secret) = change(&state, move |keys| keys.rotate(&key, grace, now())).await?;
    log::info!("admin: key {} ({:?}) has a new secret", info.id, info.name);
    Ok(Json(shown(&state, info, Some(&secret)).await).into_response())
}

async fn done(
    state: &AdminState,
    what: &str,
    act: impl FnOnce(&KeyStore) -> Result<KeyInfo, KeyError> + Send + 'static,
) -> Answer {
    let info = change(state, act).await?;
    log::info!("admin: key {} ({:?}) was {what}", info.id, info.name);
    Ok(Json(shown(state, info, None).await).into_response())
}

async fn change<T: Send + 'static>(
    state: &AdminState,
    act: impl FnOnce(&KeyStore) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Fault> {
    let keys = Arc::clone(&state.keys);
    match tokio::task::spawn_blocking(move || act(&keys)).await {
        Ok(result) => result.map_err(Fault::from),
        Err(error) => {
            log::error!("a change of the keys ended badly: {error}");
            Err(Fault::new(
                500,
                ErrorKind::Api,
                "the change failed; the gateway's log says why",
            ))
        }
    }
}

async fn shown(state: &AdminState, info: KeyInfo, secret: Option<&Secret>) -> Key {
    let usage = usage_by_key(state).await;
    view(info, &usage, secret)
}

/// Everything ever used, by id; None when usage cannot be asked.
async fn usage_by_key(state: &AdminState) -> Option<BTreeMap<Arc<str>, Usage>> {
    match state.usage.totals().await {
        Ok(totals) => Some(totals.keys),
        Err(error) => {
            log::debug!("keys are shown with the usage of keys.json: {error}");
            None
        }
    }
}

fn view(info: KeyInfo, usage: &Option<BTreeMap<Arc<str>, Usage>>, secret: Option<&Secret>) -> Key {
    let usage = match usage {
        Some(by_key) => by_key.get(info.id.as_str()).copied().unwrap_or_default(),
        None => persisted(&info.usage),
    };
    let KeyInfo {
        id,
        name,
        prefix,
        enabled,
        admin,
        permissions,
        models,
        limits,
        created_at,
        expires_at,
        last_used_at,
        usage: _,
    } = info;
    Key {
        id,
        name,
        prefix,
        enabled,
        admin,
        permissions,
        models,
        limits,
        created_at: rfc3339(created_at),
        expires_at: expires_at.map(rfc3339),
        last_used_at: last_used_at.map(rfc3339),
        usage,
        key: secret.map(|s| s.reveal().to_owned()),
    }
}

fn persisted(totals: &Totals) -> Usage {
    Counters {
        requests: totals.requests,
        errors: totals.errors,
        fallbacks: totals.fallbacks,
        aborted: totals.aborted,
        input_tokens: totals.input_tokens,
        output_tokens: totals.output_tokens,
        cache_read_input_tokens: totals.cache_read_input_tokens,
        cache_creation_input_tokens: totals.cache_creation_input_tokens,
    }
    .into()
}
