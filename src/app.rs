//! Puts Luna together: files, keys, usage, poller, listeners; starts, reloads, stops.
//!
//! The one place that knows the order: the data folder's lock before any file
//! in it, keys before usage (which needs the running totals), listeners last.
//! Neighbours: `cli` calls [`App::start`]; so do the whole-gateway tests.

mod limits;
mod reload;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{self, AdminState, Lifecycle, Side};
use crate::admission::Authenticator;
use crate::config::{LoadOptions, Settings};
use crate::gateway::{self, Gateway, Parts, Running};
use crate::keys::{KeyStore, Opened, Totals};
use crate::quota::{Poller, update_gauges};
use crate::routing::{Book, Millis, Params};
use crate::store::DataLock;
use crate::telemetry::{Events, Metrics};
use crate::usage::{self, Counters, UsageHandle};

pub use limits::raise_file_limit;
pub use reload::Reloader;

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
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    _lock: DataLock,
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
        if rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
        {
            log::debug!("a TLS provider was installed before");
        }
        let lock = DataLock::acquire(&settings.store.data_dir)
            .map_err(|e| failed("the data folder cannot be used", e))?;
        let admin_key = settings.admin.key.as_ref().map(|k| k.expose().to_owned());
        let (keys, opened) = KeyStore::open(
            &settings.store.keys_file,
            &lock,
            admin_key.as_deref(),
            now(),
        )
        .map_err(|e| failed("the keys cannot be read", e))?;
        let keys = Arc::new(keys);
        let (meter, usage) = start_usage(&settings, &keys)?;
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
        let client = bind(settings.server.listen, "server.listen").await?;
        let admin_listener = match settings.admin.listen {
            Some(address) => Some(bind(address, "admin.listen").await?),
            None => None,
        };
        let metrics_listener = match settings.metrics.listen {
            Some(address) => Some(bind(address, "metrics.listen").await?),
            None => None,
        };
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
        let side = if admin_listener.is_some() {
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
        let mut tasks = Vec::new();
        let admin_address = address_of(admin_listener.as_ref());
        if let Some(listener) = admin_listener {
            let router = admin::router(state.clone(), Side::AdminOnly);
            tasks.push(serve_axum(listener, router, stopped.clone()));
        }
        let metrics_address = address_of(metrics_listener.as_ref());
        if let Some(listener) = metrics_listener {
            tasks.push(serve_axum(
                listener,
                admin::metrics_router(state),
                stopped.clone(),
            ));
        }
        let running = gateway::serve(gateway.clone(), client)
            .await
            .map_err(|e| failed("the client listener has no address", e))?;
        tasks.push(tokio::spawn(Arc::clone(&poller).run()));
        tasks.push(tokio::spawn(become_ready(
            Arc::clone(&life),
            poller.first_round(),
        )));
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
            tasks,
            stop,
            _lock: lock,
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
        let whole = self.running.drain(grace).await;
        if !whole {
            log::warn!(
                "the grace period of {} s is over; the last connections are cut",
                grace.as_secs()
            );
        }
        self.stop.send_replace(true);
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

fn start_usage(
    settings: &Settings,
    keys: &Arc<KeyStore>,
) -> Result<(usage::Meter, UsageHandle), StartError> {
    let totals = keys.totals().into_iter();
    let through = keys.through().unwrap_or_default().into_iter();
    let known = usage::Known {
        totals: totals.map(|(id, totals)| (id, counters(totals))).collect(),
        through: through
            .filter_map(|(id, seq)| Some((id, seq.as_u64()?)))
            .collect(),
    };
    let sink_keys = Arc::clone(keys);
    let sink: usage::TotalsSink = Box::new(move |changed| {
        let totals = changed.totals.iter();
        let totals = totals.map(|(id, c)| (id.to_string(), totals_of(c)));
        let through = changed.through.iter();
        let through = through.map(|(id, seq)| (id.to_string(), (*seq).into()));
        sink_keys
            .set_totals_through(totals, through.collect(), changed.now)
            .map_err(|e| e.to_string())
    });
    let params = usage::Params {
        dir: settings.store.data_dir.join("usage"),
        timezone: settings.usage.timezone_name.clone(),
        flush: settings.usage.flush,
        compact: settings.usage.compact,
        keep_hours_days: settings.usage.keep_hours_days,
        keep_days: settings.usage.keep_days,
        clock: Arc::new(now),
    };
    let (meter, usage) =
        usage::Owner::start(params, known, sink).map_err(|e| failed("usage cannot be kept", e))?;
    usage.set_prices(Arc::clone(&settings.usage.prices));
    Ok((meter, usage))
}

fn counters(t: Totals) -> Counters {
    Counters {
        requests: t.requests,
        errors: t.errors,
        fallbacks: t.fallbacks,
        aborted: t.aborted,
        input_tokens: t.input_tokens,
        output_tokens: t.output_tokens,
        cache_read_input_tokens: t.cache_read_input_tokens,
        cache_creation_input_tokens: t.cache_creation_input_tokens,
    }
}

fn totals_of(c: &Counters) -> Totals {
    Totals {
        requests: c.requests,
        errors: c.errors,
        fallbacks: c.fallbacks,
        aborted: c.aborted,
        input_tokens: c.input_tokens,
        output_tokens: c.output_tokens,
        cache_read_input_tokens: c.cache_read_input_tokens,
        cache_creation_input_tokens: c.cache_creation_input_tokens,
    }
}

async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|e| {
        StartError(format!(
            "{setting}: cannot listen on {address}: {e}; is another gateway running, or is the port taken?"
        ))
    })
}

fn address_of(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|l| l.local_addr().ok())
}

fn serve_axum(
    listener: TcpListener,
    router: axum::Router,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move {
        let served = axum::serve(listener, service).into_future();
        tokio::select! {
            ended = served => {
                if let Err(e) = ended {
                    log::error!("a local listener ended: {e}");
                }
            }
            _ = stopped.changed() => {}
        }
    })
}

async fn become_ready(life: Arc<Lifecycle>, mut first_round: watch::Receiver<bool>) {
    let polled = first_round.wait_for(|done| *done);
    if tokio::time::timeout(FIRST_POLL, polled).await.is_err() {
        log::info!("ready before the first quota poll has ended; quotas are unknown until then");
    }
    life.set_ready();
}
