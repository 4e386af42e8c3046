//! Recognises the deltas that a stream is made of, without a JSON parser.
//!
//! Only the spelling that serializers give is recognised: no blanks, members in the usual order, one data line. Anything
//! else is left to the parser, and means the same there.
//! Invariant: what is returned is the inside of a valid string literal in valid UTF-8.

use memchr::memchr2;

use crate::wire::sse::Event;

/// What a delta carries: the inside of its literal.
#[derive(Debug, PartialEq)]
pub(super) enum Delta<'a> {
    Text(&'a str),
    Thinking(&'a str),
    Json(&'a str),
}

/// The block's index and its delta.
pub(super) fn delta(event: &Event) -> Option<(u64, Delta<'_>)> {
    let (name, data) = event.head()?;
    if name != b"content_block_delta" {
        return None;
    }
    let rest = data.strip_prefix(br#"{"type":"content_block_delta","index":"#)?;
    let (index, rest) = index(rest)?;
    let rest = rest.strip_prefix(br#","delta":{"type":""#)?;
    let rest = trim_line_ends(rest).strip_suffix(br#""}}"#)?;
    let delta = if let Some(text) = rest.strip_prefix(br#"text_delta","text":""#) {
        Delta::Text(literal(text)?)
    } else if let Some(json) = rest.strip_prefix(br#"input_json_delta","partial_json":""#) {
        Delta::Json(literal(json)?)
    } else {
        let text = rest.strip_prefix(br#"thinking_delta","thinking":""#)?;
        Delta::Thinking(literal(text)?)
    };
    Some((index, delta))
}

fn index(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at_checked(length)?;
    let text = std::str::from_utf8(digits).ok()?;
    // JSON knows no leading zeros.
    if text.len() > 1 && text.starts_with('0') {
        return None;
    }
    Some((text.parse().ok()?, rest))
}

fn trim_line_ends(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The bytes as text, when they are the inside of one valid string literal. Halves of surrogate pairs are let through.
fn literal(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    if bytes.iter().any(|b| *b < 0x20) {
        return None;
    }
    let mut rest = bytes;
    while let Some(at) = memchr2(b'\\', b'"', rest) {
        rest = match rest.get(at..)? {
            [
                b'\\',
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                rest @ ..,
            ] => rest,
            [b'\\', b'u', a, b, c, d, rest @ ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                rest
            }
            _ => return None,
        };
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn event(text: &str) -> Event {
        Event {
            raw: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    fn usual(delta: &str) -> Event {
        event(&format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":12,\"delta\":{delta}}}\n\n"
        ))
    }

    #[test]
    fn the_usual_deltas_are_recognised() {
        let text = usual(r#"{"type":"text_delta","text":"a\n\"\\\u00e9 é"}"#);
        assert_eq!(delta(&text), Some((12, Delta::Text(r#"a\n\"\\\u00e9 é"#))));
        let thinking = usual(r#"{"type":"thinking_delta","thinking":""}"#);
        assert_eq!(delta(&thinking), Some((12, Delta::Thinking(""))));
        let json = usual(r#"{"type":"input_json_delta","partial_json":"{\"a\":"}"#);
        assert_eq!(delta(&json), Some((12, Delta::Json(r#"{\"a\":"#))));
    }

    #[test]
    fn anything_else_is_left_to_the_parser() {
        for other in [
            r#"{"type":"text_delta","text":"a","extra":"b"}"#,
            r#"{"text":"a","type":"text_delta"}"#,
            r#"{"type":"text_delta","text": "a"}"#,
            r#"{"type":"text_delta","text":"a\"}"#,
            r#"{"type":"text_delta","text":"a\x"}"#,
            r#"{"type":"text_delta","text":"\u12g4"}"#,
            r#"{"type":"text_delta","text":null}"#,
            r#"{"type":"signature_delta","signature":"x"}"#,
            "{\"type\":\"text_delta\",\"text\":\"a\tb\"}",
            "{\"type\":\"text_delta\",\"text\":\"a\ndata: b\"}",
        ] {
            assert_eq!(delta(&usual(other)), None, "{other}");
        }
        assert_eq!(
            delta(&event(
                "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n"
            )),
            None
        );
    }

    proptest! {
        #[test]
        fn what_is_recognised_is_what_a_parser_reads(inner in "(?s).{0,8}|[\\\\\"u0-9a-f]{0,12}") {
            let event = usual(&format!("{{\"type\":\"text_delta\",\"text\":\"{inner}\"}}"));
            let spelled = format!("\"{inner}\"");
            let json = serde_json::from_str::<&serde_json::value::RawValue>(&spelled);
            match delta(&event) {
                Some((_, Delta::Text(text))) => {
                    prop_assert_eq!(text, inner.as_str());
                    prop_assert!(json.is_ok());
                }
                Some(_) => prop_assert!(false),
                None => prop_assert!(json.is_err()),
            }
        }
    }
}
