//! How long an answer takes when three years of days are kept, the last 90 with their hours: 20 keys with 6 models each.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::civil::Date;
use luna::usage::{DayRange, HourRange, Known, Price, Prices, Store};
use serde::Serialize;

use super::{memory, params};

const DAYS: i64 = 1_095;
const HOURS: i64 = 90;
const KEYS: i64 = 20;
const MODELS: i64 = 6;
/// 2026-11-24T23:30:00Z
const NOW: u64 = 1_795_563_000_000;
const LAST: &str = "2026-11-24";
const FIRST: &str = "2023-11-26";

pub(super) fn run() {
    let dir = tempfile::tempdir().unwrap();
    write_days(dir.path());
    let before = memory().0;
    let began = Instant::now();
    let mut store = Store::open(params(dir.path()), Known::default()).unwrap();
    store.read_recent_hours().unwrap();
    println!(
        "answers: {DAYS} days of {KEYS} keys and {MODELS} models opened in {:.2} s, {} MiB more memory",
        began.elapsed().as_secs_f64(),
        memory().0.saturating_sub(before)
    );
    let zone = store.zone().clone();
    let years = DayRange::parse(Some(FIRST), Some(LAST), &zone, NOW).unwrap();
    let month = DayRange::parse(None, None, &zone, NOW).unwrap();
    let day = HourRange::parse(None, None, &zone, NOW).unwrap();
    let hours = |from, to| HourRange::parse(Some(from), Some(to), &zone, NOW).unwrap();
    let (recent, older) = (hours("2026-10-25", LAST), hours("2026-09-01", "2026-09-30"));
    for priced in [false, true] {
        if priced {
            store.set_prices(Arc::new(Prices::new(vec![Price {
                model: "claude-*".to_owned(),
                from: None,
                input: 3.0,
                output: 15.0,
                cache_read: 0.3,
                cache_write: 3.75,
            }])));
        }
        println!(
            "answers: prices {priced}; each once (what has to be read is), then the median of seven"
        );
        let s = &mut store;
        time("/admin/usage", || json(&s.totals()));
        time("one key", || {
            json(&s.key("key_7", "seven", month, day).unwrap())
        });
        time("daily, three years, JSON", || {
            s.days(years, None, None).json()
        });
        time("daily, three years, CSV", || {
            s.days(years, None, None).csv().into_bytes()
        });
        time("daily, three years, one key, CSV", || {
            s.days(years, Some("key_7"), None).csv().into_bytes()
        });
        time("hourly, a day, JSON", || {
            s.hours(day, None, None).unwrap().json()
        });
        for (name, range) in [("the last 31 days", recent), ("30 days before", older)] {
            time(&format!("hourly, {name}, JSON"), || {
                s.hours(range, None, None).unwrap().json()
            });
            time(&format!("hourly, {name}, CSV"), || {
                s.hours(range, None, None).unwrap().csv().into_bytes()
            });
        }
    }
}

fn json(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap()
}

fn time(name: &str, mut answer: impl FnMut() -> Vec<u8>) {
    let mut once = || {
        let began = Instant::now();
        let size = black_box(answer()).len();
        (began.elapsed(), size)
    };
    let (first, size) = once();
    let mut times: Vec<Duration> = (0..7).map(|_| once().0).collect();
    times.sort();
    let median = times.get(3).copied().unwrap();
    println!("  {name}: {first:.1?}, {median:.1?} ({} KiB)", size / 1024);
}

fn write_days(folder: &Path) {
    let first: Date = FIRST.parse().unwrap();
    for day in 0..DAYS {
        let date = first.saturating_add(jiff::Span::new().days(day));
        let mut text = format!(
            "{{\"version\":1,\"date\":\"{date}\",\"timezone\":\"UTC\",\"through\":{{}},\"day\":"
        );
        cells(&mut text, day * 24);
        text.push_str(",\"hours\":");
        if day < DAYS - HOURS {
            text.push_str("null");
        }
        for hour in 0..24 {
            if day < DAYS - HOURS {
                break;
            }
            let open = if hour == 0 { "{" } else { "," };
            let _ = write!(text, "{open}\"{date}T{hour:02}:00:00Z\":");
            cells(&mut text, day + hour);
        }
        text.push_str(if day < DAYS - HOURS { "}" } else { "}}" });
        std::fs::write(folder.join(format!("{date}.json")), text).unwrap();
    }
}

/// Numbers of the size that a busy key has.
fn cells(text: &mut String, salt: i64) {
    for key in 0..KEYS {
        let _ = write!(text, "{}\"key_{key}\":", if key == 0 { "{" } else { "," });
        for model in 0..MODELS {
            let open = if model == 0 { "{" } else { "," };
            let n = salt + key * MODELS + model;
            let _ = write!(
                text,
                "{open}\"claude-model-4-{model}\":{{\"requests\":{},\"errors\":{},\"fallbacks\":{},\"aborted\":{},\
                 \"input_tokens\":{},\"output_tokens\":{},\"cache_read_input_tokens\":{},\
                 \"cache_creation_input_tokens\":{}}}",
                400 + n,
                n % 7,
                n % 11,
                n % 3,
                1_234_567 + 31 * n,
                345_678 + 17 * n,
                12_345_678 + 13 * n,
                234_567 + n
            );
        }
        text.push('}');
    }
    text.push('}');
}
