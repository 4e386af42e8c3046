//! Writes the content blocks of a Messages stream, one open at a time.

use super::{begin, end};
use crate::wire::convert::literal::Literals;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Thinking,
    Text,
    /// Text, too, but a block of its own.
    Refusal,
    Tool,
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: Option<Kind>,
    /// The index of the open block, else of the next one.
    index: u64,
    /// What stands before the text of each delta of the open block.
    delta: Vec<u8>,
    literals: Literals,
    /// Room for one piece.
    piece: Vec<u8>,
}

impl Blocks {
    pub(super) fn is_open(&self, kind: Kind) -> bool {
        self.open == Some(kind)
    }

    /// Closes the open block and opens one for text of any kind.
    pub(super) fn open(&mut self, kind: Kind, out: &mut Vec<u8>) {
        self.close(out);
        let (block, delta, member) = match kind {
            Kind::Thinking => (
                r#"{"type":"thinking","thinking":"","signature":""}"#,
                "thinking_delta",
                "thinking",
            ),
            _ => (r#"{"type":"text","text":""}"#, "text_delta", "text"),
        };
        self.begin(kind, block, delta, member, out);
    }

    /// Closes the open block and opens one for a call.
    pub(super) fn open_tool(&mut self, id: &str, name: &str, out: &mut Vec<u8>) {
        self.close(out);
        let mut w = crate::wire::convert::json::Writer::default();
        w.open_object().key("type").text("tool_use");
        w.key("id").text(id).key("name").text(name);
        w.key("input").open_object().close_object().close_object();
        let block = String::from_utf8(w.into_bytes()).unwrap_or_default();
        self.begin(Kind::Tool, &block, "input_json_delta", "partial_json", out);
    }

    fn begin(&mut self, kind: Kind, block: &str, delta: &str, member: &str, out: &mut Vec<u8>) {
        let mut w = begin("content_block_start", out);
        w.key("index").number(self.index);
        w.key("content_block").raw(block);
        end(w, out);
        self.delta.clear();
        self.delta.extend_from_slice(
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{},\"delta\":{{\"type\":\"{delta}\",\"{member}\":\"",
                self.index
            )
            .as_bytes(),
        );
        self.open = Some(kind);
    }

    /// Sends a piece of text (the inside of a literal) into the open block.
    pub(super) fn say(&mut self, piece: &str, out: &mut Vec<u8>) {
        let mut whole = std::mem::take(&mut self.piece);
        self.literals.copy(piece, &mut whole);
        self.send(&whole, out);
        whole.clear();
        whole.shrink_to(KEPT);
        self.piece = whole;
    }

    /// As [`Blocks::say`] for a piece without `\u` escapes, when a block of this kind is open and no half of a character
    /// waits; else says nothing and tells so.
    pub(super) fn say_plain(&self, kind: Kind, piece: &[u8], out: &mut Vec<u8>) -> bool {
        let can = self.is_open(kind) && self.literals.is_whole();
        if can {
            self.send(piece, out);
        }
        can
    }

    fn send(&self, piece: &[u8], out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        out.reserve(self.delta.len() + piece.len() + 5);
        out.extend_from_slice(&self.delta);
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\"}}\n\n");
    }

    /// Closes the open block, if any.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.is_none() {
            return;
        }
        let mut rest = Vec::new();
        self.literals.finish(&mut rest);
        self.send(&rest, out);
        let mut w = begin("content_block_stop", out);
        w.key("index").number(self.index);
        end(w, out);
        self.open = None;
        self.index += 1;
    }
}

/// Room for a piece that is kept from one to the next, in bytes.
const KEPT: usize = 1024;
