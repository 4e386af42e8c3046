//! A whole gateway against a simulated Antigravity, for tests: in this process, or as the real binary.
//!
//! Everything is on loopback and on ports that the system chose, in a temporary folder.

#![allow(dead_code, reason = "every test binary uses another part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on must stop"
)]

pub mod binary;
pub mod h1;
pub mod raw;
pub mod world;

use std::future::Future;
use std::time::{Duration, Instant};

/// Asks `condition` until it holds. Panics with `what` when it does not within `limit`.
pub async fn eventually<F, Fut>(what: &str, limit: Duration, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let until = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// `small`, or `full` where the figures of the issues are asked for (`make test-long`).
pub fn scale(small: usize, full: usize) -> usize {
    match std::env::var_os("LUNA_TEST_LONG") {
        Some(_) => full,
        None => small,
    }
}

/// The input tokens that Antigravity tells in `message_start` only, as the gateway adds them to the usage of
/// `message_delta`; "" where there is no stream with a `message_start` and such a usage.
pub fn filling(stream: &str) -> String {
    let Some((_, after)) = stream.split_once("event: message_start\n") else {
        return String::new();
    };
    let told = after
        .split_once("\"input_tokens\":")
        .expect("usage in message_start")
        .1;
    let digits: String = told.chars().take_while(char::is_ascii_digit).collect();
    if stream.contains("event: message_delta\n") {
        format!("\"input_tokens\":{digits},")
    } else {
        String::new()
    }
}

/// Antigravity's answer as the gateway gives it on: a stream with the [`filling`], any other with the stop reason of its
/// calls, and no other byte changed.
pub fn filled(stream: &str) -> String {
    let filling = filling(stream);
    if filling.is_empty() {
        if stream.contains("\"type\":\"tool_use\"") {
            return stream.replace(
                "\"stop_reason\":\"end_turn\"",
                "\"stop_reason\":\"tool_use\"",
            );
        }
        return stream.to_owned();
    }
    let (before, delta) = stream
        .split_once("event: message_delta\n")
        .expect("a message_delta");
    let (head, tail) = delta.split_once("\"usage\":{").expect("a usage");
    format!("{before}event: message_delta\n{head}\"usage\":{{{filling}{tail}")
}
