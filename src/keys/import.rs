//! Taking over the keys of the old Python proxy (gateway.md section 2): at the first start, when
//! keys.json itself is in its form, and by `luna import FILE`.
//!
//! Invariants: a copy of the old file is on disk before anything is written; a key that was off
//! never comes back on; the same secrets a second time add nothing; no message holds a secret.

mod fields;
mod old;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use old::OldFile;
use old::OldKey;

use super::digest::{Digest, random_id, shown_prefix};
use super::file::{Doc, MAX_FILE_BYTES};
use super::input::MAX_NAME_CHARS;
use super::merge::KeyRef;
use super::parse::{Parsed, parse};
use super::record::KeyRecord;
use super::{ADMIN_ID, KeyError, KeyStore};
use crate::store::{StoreError, read_file, write_new};

/// Copies beside each other, when different old files were imported.
const MAX_COPIES: u32 = 1000;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// The old file.
    pub source: PathBuf,
    /// Where its copy is, which holds plain secrets; `None` when nothing had to be imported.
    pub copy: Option<PathBuf>,
    pub added: Vec<KeyRef>,
    /// Entries whose secret is known already.
    pub already: usize,
    /// Entries that could not be read.
    pub skipped: usize,
    /// What was not carried over as it was, and what to do about it.
    pub warnings: Vec<String>,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} keys taken over from {}, {} known already, {} not readable",
            self.added.len(),
            self.source.display(),
            self.already,
            self.skipped
        )
    }
}

/// Imports `path`, a keys.json of the Python proxy, into the store. The old file stays; a copy
/// (0600) goes beside the store's own keys.json.
pub fn import_into(store: &KeyStore, path: &Path, now: u64) -> Result<ImportReport, KeyError> {
    let bytes = read_file(path, MAX_FILE_BYTES)?;
    let old = match parse(path, &bytes, now)? {
        Parsed::Old(old) => old,
        Parsed::Luna(_) => {
            let what = "is a key file of Luna already: there is nothing to take over; point store.keys_file at it instead";
            return Err(KeyError::Damaged {
                path: path.to_owned(),
                line: None,
                what: what.to_owned(),
            });
        }
    };
    store.import(&old, path, &bytes, now)
}

/// What an import of `old` would say, without doing it.
pub(super) fn dry_run(old: OldFile, path: &Path, now: u64) -> Result<ImportReport, KeyError> {
    add_to(&mut Doc::default(), &old, path, &[], now)
}

/// Copies the old file beside `keys_file`, under a name that is free; a copy of the same content
/// that is there already will do.
pub(super) fn keep_copy(keys_file: &Path, bytes: &[u8]) -> Result<PathBuf, KeyError> {
    for number in 1..=MAX_COPIES {
        let mut name = keys_file.as_os_str().to_owned();
        name.push(if number == 1 {
            ".imported".to_owned()
        } else {
            format!(".imported.{number}")
        });
        let copy = PathBuf::from(name);
        match write_new(&copy, bytes) {
            Ok(()) => return Ok(copy),
            Err(StoreError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                if read_file(&copy, MAX_FILE_BYTES).is_ok_and(|there| there == bytes) {
                    return Ok(copy);
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    Err(KeyError::Full {
        what: format!("there are {MAX_COPIES} copies of imported key files; move them away"),
    })
}

/// The warning that goes with a copy.
pub(super) fn copy_warning(copy: &Path) -> String {
    format!(
        "{} holds the old keys in plain text (mode 0600); delete it once you no longer need the way back",
        copy.display()
    )
}

/// Adds the keys of `old` that are not in `doc` yet. `taken` are further secrets that no client
/// key may have: the admin's.
pub(super) fn add_to(
    doc: &mut Doc,
    old: &OldFile,
    source: &Path,
    taken: &[Digest],
    now: u64,
) -> Result<ImportReport, KeyError> {
    let mut report = ImportReport {
        source: source.to_owned(),
        skipped: old.skipped,
        warnings: old.warnings.clone(),
        ..ImportReport::default()
    };
    let mut hashes: HashSet<Digest> = doc
        .keys
        .iter()
        .flat_map(|k| k.previous.iter().map(|p| p.hash).chain([k.hash]))
        .collect();
    let taken_names = doc
        .keys
        .iter()
        .map(|k| k.name.clone())
        .chain([ADMIN_ID.to_owned()]);
    let mut names = Names {
        taken: taken_names.collect(),
        next: HashMap::new(),
    };
    for key in &old.keys {
        let hash = Digest::of(key.secret.as_bytes());
        if taken.contains(&hash) {
            report.skipped += 1;
            report.warnings.push(format!(
                "{}: has the secret of the admin key, which no client key may have",
                key.label
            ));
            continue;
        }
        if !hashes.insert(hash) {
            report.already += 1;
            continue;
        }
        let record = new_record(key, hash, &mut names, now)?;
        if key.name.as_ref().is_some_and(|n| *n != record.name) {
            report.warnings.push(format!(
                "{}: the name is taken; it is now {:?}",
                key.label, record.name
            ));
        }
        report.added.push(KeyRef::from(&record));
        doc.keys.push(Arc::new(record));
    }
    Ok(report)
}

fn new_record(
    key: &OldKey,
    hash: Digest,
    names: &mut Names,
    now: u64,
) -> Result<KeyRecord, KeyError> {
    let id = random_id()?;
    let name = names.take(key.name.as_deref().unwrap_or(&id));
    Ok(KeyRecord {
        id,
        name,
        prefix: shown_prefix(&key.secret),
        hash,
        previous: Vec::new(),
        enabled: key.enabled,
        admin: false,
        permissions: Vec::new(),
        models: key.models.clone(),
        created_at: key.created_at.unwrap_or(now),
        expires_at: key.expires_at,
        last_used_at: key.last_used_at,
        usage: key.usage,
        extra: serde_json::Map::new(),
    })
}

/// The names that are taken.
struct Names {
    taken: HashSet<String>,
    /// The number to try next for a name that came before, so that many equal names stay cheap.
    next: HashMap<String, u32>,
}

impl Names {
    /// Takes `name`, else `name-2`, `name-3` and so on, within the length of a name.
    fn take(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        while !self.taken.insert(free.clone()) {
            let number = self.next.entry(name.to_owned()).or_insert(2);
            let suffix = format!("-{number}");
            *number += 1;
            let room = MAX_NAME_CHARS.saturating_sub(suffix.len());
            free = name.chars().take(room).chain(suffix.chars()).collect();
        }
        free
    }
}
