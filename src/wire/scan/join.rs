//! Puts a scanned body together again, with another model in it.

use std::ops::Range;

use bytes::Bytes;

/// One body out of its chunks, with the bytes of `range` replaced. A single chunk without replacement
/// is handed through; everything else is one allocation and one copy. A range that reaches past the end
/// is cut.
#[must_use]
pub fn join(mut chunks: Vec<Bytes>, replace: Option<(Range<usize>, &[u8])>) -> Bytes {
    if replace.is_none() && chunks.len() <= 1 {
        return chunks.pop().unwrap_or_default();
    }
    let total: usize = chunks.iter().map(Bytes::len).sum();
    let (range, with) = replace.unwrap_or((total..total, &[]));
    let start = range.start.min(total);
    let end = range.end.clamp(start, total);
    let mut out = Vec::with_capacity(total - (end - start) + with.len());
    copy(&mut out, &chunks, 0..start);
    out.extend_from_slice(with);
    copy(&mut out, &chunks, end..total);
    Bytes::from(out)
}

/// Appends this range of the whole body.
fn copy(out: &mut Vec<u8>, chunks: &[Bytes], range: Range<usize>) {
    let mut base = 0;
    for chunk in chunks {
        let from = range.start.saturating_sub(base).min(chunk.len());
        let to = range.end.saturating_sub(base).min(chunk.len());
        out.extend_from_slice(chunk.get(from..to).unwrap_or_default());
        base += chunk.len();
    }
}

/// `text` as a JSON string literal with its quotes.
#[must_use]
pub fn json_string(text: &str) -> String {
    // Writing a str to a String cannot fail; the type system does not know it.
    serde_json::to_string(text).unwrap_or_default()
}
