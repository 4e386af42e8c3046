//! What happens when upstreams, clients or the process itself fail, over real sockets.
//!
//! `faults` is the generated matrix, `late` what happens after the commit, `garbage` what no
//! upstream should say, `marks` the cooldowns as users see them. `planner_model` compares the
//! running gateway with an independent model, `limits` are the bounds in time and number, and
//! `signals` drives the real binary.

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

mod canned;
mod check;

mod faults;
mod garbage;
mod late;
mod limits;
mod marks;
mod planner_model;
mod signals;
