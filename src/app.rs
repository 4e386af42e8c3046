//! Puts Luna together: files, keys, usage, poller, listeners; starts, reloads, stops.
//!
//! The one place that knows the order: the data folder's lock before any file
//! in it, keys before usage (which needs the running totals), listeners last.
//! Neighbours: `cli` calls [`App::start`]; so do the whole-gateway tests.

mod limits;
mod reload;
mod sockets;
mod totals;
mod upgrade;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{self, AdminState, Lifecycle, Side};
use crate::admission::Authenticator;
use crate::config::{LoadOptions, Settings};
use crate::gateway::{self, Gateway, Idle, Parts, Running};
use crate::handover::Socket;
use crate::keys::{KeyStore, Opened};
use crate::quota::{Poller, update_gauges};
use crate::routing::{Book, Millis, Params};
use crate::store::DataLock;
use crate::telemetry::{Events, Metrics};
use crate::usage::UsageHandle;

pub use limits::raise_file_limit;
pub use reload::Reloader;
pub use upgrade::Kept;

use sockets::{Listeners, serve_axum};
use totals::start_usage;

/// The version in /health and `luna_build_info`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// /ready does not wait longer than this for the first poll; contracts/gateway.md section 3.
const FIRST_POLL: Duration = Duration::from_secs(1);

/// A running gateway.
pub struct App {
    /// Where clients reach it.
    pub address: SocketAddr,
    /// Where the admin routes are, when not on `address`.
    pub admin_address: Option<SocketAddr>,
    pub metrics_address: Option<SocketAddr>,
    /// What opening the keys said: a generated admin key, an import, warnings.
    pub opened: Opened,
    /// SIGHUP and /admin/reload.
    pub reloader: Arc<Reloader>,
    pub keys: Arc<KeyStore>,
    pub book: Arc<Book>,
    pub gateway: Gateway,
    pub usage: UsageHandle,
    pub poller: Arc<Poller>,
    life: Arc<Lifecycle>,
    running: Running,
    /// The listeners of admin and metrics.
    local: Vec<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    /// Connections are accepted from `true` on.
    gate: watch::Sender<bool>,
    /// The listening sockets, to be given to a successor.
    sockets: Vec<Socket>,
    /// Given away in an upgrade.
    lock: Mutex<Option<DataLock>>,
}

/// What a process has from the one before it, or not.
struct Ground {
    lock: DataLock,
    sockets: Vec<Socket>,
    /// Until [`App::open`] nothing is written and no connection accepted.
    waits: bool,
}

/// Why a gateway did not start, for the one who reads it at night.
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn failed(what: &str, e: impl std::fmt::Display) -> StartError {
    StartError(format!("{what}: {e}"))
}

/// Unix milliseconds.
pub fn now() -> Millis {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map(|d| u64::try_from(d.as_millis()).unwrap_or(Millis::MAX))
        .unwrap_or(0)
}

/// The numbers of the cooldown machine that `settings` name.
pub(crate) fn params(settings: &Settings) -> Params {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(Millis::MAX);
    Params {
        threshold: settings.fallback.threshold,
        recover: settings.fallback.recover,
        stale_after: millis(settings.quota.stale_after),
        cooldown: millis(settings.fallback.cooldown),
        cooldown_max: millis(settings.fallback.cooldown_max),
        cooldown_with_quota_max: millis(settings.fallback.cooldown_with_quota_max),
    }
}

impl App {
    /// Opens the files, binds the listeners and serves. `source` is what a
    /// reload reads again; without it a reload is refused.
    ///
    /// # Errors
    /// The first thing that cannot be had, with what to do about it.
    pub async fn start(
        settings: Settings,
        source: Option<LoadOptions>,
    ) -> Result<Self, StartError> {
        let lock = DataLock::acquire(&settings.store.data_dir)
            .map_err(|e| failed("the data folder cannot be used", e))?;
        let ground = Ground {
            lock,
            sockets: Vec::new(),
            waits: false,
        };
        Self::build(settings, source, ground).await
    }

    async fn build(
        settings: Settings,
        source: Option<LoadOptions>,
        ground: Ground,
    ) -> Result<Self, StartError> {
        if rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
        {
            log::debug!("a TLS provider was installed before");
        }
        let Ground {
            lock,
            sockets,
            waits,
        } = ground;
        let admin_key = settings.admin.key.as_ref().map(|k| k.expose().to_owned());
        let (keys, opened) = KeyStore::open(
            &settings.store.keys_file,
            &lock,
            admin_key.as_deref(),
            now(),
        )
        .map_err(|e| failed("the keys cannot be read", e))?;
        let keys = Arc::new(keys);
        let (meter, usage) = start_usage(&settings, &keys, waits)?;
        let metrics = Arc::new(Metrics::new(VERSION).map_err(|e| failed("metrics", e))?);
        let events = Arc::new(Events::default());
        let book = Arc::new(Book::new(params(&settings)));
        let upstreams: Vec<Arc<str>> = settings
            .upstreams
            .keys()
            .map(|name| Arc::from(name.as_str()))
            .collect();
        book.set_known(settings.rules.known_models(), &upstreams);
        update_gauges(&metrics, &book.snapshot(), &settings, now());
        let listeners = Listeners::open(&settings, sockets).await?;
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let auth = Arc::new(Authenticator::new(
            Arc::clone(&keys),
            metrics.auth_failures.clone(),
        ));
        let poller = Poller::new(
            Arc::clone(&settings),
            Arc::clone(&book),
            Arc::clone(&metrics),
            Arc::clone(&events),
        )
        .map_err(StartError)?;
        let poller = Arc::new(poller);
        let life = Arc::new(Lifecycle::new());
        let reloader = Arc::new(Reloader::new(
            source,
            Arc::clone(&settings),
            Arc::clone(&keys),
            Arc::clone(&book),
            Arc::clone(&metrics),
            Arc::clone(&events),
            usage.clone(),
        ));
        let state = AdminState::new(admin::Parts {
            settings: Arc::clone(&settings),
            keys: Arc::clone(&keys),
            auth: Arc::clone(&auth),
            book: Arc::clone(&book),
            usage: usage.clone(),
            poller: Arc::clone(&poller),
            metrics: Arc::clone(&metrics),
            events: Arc::clone(&events),
            life: Arc::clone(&life),
            reload: reloader.as_admin_fn(),
        });
        let side = if listeners.admin.is_some() {
            Side::ClientOnly
        } else {
            Side::All
        };
        let gateway = Gateway::new(Parts {
            settings: Arc::clone(&settings),
            auth,
            book: Arc::clone(&book),
            meter,
            metrics,
            events,
            poller: Arc::clone(&poller),
            local: admin::router(state.clone(), side),
        });
        reloader.set_gateway(gateway.clone());
        let (stop, stopped) = watch::channel(false);
        let (gate, opened_gate) = watch::channel(!waits);
        let mut local = Vec::new();
        let admin_address = Listeners::address_of(listeners.admin.as_ref());
        if let Some(listener) = listeners.admin {
            let router = admin::router(state.clone(), Side::AdminOnly);
            local.push(serve_axum(
                listener,
                router,
                opened_gate.clone(),
                stopped.clone(),
            ));
        }
        let metrics_address = Listeners::address_of(listeners.metrics.as_ref());
        if let Some(listener) = listeners.metrics {
            let router = admin::metrics_router(state);
            local.push(serve_axum(listener, router, opened_gate.clone(), stopped));
        }
        let running = gateway::serve(gateway.clone(), listeners.client, opened_gate)
            .await
            .map_err(|e| failed("the client listener has no address", e))?;
        let tasks = vec![
            tokio::spawn(Arc::clone(&poller).run()),
            tokio::spawn(become_ready(Arc::clone(&life), poller.first_round())),
        ];
        Ok(Self {
            address: running.address,
            admin_address,
            metrics_address,
            opened,
            reloader,
            keys,
            book,
            gateway,
            usage,
            poller,
            life,
            running,
            local,
            tasks,
            stop,
            gate,
            sockets: listeners.copies,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Client connections open now.
    pub fn connections(&self) -> usize {
        self.running.connections()
    }

    /// /ready answers 503 from now on.
    pub fn begin_drain(&self) {
        self.life.set_draining(true);
        self.gateway.drain();
    }

    /// Closes the listener, lets what runs end within `grace`, writes the usage.
    ///
    /// # Errors
    /// When usage could not be written.
    pub async fn stop(self, grace: Duration) -> Result<(), StartError> {
        self.begin_drain();
        self.end(grace, Idle::Close).await
    }

    async fn end(self, grace: Duration, idle: Idle) -> Result<(), StartError> {
        // Else the sockets would go on to listen.
        drop(self.sockets);
        let whole = self.running.drain(grace, idle).await;
        if !whole {
            log::warn!(
                "the grace period of {} s is over; the last connections are cut",
                grace.as_secs()
            );
        }
        self.stop.send_replace(true);
        sockets::let_end(self.local, grace).await;
        for task in &self.tasks {
            task.abort();
        }
        let usage = self.usage.clone();
        let flushed = tokio::task::spawn_blocking(move || usage.stop()).await;
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(StartError(e.to_string())),
            Err(e) => Err(failed("the last write of usage", e)),
        }
    }
}

async fn become_ready(life: Arc<Lifecycle>, mut first_round: watch::Receiver<bool>) {
    let polled = first_round.wait_for(|done| *done);
    if tokio::time::timeout(FIRST_POLL, polled).await.is_err() {
        log::info!("ready before the first quota poll has ended; quotas are unknown until then");
    }
    life.set_ready();
}
