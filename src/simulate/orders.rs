//! The control over HTTP, under `/__sim/`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Sim;
use super::accounts::{AccountStatus, Quota, SimAccount};
use super::control::{ControlError, Handle};
use super::request::{Body, Request, percent_decode};
use super::wire::{Framing, Head, Stop, Wire};

/// An answer of the control: status and JSON, or the bytes of a body.
enum Reply {
    Json(u16, String),
    Bytes(Bytes),
}

fn bad(error: ControlError) -> Reply {
    Reply::Json(400, json!({"error": error.0}).to_string())
}

fn done(result: Result<(), ControlError>) -> Reply {
    match result {
        Ok(()) => Reply::Json(200, json!({"status": "ok"}).to_string()),
        Err(error) => bad(error),
    }
}

fn shown(value: &impl serde::Serialize) -> Reply {
    match serde_json::to_string(value) {
        Ok(text) => Reply::Json(200, text),
        Err(error) => Reply::Json(500, json!({"error": error.to_string()}).to_string()),
    }
}

/// One value, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Many<T> {
    List(Vec<T>),
    One(T),
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ControlError> {
    serde_json::from_slice(body).map_err(|error| ControlError(format!("body: {error}")))
}

/// A list, or one value for a list of one; the errors are those of the values.
fn parse_many<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, ControlError> {
    let values: Many<serde_json::Value> = parse(body)?;
    let values = match values {
        Many::List(values) => values,
        Many::One(value) => vec![value],
    };
    let read = |(index, value)| {
        serde_json::from_value(value)
            .map_err(|error| ControlError(format!("entry {index}: {error}")))
    };
    values.into_iter().enumerate().map(read).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    status: AccountStatus,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    drain: f64,
}

/// Answers a request under `/__sim`; not in the ledger, and without CORS headers.
pub(super) async fn answer<W: Wire>(
    sim: &Arc<Sim>,
    request: &Request,
    path: &str,
    wire: &mut W,
) -> Result<(), Stop> {
    let handle = Handle::new(Arc::clone(sim));
    let reply = match &request.body {
        Body::Whole(body) => order(&handle, request, path, body),
        Body::TooLarge(_) => bad(ControlError("body too large".to_owned())),
        Body::Broken(_) => return Err(Stop::Gone),
    };
    let (status, mime, body) = match reply {
        Reply::Json(status, text) => (status, "application/json", Bytes::from(text)),
        Reply::Bytes(bytes) => (200, "application/octet-stream", bytes),
    };
    wire.head(Head {
        status,
        headers: vec![
            ("Content-Type", mime.to_owned()),
            ("Content-Length", body.len().to_string()),
        ],
        framing: Framing::Length(body.len()),
    });
    wire.send(&body).await?;
    wire.finish().await
}

fn order(handle: &Handle, request: &Request, path: &str, body: &[u8]) -> Reply {
    let parts: Vec<String> = path.split('/').skip(1).map(percent_decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("PUT", ["quota", account, model]) => done(parse(body).and_then(|quota: Quota| {
            let reset = quota.reset_time.as_deref();
            handle.set_quota(account, model, quota.remaining_fraction, reset)
        })),
        ("DELETE", ["quota", account, model]) => done(handle.remove_quota(account, model)),
        ("PUT", ["faults"]) => done(parse_many(body).and_then(|faults| handle.set_faults(faults))),
        ("GET", ["faults"]) => shown(&handle.faults()),
        ("PUT", ["accounts"]) => done(
            parse_many(body).and_then(|accounts: Vec<SimAccount>| handle.set_accounts(&accounts)),
        ),
        ("PUT", ["accounts", email]) => done(parse(body).and_then(|status: Status| {
            handle.set_account_status(email, status.status, status.error.as_deref())
        })),
        ("GET", ["accounts"]) => shown(&handle.accounts()),
        ("PUT", ["answers"]) => done(parse(body).and_then(|answers| handle.set_answers(answers))),
        ("GET", ["answers"]) => shown(&handle.0.state().answers),
        ("PUT", ["drain"]) => {
            done(parse(body).and_then(|drain: Drain| handle.set_drain(drain.drain)))
        }
        ("GET", ["ledger"]) => {
            let number = |name: &str, default: u64| match request.query_value(name) {
                Some(text) => text
                    .parse()
                    .map_err(|_| ControlError(format!("{name} must be a number"))),
                None => Ok(default),
            };
            match (number("after", 0), number("limit", u64::MAX)) {
                (Ok(after), Ok(limit)) => {
                    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                    shown(&handle.0.ledger().view(after, limit))
                }
                (Err(error), _) | (_, Err(error)) => bad(error),
            }
        }
        ("GET", ["totals"]) => shown(&handle.totals()),
        ("GET", ["connections"]) => {
            let (open, all) = (handle.open_connections(), &handle.0.connections);
            shown(&json!({"open": open, "total": all.load(Ordering::Relaxed)}))
        }
        ("GET", ["bodies", seq]) => match seq.parse().ok().and_then(|seq| handle.body(seq)) {
            Some(bytes) => Reply::Bytes(bytes),
            None => Reply::Json(404, json!({"error": "no such body is kept"}).to_string()),
        },
        ("POST", ["reset"]) => {
            handle.reset();
            done(Ok(()))
        }
        (method, _) => {
            let orders = [
                "PUT|DELETE /__sim/quota/{account}/{model}",
                "GET|PUT /__sim/faults",
                "GET|PUT /__sim/accounts",
                "PUT /__sim/accounts/{account}",
                "GET|PUT /__sim/answers",
                "PUT /__sim/drain",
                "GET /__sim/ledger?after=SEQ&limit=N",
                "GET /__sim/totals",
                "GET /__sim/connections",
                "GET /__sim/bodies/{seq}",
                "POST /__sim/reset",
            ];
            let error = format!("no {method} /__sim{path}");
            Reply::Json(404, json!({"error": error, "orders": orders}).to_string())
        }
    }
}
