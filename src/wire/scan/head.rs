//! What a scan finds, and why it refuses.

use std::fmt;

/// What a request body says about its routing.
#[derive(Debug)]
pub struct Head {
    /// The model; `None` when it is missing or null.
    pub model: Option<ModelField>,
    /// Whether the answer shall be a stream; false when missing or null.
    pub stream: bool,
    /// There is a top-level `stop_sequences`, `tool_choice`, `output_config` or `thread`: some upstreams ignore them
    /// without a word.
    pub delicate: bool,
}

/// The model and where it stands.
#[derive(Clone, Debug)]
pub struct ModelField {
    /// The unescaped name: at most 512 bytes, without control characters, possibly empty.
    pub name: String,
    /// First byte of the string literal (its quote), counted from the start of the body.
    pub start: usize,
    /// One past the literal's closing quote.
    pub end: usize,
}

/// Why a body is refused; the text is meant for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// Not a JSON object.
    Json {
        /// Byte of the body at which it shows.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A field that decides the routing is given twice.
    Duplicate {
        /// Its name.
        field: &'static str,
    },
    /// A field has a value that it cannot have.
    Type {
        /// Its name.
        field: &'static str,
        /// What it must be.
        what: &'static str,
    },
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { offset, what } => write!(
                f,
                "the body is not a valid JSON object: {what} (byte {offset})"
            ),
            Self::Duplicate { field } => write!(f, "{field}: given twice"),
            Self::Type { field, what } => write!(f, "{field}: {what}"),
        }
    }
}

impl std::error::Error for ScanError {}

pub(super) const WRONG_MODEL: ScanError = ScanError::Type {
    field: "model",
    what: "must be a string",
};
pub(super) const WRONG_STREAM: ScanError = ScanError::Type {
    field: "stream",
    what: "must be true or false",
};
pub(super) const LONG_MODEL: ScanError = ScanError::Type {
    field: "model",
    what: "must be at most 512 bytes long",
};

pub(super) const fn json(offset: usize, what: &'static str) -> ScanError {
    ScanError::Json { offset, what }
}
