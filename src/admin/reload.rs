//! `POST /admin/reload`: the same as SIGHUP.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::json;

use super::AdminState;
use super::fault::{Answer, Fault};
use crate::wire::error::ErrorKind;

pub(super) async fn reload(State(state): State<AdminState>) -> Answer {
    // On its own task: a caller that leaves must not leave half a reload behind.
    match tokio::spawn((state.reload)()).await {
        Ok(Ok(changed)) => Ok(Json(json!({ "changed": changed })).into_response()),
        Ok(Err(errors)) => Err(Fault::errors(
            format!(
                "nothing was changed, because of {} errors; see \"errors\"",
                errors.len()
            ),
            errors,
        )),
        Err(error) => {
            log::error!("the reload ended badly: {error}");
            Err(Fault::new(
                500,
                ErrorKind::Api,
                "the reload failed; the gateway's log says why",
            ))
        }
    }
}
