//! Usage and keys know nothing of each other: this is what carries totals from one to the other.

use std::sync::Arc;

use super::{StartError, failed, now};
use crate::config::Settings;
use crate::keys::{KeyStore, Totals};
use crate::usage::{self, Counters, UsageHandle};

/// `waits`: no file is written before [`UsageHandle::take_over`].
pub(super) fn start_usage(
    settings: &Settings,
    keys: &Arc<KeyStore>,
    waits: bool,
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
    let started = match waits {
        true => usage::Owner::start_waiting(params, known, sink),
        false => usage::Owner::start(params, known, sink),
    };
    let (meter, usage) = started.map_err(|e| failed("usage cannot be kept", e))?;
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
