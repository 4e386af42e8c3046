//! What the parts do together when all goes well, over real sockets.

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

mod basics;
mod connections;
mod keys_admin;
mod matrix;
mod streams;
