//! The bare pingora passthrough with the system's allocator; see `main.rs`.

mod passthrough;

use std::process::ExitCode;

fn main() -> ExitCode {
    passthrough::run()
}
