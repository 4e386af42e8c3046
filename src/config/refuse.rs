//! What is understood and still not allowed: example secrets, and what a later version brings.

use super::problem::Problem;
use super::schema::find;
use super::value::{Kind, Val};
use super::values::Values;

/// Secrets that stand in examples and that everybody knows, in lower case.
const EXAMPLES: [&str; 22] = [
    "sk-admin-luna2026",
    "changeme",
    "change-me",
    "change_me",
    "change-me-please",
    "changeit",
    "replaceme",
    "replace-me",
    "replace_me",
    "secret",
    "password",
    "admin",
    "admin123",
    "administrator",
    "12345678",
    "letmein",
    "example",
    "your-key-here",
    "your-api-key",
    "your-admin-key",
    "sk-your-key",
    "sk-1234",
];
/// An admin key shorter than this is warned about.
const MIN_ADMIN_KEY: usize = 20;

/// The message for what is not built yet: `what` would have to be available; `instead` says how to do without.
pub(super) fn not_yet(what: &str, instead: &str) -> String {
    format!("{what} is not available in this version; {instead}")
}

/// Refuses what later versions own, when it is switched on.
pub(super) fn later(values: &Values, problems: &mut Vec<Problem>) {
    let mut refuse = |name: &str, off: Val, instead: &str| {
        if let Some((value, origin)) = values.get(name)
            && *value != off
        {
            let shown = match value {
                Val::Text(text) => format!("{name} = \"{text}\""),
                Val::Flag(flag) => format!("{name} = {flag}"),
                _ => name.to_owned(),
            };
            problems.push(origin.problem(not_yet(&shown, instead)));
        }
    };
    let text = |text: &str| Val::Text(text.to_owned());
    let no_path = || Val::Path(std::path::PathBuf::new());
    refuse(
        "lark.enabled",
        Val::Flag(false),
        "set it to false or leave it out",
    );
    refuse(
        "streams.midstream",
        text("error"),
        "set it to \"error\" or leave it out",
    );
    let proxy = "set it to \"\" and let a reverse proxy end TLS";
    refuse("server.tls_cert", no_path(), proxy);
    refuse("server.tls_key", no_path(), proxy);
}

/// Whether everybody knows this secret.
pub(super) fn is_example(secret: &str) -> bool {
    let secret = secret.trim().to_ascii_lowercase();
    EXAMPLES.contains(&secret.as_str()) || (secret.starts_with('<') && secret.ends_with('>'))
}

/// Example secrets and weak admin keys. `allowed` is `--insecure-example-keys`, `loopback` whether every listener is.
pub(super) fn secrets(
    values: &Values,
    allowed: bool,
    loopback: bool,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    for (name, value, origin) in values.iter() {
        let Val::Secret(secret) = value else { continue };
        if find(name).is_none_or(|setting| setting.kind != Kind::Secret) {
            continue;
        }
        if is_example(secret.expose()) {
            let what = match (allowed, loopback) {
                (true, true) => {
                    warnings.push(format!(
                        "{name} is a known example secret, allowed by --insecure-example-keys"
                    ));
                    continue;
                }
                (true, false) => {
                    "is a known example secret; --insecure-example-keys allows it only while every listener is on a \
                     loopback address"
                }
                (false, _) => "is a known example secret; set one of your own",
            };
            problems.push(origin.problem(format!("{name} {what}")));
        } else if name == "admin.key" && secret.expose().chars().count() < MIN_ADMIN_KEY {
            warnings.push(format!(
                "admin.key has fewer than {MIN_ADMIN_KEY} characters: anyone can guess it"
            ));
        }
    }
}
