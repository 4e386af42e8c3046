//! The journal: one JSON line for each finished request, appended before anything is added up.
//!
//! Its thread takes what the gateway reports, gives each request a sequence number, writes the lines of one `flush_ms` with
//! one write, and hands the counts on to the owner of the day files. The fdatasync follows on a thread of its own, so that a
//! slow disk delays no write.
//!
//! Invariants:
//! - Only this module appends to, cuts or removes a file `usage/journal-ID.jsonl`; each process writes files of its own.
//! - A sequence number is never used twice within a file, so "all lines up to N" names a set that cannot change.
//! - Before a compaction starts, all lines that it will hold have been written (as long as the disk takes them).
//! - A file is removed after everything in it is in compacted files, and its marks are dropped after that is durable.
//! - Who writes a file holds a lock on it: one that is locked by another process is never cut or removed.
//!
//! Neighbours: `owner` applies and compacts, `store` replays at start, `trouble` says what the disk refuses.

mod line;
mod recorder;
mod replay;
mod sync;
mod thread;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;

pub(super) use line::Line;
#[cfg(test)]
pub(super) use recorder::{Flush, Recorder};
pub(super) use replay::{Cut, Tails, cut, discover, follow, remove_read, replay};
pub(super) use thread::{Journal, JournalParams};

/// How far each journal has been taken in: the last sequence number by journal id.
pub(super) type Marks = BTreeMap<Arc<str>, u64>;

/// The name of a journal that begins now. Never one that has been used before.
fn new_id(date: Date) -> Arc<str> {
    let mut random = [0; 8];
    if getrandom::fill(&mut random).is_err() {
        // Without randomness the time has to tell two starts apart.
        let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        let nanos = since.map_or(0, |since| since.as_nanos());
        random.copy_from_slice(&nanos.to_le_bytes()[..8]);
    }
    format!("{date}-{:016x}", u64::from_le_bytes(random)).into()
}

/// The file of a journal.
fn path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("journal-{id}.jsonl"))
}

/// The journal that a file's name stands for.
fn id_of_name(name: &str) -> Option<&str> {
    let id = name.strip_prefix("journal-")?.strip_suffix(".jsonl")?;
    (!id.is_empty()).then_some(id)
}

/// Removes a journal of this process, whose every line is in compacted files.
pub(super) fn remove(dir: &Path, id: &str) -> io::Result<()> {
    match std::fs::remove_file(path(dir, id)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns when removals are durable.
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    match File::open(dir).and_then(|folder| folder.sync_all()) {
        // Some network and FUSE file systems cannot sync a folder at all.
        Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => Ok(()),
        // Without the folder too: it may come back, with the journals in it.
        synced => synced,
    }
}
