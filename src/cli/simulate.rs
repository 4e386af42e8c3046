//! `luna simulate`: the simulated Antigravity alone.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::out;
use crate::simulate::{Generation, Sim, SimConfig, serve};
use crate::telemetry::logging;

/// The longest that a delay may be stretched.
const MAX_TIME_SCALE: f64 = 1000.0;

/// Arguments of `luna simulate`.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Which upstream to be: 2.0 or 2.7 of Antigravity, or the plain APIs anthropic or openai
    #[arg(long, default_value = "2.7", value_parser = generation)]
    pub generation: Generation,
    /// Multiply every delay by this; 0 means at once
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = time_scale)]
    pub time_scale: f64,
    /// Refuse with 400 what the real Anthropic or OpenAI API would refuse
    #[arg(long)]
    pub strict: bool,
    /// Listen on every address, not only on loopback. Its control needs no key
    #[arg(long)]
    pub allow_remote: bool,
}

fn generation(text: &str) -> Result<Generation, String> {
    Generation::parse(text).ok_or_else(|| "there are 2.0, 2.7, anthropic and openai".to_owned())
}

fn time_scale(text: &str) -> Result<f64, String> {
    let factor = text
        .parse()
        .ok()
        .filter(|f| (0.0..=MAX_TIME_SCALE).contains(f));
    factor.ok_or_else(|| format!("a number from 0 to {MAX_TIME_SCALE} is expected"))
}

pub(super) fn run(args: &SimulateArgs) -> Result<(), Failure> {
    logging::init();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("the runtime cannot start: {e}")))?
        .block_on(async {
            let ended = ended()?;
            simulate(args, ended, out::print).await
        })
}

/// Ready at the first SIGINT or SIGTERM. They are caught from the call on.
fn ended() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |e| Failure::new(format!("signals cannot be handled: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Serves until `ended`; `say` gets the line that names the address.
pub(super) async fn simulate(
    args: &SimulateArgs,
    ended: impl Future<Output = ()>,
    say: impl FnOnce(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let ip = if args.allow_remote {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    let wanted = SocketAddr::new(IpAddr::V4(ip), args.port);
    let failed = |e| {
        Failure::new(format!(
            "cannot listen on {wanted}: {e}; choose another port with --port"
        ))
    };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let sim = Sim::new(SimConfig {
        time_scale: args.time_scale,
        strict: args.strict,
        ..SimConfig::new(args.generation)
    });
    let url = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
    say(&format!(
        "url {url}  control {url}/__sim/  (simulated {} {})\n",
        args.generation.name(),
        args.generation.version()
    ))?;
    serve(listener, sim, ended)
        .await
        .map_err(|e| Failure::new(format!("the simulator ended: {e}")))
}
