//! Everything that Luna answers itself: health, models, /me, the admin API, metrics.
//!
//! One axum router, built by [`router`] for both ways of serving: called by `gateway` for requests
//! that came in on the client listener, or served on a listener of its own. The way of a request:
//! [`layers::stack`] (who calls, security headers, errors, time limit), then the guards of its group
//! of routes (client key, or allowed address and admin key), then a handler.
//!
//! Invariants: a handler reads snapshots and never holds a lock over an await; every refusal is a
//! [`fault::Fault`] and becomes an answer in one place, [`layers::stack`]; no answer repeats a key or
//! what stood in its place in a path; whatever changes something goes on to its end when the caller
//! leaves half way.
//!
//! Neighbours: asks `keys`, `usage`, `routing`, `quota`, `telemetry` and `admission::Authenticator`;
//! `gateway` calls the router and `cli` puts it together. Nothing here knows pingora.

mod body;
mod events;
mod fallback;
mod fault;
mod health;
mod keys;
mod layers;
mod lifecycle;
mod me;
mod metrics;
mod models;
mod peer;
mod reload;
mod routes;
#[cfg(test)]
mod tests;
mod usage;

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::admission::Authenticator;
use crate::config::Settings;
use crate::keys::KeyStore;
use crate::quota::Poller;
use crate::routing::{Book, Millis};
use crate::telemetry::{Events, Metrics};
use crate::usage::UsageHandle;

pub use lifecycle::Lifecycle;
pub use peer::{Peer, client_address};
pub use routes::{Side, metrics_router, router};

/// The longest request body that any of these routes takes, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// Listeners of `/admin/events` at one time.
const MAX_FEEDS: usize = 64;

/// Reads the configuration again, as SIGHUP does: the names of what changed, or every error.
pub type ReloadFn = Arc<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<String>, Vec<String>>> + Send>>
        + Send
        + Sync,
>;

/// What the routes ask. Cloning is one reference.
#[derive(Clone)]
pub struct AdminState(Arc<Inner>);

/// What [`AdminState::new`] puts together.
pub struct Parts {
    /// In force now.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The keys.
    pub keys: Arc<KeyStore>,
    /// The same that the client routes use, so that wrong keys are counted together.
    pub auth: Arc<Authenticator>,
    /// Quotas and marks.
    pub book: Arc<Book>,
    /// Answers questions about usage.
    pub usage: UsageHandle,
    /// Polls the upstreams.
    pub poller: Arc<Poller>,
    /// The series.
    pub metrics: Arc<Metrics>,
    /// The ring of recent events.
    pub events: Arc<Events>,
    /// Where the process stands between start and end.
    pub life: Arc<Lifecycle>,
    /// What `POST /admin/reload` does.
    pub reload: ReloadFn,
}

/// What [`AdminState`] points to.
pub struct Inner {
    parts: Parts,
    /// Two scrapes at once would see each other's gauges half set.
    scrape: Mutex<()>,
    feeds: Arc<Semaphore>,
}

impl AdminState {
    /// Puts the parts together; nothing runs yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            scrape: Mutex::new(()),
            feeds: Arc::new(Semaphore::new(MAX_FEEDS)),
        }))
    }
}

impl Deref for AdminState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// Unix milliseconds.
fn now() -> Millis {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map(|d| u64::try_from(d.as_millis()).unwrap_or(Millis::MAX))
        .unwrap_or(0)
}
