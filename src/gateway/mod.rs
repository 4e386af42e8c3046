//! The request path: pingora's phases over plain functions.
//!
//! The way of a request: [`arrive`](Gateway::arrive) (local routes, door,
//! body, plan) -> [`attempts`] (peer, request, answer, failure, once per tier)
//! -> [`leave`] (the last word, accounting, log). What each attempt sees is in
//! [`attempt`]; what is sent to the client goes through [`buffered`].
//!
//! Invariants: nothing reaches the client before the commit; a clean end only
//! after a complete answer; every request that passed key auth is counted
//! once, whatever happens. Shared state is read from snapshots; no lock is
//! held over an await. Neighbours: uses every module but `cli`; only `cli` and
//! the tests use it.

mod answer;
mod arrive;
mod attempt;
mod attempts;
mod body;
mod buffered;
mod choose;
mod client;
mod connection;
mod context;
mod control;
mod count_tokens;
mod endpoint;
mod failures;
mod lane;
mod leave;
mod listener;
mod local;
mod proxy;
mod request_id;
mod server;
mod socket;
mod strict;
mod take_off;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use self::body::BodyMemory;
use self::endpoint::Endpoints;
use crate::admission::Authenticator;
use crate::admission::door::House;
use crate::config::Settings;
use crate::quota::Poller;
use crate::routing::{Book, Millis};
use crate::telemetry::{Events, Metrics};
use crate::usage::Meter;

pub use server::{Idle, Running, serve};

/// Everything that a request needs, shared by all of them. Cloning is one reference.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

/// What [`Gateway`] points to.
pub struct Inner {
    settings: Arc<ArcSwap<Settings>>,
    auth: Arc<Authenticator>,
    book: Arc<Book>,
    meter: Meter,
    pub(crate) metrics: Arc<Metrics>,
    events: Arc<Events>,
    endpoints: Endpoints,
    house: Arc<House>,
    body_memory: Arc<BodyMemory>,
    poller: Arc<Poller>,
    local: axum::Router,
    draining: AtomicBool,
}

/// What [`Gateway::new`] puts together.
pub struct Parts {
    pub settings: Arc<ArcSwap<Settings>>,
    pub auth: Arc<Authenticator>,
    pub book: Arc<Book>,
    pub meter: Meter,
    pub metrics: Arc<Metrics>,
    pub events: Arc<Events>,
    /// Asked for a poll after a mark.
    pub poller: Arc<Poller>,
    /// The local routes: /health, /ready, /me, /admin and what else Luna answers itself.
    pub local: axum::Router,
}

impl std::ops::Deref for Gateway {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Gateway {
    /// Puts the parts together; nothing runs yet.
    pub fn new(parts: Parts) -> Self {
        let endpoints = Endpoints::new(&parts.settings.load());
        Self(Arc::new(Inner {
            settings: parts.settings,
            auth: parts.auth,
            book: parts.book,
            meter: parts.meter,
            metrics: parts.metrics,
            events: parts.events,
            endpoints,
            house: Arc::default(),
            body_memory: Arc::default(),
            poller: parts.poller,
            local: parts.local,
            draining: AtomicBool::new(false),
        }))
    }
}

impl Inner {
    /// The settings in force now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Unix milliseconds.
    pub fn now(&self) -> Millis {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map(|d| u64::try_from(d.as_millis()).unwrap_or(Millis::MAX))
            .unwrap_or(0)
    }

    /// Takes over what changed in the settings that is not read at every request. May block on a
    /// look-up of names: not for async code.
    pub fn settings_changed(&self) {
        self.endpoints.update(&self.settings.load(), true);
    }

    /// From now on connections are closed after their present answer.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// LLM requests in flight now.
    pub fn in_flight(&self) -> usize {
        self.house.inside()
    }

    /// Bytes of request bodies held now.
    pub fn body_bytes(&self) -> usize {
        self.body_memory.bytes()
    }
}
