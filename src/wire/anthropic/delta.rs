//! The input tokens that Antigravity leaves out of `message_delta`.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use crate::wire::convert::json::{Kind, Object, kind};
use crate::wire::sse::Event;
use crate::wire::usage::Tokens;

/// The event with `input_tokens` put into its usage, where it is a `message_delta` whose usage lacks them
/// (contracts/conversion.md, section 9: clients read usage from there alone). `None` for every other event. No other
/// byte changes.
pub fn with_input_tokens(event: &Event, tokens: &Tokens) -> Option<Bytes> {
    let (name, _) = event.head()?;
    if name != b"message_delta" {
        return None;
    }
    let Cow::Borrowed(data) = event.data()? else {
        return None;
    };
    let usage = Object::parse(data).ok()?.get("usage")?;
    if kind(usage) != Kind::Object {
        return None;
    }
    let members = Object::of(usage)?;
    if members.get("input_tokens").is_some() {
        return None;
    }
    let usage = event.raw.slice_ref(usage.get().as_bytes());
    // Where the usage object begins within the event: both are slices of the same memory.
    let begin = usage
        .as_ptr()
        .addr()
        .checked_sub(event.raw.as_ptr().addr())?
        + 1;
    let (head, tail) = event.raw.split_at_checked(begin)?;
    let comma = if members.is_empty() { "" } else { "," };
    let filling = format!("\"input_tokens\":{}{comma}", tokens.input);
    let mut filled = BytesMut::with_capacity(event.raw.len() + filling.len());
    filled.extend_from_slice(head);
    filled.extend_from_slice(filling.as_bytes());
    filled.extend_from_slice(tail);
    Some(filled.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(raw: &'static str) -> Option<String> {
        let event = Event {
            raw: Bytes::from_static(raw.as_bytes()),
        };
        let tokens = Tokens {
            input: 25,
            ..Tokens::default()
        };
        with_input_tokens(&event, &tokens).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn only_what_lacks_them_gets_them() {
        let lean = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n";
        assert_eq!(
            filled(lean).as_deref(),
            Some(
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":25,\"output_tokens\":4}}\n\n"
            )
        );
        let empty = "event: message_delta\ndata: {\"usage\":{}}\n\n";
        assert_eq!(
            filled(empty).as_deref(),
            Some("event: message_delta\ndata: {\"usage\":{\"input_tokens\":25}}\n\n")
        );
        for whole in [
            "event: message_delta\ndata: {\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}\n\n",
            "event: message_delta\ndata: {\"usage\":null}\n\n",
            "event: message_delta\ndata: {\"usage\":[]}\n\n",
            "event: message_delta\ndata: not json\n\n",
            "event: message_start\ndata: {\"usage\":{}}\n\n",
            "data: {\"type\":\"message_delta\",\"usage\":{}}\n\n",
        ] {
            assert_eq!(filled(whole), None, "{whole}");
        }
    }
}
