//! One finished request, as the gateway reports it and as the journal writes it.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::wire::usage::Tokens;

use super::{Counters, Millis};

/// Which LLM route was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/responses`
    Responses,
}

impl Endpoint {
    /// The label used in metrics, logs and the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
        }
    }
}

/// One call of an LLM route that passed key auth and has ended, in whatever way.
#[derive(Clone, Debug, Serialize)]
pub struct Finished {
    /// When it ended; decides the hour and the day it is counted in.
    pub time_ms: Millis,
    /// Luna's own request id.
    pub request_id: String,
    /// Id of the key, never the secret.
    pub key_id: Arc<str>,
    /// The model as the client named it.
    #[serde(serialize_with = "serialize_name")]
    pub requested_model: Arc<str>,
    /// The model that answered, or the first tier's when none did.
    #[serde(serialize_with = "serialize_name")]
    pub served_model: Arc<str>,
    /// Name of the upstream that belongs to `served_model`.
    pub upstream: Arc<str>,
    /// The route that was called.
    pub endpoint: Endpoint,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// HTTP status the client got (200 for a stream that failed after its commit).
    pub status: u16,
    /// A status of 400 or more, or an error event in the stream.
    pub error: bool,
    /// The client left before the end.
    pub aborted: bool,
    /// One reason for each tier that was passed over for another one; empty when no other than the first was asked.
    pub fallback_reasons: Vec<&'static str>,
    /// What the answering attempt used; failed attempts are not the client's.
    #[serde(serialize_with = "serialize_tokens")]
    pub tokens: Tokens,
    /// The tokens are an estimate, because the upstream reported none.
    pub estimated: bool,
    /// From arrival to end.
    pub duration_ms: u64,
    /// From arrival to the first event sent to the client; none when nothing was sent.
    pub ttfe_ms: Option<u64>,
}

impl Finished {
    /// What this request adds to every sum it belongs to.
    pub fn counters(&self) -> Counters {
        Counters {
            requests: 1,
            errors: u64::from(self.error),
            fallbacks: u64::from(!self.fallback_reasons.is_empty()),
            aborted: u64::from(self.aborted),
            input_tokens: self.tokens.input,
            output_tokens: self.tokens.output,
            cache_read_input_tokens: self.tokens.cache_read,
            cache_creation_input_tokens: self.tokens.cache_creation,
        }
    }
}

/// More of a name is not written: clients can send names of any length. Longer than what is counted under its own name, so
/// that a replay comes to the same sums.
const NAME_BYTES: usize = 256;

fn serialize_name<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end += 1;
    }
    serializer.serialize_str(name.get(..end).unwrap_or(name))
}

fn serialize_tokens<S: Serializer>(tokens: &Tokens, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct;
    let mut out = serializer.serialize_struct("Tokens", 4)?;
    out.serialize_field("input", &tokens.input)?;
    out.serialize_field("output", &tokens.output)?;
    out.serialize_field("cache_read", &tokens.cache_read)?;
    out.serialize_field("cache_creation", &tokens.cache_creation)?;
    out.end()
}
