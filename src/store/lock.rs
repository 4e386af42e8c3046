//! The lock that makes one process the owner of a data folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::atomic::{create_folder, keep_owner};

const LOCK_FILE: &str = "luna.lock";

/// Ownership of a data folder for as long as the value lives. The kernel lets go of it when the
/// process dies, however it dies; the lock file itself stays, as removing it would let two
/// processes lock two files of the same name.
#[derive(Debug)]
pub struct DataLock {
    file: File,
    path: PathBuf,
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
        // The pid only serves the message of whoever comes second.
        let pid = format!("{}\n", std::process::id());
        let noted = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(pid.as_bytes()));
        if let Err(e) = noted {
            log::warn!("cannot note the process in {}: {e}", path.display());
        }
        Ok(Self { file, path })
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
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
