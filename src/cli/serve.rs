//! `luna serve`: the gateway, and the signals that it lives by.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeArgs;
use crate::app::{App, StartError, VERSION, raise_file_limit};
use crate::config::{LoadOptions, Settings, load};
use crate::handover::{Door, Received};
use crate::telemetry::logging;

/// What a shell reports for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// How long a successor waits for the sockets; contracts/gateway.md section 7.
const SOCKETS_WITHIN: Duration = Duration::from_secs(60);

/// Runs the gateway until a signal ends it.
pub fn run(args: &ServeArgs) -> ExitCode {
    logging::init();
    if let Err(e) = keep_hang_up() {
        log::error!("SIGHUP cannot be handled: {e}");
        return ExitCode::FAILURE;
    }
    let source = match LoadOptions::of_process(args.config.clone(), args.insecure_example_keys) {
        Ok(source) => source,
        Err(e) => {
            log::error!("the working folder cannot be read: {e}");
            return ExitCode::FAILURE;
        }
    };
    let settings = match load(&source) {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in &problems {
                log::error!("{problem}");
            }
            log::error!(
                "the gateway does not start with this configuration; luna check says the same"
            );
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.server.threads)
        .thread_name("luna")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(serve(settings, source, args.upgrade));
            // Connections that outlived their grace must not hold the process.
            runtime.shutdown_timeout(Duration::from_millis(100));
            code
        }
        Err(e) => {
            log::error!("the runtime cannot start: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Takes SIGHUP away from its default action, which is to end the process, before anything else
/// is done. tokio keeps a handler once it is installed; until [`Signals`] listens it does nothing.
fn keep_hang_up() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    signal(SignalKind::hangup()).map(drop)
}

/// The signals that a running gateway lives by.
struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }
}

async fn serve(settings: Settings, source: LoadOptions, upgrade: bool) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(e) => {
            log::error!("signals cannot be handled: {e}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &settings.warnings {
        log::warn!("{warning}");
    }
    if let Some(warning) = raise_file_limit(settings.fd_need()) {
        log::warn!("{warning}");
    }
    let grace = settings.server.grace;
    let ready_delay = settings.server.ready_delay;
    let app = if upgrade {
        // Once the sockets are here the old gateway counts on this process: a signal waits until it serves.
        let received = tokio::select! {
            received = sockets(&settings) => received,
            _ = signals.terminate.recv() => return ExitCode::SUCCESS,
            _ = signals.interrupt.recv() => return ExitCode::from(INTERRUPTED),
        };
        match received {
            Ok(received) => take_over(settings, source, received).await,
            Err(e) => Err(e),
        }
    } else {
        App::start(settings, Some(source)).await
    };
    let app = match app {
        Ok(app) => app,
        Err(e) => {
            log::error!("{e}");
            return ExitCode::FAILURE;
        }
    };
    announce(&app);
    live(app, signals, grace, ready_delay).await
}

async fn take_over(
    settings: Settings,
    source: LoadOptions,
    received: Received,
) -> Result<App, StartError> {
    log::info!(
        "taking over from process {} (luna {})",
        received.pid,
        received.version
    );
    App::succeed(settings, source, received)
        .await?
        .serve()
        .await
}

/// Waits for what the process that runs now hands over.
async fn sockets(settings: &Settings) -> Result<Received, StartError> {
    let sock = &settings.server.upgrade_sock;
    let at = |e: std::io::Error| StartError(format!("server.upgrade_sock {}: {e}", sock.display()));
    let door = Door::open(sock).map_err(at)?;
    log::info!(
        "waiting at {} for the sockets, {} s at most: send SIGQUIT to the gateway that runs",
        sock.display(),
        SOCKETS_WITHIN.as_secs()
    );
    let received = tokio::time::timeout(SOCKETS_WITHIN, door.wait()).await;
    received
        .map_err(|_| {
            StartError(format!(
                "no gateway handed its sockets over within {} s: send SIGQUIT to the one that runs while this one waits, or \
                 start without --upgrade if none does",
                SOCKETS_WITHIN.as_secs()
            ))
        })?
        .map_err(at)
}

fn announce(app: &App) {
    for warning in &app.opened.warnings {
        log::warn!("{warning}");
    }
    if let Some(report) = &app.opened.imported {
        for warning in &report.warnings {
            log::warn!("{warning}");
        }
        log::info!("{report}");
    }
    if let Some(secret) = &app.opened.generated_admin {
        // To the terminal, not to the log: a log is kept.
        let told = writeln!(
            std::io::stdout().lock(),
            "admin key (shown this once; its hash is in keys.json):\n{}",
            secret.reveal()
        );
        if told.is_err() {
            log::error!(
                "a new admin key was made and could not be shown: set admin.key or ADMIN_KEY instead"
            );
        }
    }
    let admin = app.admin_address.unwrap_or(app.address);
    log::info!(
        "luna {VERSION} serves on http://{} (admin on http://{admin}/admin)",
        app.address
    );
    if let Some(metrics) = app.metrics_address {
        log::info!("metrics on http://{metrics}/metrics");
    }
}

async fn live(app: App, mut signals: Signals, grace: Duration, ready_delay: Duration) -> ExitCode {
    loop {
        tokio::select! {
            _ = signals.hang_up.recv() => {
                let reloader = std::sync::Arc::clone(&app.reloader);
                // What it says is in the log and the metrics.
                tokio::spawn(async move { reloader.reload().await.is_ok() });
            }
            _ = signals.quit.recv() => {
                let handed = tokio::select! {
                    handed = app.hand_over() => handed,
                    _ = signals.interrupt.recv() => {
                        return at_once(app.usage.clone(), "SIGINT", ExitCode::from(INTERRUPTED)).await;
                    }
                };
                match handed {
                    Ok(()) => return finish(app, signals, grace).await,
                    Err(kept) => log::error!("{kept}"),
                }
            }
            _ = signals.interrupt.recv() => {
                log::info!("SIGINT: ending at once");
                return end(app.stop(Duration::ZERO).await, ExitCode::from(INTERRUPTED));
            }
            _ = signals.terminate.recv() => break,
        }
    }
    log::info!("SIGTERM: draining, at most {} s", grace.as_secs());
    app.begin_drain();
    let usage = app.usage.clone();
    tokio::select! {
        () = tokio::time::sleep(ready_delay) => {}
        _ = signals.terminate.recv() => return at_once(usage, "second SIGTERM", ExitCode::SUCCESS).await,
        _ = signals.interrupt.recv() => return at_once(usage, "SIGINT", ExitCode::from(INTERRUPTED)).await,
    }
    tokio::select! {
        stopped = app.stop(grace) => end(stopped, ExitCode::SUCCESS),
        _ = signals.terminate.recv() => at_once(usage, "second SIGTERM", ExitCode::SUCCESS).await,
        _ = signals.interrupt.recv() => at_once(usage, "SIGINT", ExitCode::from(INTERRUPTED)).await,
    }
}

/// The successor serves; what runs here ends.
async fn finish(app: App, mut signals: Signals, grace: Duration) -> ExitCode {
    log::info!(
        "handed over; the connections that are open here run on, at most {} s",
        grace.as_secs()
    );
    let usage = app.usage.clone();
    let mut told = false;
    let mut finished = std::pin::pin!(app.finish(grace));
    loop {
        tokio::select! {
            stopped = &mut finished => return end(stopped, ExitCode::SUCCESS),
            _ = signals.interrupt.recv() => return at_once(usage, "SIGINT", ExitCode::from(INTERRUPTED)).await,
            _ = signals.terminate.recv() => {
                if told {
                    return at_once(usage, "second SIGTERM", ExitCode::SUCCESS).await;
                }
                // Sent to both processes it must not cut the streams of this one.
                log::info!("SIGTERM: draining already; a second one ends at once");
                told = true;
            }
        }
    }
}

async fn at_once(usage: crate::usage::UsageHandle, why: &str, code: ExitCode) -> ExitCode {
    log::warn!("{why}: ending at once");
    let stopped = tokio::task::spawn_blocking(move || usage.stop()).await;
    match stopped {
        Ok(Ok(())) => code,
        Ok(Err(e)) => end(Err(StartError(e.to_string())), code),
        Err(e) => end(Err(StartError(e.to_string())), code),
    }
}

fn end(stopped: Result<(), StartError>, code: ExitCode) -> ExitCode {
    match stopped {
        Ok(()) => {
            log::info!("ended; usage is written");
            code
        }
        Err(e) => {
            log::error!("{e}");
            ExitCode::FAILURE
        }
    }
}
