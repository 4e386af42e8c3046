//! The command line: `luna COMMAND`, contracts/gateway.md section 1.
//!
//! Every command is a module with its arguments and a `run`. Those that ask a gateway go through
//! [`connect`] (where it is, which key) and [`http`]; those that work on the files through
//! [`offline`]. What is printed goes through [`out`], so that a closed pipe is no error.
//!
//! Invariants: exit code 0 done, 1 the thing checked is wrong or the request failed, 2 wrong usage;
//! no admin key is taken from the command line; the result goes to standard output and everything
//! else to standard error. Neighbours: `app` (serve, demo), `config`, `keys`, `usage`, `simulate`.

mod check;
mod connect;
mod demo;
mod explain;
mod failure;
mod http;
mod import;
mod keys;
mod offline;
mod out;
mod serve;
mod simulate;
mod table;
#[cfg(test)]
mod tests;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use check::CheckArgs;
pub use connect::ConnectArgs;
pub use explain::ExplainArgs;
pub use import::ImportArgs;
pub use keys::KeysArgs;
pub use simulate::SimulateArgs;
pub use usage::UsageArgs;

/// LLM gateway in front of Antigravity: keys, quota tiers, fallback and usage.
#[derive(Debug, Parser)]
#[command(name = "luna", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Serve(ServeArgs),
    /// Run a gateway and a simulated Antigravity on loopback, with nothing to configure
    Demo,
    /// Run the simulated Antigravity alone
    Simulate(SimulateArgs),
    /// Check configuration, chains and key file
    Check(CheckArgs),
    /// Show which tiers a request for a model would try now, and why
    Explain(ExplainArgs),
    /// Make, show and change client keys
    Keys(KeysArgs),
    /// Show what was used, by key, model, day or hour
    Usage(UsageArgs),
    /// Take over the keys of the old Python proxy
    Import(ImportArgs),
}

/// Arguments of `luna serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// luna.toml [default: LUNA_CONFIG, else conf/luna.toml if there, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Take over from a running gateway (not available in this version)
    #[arg(long)]
    pub upgrade: bool,
    /// Accept secrets that stand in examples, when every listener is on loopback
    #[arg(long)]
    pub insecure_example_keys: bool,
}

/// How an answer of the admin API is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// The admin API's JSON, unchanged.
    Json,
}

/// Reads the command line, does what it says, and tells how it went.
pub fn run() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => dispatch(cli.command),
        Err(wrong) => {
            // Help and version come this way too, with code 0. A closed pipe changes nothing.
            let _ = wrong.print();
            ExitCode::from(u8::try_from(wrong.exit_code()).unwrap_or(failure::WRONG_USAGE))
        }
    }
}

fn dispatch(command: Command) -> ExitCode {
    let done = match command {
        Command::Serve(args) => return serve::run(&args),
        Command::Demo => return demo::run(),
        Command::Check(args) => return check::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Usage(args) => usage::run(&args),
        Command::Import(args) => import::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out::note(&format!("luna: {failure}"));
            ExitCode::from(failure.code)
        }
    }
}
