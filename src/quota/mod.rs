//! The quota poller: asks every upstream's `/health`, and tells the book.
//!
//! One poll of an upstream at a time; whoever asks for one while it runs
//! shares its result. A poll has its own time limit, because the upstream's
//! `/health` has none (contracts/antigravity.md section 3). Requests never wait
//! for a poll. Neighbours: `routing` reads the answers; `gateway` asks for a
//! poll after a mark; `admin` asks for one by hand.

mod gauges;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Notify, watch};

use crate::config::{Health as HealthKind, Settings, Upstream};
use crate::routing::{Book, Millis, parse_health};
use crate::telemetry::{Event, EventKind, Events, Metrics};
use crate::wire::text::clean;

pub use gauges::update as update_gauges;

/// An answer to `/health` may be this long: a thousand accounts with thirty models are far below.
const MAX_ANSWER: usize = 8 << 20;
/// A poll comes at its interval give or take this part of it, so that many gateways do not march in step.
const JITTER: f64 = 0.1;

/// Polls all upstreams of the present settings.
pub struct Poller {
    settings: Arc<ArcSwap<Settings>>,
    book: Arc<Book>,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    client: reqwest::Client,
    wake: Notify,
    /// One lock an upstream: the single flight, and the count of polls done.
    flights: StdMutex<HashMap<String, Arc<Mutex<u64>>>>,
    first_done: watch::Sender<bool>,
    /// A mark asked for a poll at this time; 0 when none did.
    due: AtomicU64,
    /// Upstreams whose last poll failed, so that a failure is logged once.
    failing: StdMutex<HashSet<String>>,
}

/// Why a poll gave nothing.
enum Fault {
    /// No answer came at all.
    Unreached(String),
    /// An answer came that says nothing about quotas.
    Refused(String),
}

impl Poller {
    /// A poller that does nothing until [`Poller::run`].
    ///
    /// # Errors
    /// When the HTTP client cannot be built (no TLS roots, for example).
    pub fn new(
        settings: Arc<ArcSwap<Settings>>,
        book: Arc<Book>,
        metrics: Arc<Metrics>,
        events: Arc<Events>,
    ) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // A kept connection that the upstream closes just then would pass for an upstream that is down.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .map_err(|e| format!("the HTTP client for the quota poll cannot start: {e}"))?;
        Ok(Self {
            settings,
            book,
            metrics,
            events,
            client,
            wake: Notify::new(),
            flights: StdMutex::default(),
            first_done: watch::Sender::new(false),
            due: AtomicU64::new(0),
            failing: StdMutex::default(),
        })
    }

    /// Turns true when the first round of polls has ended, well or not.
    pub fn first_round(&self) -> watch::Receiver<bool> {
        self.first_done.subscribe()
    }

    /// A mark wants to know more: poll at `at` (unix milliseconds) at the latest.
    pub fn ask(&self, at: Millis) {
        self.due.store(at.max(1), Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Polls until the runtime ends.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.poll_all().await;
            self.first_done.send_replace(true);
            let interval = self.settings.load().quota.poll_interval;
            let mut wait = jittered(interval);
            loop {
                tokio::select! {
                    () = tokio::time::sleep(wait) => break,
                    () = self.wake.notified() => {
                        let due = self.due.swap(0, Ordering::Relaxed);
                        wait = wait.min(Duration::from_millis(due.saturating_sub(now())));
                    }
                }
            }
        }
    }

    /// Polls every upstream that tells quotas, at once, and waits for all of them.
    pub async fn poll_all(&self) {
        let settings = self.settings.load_full();
        let polls = settings
            .upstreams
            .values()
            .filter(|upstream| upstream.health == HealthKind::Antigravity)
            .map(|upstream| self.poll(upstream, settings.quota.poll_timeout));
        futures_util::future::join_all(polls).await;
        update_gauges(&self.metrics, &self.book.snapshot(), &settings, now());
    }

    async fn poll(&self, upstream: &Arc<Upstream>, limit: Duration) {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(flights.entry(upstream.name.clone()).or_default())
        };
        let asked = now();
        let mut last_began = flight.lock().await;
        if *last_began > asked {
            // A poll that began after we asked has ended meanwhile: its result is ours too.
            return;
        }
        let started = now();
        let clock = Instant::now();
        let answer = tokio::time::timeout(limit, self.fetch(upstream)).await;
        *last_began = started;
        self.metrics
            .poll_duration
            .observe(clock.elapsed().as_secs_f64());
        let read = match answer {
            Ok(Ok(body)) => parse_health(&body, now()).map_err(Fault::Refused),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::Unreached(format!(
                "no answer within {} s (quota.poll_timeout_s)",
                limit.as_secs_f64()
            ))),
        };
        match read {
            Ok(health) => {
                self.metrics
                    .upstream_up
                    .with_label_values(&[&upstream.name])
                    .set(1);
                self.book
                    .poll_succeeded(&upstream.name, started, now(), health);
                if self.failing().remove(&upstream.name) {
                    log::info!("upstream {}: the quota poll answers again", upstream.name);
                    self.tell(&upstream.name, "the quota poll answers again");
                }
            }
            Err(fault) => self.failed(upstream, started, fault),
        }
    }

    fn failed(&self, upstream: &Upstream, started: Millis, fault: Fault) {
        self.metrics.poll_failures.inc();
        let (text, reached) = match fault {
            Fault::Unreached(text) => {
                self.book.poll_failed(&upstream.name, started, now(), &text);
                (text, false)
            }
            Fault::Refused(text) => {
                self.book
                    .poll_refused(&upstream.name, started, now(), &text);
                (text, true)
            }
        };
        self.metrics
            .upstream_up
            .with_label_values(&[&upstream.name])
            .set(i64::from(reached));
        // Once, not at every poll: the dashboard and /health show that it goes on.
        if self.failing().insert(upstream.name.clone()) {
            log::warn!(
                "upstream {}: the quota poll failed: {}; last known quotas are used until they are stale. \
                 Is it running at {}:{}? Try: luna doctor",
                upstream.name,
                clean(&text),
                upstream.url.host,
                upstream.url.port,
            );
            self.tell(&upstream.name, &text);
        }
    }

    fn failing(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, upstream: &str, detail: &str) {
        let mut event = Event::new(EventKind::Upstream);
        event.upstream = Some(upstream.to_owned());
        event.detail = Some(clean(detail));
        self.events.push(event);
    }

    async fn fetch(&self, upstream: &Upstream) -> Result<Vec<u8>, Fault> {
        let url = &upstream.url;
        let scheme = if url.tls { "https" } else { "http" };
        let host = if url.host.contains(':') {
            format!("[{}]", url.host)
        } else {
            url.host.clone()
        };
        let mut request = self.client.get(format!(
            "{scheme}://{host}:{}{}/health",
            url.port, url.prefix
        ));
        if let Some(password) = &upstream.health_password {
            request = request.header("x-webui-password", password.expose());
        }
        let mut answer = request
            .send()
            .await
            .map_err(|e| Fault::Unreached(why(&e)))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|e| Fault::Unreached(why(&e)))?
        {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Fault::Refused(format!(
                    "/health is longer than {MAX_ANSWER} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        match status.as_u16() {
            200 => Ok(body),
            401 | 403 => Err(Fault::Refused(format!(
                "/health wants a password ({status}): set upstreams.{}.health_password",
                upstream.name
            ))),
            404 => Err(Fault::Refused(
                "/health is not there (404): for an upstream without quotas set health = \"none\""
                    .to_owned(),
            )),
            _ => Err(Fault::Refused(format!("/health answered {status}"))),
        }
    }
}

/// reqwest's own text holds the URL; its cause says more and holds none.
fn why(e: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if e.is_connect() {
        format!("cannot connect: {cause}")
    } else {
        cause.to_string()
    }
}

fn jittered(interval: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    let part = match getrandom::fill(&mut byte) {
        Ok(()) => f64::from(byte[0]) / 255.0,
        Err(_) => 0.5,
    };
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * part)
}

fn now() -> Millis {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map(|d| u64::try_from(d.as_millis()).unwrap_or(Millis::MAX))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_bounds() {
        let base = Duration::from_secs(30);
        for _ in 0..200 {
            let j = jittered(base);
            assert!(
                j >= Duration::from_secs(27) && j <= Duration::from_secs(33),
                "{j:?}"
            );
        }
    }
}
