//! `/admin/usage` and the usage of one key.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use super::body::{Pairs, parameters};
use super::fault::{Answer, Fault};
use super::keys::{KeyPath, named};
use super::{AdminState, now};
use crate::keys::{ADMIN_ID, KeyError};
use crate::usage::{Counters, Query, Series};
use crate::wire::error::ErrorKind;

/// What a series is asked by.
const PARAMETERS: [&str; 5] = ["from", "to", "key", "model", "format"];

pub(super) async fn totals(State(state): State<AdminState>, query: Pairs) -> Answer {
    none(query)?;
    let mut totals = state.usage.totals().await?;
    // Every key that exists has its row, used or not, and a deleted one as long as it has something to show.
    totals
        .keys
        .retain(|_, usage| usage.counters != Counters::default());
    {
        let table = state.keys.table();
        for entry in table.entries().chain(table.admin()) {
            totals.keys.entry(Arc::clone(&entry.id)).or_default();
        }
    }
    Ok(Json(totals).into_response())
}

pub(super) async fn of_key(State(state): State<AdminState>, path: KeyPath, query: Pairs) -> Answer {
    none(query)?;
    let key = named(path)?;
    let name = {
        let table = state.keys.table();
        let entry = table
            .resolve(&key, now())
            .or_else(|| table.admin().filter(|_| key == ADMIN_ID));
        entry.map(|entry| (entry.id.clone(), entry.name.clone()))
    };
    let (id, name) = name.ok_or(KeyError::NotFound)?;
    Ok(Json(state.usage.key(&id, &name).await?).into_response())
}

pub(super) async fn daily(State(state): State<AdminState>, query: Pairs) -> Answer {
    let (query, format) = asked(&state, query).await?;
    let series = state.usage.daily(query).await?;
    render(move || match format {
        Format::Json => json(&series),
        Format::Csv => csv(&series, "attachment; filename=\"luna-usage-daily.csv\""),
    })
    .await
}

pub(super) async fn hourly(State(state): State<AdminState>, query: Pairs) -> Answer {
    let (query, format) = asked(&state, query).await?;
    let series = state.usage.hourly(query).await?;
    render(move || match format {
        Format::Json => json(&series),
        Format::Csv => csv(&series, "attachment; filename=\"luna-usage-hourly.csv\""),
    })
    .await
}

/// Three years of days take tens of milliseconds to write out, which no stream on the same thread shall wait for.
async fn render(answer: impl FnOnce() -> Response + Send + 'static) -> Answer {
    tokio::task::spawn_blocking(answer).await.map_err(|error| {
        log::error!("usage cannot be shown: {error}");
        Fault::new(
            500,
            ErrorKind::Api,
            "usage cannot be shown; the gateway's log says why",
        )
    })
}

#[derive(Clone, Copy)]
enum Format {
    Json,
    Csv,
}

async fn asked(state: &AdminState, query: Pairs) -> Result<(Query, Format), Fault> {
    let [from, to, key, model, format] = parameters(query, PARAMETERS)?;
    let format = match format.as_deref() {
        None | Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some(_) => return Err(Fault::field("format", "must be json or csv")),
    };
    let key = match key {
        Some(key) => Some(id_of(state, key).await?),
        None => None,
    };
    let query = Query {
        from,
        to,
        key,
        model,
    };
    Ok((query, format))
}

/// The id behind an id or a secret. A key that was deleted is known by its id as long as its usage
/// is kept.
async fn id_of(state: &AdminState, key: String) -> Result<String, Fault> {
    match state.keys.resolve(&key, now()) {
        Ok(id) => Ok(id.to_string()),
        Err(_) if key == ADMIN_ID => Ok(key),
        Err(unknown) => match state.usage.totals().await?.keys.contains_key(key.as_str()) {
            true => Ok(key),
            false => Err(unknown.into()),
        },
    }
}

/// These routes show everything; who asks for a part shall not take the whole for it.
fn none(query: Pairs) -> Result<(), Fault> {
    match parameters(query, []) {
        Ok([]) => Ok(()),
        Err(_) => Err(Fault::field(
            "query",
            "this route takes no parameters; /admin/usage/daily and /admin/usage/hourly do",
        )),
    }
}

fn json(series: &Series) -> Response {
    ([(CONTENT_TYPE, "application/json")], series.json()).into_response()
}

fn csv(series: &Series, disposition: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, disposition),
    ];
    (headers, series.csv()).into_response()
}
