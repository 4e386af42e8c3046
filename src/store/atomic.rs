//! Replacing a file as a whole, and reading one within a bound.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;

/// Mode at creation, whatever the final mode: there is no moment at which others can read.
const PRIVATE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
/// Names that are taken already are skipped; more than this many means something else is wrong.
const TEMP_NAME_TRIES: u32 = 100;

/// Tells one state of a file from another without reading it. Two edits of equal length within
/// one tick of the file system's clock can look the same; whoever cannot bear that compares the
/// content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// The file's state now; `None` when it does not exist.
    pub fn of(path: &Path) -> Result<Option<Self>, StoreError> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Some(Self::from_metadata(&meta))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("look at", path, e)),
        }
    }

    fn from_metadata(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Reads a whole regular file of at most `max_bytes`.
pub fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
    read_open(path, max_bytes).map(|(bytes, _)| bytes)
}

/// Like [`read_file`], with the state of the file that was read; `None` when there is no file.
pub fn read_stamped(
    path: &Path,
    max_bytes: u64,
) -> Result<Option<(Vec<u8>, Fingerprint)>, StoreError> {
    match read_open(path, max_bytes) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

fn read_open(path: &Path, max_bytes: u64) -> Result<(Vec<u8>, Fingerprint), StoreError> {
    let fail = |e| StoreError::io("read", path, e);
    // Asked before opening: opening a pipe would wait for its writer.
    let meta = fs::metadata(path).map_err(fail)?;
    if meta.is_dir() {
        return Err(fail(ErrorKind::IsADirectory.into()));
    }
    if !meta.is_file() {
        return Err(fail(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        )));
    }
    let file = File::open(path).map_err(fail)?;
    let stamp = Fingerprint::from_metadata(&file.metadata().map_err(fail)?);
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > max_bytes {
        return Err(StoreError::TooLarge {
            path: path.to_owned(),
            max_bytes,
        });
    }
    Ok((bytes, stamp))
}

/// Replaces `path` by `bytes` so that a reader, and a reader after a power cut, finds the old
/// content or the new one. Returns when the new content is on disk.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    Staged::new(path, bytes, mode)?.commit()
}

/// New content, already on disk under a temporary name in the same folder, that has not taken the
/// file's place yet. Dropped without a commit it is removed.
#[derive(Debug)]
pub struct Staged {
    target: PathBuf,
    temp: PathBuf,
    done: bool,
}

impl Staged {
    /// Writes and syncs the temporary file. A symbolic link is followed, so that the link stays.
    pub fn new(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, StoreError> {
        let target = follow_link(path)?;
        let (mut file, temp) = create_temp(&target)?;
        let staged = Self {
            target,
            temp,
            done: false,
        };
        let fail = |e| StoreError::io("write", &staged.temp, e);
        file.write_all(bytes).map_err(fail)?;
        if mode != PRIVATE {
            file.set_permissions(Permissions::from_mode(mode))
                .map_err(fail)?;
        }
        let model =
            fs::metadata(&staged.target).or_else(|_| fs::metadata(folder_of(&staged.target)));
        keep_owner(&file, model.ok());
        file.sync_all().map_err(fail)?;
        Ok(staged)
    }

    /// Takes the file's place.
    ///
    /// An error after the rename (the folder could not be synced) leaves the new content in
    /// place: it can be seen, but might not survive a power cut.
    pub fn commit(mut self) -> Result<(), StoreError> {
        fs::rename(&self.temp, &self.target)
            .map_err(|e| StoreError::io("replace", &self.target, e))?;
        self.done = true;
        sync_folder(folder_of(&self.target))
    }

    /// Takes the file's place if it is still in the state `seen` (`None`: absent), else
    /// [`StoreError::Changed`]. Only the instant between look and rename stays open, which no
    /// editor without a lock can be kept out of.
    pub fn commit_if(self, seen: Option<Fingerprint>) -> Result<(), StoreError> {
        if Fingerprint::of(&self.target)? != seen {
            return Err(StoreError::Changed {
                path: self.target.clone(),
            });
        }
        self.commit()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.done {
            // Nothing can be done about a failure here; the next start removes leftovers.
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// Creates `path` with `bytes`, mode 0600, and refuses (`AlreadyExists`) when it is there already.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let fail = |e| StoreError::io("create", path, e);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(path)
        .map_err(fail)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(e) = written {
        // Half a copy that looks like a whole one is worse than none.
        let _ = fs::remove_file(path);
        return Err(fail(e));
    }
    sync_folder(folder_of(path))
}

/// Removes temporary files that a killed writer of `path` left behind. Only for the holder of the
/// data lock: another writer's file in the making looks the same.
pub fn remove_leftovers(path: &Path) {
    let Ok(target) = follow_link(path) else {
        return;
    };
    let stem = temp_stem(&target);
    let Ok(entries) = fs::read_dir(folder_of(&target)) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(stem.as_encoded_bytes())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Creates a folder and its parents, private to this user, if it is not there.
pub fn create_folder(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)
        .map_err(|e| StoreError::io("create the folder", path, e))
}

/// Keeps a file with the owner of what it replaces or belongs to, when this process may give it
/// away: a command run by root must not lock out the gateway's own user.
pub(super) fn keep_owner(file: &File, model: Option<fs::Metadata>) {
    let (Some(model), Ok(own)) = (model, file.metadata()) else {
        return;
    };
    if (model.uid(), model.gid()) != (own.uid(), own.gid()) {
        let _ = fchown(file, Some(model.uid()), Some(model.gid()));
    }
}

fn create_temp(target: &Path) -> Result<(File, PathBuf), StoreError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let stem = temp_stem(target);
    let mut tries = 0;
    loop {
        let mut name = stem.clone();
        name.push(format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let temp = folder_of(target).join(name);
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(&temp)
        {
            Ok(file) => return Ok((file, temp)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && tries < TEMP_NAME_TRIES => tries += 1,
            Err(e) => return Err(StoreError::io("create", &temp, e)),
        }
    }
}

fn temp_stem(target: &Path) -> OsString {
    let mut stem = OsString::from(".");
    stem.push(target.file_name().unwrap_or(OsStr::new("file")));
    stem.push(".tmp-");
    stem
}

fn follow_link(path: &Path) -> Result<PathBuf, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            fs::canonicalize(path).map_err(|e| StoreError::io("follow the link", path, e))
        }
        _ => Ok(path.to_owned()),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    match File::open(folder).and_then(|f| f.sync_all()) {
        Ok(()) => Ok(()),
        // Some network and FUSE file systems cannot sync a folder at all.
        Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => Ok(()),
        Err(e) => Err(StoreError::io("sync the folder", folder, e)),
    }
}
