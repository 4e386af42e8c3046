//! `luna import`: takes over the keys of the old Python proxy, contracts/gateway.md section 2.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::{offline, out};
use crate::app::now;
use crate::config::Settings;
use crate::keys::{ImportReport, check_file, import_into};
use crate::telemetry::logging;

/// Arguments of `luna import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// keys.json of the Python proxy; it stays as it is, unless it is store.keys_file itself
    #[arg(value_name = "KEYS.json")]
    pub file: PathBuf,
    /// luna.toml [default: LUNA_CONFIG, else conf/luna.toml if there, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// An import and what is to be shown of it.
pub(super) struct Imported {
    /// For standard output.
    pub text: String,
    /// `text` holds a new admin key.
    pub has_secret: bool,
    pub report: ImportReport,
}

pub(super) fn run(args: &ImportArgs) -> Result<(), Failure> {
    logging::init();
    let settings = offline::settings(args.config.as_deref())?;
    let imported = import(&settings, &args.file)?;
    if imported.has_secret {
        out::print_once(
            &imported.text,
            "the admin key is lost: set admin.key or ADMIN_KEY instead",
        )?;
    } else {
        out::print(&imported.text)?;
    }
    for warning in &imported.report.warnings {
        out::note(&format!("warning: {}", out::printable(warning)));
    }
    let report = &imported.report;
    if report.added.is_empty() && report.already == 0 && report.skipped > 0 {
        return Err(Failure::new("none of the keys could be read"));
    }
    Ok(())
}

pub(super) fn import(settings: &Settings, file: &Path) -> Result<Imported, Failure> {
    let keys_file = &settings.store.keys_file;
    // First of all, so that what cannot be imported leaves nothing behind.
    let same = same_file(file, keys_file)?;
    importable(file)?;
    if !same {
        offline::own_key_file(keys_file)?;
    }
    let mut opened = offline::open(settings, "stop it before you import keys")?;
    offline::tell(&opened.opened);
    let admin = offline::first_admin_key(&opened.opened);
    let report = match opened.opened.imported.take() {
        Some(report) => Ok(report),
        None => import_into(&opened.store, file, now()),
    };
    let report = report.map_err(|error| {
        // The admin key was made all the same.
        if let Some(admin) = &admin {
            out::note(admin.trim_end());
        }
        Failure::new(error.to_string())
    })?;
    let has_secret = admin.is_some();
    let mut text = admin.unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", out::printable(&report.to_string()));
    for key in &report.added {
        let _ = writeln!(text, "  {}  {}", key.id, out::printable(&key.name));
    }
    Ok(Imported {
        text,
        has_secret,
        report,
    })
}

/// Refuses what is no key file of the Python proxy.
fn importable(file: &Path) -> Result<(), Failure> {
    match check_file(file, now()).map_err(|e| Failure::new(e.to_string()))? {
        Some(checked) if !checked.old_form => Err(Failure::new(format!(
            "{} is a key file of Luna already: there is nothing to take over; point store.keys_file at it instead",
            file.display()
        ))),
        _ => Ok(()),
    }
}

/// Whether the file to import is the configured one; fails when it is not there.
fn same_file(file: &Path, keys_file: &Path) -> Result<bool, Failure> {
    let real = file
        .canonicalize()
        .map_err(|e| Failure::new(format!("{} cannot be read: {e}", file.display())))?;
    Ok(keys_file
        .canonicalize()
        .is_ok_and(|configured| configured == real))
}
