//! How one attempt failed, as data: the code branches on nothing else.

use super::{Millis, Reason};

/// What a failure says is out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This model at this upstream.
    Tier,
    /// The whole upstream.
    Upstream,
    /// The whole upstream if its /health shows no working account, else the tier
    /// ("No accounts available", antigravity.md section 11).
    AskHealth,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The label.
    pub reason: Reason,
    /// When the upstream said that quota is back.
    pub reset: Option<Millis>,
    /// What is to be marked.
    pub scope: Scope,
    /// A 400, 413 or 422 that is not exhaustion: the request's fault, never marked.
    pub client_fault: bool,
    /// "Max retries exceeded": quota, 5xx, 401 or network, nobody knows which.
    pub ambiguous_max_retries: bool,
    /// The HTTP status; for an error event the status that its type stands for; 0 without any.
    pub status: u16,
    /// The upstream's `error.type`.
    pub error_type: Option<String>,
    /// The upstream's own words, raw, at most 4096 bytes: to be cleaned before they
    /// leave Luna.
    pub message: String,
    /// The answer was HTML, of which nothing may reach a client.
    pub html: bool,
}

/// The longest upstream message that is kept, in bytes.
pub const MAX_MESSAGE: usize = 4096;

impl Failure {
    /// A failure of one tier with our own words.
    #[must_use]
    pub fn new(reason: Reason, status: u16, message: &str) -> Self {
        Self {
            reason,
            reset: None,
            scope: Scope::Tier,
            client_fault: false,
            ambiguous_max_retries: false,
            status,
            error_type: None,
            message: cut(message, MAX_MESSAGE).to_owned(),
            html: false,
        }
    }

    /// One of our time limits after the request was written; `what` names it.
    #[must_use]
    pub fn timeout(what: &str) -> Self {
        Self::new(Reason::Timeout, 0, what)
    }

    /// No connection could be made: refused, unreachable, TLS, connect_s over. Marks the upstream.
    #[must_use]
    pub fn connect(what: &str) -> Self {
        Self {
            scope: Scope::Upstream,
            ..Self::new(Reason::Connect, 0, what)
        }
    }

    /// The connection was reset or closed after the request was written, before an answer.
    #[must_use]
    pub fn reset_by_upstream(what: &str) -> Self {
        Self::new(Reason::UpstreamError, 0, what)
    }

    /// The answer ended before its end.
    #[must_use]
    pub fn cut() -> Self {
        Self::new(Reason::StreamError, 0, "the answer was cut off")
    }

    /// The answer had no content.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Reason::Empty, 0, "the answer was empty")
    }

    /// A stream that cannot be read, or holds back more than may be held before the commit.
    #[must_use]
    pub fn garbage(what: &str) -> Self {
        Self::new(Reason::StreamError, 0, what)
    }

    /// A 200 that does not stream and is not an answer of the right shape.
    #[must_use]
    pub fn not_an_answer(what: &str) -> Self {
        Self::new(Reason::UpstreamError, 0, what)
    }

    /// Whether the request ends here instead of going on to the next tier. `first` says that no
    /// other tier was asked before.
    #[must_use]
    pub const fn ends_request(&self, first: bool) -> bool {
        self.client_fault && (first || self.status == 413)
    }
}

/// `text` cut at a character boundary to at most `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}
