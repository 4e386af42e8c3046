//! What users and their clients rely on: the official SDKs, the bytes of every error, every command
//! that the README, the docs and `luna demo` print.

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

mod chains;
mod commands;
mod count;
mod demo;
mod documents;
mod passthrough;
mod recorded;
mod sdk;
mod wire;
