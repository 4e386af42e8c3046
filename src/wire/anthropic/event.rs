//! The events of the Messages stream as far as they are read: their type, and whether they carry content.
//!
//! Invariants: everything is borrowed and decoded only where it matters; content stays undecoded JSON.
//! Neighbour: `anthropic`, which keeps the state between events.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::StreamFault;
use crate::wire::sse::Event;

/// The data of an event that a client would act upon; comments and events without data mean nothing.
pub(super) fn content_of(event: &Event) -> Option<Cow<'_, [u8]>> {
    event.data().filter(|data| !data.is_empty())
}

/// Whether this is an event of content whose name and beginning of data agree. Looks at a few bytes only.
pub(super) fn is_hot(event: &Event) -> bool {
    let Some((name, data)) = event.head() else {
        return false;
    };
    let hot: &[&[u8]] = &[
        b"content_block_delta",
        b"content_block_start",
        b"content_block_stop",
        b"ping",
    ];
    hot.contains(&name) && begins_with_type(data, name)
}

/// Whether `data` begins an object whose first member is `"type"` with the value `kind`.
pub(super) fn begins_with_type(data: &[u8], kind: &[u8]) -> bool {
    let parts: [&[u8]; 5] = [b"{", b"\"type\"", b":", b"\"", kind];
    let mut rest = data;
    for (i, part) in parts.iter().enumerate() {
        // Blanks may stand between the tokens, but not inside the value.
        let at = if i < 4 {
            rest.iter().position(|b| *b != b' ').unwrap_or(rest.len())
        } else {
            0
        };
        match rest.get(at..).and_then(|r| r.strip_prefix(*part)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.first() == Some(&b'"')
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    MessageStart,
    BlockStart,
    BlockDelta,
    BlockStop,
    MessageDelta,
    MessageStop,
    /// `ping`, and types that are not known yet.
    Other,
}

/// Reads an event's type: that of its data, else the name of its `event` line. An error event is a fault.
pub(super) fn decode<'a>(event: &Event, data: &'a [u8]) -> Result<(Kind, Body<'a>), StreamFault> {
    let body: Body<'a> = object(data)
        .ok_or_else(|| garbage("the data of an event is not the JSON that it should be"))?;
    let name = event.name();
    let kind = body.kind.as_ref().map(|kind| kind.0.as_bytes()).or(name);
    let known = match kind {
        Some(b"message_start") => Kind::MessageStart,
        Some(b"content_block_start") => Kind::BlockStart,
        Some(b"content_block_delta") => Kind::BlockDelta,
        Some(b"content_block_stop") => Kind::BlockStop,
        Some(b"message_delta") => Kind::MessageDelta,
        Some(b"message_stop") => Kind::MessageStop,
        Some(b"ping") => Kind::Other,
        // An error whose data has no type, or only the type of the error itself.
        other if other == Some(b"error") || name == Some(b"error") || body.error.is_some() => {
            return Err(StreamFault::ErrorEvent(
                event.data_bytes().unwrap_or_default(),
            ));
        }
        Some(_) => Kind::Other,
        None => return Err(garbage("an event without a type")),
    };
    Ok((known, body))
}

pub(super) fn garbage(what: &str) -> StreamFault {
    StreamFault::Garbage(what.to_owned())
}

pub(super) fn part<'a, T: Deserialize<'a>>(
    json: Option<&'a RawValue>,
    what: &str,
) -> Result<T, StreamFault> {
    json.and_then(|json| object(json.get().as_bytes()))
        .ok_or_else(|| garbage(what))
}

/// Decodes a JSON object. (serde would also fill a struct from an array.)
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    json.trim_ascii_start()
        .starts_with(b"{")
        .then(|| serde_json::from_slice(json).ok())
        .flatten()
}

/// Whether a JSON value says anything: not null, and not an empty string, array or object.
pub(in crate::wire) fn has_payload(json: &RawValue) -> bool {
    let text = json.get();
    let inner = match text.as_bytes() {
        [b'"', inner @ .., b'"'] => return !inner.is_empty(),
        [b'[', inner @ .., b']'] | [b'{', inner @ .., b'}'] => inner,
        other => return other != b"null",
    };
    !inner.iter().all(u8::is_ascii_whitespace)
}

/// A string, borrowed when it has no escapes.
#[derive(Deserialize)]
pub(in crate::wire) struct Text<'a>(#[serde(borrow)] pub(in crate::wire) Cow<'a, str>);

/// The members of any event that matter here.
#[derive(Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
    pub(super) index: Option<u64>,
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct MessageDelta<'a> {
    pub(super) stop_reason: Option<Cow<'a, str>>,
}

/// The members of a block or delta, undecoded.
#[derive(Deserialize)]
pub(super) struct Fields<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Fields<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Text<'a>>(self.get(name)?.get())
            .ok()
            .map(|text| text.0)
    }

    /// Whether any member other than these says something.
    pub(super) fn has_content(&self, except: &[&str]) -> bool {
        self.0
            .iter()
            .any(|(name, value)| !except.contains(&name.as_ref()) && has_payload(value))
    }
}
