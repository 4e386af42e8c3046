#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod durable;
mod foreign;
mod model;
mod operations;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::store::DataLock;

pub(super) const NOW: u64 = 1_795_000_000_000;
pub(super) const ADMIN: &str = "an-admin-key-of-good-length";

/// A data folder with its lock; the store can be opened in it again and again.
pub(super) struct Home {
    _dir: tempfile::TempDir,
    pub lock: DataLock,
    pub path: PathBuf,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lock = DataLock::acquire(dir.path()).unwrap();
        let path = dir.path().join("keys.json");
        Self {
            _dir: dir,
            lock,
            path,
        }
    }

    pub fn with(text: &str) -> Self {
        let home = Self::new();
        fs::write(&home.path, text).unwrap();
        home
    }

    pub fn open(&self) -> KeyStore {
        self.open_with(Some(ADMIN)).unwrap().0
    }

    pub fn open_with(&self, admin: Option<&str>) -> Result<(KeyStore, Opened), KeyError> {
        KeyStore::open(&self.path, &self.lock, admin, NOW)
    }

    pub fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// Edits the file as a person would, in place.
    pub fn edit(&self, f: impl FnOnce(&mut Value)) {
        let mut json = self.json();
        f(&mut json);
        fs::write(&self.path, serde_json::to_string(&json).unwrap()).unwrap();
    }

    pub fn others(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path.parent().unwrap())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n != "keys.json" && n != "luna.lock")
            .collect();
        names.sort();
        names
    }
}

pub(super) fn create(store: &KeyStore, name: &str) -> (KeyInfo, Secret) {
    store.create(NewKey::named(name), NOW).unwrap()
}

pub(super) fn auth(store: &KeyStore, secret: &str, now: u64) -> &'static str {
    match store.table().authenticate(secret.as_bytes(), now) {
        Auth::Client(_) => "client",
        Auth::Admin(_) => "admin",
        Auth::Disabled(_) => "disabled",
        Auth::Expired(_) => "expired",
        Auth::Unknown => "unknown",
    }
}
