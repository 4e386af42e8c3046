#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod files;
mod journal;
mod output;
mod prices;
mod property;
mod thread;
mod time;
mod trouble;
mod upgrade;

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::wire::usage::Tokens;

/// 2026-11-24T08:30:00Z
const NOW: Millis = 1_795_509_000_000;
const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

fn request(time_ms: Millis, key: &str, model: &str) -> Finished {
    Finished {
        time_ms,
        request_id: "req_1".to_owned(),
        key_id: Arc::from(key),
        requested_model: Arc::from("asked"),
        served_model: Arc::from(model),
        upstream: Arc::from("default"),
        endpoint: Endpoint::Messages,
        stream: true,
        status: 200,
        error: false,
        aborted: false,
        fallback_reasons: Vec::new(),
        tokens: Tokens {
            input: 10,
            output: 3,
            cache_read: 100,
            cache_creation: 7,
        },
        estimated: false,
        duration_ms: 1200,
        ttfe_ms: Some(300),
    }
}

fn params(dir: &Path, timezone: &str) -> StoreParams {
    StoreParams {
        dir: dir.join("usage"),
        timezone: timezone.to_owned(),
        keep_hours_days: 90,
        keep_days: 1095,
    }
}

/// `flush_ms`
const BEAT: std::time::Duration = std::time::Duration::from_millis(5);

fn known<'a>(totals: impl IntoIterator<Item = (&'a str, Counters)>) -> Known {
    let totals = totals.into_iter();
    Known {
        totals: totals.map(|(key, sum)| (key.to_owned(), sum)).collect(),
        ..Known::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(params(dir, "UTC"), Known::default()).unwrap()
}

/// A sink that takes everything.
fn taker() -> TotalsSink {
    Box::new(|_| Ok(()))
}

type Taken = Arc<Mutex<std::collections::BTreeMap<String, Counters>>>;

/// A sink and what it has taken: keys.json.
fn keeper() -> (TotalsSink, Taken) {
    let taken = Taken::default();
    let kept = Arc::clone(&taken);
    let sink = Box::new(move |changed: Changed<'_>| {
        let totals = changed
            .totals
            .iter()
            .map(|(key, sum)| (key.to_string(), *sum));
        kept.lock().unwrap().extend(totals);
        Ok(())
    });
    (sink, taken)
}

fn all_days(store: &Store) -> Daily {
    let range = DayRange::parse(Some("2020-01-01"), Some("2029-12-30"), store.zone(), NOW).unwrap();
    store.days(range, None, None).daily()
}

fn hours(store: &mut Store, from: &str, to: &str) -> Hourly {
    let zone = store.zone().clone();
    let range = HourRange::parse(Some(from), Some(to), &zone, NOW).unwrap();
    store.hours(range, None, None).unwrap().hourly()
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join("usage").join(name)).unwrap()
}
