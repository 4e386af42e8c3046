//! What Antigravity says wrongly and clients rely on: the input tokens that it leaves out of `message_delta`, and the stop
//! reason of answers with tool calls that do not stream.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::wire::convert::json::{Kind, Object, array, kind};
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
    let brace = usage.get().get(..1)?;
    let comma = if members.is_empty() { "" } else { "," };
    let filling = format!("{{\"input_tokens\":{}{comma}", tokens.input);
    replaced(&event.raw, brace, &filling)
}

/// The answer with the stop reason `tool_use`, where it ends with `end_turn` although it calls a tool
/// (contracts/antigravity.md, section 7): a client that goes by it would never run the tool. `None` for every other
/// answer.
pub fn with_tool_use(body: &Bytes, stop_reason: Option<&str>) -> Option<Bytes> {
    if stop_reason != Some("end_turn") || memmem::find(body, b"\"tool_use\"").is_none() {
        return None;
    }
    let message = Object::parse(body).ok()?;
    let calls = array(message.get("content")?)?.into_iter().any(|block| {
        Object::of(block).is_some_and(|block| block.text("type").as_deref() == Some("tool_use"))
    });
    if !calls {
        return None;
    }
    replaced(body, message.get("stop_reason")?.get(), "\"tool_use\"")
}

/// `whole` with `part`, which is a slice of it, replaced.
fn replaced(whole: &Bytes, part: &str, by: &str) -> Option<Bytes> {
    let begin = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let (head, rest) = whole.split_at_checked(begin)?;
    let tail = rest.get(part.len()..)?;
    let mut made = BytesMut::with_capacity(head.len() + by.len() + tail.len());
    made.extend_from_slice(head);
    made.extend_from_slice(by.as_bytes());
    made.extend_from_slice(tail);
    Some(made.freeze())
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
    fn an_answer_with_calls_ends_with_tool_use() {
        let mended = |body: &'static str, reason| {
            with_tool_use(&Bytes::from_static(body.as_bytes()), Some(reason))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let called = r#"{"content":[{"type":"text","text":"end_turn"},{"type":"tool_use","input":{"n":1e400}}],"stop_reason" : "end_turn","x":1}"#;
        assert_eq!(
            mended(called, "end_turn").as_deref(),
            Some(
                r#"{"content":[{"type":"text","text":"end_turn"},{"type":"tool_use","input":{"n":1e400}}],"stop_reason" : "tool_use","x":1}"#
            )
        );
        assert_eq!(mended(called, "max_tokens"), None);
        let quoted =
            r#"{"content":[{"type":"text","text":"a \"tool_use\""}],"stop_reason":"end_turn"}"#;
        assert_eq!(mended(quoted, "end_turn"), None);
        assert_eq!(mended("not json \"tool_use\"", "end_turn"), None);
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
