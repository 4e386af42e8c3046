//! `/me`: what a key may do and has used, for its own holder.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::json;

use super::AdminState;
use super::fault::Answer;
use super::layers::Caller;
use crate::routing::rfc3339;

pub(super) async fn me(
    State(state): State<AdminState>,
    Extension(Caller(key)): Extension<Caller>,
) -> Answer {
    let usage = state
        .usage
        .totals()
        .await?
        .keys
        .get(&*key.id)
        .copied()
        .unwrap_or_default();
    let body = json!({
        "id": &*key.id,
        "name": &*key.name,
        "enabled": key.enabled,
        "admin": key.admin,
        "permissions": key.permissions,
        "models": key.models,
        // No limit can be set in this version.
        "limits": {},
        "expires_at": key.expires_at.map(rfc3339),
        "last_used_at": key.last_used().map(rfc3339),
        "usage": usage,
    });
    Ok(Json(body).into_response())
}

pub(super) async fn usage(
    State(state): State<AdminState>,
    Extension(Caller(key)): Extension<Caller>,
) -> Answer {
    Ok(Json(state.usage.key(&key.id, &key.name).await?).into_response())
}
