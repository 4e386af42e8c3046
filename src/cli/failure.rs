//! Why a command did not do what it was asked.

use std::fmt;

/// Exit code: the request failed, or what was checked is wrong.
pub(super) const FAILED: u8 = 1;
/// Exit code: the command line is wrong. clap uses the same.
pub(super) const WRONG_USAGE: u8 = 2;

/// A failure on its way to standard error and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    /// Exit code.
    pub code: u8,
    /// The status of the gateway's answer, if it refused.
    pub status: Option<u16>,
    message: String,
}

impl Failure {
    /// Something could not be done; `message` says what and what to do about it.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            code: FAILED,
            status: None,
            message: message.into(),
        }
    }

    /// The arguments make no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: WRONG_USAGE,
            ..Self::new(message)
        }
    }

    /// The gateway answered with a status that is no success.
    pub fn refused(status: u16, message: impl Into<String>) -> Self {
        Self {
            status: Some(status),
            ..Self::new(message)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
