//! One event of a Chat Completions stream as far as it is read.
//!
//! Invariants: everything is borrowed; content stays undecoded JSON. Neighbour: `watch`, which keeps the state between
//! events.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;
use serde_json::value::RawValue;

use crate::wire::anthropic::has_payload;
use crate::wire::convert::json::{self, Kind, Object};
use crate::wire::sse::Event;

/// The last event of a stream.
pub(super) const DONE: &[u8] = b"[DONE]";

/// Choices of one chunk that are read; OpenAI allows 128.
const MAX_CHOICES: usize = 256;

/// The members of a delta, or of a whole message, that say something.
const SAYING: [&str; 7] = [
    "content",
    "reasoning_content",
    "reasoning",
    "refusal",
    "tool_calls",
    "function_call",
    "audio",
];

/// What is searched for in every chunk of a stream; preparing a search costs more than the search.
struct Keys {
    escape: Finder<'static>,
    role: Finder<'static>,
    error: Finder<'static>,
    /// Each with the only value that it may have.
    settled: [(Finder<'static>, &'static [u8]); 3],
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    escape: Finder::new(br"\u"),
    role: Finder::new(b"\"role\""),
    error: Finder::new(b"\"error\""),
    settled: [
        (Finder::new(b"\"finish_reason\""), b"null"),
        (Finder::new(b"\"usage\""), b"null"),
        (Finder::new(b"\"index\""), b"0"),
    ],
});

/// Whether this is a chunk of the first choice that tells neither a role nor usage nor an end nor an error. Searches for the few
/// keys that matter and decodes nothing; a chunk that it cannot be sure of is not hot.
pub(super) fn is_hot(event: &Event) -> bool {
    let Some(data) = one_line(&event.raw) else {
        return false;
    };
    let keys = &*KEYS;
    // An escaped key would not be found.
    keys.escape.find(data).is_none()
        && keys.error.find(data).is_none()
        && keys.role.find(data).is_none()
        && keys
            .settled
            .iter()
            .all(|(key, value)| all_followed_by(data, key, value))
}

/// The data of an event that is one `data` line and nothing else, when it looks like an object.
fn one_line(raw: &[u8]) -> Option<&[u8]> {
    let data = raw.strip_prefix(b"data:")?;
    let data = data.strip_prefix(b" ").unwrap_or(data);
    let data = data
        .strip_suffix(b"\n\n")
        .or_else(|| data.strip_suffix(b"\r\n\r\n"))?;
    let object = data.starts_with(b"{") && data.ends_with(b"}");
    (object && memchr2(b'\n', b'\r', data).is_none()).then_some(data)
}

/// Whether each `key` (with its quotes) that is found stands before `: value` and the value ends there.
fn all_followed_by(data: &[u8], key: &Finder<'_>, value: &[u8]) -> bool {
    key.find_iter(data).all(|at| {
        let after = data.get(at + key.needle().len()..).unwrap_or_default();
        let after = after.trim_ascii_start().strip_prefix(b":");
        let after = after.and_then(|rest| rest.trim_ascii_start().strip_prefix(value));
        after.is_some_and(|rest| matches!(rest.trim_ascii_start().first(), Some(b',' | b'}')))
    })
}

/// The members of a chunk that matter here.
pub(super) struct Chunk<'a> {
    pub(super) choices: Vec<Choice<'a>>,
    /// `choices` is there, and an array.
    pub(super) has_choices: bool,
    pub(super) usage: Option<&'a RawValue>,
    pub(super) model: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
    /// It tells of an error.
    pub(super) is_error: bool,
}

pub(super) struct Choice<'a> {
    pub(super) index: u64,
    pub(super) says: bool,
    /// Its delta names a role, as the first one of a stream does.
    pub(super) begins: bool,
    pub(super) finish: Option<Cow<'a, str>>,
}

impl<'a> Chunk<'a> {
    /// `None` when the data is no JSON object.
    pub(super) fn read(data: &'a [u8]) -> Option<Self> {
        let object = Object::parse(data).ok()?;
        let choices = object.get("choices").and_then(json::array);
        Some(Self {
            has_choices: choices.is_some(),
            choices: choices
                .unwrap_or_default()
                .into_iter()
                .take(MAX_CHOICES)
                .filter_map(Choice::read)
                .collect(),
            usage: usage_of(&object),
            model: object.text("model"),
            id: object.text("id"),
            is_error: is_error(&object),
        })
    }
}

impl<'a> Choice<'a> {
    fn read(raw: &'a RawValue) -> Option<Self> {
        let choice = Object::of(raw)?;
        let said = choice.get("delta").or_else(|| choice.get("message"));
        let said = said.and_then(Object::of);
        Some(Self {
            begins: said.as_ref().is_some_and(|said| said.get("role").is_some()),
            index: choice.get("index").and_then(json::whole).unwrap_or(0),
            says: said.as_ref().is_some_and(says_something),
            // Some upstreams have an empty one where others have null.
            finish: choice
                .text("finish_reason")
                .filter(|finish| !finish.is_empty()),
        })
    }
}

/// Whether a delta or message has content of any kind.
pub(super) fn says_something(said: &Object<'_>) -> bool {
    SAYING
        .iter()
        .any(|name| said.get(name).is_some_and(has_payload))
}

/// The usage object, when there is one.
pub(super) fn usage_of<'a>(body: &Object<'a>) -> Option<&'a RawValue> {
    body.get("usage")
        .filter(|usage| json::kind(usage) == Kind::Object)
}

/// Whether a body or chunk is an error: `error` says something, or the object calls itself one.
pub(super) fn is_error(body: &Object<'_>) -> bool {
    let error = body
        .get("error")
        .is_some_and(|error| match json::kind(error) {
            Kind::Bool => error.get() == "true",
            _ => has_payload(error),
        });
    error || body.text("object").as_deref() == Some("error")
}
