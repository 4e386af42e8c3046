//! Orders in the prompt: `[[sim {SHAPE}]]` anywhere in the texts of the last turn shapes the answer as `metadata.sim`
//! does. Metadata does not survive a gateway that converts between dialects; the prompt does.

use super::shape::Shape;

const OPEN: &str = "[[sim ";
const CLOSE: &str = "]]";

/// Takes the first order out of `text`; all others stay in it.
///
/// # Errors
/// An order that cannot be read: a test must not pass because its order was overlooked.
pub(super) fn take(text: &mut String) -> Result<Option<Shape>, String> {
    let Some(start) = text.find(OPEN) else {
        return Ok(None);
    };
    let (end, shape) = {
        let rest = text.get(start + OPEN.len()..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Shape>();
        let shape = match values.next() {
            Some(Ok(shape)) => shape,
            Some(Err(error)) => return Err(format!("the order in the prompt: {error}")),
            None => return Err("the order in the prompt has no JSON".to_owned()),
        };
        let read = values.byte_offset();
        let after = rest.get(read..).unwrap_or_default();
        let closed = after.trim_start().strip_prefix(CLOSE);
        let Some(left) = closed else {
            return Err("the order in the prompt does not end in ]]".to_owned());
        };
        (text.len() - left.len(), shape)
    };
    shape
        .check()
        .map_err(|error| format!("the order in the prompt: {error}"))?;
    text.replace_range(start..end, "");
    Ok(Some(shape))
}
