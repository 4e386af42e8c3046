//! The process's log: env_logger, one line an event, UTC times.

use std::io::Write;

/// What is logged when `RUST_LOG` says nothing: Luna's own lines, and warnings of the libraries.
pub const DEFAULT_FILTER: &str = "warn,luna=info";

/// Starts the log on standard error. A second call changes nothing.
///
/// Control characters in a message are replaced, so that no request can forge a line.
pub fn init() {
    let env = env_logger::Env::default().default_filter_or(DEFAULT_FILTER);
    let started = env_logger::Builder::from_env(env)
        .format(|out, record| {
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
