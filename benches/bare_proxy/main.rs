//! The yardstick: a bare pingora passthrough with Luna's allocator.
//!
//! What it does is in [`passthrough`]; `glibc.rs` is the same with the system's allocator.

mod passthrough;

use std::process::ExitCode;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    passthrough::run()
}
