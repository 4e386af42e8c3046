//! Replays the fuzz corpora, so that what a fuzzer once found stays found.

#![allow(clippy::expect_used, reason = "a test that cannot go on must stop")]

#[path = "../../fuzz/entries.rs"]
mod entries;

use std::path::Path;

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
