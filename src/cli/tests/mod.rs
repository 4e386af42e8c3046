#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod args;
mod check;
mod connect;
mod explain;
pub(super) mod fake;
mod http;
mod import;
mod simulate;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{LoadOptions, Settings};

/// Default settings with everything in `folder`.
pub(super) fn settings(folder: &Path) -> Settings {
    Settings::from_text("", None, folder).unwrap()
}

/// A start in `folder` with this environment.
fn source(folder: &Path, env: &[(&str, &str)]) -> LoadOptions {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    LoadOptions {
        config: None,
        env: env.collect::<BTreeMap<_, _>>(),
        cwd: folder.to_owned(),
        insecure_example_keys: true,
    }
}

/// Writes files into `folder`.
pub(super) fn put(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}
