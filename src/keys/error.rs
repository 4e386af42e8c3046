//! Why a key operation was refused.

use std::fmt;
use std::path::PathBuf;

use crate::store::StoreError;

/// A refused key operation. Whatever the variant, nothing was changed. No variant holds a secret.
#[derive(Debug)]
pub enum KeyError {
    /// No key has this id or secret (404). What was asked for is not repeated: it may be a secret.
    NotFound,
    /// The name is taken (409).
    Conflict { name: String },
    /// A value is out of bounds or of the wrong kind (400).
    Invalid { field: String, what: String },
    /// The table has no room left (400).
    Full { what: String },
    /// This process has handed keys.json over to its successor (503).
    HandedOver,
    /// The file could not be read or written (500).
    Store(StoreError),
    /// The file's content cannot be understood, so that it was neither used nor overwritten (500).
    Damaged {
        path: PathBuf,
        line: Option<usize>,
        what: String,
    },
    /// The system's random source failed (500).
    Random,
}

impl KeyError {
    pub(super) fn invalid(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            what: what.into(),
        }
    }

    /// The message for a client of the admin API: no path of this host.
    pub fn public(&self) -> String {
        match self {
            Self::Store(error) => format!("the change was not made: {}", error.public()),
            Self::Damaged { .. } => {
                "the change was not made: the key file was edited and cannot be understood; the gateway's log says where"
                    .to_owned()
            }
            other => other.to_string(),
        }
    }
}

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no key has this id or secret; GET /admin/keys lists the ids"),
            Self::Conflict { name } => {
                write!(f, "a key named {name:?} exists already; choose another name, or rotate that key")
            }
            Self::Invalid { field, what } => write!(f, "{field}: {what}"),
            Self::Full { what } => f.write_str(what),
            Self::HandedOver => {
                f.write_str("this process is being replaced by its successor, which will take the change; try again")
            }
            Self::Store(error) => error.fmt(f),
            Self::Damaged { path, line, what } => {
                write!(f, "{}", path.display())?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                write!(f, ": {what} (the file was left as it is)")
            }
            Self::Random => f.write_str("the random source of the system failed; nothing was changed"),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => error.source(),
            _ => None,
        }
    }
}
