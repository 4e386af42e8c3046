//! `luna demo`: a gateway and a simulated Antigravity in one process, with nothing to configure.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, now};
use crate::config::Settings;
use crate::keys::NewKey;
use crate::simulate::{Generation, SimConfig, spawn};
use crate::telemetry::logging;

const DEFAULT_PORT: u16 = 8180;
const CHAINS: &str = r#"{
  "threshold": 0.05, "recover": 0.10,
  "chains": {
    "claude-opus-4-6-thinking": ["claude-opus-4-6-thinking", "claude-sonnet-4-6", "gemini-3-flash"],
    "claude-sonnet-4-6": ["claude-sonnet-4-6", "gemini-3-flash"],
    "*": ["claude-sonnet-4-6", "gemini-3-flash"]
  },
  "aliases": {"claude-3-5-sonnet-*": "claude-sonnet-4-6"}
}"#;

/// Runs the demo until SIGINT or SIGTERM.
pub fn run() -> ExitCode {
    logging::init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            log::error!("the runtime cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(demo()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log::error!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// A folder in the system's temporary one that goes with the demo.
struct TempFolder(std::path::PathBuf);

impl TempFolder {
    fn make() -> std::io::Result<Self> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let name: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let path = std::env::temp_dir().join(format!("luna-demo-{name}"));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            log::warn!("{} could not be removed: {e}", self.0.display());
        }
    }
}

/// The port that was asked for, or a free one with the reason why.
fn choose_port(wanted: u16) -> Result<(u16, Option<String>), String> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Err(e) = TcpListener::bind(at(wanted)) {
        let free = TcpListener::bind(at(0))
            .and_then(|l| l.local_addr())
            .map_err(|e| format!("no port is free on loopback: {e}"))?;
        let said = format!(
            "port {wanted} cannot be used ({e}); using {} instead",
            free.port()
        );
        return Ok((free.port(), Some(said)));
    }
    Ok((wanted, None))
}

async fn demo() -> Result<(), String> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let wanted = match std::env::var("PROXY_PORT") {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("PROXY_PORT: {text:?} is not a port"))?,
        Err(_) => DEFAULT_PORT,
    };
    let (port, said) = choose_port(wanted)?;
    let folder = TempFolder::make().map_err(|e| format!("no temporary folder: {e}"))?;
    let simulated = spawn(SimConfig::new(Generation::V2_7))
        .await
        .map_err(|e| format!("the simulated Antigravity cannot start: {e}"))?;
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
         [quota]\npoll_interval_s = 2\n[usage]\ncompact_s = 2\n[store]\ndata_dir = \"data\"\n\
         [upstreams.default]\nurl = \"{}\"\n",
        simulated.url()
    );
    let settings = Settings::from_text(&toml, Some(CHAINS), &folder.0).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        texts.join("; ")
    })?;
    let app = App::start(settings, None)
        .await
        .map_err(|e| e.to_string())?;
    let (_, secret) = app
        .keys
        .create(NewKey::named("demo"), now())
        .map_err(|e| e.to_string())?;
    let admin = app
        .opened
        .generated_admin
        .as_ref()
        .ok_or("the demo's data folder was not empty")?;
    let text = page(
        said.as_deref(),
        &app,
        secret.reveal(),
        admin.reveal(),
        &simulated.url(),
    );
    // A closed pipe is no reason to end: the gateway can still be used.
    if std::io::stdout().lock().write_all(text.as_bytes()).is_err() {
        log::warn!("nobody reads what the demo prints");
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    app.stop(Duration::from_secs(2))
        .await
        .map_err(|e| e.to_string())?;
    simulated.stop().await;
    drop(folder);
    Ok(())
}

fn page(said: Option<&str>, app: &App, key: &str, admin: &str, simulated: &str) -> String {
    let url = format!("http://{}", app.address);
    let metrics = app
        .metrics_address
        .map_or_else(|| "off".to_owned(), |a| format!("http://{a}/metrics"));
    let note = said.map_or_else(String::new, |said| format!("note   {said}\n"));
    format!(
        r#"{note}url    {url}
key    {key}
admin  {admin}
metrics {metrics}

# ask (Anthropic format)
curl -s {url}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' -d '{{"model":"claude-sonnet-4-6","max_tokens":100,"messages":[{{"role":"user","content":"Hello"}}]}}'

# the same, streaming
curl -sN {url}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' -d '{{"model":"claude-sonnet-4-6","max_tokens":100,"stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'

# ask as an OpenAI client does; the answer is converted as it streams
curl -sN {url}/v1/chat/completions -H 'authorization: Bearer {key}' -H 'content-type: application/json' -d '{{"model":"claude-sonnet-4-6","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'

# let a model run dry, and see the next tier answer (x-luna-fallback, x-luna-served-model)
curl -s -X PUT {simulated}/__sim/quota/alice@example.com/claude-sonnet-4-6 -d '{{"remainingFraction":0.01}}'
curl -s -X PUT {simulated}/__sim/quota/bob@example.com/claude-sonnet-4-6 -d '{{"remainingFraction":0}}'
curl -s -X POST {url}/admin/fallback/poll -H 'x-api-key: {admin}'
curl -si {url}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' -d '{{"model":"claude-sonnet-4-6","max_tokens":100,"messages":[{{"role":"user","content":"Hello"}}]}}'

# make a model fail without warning, and see it skipped
curl -s -X PUT {simulated}/__sim/faults -d '[{{"model":"claude-opus-4-6-thinking","fault":"overloaded_529","times":1}}]'
curl -si {url}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' -d '{{"model":"claude-opus-4-6-thinking","max_tokens":100,"messages":[{{"role":"user","content":"Hello"}}]}}'

# usage by key and model
curl -s {url}/admin/usage -H 'x-api-key: {admin}'

Ctrl-C ends the demo.
"#
    )
}
