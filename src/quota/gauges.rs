//! The quota gauges, brought up to date when somebody scrapes.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::Settings;
use crate::routing::{Millis, Snapshot, Tier};
use crate::telemetry::Metrics;

/// Sets the tier gauges from what is known now, and which model names may be labels:
/// those that are configured and those that an upstream reports.
pub fn update(metrics: &Metrics, snapshot: &Snapshot, settings: &Settings, now: Millis) {
    let mut tiers: Vec<Tier> = settings.rules.tiers().into_iter().cloned().collect();
    let polled = snapshot.tiers().into_iter();
    tiers.extend(polled.filter(|tier| snapshot.reports(&tier.model)));
    tiers.sort();
    tiers.dedup();
    let known: HashSet<Arc<str>> = settings
        .rules
        .known_models()
        .into_iter()
        .chain(tiers.iter().map(|tier| Arc::clone(&tier.model)))
        .collect();
    metrics.set_known_models(known);
    metrics.quota_remaining.reset();
    metrics.quota_reset.reset();
    metrics.tier_usable.reset();
    for tier in &tiers {
        let view = snapshot.view(tier, now);
        let labels = [&*tier.model, &*tier.upstream];
        metrics
            .tier_usable
            .with_label_values(&labels)
            .set(i64::from(view.usable));
        if let Some(fraction) = view.remaining_fraction {
            metrics
                .quota_remaining
                .with_label_values(&labels)
                .set(fraction);
        }
        if let Some(reset) = view.reset_time {
            #[allow(
                clippy::cast_precision_loss,
                reason = "unix seconds fit a double exactly"
            )]
            let seconds = reset as f64 / 1000.0;
            metrics.quota_reset.with_label_values(&labels).set(seconds);
        }
    }
}
