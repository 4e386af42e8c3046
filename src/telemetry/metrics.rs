//! The series of contracts/gateway.md section 8, in one registry.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The `model` label of names that nobody configured and no upstream reported.
pub const OTHER_MODEL: &str = "other";

/// Seconds; LLM requests run from milliseconds (a refusal) to many minutes.
const DURATION_BUCKETS: &[f64] = &[
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// Seconds; the gateway's own share is far below a millisecond.
const OVERHEAD_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0,
];

/// All series. Cloning the struct is not needed: it lives in one `Arc`.
pub struct Metrics {
    registry: Registry,
    /// `requests_total{key,model,endpoint,status}`
    pub requests: IntCounterVec,
    /// `request_duration_seconds{endpoint,stream}`
    pub duration: HistogramVec,
    /// `time_to_first_event_seconds{model}`
    pub first_event: HistogramVec,
    /// `overhead_seconds{endpoint}`: from arrival to the moment the upstream was asked
    pub overhead: HistogramVec,
    /// `in_flight`: LLM requests between arrival and end
    pub in_flight: IntGauge,
    /// `tokens_total{key,model,kind}`
    pub tokens: IntCounterVec,
    /// `attempt_tokens_total{model,kind}`: reported by attempts that failed
    pub attempt_tokens: IntCounterVec,
    /// `fallbacks_total{from,to,reason}`
    pub fallbacks: IntCounterVec,
    /// `attempts_total{model,outcome}`: `ok` or a reason
    pub attempts: IntCounterVec,
    /// `quota_remaining_ratio{model,upstream}`
    pub quota_remaining: GaugeVec,
    /// `quota_reset_timestamp_seconds{model,upstream}`
    pub quota_reset: GaugeVec,
    /// `tier_usable{model,upstream}`
    pub tier_usable: IntGaugeVec,
    /// `upstream_up{upstream}`
    pub upstream_up: IntGaugeVec,
    /// `poll_duration_seconds`
    pub poll_duration: Histogram,
    /// `poll_failures_total`
    pub poll_failures: IntCounter,
    /// `auth_failures_total{reason}`
    pub auth_failures: IntCounterVec,
    /// `limited_total{limit}`
    pub limited: IntCounterVec,
    /// `suspect_429_total{model}`
    pub suspect: IntCounterVec,
    /// `usage_unwritten`: requests counted in memory and not yet in a file
    pub usage_unwritten: IntGauge,
    /// `usage_lost_total`: requests whose count found no room in memory
    pub usage_lost: IntCounter,
    /// `config_reloads_total{outcome}`
    pub reloads: IntCounterVec,
    /// `connections`: client connections open now
    pub connections: IntGauge,
    known_models: ArcSwap<HashSet<Arc<str>>>,
}

impl Metrics {
    /// Registers every series, and the process collector.
    ///
    /// # Errors
    /// A name or label that Prometheus refuses; a mistake in this file.
    pub fn new(version: &str) -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("luna".into()), None)?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let c = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(c.clone()))?;
            prometheus::Result::Ok(c)
        };
        let histograms = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let h = HistogramVec::new(opts, labels)?;
            registry.register(Box::new(h.clone()))?;
            prometheus::Result::Ok(h)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let g = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(g.clone()))?;
            prometheus::Result::Ok(g)
        };
        let ratios = |name: &str, help: &str, labels: &[&str]| {
            let g = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(g.clone()))?;
            prometheus::Result::Ok(g)
        };
        let gauge = |name: &str, help: &str| {
            let g = IntGauge::new(name, help)?;
            registry.register(Box::new(g.clone()))?;
            prometheus::Result::Ok(g)
        };
        let poll_duration = Histogram::with_opts(
            HistogramOpts::new("poll_duration_seconds", "Time one health poll took")
                .buckets(DURATION_BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(poll_duration.clone()))?;
        let counter = |name: &str, help: &str| {
            let c = IntCounter::new(name, help)?;
            registry.register(Box::new(c.clone()))?;
            prometheus::Result::Ok(c)
        };
        let build = gauges(
            "build_info",
            "Always 1; the version is a label",
            &["version"],
        )?;
        build.with_label_values(&[version]).set(1);

        let metrics = Self {
            requests: counters(
                "requests_total",
                "LLM requests that passed key auth",
                &["key", "model", "endpoint", "status"],
            )?,
            duration: histograms(
                "request_duration_seconds",
                "From arrival to the end of the answer",
                &["endpoint", "stream"],
                DURATION_BUCKETS,
            )?,
            first_event: histograms(
                "time_to_first_event_seconds",
                "From arrival to the first byte of the answer",
                &["model"],
                DURATION_BUCKETS,
            )?,
            overhead: histograms(
                "overhead_seconds",
                "The gateway's own share before the upstream was asked, reading the body included",
                &["endpoint"],
                OVERHEAD_BUCKETS,
            )?,
            in_flight: gauge("in_flight", "LLM requests between arrival and end")?,
            tokens: counters(
                "tokens_total",
                "Tokens of answered requests",
                &["key", "model", "kind"],
            )?,
            attempt_tokens: counters(
                "attempt_tokens_total",
                "Tokens reported by attempts that failed; not the client's",
                &["model", "kind"],
            )?,
            fallbacks: counters(
                "fallbacks_total",
                "Tiers that were passed over for another one; to is none when no tier answered",
                &["from", "to", "reason"],
            )?,
            attempts: counters(
                "attempts_total",
                "Calls of an upstream",
                &["model", "outcome"],
            )?,
            quota_remaining: ratios(
                "quota_remaining_ratio",
                "Fullest account's remaining quota, 0 to 1",
                &["model", "upstream"],
            )?,
            quota_reset: ratios(
                "quota_reset_timestamp_seconds",
                "When the quota is reset",
                &["model", "upstream"],
            )?,
            tier_usable: gauges(
                "tier_usable",
                "1 when a request would be sent to this tier now",
                &["model", "upstream"],
            )?,
            upstream_up: gauges(
                "upstream_up",
                "1 when the last poll or attempt reached it",
                &["upstream"],
            )?,
            poll_duration,
            poll_failures: counter("poll_failures_total", "Health polls that gave no answer")?,
            auth_failures: counters("auth_failures_total", "Refused keys", &["reason"])?,
            limited: counters("limited_total", "Requests refused by a limit", &["limit"])?,
            suspect: counters(
                "suspect_429_total",
                "Refusals for quota while the poll shows quota left",
                &["model"],
            )?,
            usage_unwritten: gauge("usage_unwritten", "Requests not yet in a file")?,
            usage_lost: counter(
                "usage_lost_total",
                "Requests whose usage is lost: more waited for the disk than memory was set aside for",
            )?,
            reloads: counters("config_reloads_total", "Reloads", &["outcome"])?,
            connections: gauge("connections", "Client connections open now")?,
            known_models: ArcSwap::from_pointee(HashSet::new()),
            registry: registry.clone(),
        };
        register_process(&registry)?;
        Ok(metrics)
    }

    /// Replaces the set of model names that may be labels.
    pub fn set_known_models(&self, names: HashSet<Arc<str>>) {
        self.known_models.store(Arc::new(names));
    }

    /// `model` itself when it is known, else [`OTHER_MODEL`]: a client cannot add labels.
    pub fn model_label<'a>(&self, model: &'a str) -> &'a str {
        if self.known_models.load().contains(model) {
            model
        } else {
            OTHER_MODEL
        }
    }

    /// The text exposition format.
    ///
    /// # Errors
    /// None in practice; the encoder's own.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }
}

#[cfg(target_os = "linux")]
fn register_process(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))
}

#[cfg(not(target_os = "linux"))]
fn register_process(_registry: &Registry) -> prometheus::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_of_the_contract_has_its_name() {
        let m = Metrics::new("0.0.0").unwrap();
        m.set_known_models(HashSet::from([Arc::from("claude-sonnet-4-6")]));
        m.requests
            .with_label_values(&["me", m.model_label("claude-sonnet-4-6"), "messages", "200"])
            .inc();
        m.auth_failures.with_label_values(&["unknown"]).inc();
        m.quota_remaining.with_label_values(&["a", "b"]).set(0.5);
        let text = String::from_utf8(m.render().unwrap()).unwrap();
        for line in [
            "luna_requests_total{endpoint=\"messages\",key=\"me\",model=\"claude-sonnet-4-6\",status=\"200\"} 1",
            "luna_auth_failures_total{reason=\"unknown\"} 1",
            "luna_quota_remaining_ratio{model=\"a\",upstream=\"b\"} 0.5",
            "luna_build_info{version=\"0.0.0\"} 1",
            "luna_in_flight 0",
            "luna_usage_unwritten 0",
            "luna_usage_lost_total 0",
            "luna_poll_failures_total 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn an_invented_model_is_other() {
        let m = Metrics::new("0.0.0").unwrap();
        m.set_known_models(HashSet::from([Arc::from("known")]));
        assert_eq!(m.model_label("known"), "known");
        assert_eq!(m.model_label("invented\" 1\nx"), OTHER_MODEL);
    }
}
