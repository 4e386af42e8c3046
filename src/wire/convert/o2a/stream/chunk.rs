//! Writes chat completion chunks.
//!
//! Invariants: every chunk is one data line and valid JSON, as long as what is put between quotes is the inside of a
//! literal; a chunk that would carry no text is not written. Neighbour: `stream`.

use super::super::answer::part::{self, Usage};
use crate::wire::convert::Facts;
use crate::wire::convert::json::{Object, Writer};

const OPEN_DELTA: &[u8] = br#"{"index":0,"delta":{"#;
const CLOSE_DELTA: &[u8] = b"},\"finish_reason\":null}]}\n\n";

/// What all chunks of one stream begin with.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// From `data: ` to the opening bracket of the choices.
    head: Vec<u8>,
    /// A chunk up to the text of its content: most chunks begin so.
    content: Vec<u8>,
}

impl Chunks {
    pub(super) fn new(message: &Object<'_>, facts: &Facts) -> Self {
        let mut w = Writer::onto(b"data: ".to_vec());
        part::open(&mut w, message, "chat.completion.chunk", facts);
        w.key("choices").open_array();
        let head = w.into_bytes();
        let content = [&*head, OPEN_DELTA, br#""content":""#].concat();
        Self { head, content }
    }

    /// Whether the stream's head is known.
    pub(super) fn begun(&self) -> bool {
        !self.head.is_empty()
    }

    /// The first chunk.
    pub(super) fn role(&self, out: &mut Vec<u8>) {
        self.delta(br#""role":"assistant","content":"""#, out);
    }

    pub(super) fn content(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&self.content);
        close_text(start, self.content.len(), b"\"", out, write);
    }

    pub(super) fn reasoning(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        self.text(br#""reasoning_content":""#, b"\"", out, write);
    }

    pub(super) fn refusal(&self, inner: &[u8], out: &mut Vec<u8>) {
        self.text(br#""refusal":""#, b"\"", out, |out| {
            out.extend_from_slice(inner);
        });
    }

    /// The beginning of call `k`.
    pub(super) fn call(&self, k: u64, id: &str, name: &str, out: &mut Vec<u8>) {
        let mut w = Writer::default();
        w.open_object().key("index").number(k);
        w.key("id").text(id).key("type").text("function");
        w.key("function").open_object().key("name").text(name);
        w.key("arguments").text("").close_object().close_object();
        self.delta(
            &[br#""tool_calls":["#, &*w.into_bytes(), b"]"].concat(),
            out,
        );
    }

    /// The beginning of a call in the form that `functions` have.
    pub(super) fn legacy_call(&self, name: &str, out: &mut Vec<u8>) {
        let mut w = Writer::default();
        w.open_object().key("name").text(name);
        w.key("arguments").text("").close_object();
        self.delta(&[br#""function_call":"#, &*w.into_bytes()].concat(), out);
    }

    /// More arguments of call `k`.
    pub(super) fn arguments(&self, k: u64, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let before = format!(r#""tool_calls":[{{"index":{k},"function":{{"arguments":""#);
        self.text(before.as_bytes(), br#""}}]"#, out, write);
    }

    pub(super) fn legacy_arguments(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        self.text(br#""function_call":{"arguments":""#, br#""}"#, out, write);
    }

    pub(super) fn finish(&self, reason: &str, out: &mut Vec<u8>) {
        self.open(out);
        out.extend_from_slice(br#"},"finish_reason":""#);
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"\"}]}\n\n");
    }

    pub(super) fn usage(&self, usage: &Usage, out: &mut Vec<u8>) {
        let mut w = Writer::default();
        usage.write(&mut w);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(br#"],"usage":"#);
        out.extend_from_slice(&w.into_bytes());
        out.extend_from_slice(b"}\n\n");
    }

    fn open(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(OPEN_DELTA);
    }

    fn delta(&self, members: &[u8], out: &mut Vec<u8>) {
        self.open(out);
        out.extend_from_slice(members);
        out.extend_from_slice(CLOSE_DELTA);
    }

    fn text(
        &self,
        before: &[u8],
        after: &[u8],
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = out.len();
        self.open(out);
        out.extend_from_slice(before);
        close_text(start, out.len() - start, after, out, write);
    }
}

/// Writes the text and the end of the chunk that began at `start`; takes it back when there is no text.
fn close_text(
    start: usize,
    before: usize,
    after: &[u8],
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    write(out);
    if out.len() == start + before {
        out.truncate(start);
        return;
    }
    out.extend_from_slice(after);
    out.extend_from_slice(CLOSE_DELTA);
}
