//! The process's log: env_logger, one line an event, UTC times.

use std::io::Write;

/// What is logged when `RUST_LOG` says nothing: Luna's own lines, and warnings of the libraries.
pub const DEFAULT_FILTER: &str = "warn,luna=info";

/// The libraries never say more than this: below it they print whole headers and bodies, which are
/// keys and conversations.
const LIBRARIES: log::LevelFilter = log::LevelFilter::Info;

fn is_said(metadata: &log::Metadata<'_>) -> bool {
    let target = metadata.target();
    let ours = target == "luna" || target.starts_with("luna::");
    ours || metadata.level() <= LIBRARIES
}

/// Starts the log on standard error. A second call changes nothing.
///
/// Control characters in a message are replaced, so that no request can forge a line.
pub fn init() {
    let env = env_logger::Env::default().default_filter_or(DEFAULT_FILTER);
    let started = env_logger::Builder::from_env(env)
        .format(|out, record| {
            if !is_said(record.metadata()) {
                return Ok(());
            }
            let text = record.args().to_string();
            let line: std::borrow::Cow<'_, str> = if text.contains(char::is_control) {
                text.replace(char::is_control, " ").into()
            } else {
                text.into()
            };
            writeln!(
                out,
                "{:.3} {:5} {} {line}",
                jiff::Timestamp::now(),
                record.level(),
                record.target(),
            )
        })
        .try_init();
    if started.is_err() {
        log::debug!("the log was started before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, Metadata};

    #[test]
    fn libraries_are_quiet_whatever_rust_log_says() {
        let said =
            |target, level| is_said(&Metadata::builder().target(target).level(level).build());
        assert!(said("luna", Level::Trace) && said("luna::access", Level::Debug));
        assert!(said("pingora_proxy", Level::Info) && said("h2", Level::Error));
        for target in [
            "pingora_proxy::proxy_h1",
            "pingora_core",
            "h2::codec",
            "hyper",
            "rustls",
            "lunatic",
        ] {
            assert!(!said(target, Level::Debug), "{target}");
        }
    }
}
