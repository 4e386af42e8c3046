//! What a test may ask of an answer (`metadata.sim`, an order in the prompt, `PUT /__sim/answers`), and filler text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Most text deltas that may be asked for.
const MAX_EVENTS: u32 = 1_000_000;
/// Most bytes in one delta.
const MAX_EVENT_BYTES: u32 = 1 << 20;
/// Most bytes of filler in one answer that streams.
const MAX_ANSWER_BYTES: u64 = 1 << 30;
/// Longest unscaled wait.
const MAX_WAIT_MS: u64 = 86_400_000;
/// Filler deltas have this size when only a total is given.
const DEFAULT_EVENT_BYTES: u32 = 256;

/// The thinking block of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Thinking {
    /// With the default text, or none at all.
    On(bool),
    /// With this text.
    Text(String),
}

/// Most calls in one answer.
const MAX_CALLS: usize = 128;

/// JSON as it was written, digits and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// The text.
    pub fn get(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self(raw.get().to_owned()))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.0.clone()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// A tool of the request: by its place, or by its name as it arrives here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Which {
    /// From 0 on.
    Index(usize),
    /// As the request that reached the simulator has it.
    Name(String),
}

/// One call that an answer is to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Which tool; one that the request does not offer is a 400 of the simulator.
    pub tool: Which,
    /// The input, byte for byte; absent: made from the tool's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
    /// Instead of `input`: the text of the arguments, which need not be JSON. What is no JSON can only be streamed,
    /// or told in the OpenAI dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// The call's id; absent: a made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// How an answer is to look; see the module's table. Absent fields take the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(
    missing_docs,
    reason = "the module's table says it once for both ways in"
)]
pub struct Shape {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Vec<Call>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_creation_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
}

impl Shape {
    /// Says which bound is passed, if any.
    pub fn check(&self) -> Result<(), String> {
        if self.events.is_some_and(|n| n > MAX_EVENTS) {
            return Err(format!("events must be at most {MAX_EVENTS}"));
        }
        if self
            .event_bytes
            .is_some_and(|n| n == 0 || n > MAX_EVENT_BYTES)
        {
            return Err(format!("event_bytes must be 1 to {MAX_EVENT_BYTES}"));
        }
        if self.calls.as_ref().is_some_and(|c| c.len() > MAX_CALLS) {
            return Err(format!("at most {MAX_CALLS} calls"));
        }
        if self.fragment_bytes == Some(0) {
            return Err("fragment_bytes must be at least 1".to_owned());
        }
        if self.first_ms.max(self.interval_ms) > Some(MAX_WAIT_MS) {
            return Err(format!("waits must be at most {MAX_WAIT_MS} ms"));
        }
        if self.text.is_some() && (self.event_bytes.is_some() || self.answer_bytes.is_some()) {
            return Err("text does not go with event_bytes or answer_bytes".to_owned());
        }
        match self.filler() {
            Some((bytes, _)) if bytes > MAX_ANSWER_BYTES => Err(format!(
                "the answer would have {bytes} bytes, at most {MAX_ANSWER_BYTES}"
            )),
            Some((bytes, events)) if bytes.div_ceil(u64::from(events)) > 1 << 24 => {
                Err("a text delta would have more than 16 MiB".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Total bytes and number of deltas when filler is asked for.
    pub(super) fn filler(&self) -> Option<(u64, u32)> {
        let size = self.event_bytes.unwrap_or(DEFAULT_EVENT_BYTES);
        match (self.answer_bytes, self.events, self.event_bytes) {
            (Some(bytes), Some(events), _) => Some((bytes, events.max(1))),
            (Some(bytes), None, _) => {
                let events = bytes.div_ceil(u64::from(size)).max(1);
                Some((bytes, u32::try_from(events).unwrap_or(u32::MAX)))
            }
            (None, events, _) => {
                if self.text.is_some() || (events.is_none() && self.event_bytes.is_none()) {
                    return None;
                }
                let events = events.unwrap_or(8).max(1);
                Some((u64::from(events) * u64::from(size), events))
            }
        }
    }

    /// These fields, and where one is absent that of `base`.
    pub(super) fn over(self, base: &Shape) -> Shape {
        let own_text =
            self.text.is_some() || self.event_bytes.is_some() || self.answer_bytes.is_some();
        let (text, events, event_bytes, answer_bytes) = if own_text || self.events.is_some() {
            (self.text, self.events, self.event_bytes, self.answer_bytes)
        } else {
            (
                base.text.clone(),
                base.events,
                base.event_bytes,
                base.answer_bytes,
            )
        };
        Shape {
            text,
            events,
            event_bytes,
            answer_bytes,
            thinking: self.thinking.or_else(|| base.thinking.clone()),
            first_ms: self.first_ms.or(base.first_ms),
            interval_ms: self.interval_ms.or(base.interval_ms),
            tool: self.tool.or_else(|| base.tool.clone()),
            calls: self.calls.or_else(|| base.calls.clone()),
            fragment_bytes: self.fragment_bytes.or(base.fragment_bytes),
            input_tokens: self.input_tokens.or(base.input_tokens),
            output_tokens: self.output_tokens.or(base.output_tokens),
            cache_read_input_tokens: self
                .cache_read_input_tokens
                .or(base.cache_read_input_tokens),
            cache_creation_input_tokens: self
                .cache_creation_input_tokens
                .or(base.cache_creation_input_tokens),
            stop_reason: self.stop_reason.or_else(|| base.stop_reason.clone()),
        }
    }
}

const PATTERN: &[u8; 64] = b"Luna-waxes-and-wanes-and-every-byte-here-has-its-one-true-place-";

/// `len` bytes of the filler text from `offset` on: a fixed pattern of 64 ASCII characters, so
/// that a test can tell a lost, doubled or swapped delta from its bytes.
pub fn filler(offset: u64, len: usize) -> String {
    let start = usize::try_from(offset % PATTERN.len() as u64).unwrap_or(0);
    PATTERN
        .iter()
        .cycle()
        .skip(start)
        .take(len)
        .map(|&byte| char::from(byte))
        .collect()
}
