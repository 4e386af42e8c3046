//! The owner of keys.json: every change is on disk before it counts. The changes themselves are
//! in `ops`, the reload in `reload`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::KeyError;
use super::digest::{Digest, MAX_SECRET_BYTES, Secret, shown_prefix};
use super::file::{Doc, MAX_FILE_BYTES};
use super::import::{ImportReport, OldFile, add_to, copy_warning, keep_copy};
use super::merge::{ReloadReport, merge};
use super::parse::{Parsed, parse};
use super::table::KeyTable;
use crate::store::{
    DataLock, Fingerprint, Staged, StoreError, create_folder, read_stamped, remove_leftovers,
};

const MODE: u32 = 0o600;
/// How often a change is tried anew when the file is edited at the same moment.
const TRIES: usize = 4;
/// An admin key shorter than this is warned about at every start (gateway.md section 4).
const ADMIN_CHARS: usize = 20;

/// What [`KeyStore::open`] has to say to whoever started the program.
#[derive(Debug, Default)]
pub struct Opened {
    /// The admin key that was just made, to be shown this once.
    pub generated_admin: Option<Secret>,
    /// Set when keys.json was one of the Python proxy.
    pub imported: Option<ImportReport>,
    pub warnings: Vec<String>,
}

/// The keys and their file. Methods that change something write and sync the file, so call them
/// off the request path (`spawn_blocking`).
#[derive(Debug)]
pub struct KeyStore {
    path: PathBuf,
    state: Mutex<State>,
    table: ArcSwap<KeyTable>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) doc: Doc,
    /// Hash of the file's content that `doc` stands for.
    pub(super) content: Digest,
    /// `doc` says more than the file: a hand-edited file was merged and not yet written back.
    pub(super) dirty: bool,
    /// Hash of the admin key that the configuration names, which wins over the stored one.
    pub(super) admin: Option<Digest>,
    handed_over: bool,
}

impl State {
    pub(super) fn admin_in(&self, doc: &Doc) -> Option<Digest> {
        self.admin.or(doc.admin.hash)
    }
}

impl KeyStore {
    /// Opens keys.json, or makes it. `admin` is the admin key of the configuration; without one
    /// the stored one counts, and at the very first start one is made. The lock is proof that no
    /// other process writes.
    pub fn open(
        path: &Path,
        _lock: &DataLock,
        admin: Option<&str>,
        now: u64,
    ) -> Result<(Self, Opened), KeyError> {
        let mut opened = Opened::default();
        remove_leftovers(path);
        let admin = admin_digest(admin, &mut opened.warnings)?;
        let mut doc = Doc::default();
        let mut content = None;
        let mut stamp = None;
        if let Some((bytes, seen)) = read_stamped(path, MAX_FILE_BYTES)? {
            stamp = Some(seen);
            if let Some(mode) = open_mode(path) {
                opened.warnings.push(format!(
                    "{} can be read by others (mode {mode:o}); run chmod 600 on it",
                    path.display()
                ));
            }
            match parse(path, &bytes, now)? {
                Parsed::Luna(found) => {
                    doc = *found;
                    content = Some(Digest::of(&bytes));
                }
                Parsed::Old(old) => {
                    let copy = keep_copy(path, &bytes)?;
                    let taken: Vec<Digest> = admin.into_iter().collect();
                    let mut report = add_to(&mut doc, &old, path, &taken, now)?;
                    report.warnings.push(copy_warning(&copy));
                    report.copy = Some(copy);
                    opened.imported = Some(report);
                }
            }
        } else if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            create_folder(folder)?;
        }
        if admin.is_none() && doc.admin.hash.is_none() {
            let secret = Secret::generate()?;
            doc.admin.hash = Some(secret.digest());
            doc.admin.prefix = shown_prefix(secret.reveal());
            doc.admin.created_at = Some(now);
            opened.generated_admin = Some(secret);
            content = None;
        }
        let counts = admin.or(doc.admin.hash);
        if let Some(same) = doc.keys.iter().find(|k| Some(k.hash) == counts) {
            let name = &same.name;
            opened.warnings.push(format!(
                "the key {name:?} has the secret of the admin key; rotate one of them"
            ));
        }
        let bytes = doc.to_json()?;
        let written = Digest::of(&bytes);
        if content.is_none() {
            Staged::new(path, &bytes, MODE)?.commit_if(stamp)?;
        }
        // A file that a person wrote lacks what was filled in (ids, times): the next change adds it.
        let content = content.unwrap_or(written);
        let dirty = content != written;
        let table = KeyTable::new(&doc, counts, None);
        let state = State {
            doc,
            content,
            dirty,
            admin,
            handed_over: false,
        };
        let store = Self {
            path: path.to_owned(),
            state: Mutex::new(state),
            table: ArcSwap::from_pointee(table),
        };
        Ok((store, opened))
    }

    /// The current snapshot, for a look-up at once.
    pub fn table(&self) -> Guard<Arc<KeyTable>> {
        self.table.load()
    }

    /// The current snapshot, to be kept.
    pub fn snapshot(&self) -> Arc<KeyTable> {
        self.table.load_full()
    }

    /// keys.json.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From here on the file belongs to the successor process: every change is refused with
    /// [`KeyError::HandedOver`], requests are still authenticated. Returns when a write that was
    /// under way has ended.
    pub fn hand_over(&self) {
        self.lock().handed_over = true;
    }

    /// The successor has failed: the file is ours again.
    pub fn take_back(&self) {
        self.lock().handed_over = false;
    }

    pub(super) fn import(
        &self,
        old: &OldFile,
        source: &Path,
        bytes: &[u8],
        now: u64,
    ) -> Result<ImportReport, KeyError> {
        let state = self.lock();
        if state.handed_over {
            return Err(KeyError::HandedOver);
        }
        let taken: Vec<Digest> = [state.admin, state.doc.admin.hash]
            .into_iter()
            .flatten()
            .collect();
        let tried = add_to(&mut state.doc.clone(), old, source, &taken, now)?;
        drop(state);
        if tried.added.is_empty() {
            return Ok(tried);
        }
        let copy = keep_copy(&self.path, bytes)?;
        let mut report = self.change(now, |doc| add_to(doc, old, source, &taken, now))?;
        report.warnings.push(copy_warning(&copy));
        report.copy = Some(copy);
        Ok(report)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // State is only ever replaced as a whole, so that a panic cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one way to change anything: merge what others wrote, apply `f`, write, then swap. `f`
    /// is called anew when the file was edited meanwhile. What changes nothing is not written.
    pub(super) fn change<T>(
        &self,
        now: u64,
        mut f: impl FnMut(&mut Doc) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let mut state = self.lock();
        if state.handed_over {
            return Err(KeyError::HandedOver);
        }
        let mut tries = 1;
        loop {
            let found = self.read(&state, now)?;
            let stamp = found.as_ref().map(|f| f.stamp);
            if stamp.is_none() {
                log::warn!(
                    "{} has vanished; it is written anew from memory",
                    self.path.display()
                );
            }
            let unchanged =
                found.as_ref().is_some_and(|f| f.content == state.content) && !state.dirty;
            let (mut next, report) = match found {
                Some(found) => (found.doc, found.report),
                None => (state.doc.clone(), ReloadReport::default()),
            };
            let answer = f(&mut next)?;
            if unchanged && next == state.doc {
                return Ok(answer);
            }
            let bytes = next.to_json()?;
            match Staged::new(&self.path, &bytes, MODE)?.commit_if(stamp) {
                Ok(()) => {}
                Err(StoreError::Changed { .. }) if tries < TRIES => {
                    tries += 1;
                    continue;
                }
                Err(e) => return Err(e.into()),
            }
            if !report.is_empty() {
                log::warn!(
                    "{} was edited and has been merged; {report}",
                    self.path.display()
                );
            }
            state.content = Digest::of(&bytes);
            state.dirty = false;
            self.swap(&mut state, next);
            return Ok(answer);
        }
    }

    pub(super) fn swap(&self, state: &mut State, doc: Doc) {
        let before = self.table.load();
        let table = KeyTable::new(&doc, state.admin_in(&doc), Some(&before));
        state.doc = doc;
        self.table.store(Arc::new(table));
    }

    /// The file as it is now, merged with `state`; `None` when it is gone.
    pub(super) fn read(&self, state: &State, now: u64) -> Result<Option<Found>, KeyError> {
        let Some((bytes, stamp)) = read_stamped(&self.path, MAX_FILE_BYTES)? else {
            return Ok(None);
        };
        // The content and not the stamp is compared: an edit of the same length within one tick
        // of the file system's clock would pass for no edit.
        let content = Digest::of(&bytes);
        if content == state.content {
            let (doc, report) = (state.doc.clone(), ReloadReport::default());
            return Ok(Some(Found {
                doc,
                content,
                stamp,
                report,
                dirty: state.dirty,
            }));
        }
        match parse(&self.path, &bytes, now)? {
            Parsed::Luna(disk) => {
                let (doc, report) = merge(&state.doc, Doc::clone(&disk));
                let dirty = doc != *disk;
                Ok(Some(Found {
                    doc,
                    content,
                    stamp,
                    report,
                    dirty,
                }))
            }
            Parsed::Old(_) => {
                let what = "was replaced by a key file of the Python proxy; run `luna import` with it, or restart luna to take it over";
                Err(KeyError::Damaged {
                    path: self.path.clone(),
                    line: None,
                    what: what.to_owned(),
                })
            }
        }
    }
}

/// keys.json at one moment, merged with what is in memory.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) doc: Doc,
    pub(super) content: Digest,
    pub(super) stamp: Fingerprint,
    pub(super) report: ReloadReport,
    pub(super) dirty: bool,
}

/// Hash of the configured admin key; one that is empty counts as not given.
pub(super) fn admin_digest(
    admin: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<Option<Digest>, KeyError> {
    let Some(secret) = admin.filter(|s| !s.is_empty()) else {
        return Ok(None);
    };
    if secret.len() > MAX_SECRET_BYTES || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        let what = format!(
            "must have at most {MAX_SECRET_BYTES} ASCII characters and no spaces, as it goes into a header"
        );
        return Err(KeyError::invalid("admin.key", what));
    }
    if secret.len() < ADMIN_CHARS {
        warnings.push(format!("the admin key has under {ADMIN_CHARS} characters and could be guessed; use a longer one"));
    }
    Ok(Some(Digest::of(secret.as_bytes())))
}

/// The file's mode when others than its owner may touch it.
fn open_mode(path: &Path) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}
