//! Load and stub upstream of the bench, in one program: `load upstream ADDRESS`, or `load drive` with a [`job::Job`] as
//! JSON on standard input, whose outcome comes as JSON on standard output. Each is a process of its own, so that the
//! kernel counts their CPU apart. `compare` starts both; nothing else has to.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal; it has no log"
)]

mod client;
mod drive;
mod job;
mod memory;
mod process;
mod script;
mod upstream;

use std::io::{self, Read};
use std::process::ExitCode;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        [] => {
            eprintln!("load upstream ADDRESS | load drive < JOB");
            return ExitCode::SUCCESS;
        }
        ["upstream", address] => runtime().and_then(|runtime| {
            let address = address.parse().map_err(io::Error::other)?;
            runtime.block_on(upstream::serve(address))
        }),
        ["drive"] => runtime().and_then(|runtime| {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            let job = serde_json::from_str(&text)?;
            let outcome = runtime.block_on(drive::run(job))?;
            println!("{}", serde_json::to_string(&outcome)?);
            Ok(())
        }),
        _ => Err(io::Error::other("unknown arguments")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("load: {e}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
