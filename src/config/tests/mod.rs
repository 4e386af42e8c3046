#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may stop at the first surprise"
)]
//! Tests of the loader: each loads from a folder of its own with an environment that the test gives.

mod environment_tests;
mod fallback_json;
mod files;
mod prices;
mod published;
mod random;
mod secrets;
mod upstreams;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{LoadOptions, Problem, Settings, load};

/// A folder with files in it, and what a load in it starts from.
struct Place {
    folder: tempfile::TempDir,
    options: LoadOptions,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LoadOptions {
            cwd: folder.path().to_path_buf(),
            ..LoadOptions::default()
        };
        Self { folder, options }
    }

    /// With `conf/luna.toml`.
    fn with_toml(text: &str) -> Self {
        Self::new().file("conf/luna.toml", text)
    }

    /// With `conf/fallback.json` beside a luna.toml that has a second and a third upstream.
    fn with_fallback(text: &str) -> Self {
        Self::with_toml(
            "[upstreams.backup]\nprofile = 'anthropic'\n[upstreams.gpt]\nurl = 'http://gpt/v1'\nprofile = 'openai'\n",
        )
        .file("conf/fallback.json", text)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.options.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self) -> Result<Settings, Vec<Problem>> {
        load(&self.options)
    }

    fn good(&self) -> Settings {
        self.load()
            .unwrap_or_else(|problems| panic!("{}", lines(&problems)))
    }

    /// The problems, one a line, with paths relative to the folder.
    fn bad(&self) -> String {
        let problems = self
            .load()
            .map(|settings| settings.values.len())
            .unwrap_err();
        lines(&problems).replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

/// Checks that the problems are these, each given by a beginning of its line.
#[track_caller]
fn assert_problems(found: &str, wanted: &[&str]) {
    let found: Vec<&str> = found.lines().collect();
    for wanted in wanted {
        assert!(
            found.iter().any(|line| line.starts_with(wanted)),
            "no `{wanted}` in\n{}",
            found.join("\n")
        );
    }
    assert_eq!(found.len(), wanted.len(), "{}", found.join("\n"));
}

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// The folder of the package, where conf/ and docs/ are.
fn package() -> PathBuf {
    // This file is src/config/tests/mod.rs of the package, wherever the tests are built.
    let here = Path::new(file!());
    let package = here.ancestors().nth(4).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if package.is_absolute() {
        package.to_path_buf()
    } else {
        root.join(package)
    }
}
