//! Why usage cannot be opened, and why a question has no answer.

use std::fmt;

use crate::store::StoreError;

use super::RangeError;
use super::dayfile::Refused;

/// Why usage cannot be opened. Written for the operator; names files.
#[derive(Debug)]
pub enum OpenError {
    /// `usage.timezone` is not known.
    TimeZone(String),
    /// The folder or a file in it cannot be read or made.
    Io(StoreError),
    /// A file is damaged or newer than this program: file, line, what to do.
    Damaged(String),
    /// The owner's thread cannot be started.
    Thread(std::io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeZone(name) => write!(
                f,
                "usage.timezone: {name:?} is not a known time zone; use an IANA name such as \"Europe/Berlin\" or \"UTC\""
            ),
            Self::Io(error) => error.fmt(f),
            Self::Damaged(message) => f.write_str(message),
            Self::Thread(error) => write!(f, "the usage thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Refused> for OpenError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Io(error) => Self::Io(error),
            Refused::Damaged(message) => Self::Damaged(message),
        }
    }
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum QueryError {
    /// The client's `from` or `to`; its text is for the client (400).
    Range(RangeError),
    /// A file could not be read; its text names the file and is for the log, not for clients (500).
    Unreadable(String),
    /// The owner has stopped (503).
    Stopped,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(error) => error.fmt(f),
            Self::Unreadable(message) => f.write_str(message),
            Self::Stopped => f.write_str("usage is no longer kept: the gateway is stopping"),
        }
    }
}

impl std::error::Error for QueryError {}

impl From<RangeError> for QueryError {
    fn from(error: RangeError) -> Self {
        Self::Range(error)
    }
}
