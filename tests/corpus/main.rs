//! Replays the fuzz corpora, so that what a fuzzer once found stays found.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on must stop"
)]

#[path = "../../fuzz/convert.rs"]
mod convert;
#[path = "../../fuzz/entries.rs"]
mod entries;

use std::path::Path;

// The rules of requests name it as they do within the library.
use luna::wire;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for file in std::fs::read_dir(&folder).expect("the corpus is in the repository") {
        let path = file.expect("a readable entry").path();
        let data = std::fs::read(&path).expect("a readable input");
        check(&data);
        // The same bytes with every first byte a fuzzer would use to choose the cut.
        for cut in 0..=u8::MAX {
            let mut moved = data.clone();
            if let Some(first) = moved.first_mut() {
                *first = cut;
            }
            check(&moved);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn scan() {
    replay("scan", entries::scan);
}

#[test]
fn sse() {
    replay("sse", entries::sse);
}

#[test]
fn classifier() {
    replay("classifier", entries::classifier);
}

#[test]
fn health() {
    replay("health", entries::health);
}

#[test]
fn answer() {
    replay("answer", entries::answer);
}

#[test]
fn o2a_request() {
    replay("o2a_request", convert::o2a_request);
}

#[test]
fn a2o_request() {
    replay("a2o_request", convert::a2o_request);
}

#[test]
fn o2a_stream() {
    replay("o2a_stream", convert::o2a_stream);
}

#[test]
fn a2o_stream() {
    replay("a2o_stream", convert::a2o_stream);
}

#[test]
fn openai_watch() {
    replay("openai_watch", convert::openai_watch);
}

#[test]
fn message() {
    replay("message", convert::message);
}

#[test]
fn completion() {
    replay("completion", convert::completion);
}

#[test]
fn count() {
    replay("count", convert::count);
}
