//! Hostile input over real sockets: what must never reach the upstream, the admin API or a log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on must stop, and says why"
)]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod bodies;
mod headers;
mod keys;
mod noise;
mod paths;
mod secrets;
mod smuggling;
