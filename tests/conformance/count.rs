//! The estimate of input tokens against a real tokenizer, on the requests in `count/` (see docs/count-tokens.md).
//!
//! Needs nothing of Luna but `wire`. `LUNA_COUNT=print` prints the table of the page.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use luna::wire::convert::json::Object;
use luna::wire::count::{estimate, input_tokens};
use serde_json::Value;

/// How far a request may be off, in percent.
const BOUND: f64 = 10.0;
/// How far its texts alone may be off beyond that, in tokens: in a few words one token is much.
const SLACK: f64 = 2.0;
/// How far the texts may be off on average, in percent.
const MEAN_BOUND: f64 = 4.0;

fn folder() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/count");
    if own.is_dir() {
        return own;
    }
    let other =
        std::env::var_os("LUNA_COUNTS").expect("LUNA_COUNTS names the folder of the corpus");
    PathBuf::from(other)
}

#[test]
fn every_request_is_counted_within_ten_percent() {
    let folder = folder();
    let reference = std::fs::read(folder.join("reference.json")).unwrap();
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let mut table = String::new();
    let mut wrong = String::new();
    let mut errors = Vec::new();
    for (name, expected) in reference["requests"].as_object().unwrap() {
        let body = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let estimate = input_tokens(&body).unwrap();
        let fixed = expected["fixed"].as_u64().unwrap();
        let text = expected["text"].as_u64().unwrap();
        let total = text + fixed;
        let off = estimate as f64 - total as f64;
        // What is no text is the same on both sides, and must not hide an error of the texts.
        let error = 100.0 * off / text as f64;
        let _ = writeln!(
            table,
            "| {name} | {total} | {estimate} | {:+.1} % | {error:+.1} % |",
            100.0 * off / total as f64
        );
        errors.push(error.abs());
        let bound = |tokens: u64| BOUND / 100.0 * tokens as f64;
        if off.abs() > bound(total) || off.abs() > bound(text) + SLACK {
            let _ = writeln!(wrong, "{name}: {estimate} for {total}, texts {error:+.1} %");
        }
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let worst = errors.iter().copied().fold(0.0, f64::max);
    if std::env::var_os("LUNA_COUNT").is_some() {
        println!("{table}\nmean {mean:.1} %, worst {worst:.1} %");
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(mean <= MEAN_BOUND, "{mean:.1} % on average");
    assert!(errors.len() >= 40, "only {} requests", errors.len());
    let files = std::fs::read_dir(&folder).unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|end| end == "json")
    });
    assert_eq!(
        files.count(),
        errors.len() + 1,
        "reference.json does not list every request"
    );
}

/// The rough number of `message_start` is meant to show how full a context is, not to be right to the token.
#[test]
fn the_rough_number_is_of_the_right_size() {
    let folder = folder();
    let reference = std::fs::read(folder.join("reference.json")).unwrap();
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let mut worst = (0.0, String::new());
    for name in reference["requests"].as_object().unwrap().keys() {
        let body = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let careful = input_tokens(&body).unwrap() as f64;
        let rough = estimate(&Object::parse(&body).unwrap()) as f64;
        // Tools cost a fixed sum that a small request does not outweigh.
        let off = ((rough - careful).abs() - 400.0).max(0.0) / careful;
        if off > worst.0 {
            worst = (off, format!("{name}: {rough} for {careful}"));
        }
    }
    assert!(worst.0 < 0.4, "{}", worst.1);
}
