//! Reading keys.json again while running: first checked, then put into force as a whole, so that
//! SIGHUP can check every other file in between.

use std::sync::MutexGuard;

use super::digest::Digest;
use super::merge::ReloadReport;
use super::store::{Found, State, admin_digest};
use super::{KeyError, KeyStore};

impl KeyStore {
    /// Reads the file again, as for SIGHUP, and checks it, without putting it into force yet:
    /// [`Reload::commit`] does, dropping it does nothing. Changes wait meanwhile. `admin` is the
    /// admin key of the configuration that is being loaded.
    pub fn begin_reload(&self, admin: Option<&str>, now: u64) -> Result<Reload<'_>, KeyError> {
        let mut warnings = Vec::new();
        let admin = admin_digest(admin, &mut warnings)?;
        let state = self.lock();
        let Some(found) = self.read(&state, now)? else {
            let what =
                "is missing; the keys in memory stay valid, and the next change writes it anew";
            return Err(KeyError::Damaged {
                path: self.path().to_owned(),
                line: None,
                what: what.to_owned(),
            });
        };
        let counts = admin.or(found.doc.admin.hash);
        if counts.is_none() {
            let what = "there would be no admin key: give one in the configuration, or restart to have one made";
            return Err(KeyError::invalid("admin.key", what));
        }
        let admin_changed = counts != state.admin_in(&state.doc);
        Ok(Reload {
            store: self,
            state,
            found,
            admin,
            admin_changed,
            warnings,
        })
    }

    /// [`begin_reload`](Self::begin_reload) and commit at once.
    pub fn reload(&self, admin: Option<&str>, now: u64) -> Result<ReloadReport, KeyError> {
        Ok(self.begin_reload(admin, now)?.commit())
    }
}

/// A re-read keys.json that has been checked and is not in force yet. Holds the store's lock: not
/// to be kept across an await.
#[derive(Debug)]
#[must_use = "a reload that is dropped changes nothing"]
pub struct Reload<'a> {
    store: &'a KeyStore,
    state: MutexGuard<'a, State>,
    found: Found,
    admin: Option<Digest>,
    admin_changed: bool,
    warnings: Vec<String>,
}

impl Reload<'_> {
    /// What is wrong, though not wrong enough to refuse it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Puts the new keys into force for the next request. Writes nothing: what the file lacks
    /// (totals) goes there with the next change.
    pub fn commit(mut self) -> ReloadReport {
        self.state.content = self.found.content;
        self.state.dirty = self.found.dirty;
        self.state.admin = self.admin;
        self.store.swap(&mut self.state, self.found.doc);
        ReloadReport {
            admin_changed: self.admin_changed,
            ..self.found.report
        }
    }
}
