#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
//! Polls and marks, sentence by sentence of gateway.md section 5.

mod marks;
mod polls;
mod probes;
