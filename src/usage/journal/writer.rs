//! One journal's file: appended to, and nothing else.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::StoreError;

use super::line::{MAX_LINE, header};

/// What a write did.
pub(in super::super) struct Written {
    /// To be synced.
    pub(in super::super) file: Arc<File>,
    /// The file had been taken away, and with it all lines before these.
    pub(in super::super) vanished: bool,
}

/// The file that is being written. It comes into being with its first line.
pub(super) struct Writer {
    path: PathBuf,
    id: Arc<str>,
    file: Option<Arc<File>>,
    /// Bytes that were written whole; whatever stands behind is from a write that failed, and is written over.
    len: u64,
    vanished: bool,
    /// Where the disk is full.
    #[cfg(test)]
    pub(super) room: Option<u64>,
}

impl Writer {
    pub(super) fn new(path: PathBuf, id: Arc<str>) -> Self {
        Self {
            path,
            id,
            file: None,
            len: 0,
            vanished: false,
            #[cfg(test)]
            room: None,
        }
    }

    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Bytes in the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends lines with one write. After an error the same lines, and more behind them, can be given again.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<Written, StoreError> {
        self.look()
            .and_then(|()| self.write(lines))
            .map_err(|source| StoreError::Io {
                doing: "write",
                path: self.path.clone(),
                source,
            })
    }

    /// A file that was removed can still be written to, and nobody would ever read it.
    fn look(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let open = file.metadata()?;
        let found = match std::fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (open.dev(), open.ino()) => return Ok(()),
            Ok(found) => Some(found),
            Err(error) if gone(&error) => None,
            Err(error) => return Err(error),
        };
        // Replaced only once another can be had: a folder that was moved away may come back.
        let (file, len) = match found {
            None => (create(&self.path)?, 0),
            // A copy of ours, say from a folder that was brought back.
            Some(found) => adopt(&self.path, found.len())?,
        };
        self.file = Some(Arc::new(file));
        self.len = len;
        self.vanished = true;
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<Written> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::new(create(&self.path)?),
        };
        self.file = Some(Arc::clone(&file));
        if self.len == 0 {
            let mut first = header(&self.id).into_bytes();
            first.extend_from_slice(lines);
            self.write_at(&file, &first)?;
        } else {
            self.write_at(&file, lines)?;
        }
        let vanished = std::mem::take(&mut self.vanished);
        Ok(Written { file, vanished })
    }

    fn write_at(&mut self, file: &File, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(room) = self.room
            && self.len + bytes.len() as u64 > room
        {
            let part = usize::try_from(room.saturating_sub(self.len)).unwrap_or(0);
            file.write_all_at(&bytes[..part.min(bytes.len())], self.len)?;
            return Err(ErrorKind::StorageFull.into());
        }
        file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.write(true).create_new(true).mode(0o600);
    loop {
        let file = how.open(path)?;
        hold(&file);
        let open = file.metadata()?;
        match std::fs::metadata(path) {
            // Between the two steps a successor took it for the empty file of a process that has ended.
            Ok(found) if (found.dev(), found.ino()) != (open.dev(), open.ino()) => {}
            Err(error) if gone(&error) => {}
            Ok(_) | Err(_) => return Ok(file),
        }
    }
}

/// Says to other processes that this journal is being written; the lock ends with the process.
fn hold(file: &File) {
    if let Err(error) = file.lock() {
        log::debug!("a journal cannot be locked: {error}");
    }
}

/// Opens a file to go on behind its last whole line.
fn adopt(path: &Path, len: u64) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    hold(&file);
    let from = len.saturating_sub(MAX_LINE);
    let mut end = Vec::new();
    let mut reader = &file;
    reader.seek(SeekFrom::Start(from))?;
    reader.take(MAX_LINE).read_to_end(&mut end)?;
    let whole = memchr::memrchr(b'\n', &end).map_or(0, |at| at as u64 + 1);
    let len = if whole == 0 { 0 } else { from + whole };
    file.set_len(len)?;
    Ok((file, len))
}

fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
