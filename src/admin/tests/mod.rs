//! The router as its callers see it: each test has a house of its own and asks with `oneshot`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may stop at the first surprise"
)]

mod access;
mod events;
mod health;
mod keys;
mod listener;
mod models;
mod routing;
mod shapes;
mod usage;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::config::{LoadOptions, load};
use crate::keys::NewKey;
use crate::routing::{Params, parse_health};
use crate::store::DataLock;
use crate::usage::{Endpoint, Finished, Meter, Owner, Params as UsageParams};
use crate::wire::usage::Tokens;

const ADMIN: &str = "an-admin-key-of-good-length";
/// 2026-11-24T08:30:00Z: the clock of usage.
const NOON: u64 = 1_795_509_000_000;

const FALLBACK: &str = r#"{
    "chains": {
        "claude-opus": ["claude-opus", "claude-sonnet"],
        "far": [{"model": "far-1", "upstream": "backup"}],
        "*": ["claude-sonnet"]},
    "aliases": {"claude-3-5-*": "claude-sonnet", "gpt-4o": "claude-opus"}}"#;

struct House {
    dir: TempDir,
    state: AdminState,
    meter: Meter,
    reload: Arc<ArcSwap<Result<Vec<String>, Vec<String>>>>,
    /// A reload waits here, and is counted when it has ended.
    gate: Arc<Semaphore>,
    reloads: tokio::sync::watch::Sender<u32>,
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {:?}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    /// Type of an error in the Anthropic shape, which is checked.
    fn error(&self) -> String {
        let json = self.json();
        assert_eq!(json["type"], "error", "{json}");
        assert_eq!(json["request_id"], "req_test", "{json}");
        assert!(!json["error"]["message"].as_str().unwrap().is_empty());
        assert_eq!(self.header("content-type"), Some("application/json"));
        json["error"]["type"].as_str().unwrap().to_owned()
    }

    fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// A request before it is sent.
struct Ask<'a> {
    house: &'a House,
    side: Side,
    request: http::request::Builder,
    body: String,
    peer: Option<Peer>,
}

impl Ask<'_> {
    fn key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    fn side(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    /// From this address, as gateway would say it.
    fn from(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let trusted = &self.house.state.settings.load().server.trusted_proxies;
        let headers = self.request.headers_ref().unwrap();
        self.peer = Some(Peer {
            address: client_address(address, headers, trusted).unwrap_or(address),
            direct: address,
            forwarded: headers.contains_key("x-forwarded-for"),
            request_id: "req_test".to_owned(),
        });
        self
    }

    async fn response(self) -> http::Response<Body> {
        let mut request = self.request.body(Body::from(self.body)).unwrap();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.house.router(self.side).oneshot(request).await.unwrap()
    }

    async fn send(self) -> Reply {
        let (parts, body) = self.response().await.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

impl House {
    fn new() -> Self {
        Self::with("")
    }

    /// With more lines in luna.toml.
    fn with(toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, chains) = (
            dir.path().join("luna.toml"),
            dir.path().join("fallback.json"),
        );
        let text = format!(
            "{toml}\n[upstreams.default]\nurl = 'http://127.0.0.1:9'\n\
             [upstreams.backup]\nurl = 'http://127.0.0.1:9/base'\nprofile = 'anthropic'\nhealth = 'none'\n"
        );
        std::fs::write(&file, text).unwrap();
        std::fs::write(chains, FALLBACK).unwrap();
        let options = LoadOptions {
            config: Some(file),
            cwd: dir.path().to_path_buf(),
            ..LoadOptions::default()
        };
        let settings = load(&options).unwrap_or_else(|problems| panic!("{problems:?}"));
        let data = dir.path().join("data");
        let lock = DataLock::acquire(&data).unwrap();
        let (keys, _) = KeyStore::open(&data.join("keys.json"), &lock, Some(ADMIN), now()).unwrap();
        let keys = Arc::new(keys);
        let metrics = Arc::new(Metrics::new("0.0.0").unwrap());
        let auth = Authenticator::new(Arc::clone(&keys), metrics.auth_failures.clone());
        let book = Arc::new(Book::new(Params::default()));
        let usage = UsageParams {
            dir: data.join("usage"),
            timezone: "UTC".to_owned(),
            flush: std::time::Duration::from_millis(20),
            compact: std::time::Duration::from_secs(3600),
            keep_hours_days: 90,
            keep_days: 1095,
            clock: Arc::new(|| NOON),
        };
        let (meter, usage) = Owner::start(usage, Default::default(), Box::new(|_| Ok(()))).unwrap();
        let events = Arc::new(Events::default());
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let poller = Poller::new(
            Arc::clone(&settings),
            Arc::clone(&book),
            Arc::clone(&metrics),
            Arc::clone(&events),
        );
        let reload = Arc::new(ArcSwap::from_pointee(Ok(vec![
            "quota.poll_interval_s".to_owned(),
        ])));
        let answer = Arc::clone(&reload);
        let gate = Arc::new(Semaphore::new(1));
        let reloads = tokio::sync::watch::Sender::new(0);
        let (opens, count) = (Arc::clone(&gate), reloads.clone());
        let state = AdminState::new(Parts {
            settings,
            keys,
            auth: Arc::new(auth),
            book,
            usage,
            poller: Arc::new(poller.unwrap()),
            metrics,
            events,
            life: Arc::new(Lifecycle::new()),
            reload: Arc::new(move || {
                let answer = Result::clone(&answer.load());
                let (opens, count) = (Arc::clone(&opens), count.clone());
                Box::pin(async move {
                    let _open = opens.acquire_owned().await;
                    count.send_modify(|count| *count += 1);
                    answer
                })
            }),
        });
        Self {
            dir,
            state,
            meter,
            reload,
            gate,
            reloads,
        }
    }

    fn router(&self, side: Side) -> Router {
        router(self.state.clone(), side)
    }

    /// A request from loopback without a key.
    fn ask(&self, line: &str) -> Ask<'_> {
        let (method, path) = line.split_once(' ').unwrap_or(("GET", line));
        Ask {
            house: self,
            side: Side::All,
            request: Request::builder().method(method).uri(path),
            body: String::new(),
            peer: None,
        }
        .from("127.0.0.1")
    }

    /// A request from loopback with the admin key.
    fn admin(&self, line: &str) -> Ask<'_> {
        self.ask(line).key(ADMIN)
    }

    /// A key made past the API: its id and its secret.
    fn key(&self, name: &str, models: &[&str]) -> (String, String) {
        let mut new = NewKey::named(name);
        new.models = models.iter().map(|m| (*m).to_owned()).collect();
        let (info, secret) = self.state.keys.create(new, now()).unwrap();
        (info.id, secret.reveal().to_owned())
    }

    /// One finished request of a key, with tokens.
    fn used(&self, key: &str, model: &str, time_ms: u64) {
        self.meter.record(Finished {
            time_ms,
            request_id: "req_1".to_owned(),
            key_id: key.into(),
            requested_model: model.into(),
            served_model: model.into(),
            upstream: "default".into(),
            endpoint: Endpoint::Messages,
            stream: false,
            status: 200,
            error: false,
            aborted: false,
            fallback_reasons: Vec::new(),
            tokens: Tokens {
                input: 10,
                output: 5,
                ..Tokens::default()
            },
            estimated: false,
            duration_ms: 1,
            ttfe_ms: None,
        });
    }

    /// A poll of the default upstream that showed these fractions.
    fn polled(&self, models: &[(&str, f64)]) {
        self.polled_at("default", models);
    }

    /// The same of another upstream.
    fn polled_at(&self, upstream: &str, models: &[(&str, f64)]) {
        let models: serde_json::Map<String, Value> = models
            .iter()
            .map(|(model, left)| {
                (
                    (*model).to_owned(),
                    serde_json::json!({"remainingFraction": left}),
                )
            })
            .collect();
        let body = serde_json::json!({"accounts": [
            {"email": "alice@example.com", "status": "ok", "models": models}]});
        let health = parse_health(body.to_string().as_bytes(), now()).unwrap();
        self.state
            .book
            .poll_succeeded(upstream, now(), now(), health);
    }
}

fn status(reply: &Reply) -> StatusCode {
    StatusCode::from_u16(reply.status).unwrap()
}
