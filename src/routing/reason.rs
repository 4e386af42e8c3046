//! The closed set of reasons why a tier was passed over: one word for header, log, metric, event.

use serde::{Serialize, Serializer};

/// Why a tier was passed over or failed. Labels: gateway.md section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Low or at 0 in the snapshot.
    Quota,
    /// Marked earlier, by whatever failure.
    Cooldown,
    /// The upstream said that nothing is left for this model.
    Exhausted,
    /// Status 429.
    RateLimited,
    /// Status 503 or 529, or words about capacity.
    Overloaded,
    /// One of our own time limits ran out.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The stream broke, spoke garbage or reported an error before the commit.
    StreamError,
    /// An answer without content.
    Empty,
    /// The upstream does not offer the model.
    ModelNotFound,
    /// Anything else that the upstream did wrong.
    UpstreamError,
}

impl Reason {
    /// Every reason, for metrics and documentation.
    pub const ALL: [Self; 11] = [
        Self::Quota,
        Self::Cooldown,
        Self::Exhausted,
        Self::RateLimited,
        Self::Overloaded,
        Self::Timeout,
        Self::Connect,
        Self::StreamError,
        Self::Empty,
        Self::ModelNotFound,
        Self::UpstreamError,
    ];

    /// The label that users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Cooldown => "cooldown",
            Self::Exhausted => "exhausted",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::StreamError => "stream_error",
            Self::Empty => "empty",
            Self::ModelNotFound => "model_not_found",
            Self::UpstreamError => "upstream_error",
        }
    }

    /// Whether the request itself may be the cause, so that one key's failures prove little about
    /// the tier.
    #[must_use]
    pub const fn may_be_the_request(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::Empty | Self::StreamError | Self::UpstreamError
        )
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
