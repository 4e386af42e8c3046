//! The lock that makes one process the owner of a data folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::StoreError;
use super::atomic::{create_folder, keep_owner};

const LOCK_FILE: &str = "luna.lock";

/// Ownership of a data folder for as long as the value lives. The kernel lets go of it when the
/// process dies, however it dies; the lock file itself stays, as removing it would let two
/// processes lock two files of the same name.
///
/// In an upgrade it passes to the next process without a moment at which nobody has it: the lock
/// belongs to the open file, which both then have, and it holds until the last of them closes it.
#[derive(Debug)]
pub struct DataLock {
    file: File,
    path: PathBuf,
    /// Another process may have the same open file: unlocking it would unlock theirs.
    shared: AtomicBool,
}

impl DataLock {
    /// Takes the lock at once or fails with [`StoreError::Held`]. Creates the folder (0700) if it
    /// is not there.
    pub fn acquire(data_dir: &Path) -> Result<Self, StoreError> {
        create_folder(data_dir)?;
        let path = data_dir.join(LOCK_FILE);
        let fail = |e| StoreError::io("lock", &path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut file);
                return Err(StoreError::Held { path, pid });
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        keep_owner(&file, fs::metadata(data_dir).ok());
        let lock = Self {
            file,
            path,
            shared: AtomicBool::new(false),
        };
        lock.note_pid();
        Ok(lock)
    }

    /// Takes over `file`, which the process before this one has sent: its open lock file. Refused
    /// when that is the lock of another folder. Until [`keep`](Self::keep) the lock stays with the
    /// sender when this value is dropped.
    pub fn inherit(data_dir: &Path, file: OwnedFd) -> Result<Self, StoreError> {
        let path = data_dir.join(LOCK_FILE);
        let fail = |e| StoreError::io("take over", &path, e);
        let file = File::from(file);
        let (theirs, ours) = (
            file.metadata().map_err(fail)?,
            fs::metadata(&path).map_err(fail)?,
        );
        if (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()) {
            let what = "the running gateway has the lock of another data folder";
            return Err(fail(std::io::Error::other(what)));
        }
        Ok(Self {
            file,
            path,
            shared: AtomicBool::new(true),
        })
    }

    /// The lock as it is sent to the next process. From now on dropping this value leaves theirs
    /// in force.
    pub fn share(&self) -> std::io::Result<OwnedFd> {
        let copy = self.file.try_clone()?;
        self.shared.store(true, Ordering::Relaxed);
        Ok(copy.into())
    }

    /// The lock is this process's alone, because the other one has closed it or is about to.
    pub fn keep(&self) {
        self.shared.store(false, Ordering::Relaxed);
        self.note_pid();
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pid only serves the message of whoever comes second.
    fn note_pid(&self) {
        let pid = format!("{}\n", std::process::id());
        let noted = self
            .file
            .set_len(0)
            .and_then(|()| self.file.write_all_at(pid.as_bytes(), 0));
        if let Err(e) = noted {
            log::warn!("cannot note the process in {}: {e}", self.path.display());
        }
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
        if self.shared.load(Ordering::Relaxed) {
            return;
        }
        let _ = self.file.set_len(0);
        // Closing the file would do; said aloud so that the order after `set_len` is certain.
        let _ = self.file.unlock();
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
