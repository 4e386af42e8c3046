//! The binary: an allocator and the command line.

use std::process::ExitCode;

/// glibc's malloc costs 7 to 20 % more CPU on the request path; docs/performance.md.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    luna::cli::run()
}
