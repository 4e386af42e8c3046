//! What can go wrong with a durable file, worded for the person who reads it at night.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A failed operation on a durable file.
#[derive(Debug)]
pub enum StoreError {
    /// The operating system refused.
    Io {
        /// What was being done, as a verb phrase: `write`, `rename onto`.
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The file is longer than its reader is willing to hold.
    TooLarge { path: PathBuf, max_bytes: u64 },
    /// Another process holds the data folder.
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder, as far as its lock file tells.
        pid: Option<u32>,
    },
    /// Somebody else replaced the file while the new content was being written; nothing was
    /// overwritten.
    Changed { path: PathBuf },
}

impl StoreError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// True when the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    }

    /// The message for a client of the gateway: no path of this host.
    pub fn public(&self) -> String {
        match self {
            Self::Io { source, .. } => {
                format!(
                    "a file of the gateway could not be read or written ({}); its log names the file",
                    source.kind()
                )
            }
            Self::TooLarge { .. } => {
                "a file of the gateway is too large; its log names the file".to_owned()
            }
            Self::Held { .. } => "another process holds the data folder of the gateway".to_owned(),
            Self::Changed { .. } => "a file of the gateway is being edited; try again".to_owned(),
        }
    }
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "; create its folder, or correct the path in the configuration",
        ErrorKind::PermissionDenied => {
            "; the user that runs luna must own the file and be able to write to its folder"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space on that disk",
        ErrorKind::ReadOnlyFilesystem => {
            "; mount it writable, or set store.data_dir to a writable folder"
        }
        ErrorKind::ResourceBusy => {
            "; a file that is itself a mount cannot be replaced: mount the folder that holds it instead"
        }
        ErrorKind::IsADirectory => "; a folder stands where the file should be: move it away",
        ErrorKind::NotADirectory => "; a file stands where a folder should be: correct the path",
        _ => "",
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                doing,
                path,
                source,
            } => {
                write!(
                    f,
                    "cannot {doing} {}: {source}{}",
                    path.display(),
                    advice(source.kind())
                )
            }
            Self::TooLarge { path, max_bytes } => write!(
                f,
                "{} is larger than {max_bytes} bytes and was not read; is it the right file?",
                path.display()
            ),
            Self::Held { path, pid } => {
                write!(f, "the data folder is in use: {} is locked", path.display())?;
                match pid {
                    Some(pid) => write!(f, " by process {pid}")?,
                    None => write!(f, " by another process")?,
                }
                write!(
                    f,
                    "; stop that luna first, or give this one its own store.data_dir"
                )
            }
            Self::Changed { path } => write!(
                f,
                "{} was changed by somebody else while it was being written; nothing was overwritten, try again",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
