//! Work on the files without a gateway: what is configured, and keys.json under the lock.

use std::path::Path;

use super::failure::Failure;
use super::out;
use crate::app::now;
use crate::config::{LoadOptions, Problem, Settings, load};
use crate::keys::{KeyStore, Opened, check_file};
use crate::store::{DataLock, StoreError};

/// What a load of the configuration starts from. Example keys are for `serve` and `check` to
/// refuse: a gateway that runs with them must be reachable.
pub(super) fn source(config: Option<&Path>) -> Result<LoadOptions, Failure> {
    LoadOptions::of_process(config.map(Path::to_owned), true)
        .map_err(|e| Failure::new(format!("the working folder cannot be read: {e}")))
}

/// The configuration, or all that is wrong with it.
pub(super) fn settings(config: Option<&Path>) -> Result<Settings, Failure> {
    load(&source(config)?).map_err(|problems| {
        unusable(
            &problems,
            "the configuration is not usable; luna check says the same",
        )
    })
}

/// Every problem on a line of its own, then `advice`.
pub(super) fn unusable(problems: &[Problem], advice: &str) -> Failure {
    let mut text = String::from("the configuration has errors\n");
    for problem in problems {
        text.push_str(&out::printable(&problem.to_string()));
        text.push('\n');
    }
    text.push_str(advice);
    Failure::new(text)
}

/// keys.json of a gateway that does not run, and proof that it does not.
pub(super) struct Offline {
    pub store: KeyStore,
    pub opened: Opened,
    _lock: DataLock,
}

/// Takes the lock on the data folder and opens keys.json. `held` says what to do when a gateway
/// holds the lock.
pub(super) fn open(settings: &Settings, held: &str) -> Result<Offline, Failure> {
    let lock = DataLock::acquire(&settings.store.data_dir).map_err(|e| match e {
        StoreError::Held { pid, .. } => {
            let process =
                pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            Failure::new(format!(
                "a gateway is running on {} ({process} holds its lock); {held}",
                settings.store.data_dir.display()
            ))
        }
        other => Failure::new(other.to_string()),
    })?;
    let admin = settings.admin.key.as_ref().map(|key| key.expose());
    let (store, opened) = KeyStore::open(&settings.store.keys_file, &lock, admin, now())
        .map_err(|e| Failure::new(e.to_string()))?;
    Ok(Offline {
        store,
        opened,
        _lock: lock,
    })
}

/// Whether keys.json is there and Luna's own. One of the Python proxy is not touched by the way:
/// that proxy may still be using it.
pub(super) fn own_key_file(path: &Path) -> Result<bool, Failure> {
    match check_file(path, now()).map_err(|e| Failure::new(e.to_string()))? {
        None => Ok(false),
        Some(checked) if !checked.old_form => Ok(true),
        Some(_) => Err(Failure::new(format!(
            "{0} is a key file of the Python proxy; take it over first: luna import {0}",
            path.display()
        ))),
    }
}

/// Says what opening the keys brought up.
pub(super) fn tell(opened: &Opened) {
    for warning in &opened.warnings {
        out::note(&format!("warning: {}", out::printable(warning)));
    }
}

/// The admin key, when opening made the first one.
pub(super) fn first_admin_key(opened: &Opened) -> Option<String> {
    let secret = opened.generated_admin.as_ref()?;
    Some(format!(
        "admin key (shown this once; only its hash is kept):\n{}\n\n",
        secret.reveal()
    ))
}
