//! `luna check`: everything that a start would refuse, without starting.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::failure::FAILED;
use super::out;
use crate::app::now;
use crate::config::{Health, LoadOptions, Profile, Settings, load};
use crate::keys::check_file;
use crate::usage::{Known, OpenError, Store, StoreParams};

/// Arguments of `luna check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// luna.toml [default: LUNA_CONFIG, else conf/luna.toml if there, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check for a start of luna serve with the same option
    #[arg(long)]
    pub insecure_example_keys: bool,
}

/// What was found.
pub(super) struct Found {
    /// Errors and warnings, one a line, then a summary.
    pub text: String,
    /// No error was among it.
    pub sound: bool,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let options = match LoadOptions::of_process(args.config.clone(), args.insecure_example_keys) {
        Ok(options) => options,
        Err(e) => {
            out::note(&format!("luna: the working folder cannot be read: {e}"));
            return ExitCode::from(FAILED);
        }
    };
    let found = check(&options);
    match out::print(&found.text) {
        Ok(()) if found.sound => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(FAILED),
        Err(failure) => {
            out::note(&format!("luna: {failure}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Reads and checks all files. Opens no socket and writes nothing.
pub(super) fn check(options: &LoadOptions) -> Found {
    let settings = match load(options) {
        Ok(settings) => settings,
        Err(problems) => {
            let mut text = String::new();
            for problem in &problems {
                line(&mut text, &problem.to_string());
            }
            let errors = counted(problems.len(), "error");
            line(
                &mut text,
                &format!("{errors}; the key file is checked once the configuration is sound"),
            );
            return Found { text, sound: false };
        }
    };
    let mut text = String::new();
    for warning in &settings.warnings {
        line(&mut text, &format!("warning: {warning}"));
    }
    // From the working folder on, as the other files are named.
    let path = &settings.store.keys_file;
    let shown = path.strip_prefix(&options.cwd).unwrap_or(path);
    let keys = match keys(path, shown, &mut text) {
        Ok(keys) => keys,
        Err(()) => return Found { text, sound: false },
    };
    if let Err(error) = usage(&settings) {
        let folder = settings.store.data_dir.join("usage");
        let shown = folder.strip_prefix(&options.cwd).unwrap_or(&folder);
        let (whole, shown) = (folder.display().to_string(), shown.display().to_string());
        line(&mut text, &error.to_string().replace(&whole, &shown));
        line(&mut text, &counted(1, "error"));
        return Found { text, sound: false };
    }
    summary(&mut text, &settings, options, &keys);
    Found { text, sound: true }
}

/// Reads every day file and journal, as a start does.
fn usage(settings: &Settings) -> Result<(), OpenError> {
    let params = StoreParams {
        dir: settings.store.data_dir.join("usage"),
        timezone: settings.usage.timezone_name.clone(),
        keep_hours_days: settings.usage.keep_hours_days,
        keep_days: settings.usage.keep_days,
    };
    // As a start does, hours too.
    Store::open(params, Known::default())?.read_recent_hours()
}

fn keys(path: &Path, shown: &Path, text: &mut String) -> Result<String, ()> {
    match check_file(path, now()) {
        Ok(None) => Ok(format!(
            "{} is not there yet: the first start makes it",
            shown.display()
        )),
        Ok(Some(checked)) => {
            for warning in &checked.warnings {
                line(text, &format!("warning: {}: {warning}", shown.display()));
            }
            let keys = counted(checked.keys, "key");
            Ok(if checked.old_form {
                format!(
                    "{keys} of the Python proxy in {}: the next start takes them over",
                    shown.display()
                )
            } else {
                format!("{keys} in {}", shown.display())
            })
        }
        Err(error) => {
            let whole = error.to_string();
            line(
                text,
                &whole.replace(&path.display().to_string(), &shown.display().to_string()),
            );
            line(text, &counted(1, "error"));
            Err(())
        }
    }
}

fn summary(text: &mut String, settings: &Settings, options: &LoadOptions, keys: &str) {
    let files: Vec<String> = settings
        .sources
        .iter()
        .map(|file| {
            file.strip_prefix(&options.cwd)
                .unwrap_or(file)
                .display()
                .to_string()
        })
        .collect();
    let files = if files.is_empty() {
        "built-in defaults".to_owned()
    } else {
        files.join(", ")
    };
    line(text, &format!("sound: {files}"));
    for (setting, address) in settings.listeners() {
        line(text, &format!("  {setting} {address}"));
    }
    for (name, upstream) in &settings.upstreams {
        let profile = match upstream.profile {
            Profile::Antigravity => "antigravity",
            Profile::Anthropic => "anthropic",
            Profile::Openai => "openai",
        };
        let quotas = match upstream.health {
            Health::None => ", quotas unknown",
            Health::Antigravity => "",
        };
        line(
            text,
            &format!("  upstream {name}: {} ({profile}{quotas})", upstream.url),
        );
    }
    let chains = counted(settings.rules.chains().len(), "chain");
    let aliases = settings.rules.aliases().len();
    let aliases = if aliases == 1 {
        "1 alias".to_owned()
    } else {
        format!("{aliases} aliases")
    };
    line(text, &format!("  {chains}, {aliases}"));
    line(text, &format!("  {keys}"));
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail. A warning may have several lines of its own.
    for part in line.lines() {
        let _ = writeln!(text, "{}", out::printable(part));
    }
}
