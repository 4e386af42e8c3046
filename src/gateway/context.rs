//! What one request carries from its arrival to its end.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Gateway;
use super::answer::Envelope;
use super::attempt::Attempt;
use super::body::{Held, TierBody};
use super::control::Control;
use crate::admission::Identity;
use crate::admission::door::Place;
use crate::config::Settings;
use crate::routing::{Reason, Route, Trail};
use crate::usage::{Endpoint, Finished};
use crate::wire::error::ClientError;
use crate::wire::usage::Tokens;

/// pingora's per-request context.
pub struct Ctx {
    pub(super) arrived: Instant,
    pub(super) settings: Arc<Settings>,
    pub(super) client: IpAddr,
    pub(super) envelope: Envelope,
    /// A short name of the route, for the log.
    pub(super) route: &'static str,
    /// The client's own x-request-id, for the log only.
    pub(super) client_request_id: Option<String>,
    /// The answer of a failed request is complete, so its connection can go on.
    pub(super) complete: bool,
    /// Status of an answer that Luna gave itself.
    pub(super) status: u16,
    /// Set once the key is known on an LLM route.
    pub(super) account: Option<Box<Account>>,
    /// Set once the request is planned and its session wrapped.
    pub(super) flight: Option<Box<Flight>>,
}

impl Ctx {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            arrived: Instant::now(),
            settings,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            envelope: Envelope::default(),
            route: "-",
            client_request_id: None,
            complete: false,
            status: 0,
            account: None,
            flight: None,
        }
    }
}

/// A request under way over its tiers.
pub(super) struct Flight {
    pub(super) control: Arc<Control>,
    pub(super) route: Route,
    pub(super) trail: Trail,
    pub(super) body: TierBody,
    /// Keeps the body's memory accounted for.
    pub(super) held: Held,
    pub(super) attempt: Option<Attempt>,
    /// The same tier is to be asked once more (another address, or a fresh connection).
    pub(super) again: bool,
    /// Query for upstreams of the client's format, stripped of keys.
    pub(super) query: String,
    /// The request says something that an upstream may ignore without a word.
    pub(super) delicate: bool,
    /// `x-luna-fallback: off`.
    pub(super) first_only: bool,
    /// Tiers passed over before the one that answers.
    pub(super) passed_over: Vec<Reason>,
    /// What the client is told when no tier answers.
    pub(super) refusal: Option<ClientError>,
    pub(super) bytes_out: usize,
    /// The end of a converted stream whose upstream left before it said so.
    pub(super) closing: Option<Bytes>,
}

/// What is counted of one LLM request. Counting happens on drop, so that a
/// panic or a dropped connection cannot lose a request.
pub(super) struct Account {
    pub(super) gateway: Gateway,
    pub(super) identity: Identity,
    pub(super) endpoint: Endpoint,
    pub(super) request_id: String,
    pub(super) arrived: Instant,
    pub(super) stream: bool,
    pub(super) requested_model: Option<Arc<str>>,
    /// The first tier until one answers.
    pub(super) served_model: Option<Arc<str>>,
    pub(super) upstream: Arc<str>,
    /// 1 = first; 0 while none has answered.
    pub(super) tier: usize,
    /// 500 until something better is known: what a panic leaves behind.
    pub(super) status: u16,
    pub(super) stream_error: bool,
    pub(super) aborted: bool,
    /// Why tiers were not usable or failed.
    pub(super) reasons: Vec<Reason>,
    /// Another tier than the first was asked; without that, `reasons` are those of a failure and no fallback.
    pub(super) fell_back: bool,
    pub(super) tokens: Tokens,
    pub(super) estimated: bool,
    pub(super) first_event: Option<Duration>,
    pub(super) _place: Place,
}

/// The name under which a request is counted whose model nobody knows.
const NO_MODEL: &str = "unknown";

impl Account {
    fn status_label(&self) -> String {
        if self.aborted {
            "aborted".to_owned()
        } else if self.stream_error {
            "stream_error".to_owned()
        } else {
            self.status.to_string()
        }
    }

    /// One for each tier that was passed over for another one.
    fn fallback_reasons(&self) -> Vec<&'static str> {
        let reasons = self.reasons.iter().filter(|_| self.fell_back);
        reasons.map(|reason| reason.as_str()).collect()
    }

    fn finish(&self) {
        let metrics = &self.gateway.metrics;
        let answered = self.tier > 0;
        let named = self.served_model.as_deref().unwrap_or(NO_MODEL);
        let label = if self.served_model.is_none() {
            NO_MODEL
        } else {
            metrics.model_label(named)
        };
        // A name that only a failed request brought must not open a line of its own in the files.
        let counted = if answered { named } else { label };
        let key = self.identity.key();
        let endpoint = self.endpoint.as_str();
        let took = self.arrived.elapsed();
        metrics
            .requests
            .with_label_values(&[&*key.name, label, endpoint, &self.status_label()])
            .inc();
        let stream = if self.stream { "true" } else { "false" };
        metrics
            .duration
            .with_label_values(&[endpoint, stream])
            .observe(took.as_secs_f64());
        if let Some(first) = self.first_event {
            metrics
                .first_event
                .with_label_values(&[label])
                .observe(first.as_secs_f64());
        }
        for (kind, n) in [
            ("input", self.tokens.input),
            ("output", self.tokens.output),
            ("cache_read", self.tokens.cache_read),
            ("cache_creation", self.tokens.cache_creation),
        ] {
            if n > 0 {
                metrics
                    .tokens
                    .with_label_values(&[&*key.name, label, kind])
                    .inc_by(n);
            }
        }
        metrics.in_flight.dec();
        self.gateway.meter.record(Finished {
            time_ms: self.gateway.now(),
            request_id: self.request_id.clone(),
            key_id: Arc::clone(&key.id),
            requested_model: self
                .requested_model
                .clone()
                .unwrap_or_else(|| Arc::from(NO_MODEL)),
            served_model: Arc::from(counted),
            upstream: Arc::clone(&self.upstream),
            endpoint: self.endpoint,
            stream: self.stream,
            status: self.status,
            error: !self.aborted && (self.status >= 400 || self.stream_error),
            aborted: self.aborted,
            fallback_reasons: self.fallback_reasons(),
            tokens: self.tokens,
            estimated: self.estimated,
            duration_ms: millis(took),
            ttfe_ms: self.first_event.map(millis),
        });
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.finish();
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
