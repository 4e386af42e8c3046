//! What a relayed Chat Completions request needs so that its stream tells its usage.

use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::wire::convert::json::{self, Kind, Object};
use crate::wire::scan::join;

/// Makes sure that the body of a streamed request has `stream_options.include_usage: true`. No other byte changes.
/// Tells besides whether the client gets what it asked for, so that nothing is hidden from it: it had asked itself, or
/// the body is left as it is because it cannot be right (no JSON object, or a member of the wrong type, which the
/// upstream will refuse).
pub fn ask_for_usage(body: Bytes) -> (Bytes, bool) {
    let Some((place, with)) = change(&body) else {
        return (body, true);
    };
    (join(vec![body], Some((place, with.as_bytes()))), false)
}

/// The bytes to replace, and by what.
fn change(body: &[u8]) -> Option<(Range<usize>, &'static str)> {
    let object = Object::parse(body).ok()?;
    let Some(options) = last(&object, "stream_options") else {
        let brace = body.iter().position(|byte| *byte == b'{')? + 1;
        return Some(if object.is_empty() {
            (brace..brace, r#""stream_options":{"include_usage":true}"#)
        } else {
            (brace..brace, r#""stream_options":{"include_usage":true},"#)
        });
    };
    let place = place_in(body, options)?;
    match json::kind(options) {
        Kind::Null => return Some((place, r#"{"include_usage":true}"#)),
        Kind::Object => {}
        _ => return None,
    }
    let members = Object::of(options)?;
    let Some(asked) = last(&members, "include_usage") else {
        let brace = place.start + 1;
        return Some(if members.is_empty() {
            (brace..brace, r#""include_usage":true"#)
        } else {
            (brace..brace, r#""include_usage":true,"#)
        });
    };
    matches!(asked.get(), "false" | "null").then_some((place_in(body, asked)?, "true"))
}

/// The member that counts when the key is given twice; null too.
fn last<'a>(object: &Object<'a>, name: &str) -> Option<&'a RawValue> {
    object
        .iter()
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .last()
}

/// Where `value`, which was read out of `body`, stands in it.
fn place_in(body: &[u8], value: &RawValue) -> Option<Range<usize>> {
    let text = value.get();
    let start = (text.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let place = start..start + text.len();
    (body.get(place.clone()) == Some(text.as_bytes())).then_some(place)
}

#[cfg(test)]
mod tests;
