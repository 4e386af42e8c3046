//! The calls that are open in a stream, by the index of their block.
//!
//! Invariants: a call whose arguments came in no fragment gets the input of its block's start, so every call ends with
//! arguments; what is kept for that is bounded. Neighbour: `stream`.

use super::chunk::Chunks;
use crate::wire::convert::literal::{Literals, encode};

/// Open calls; any real stream has one or two.
const MAX_OPEN: usize = 256;
/// Input of block starts that is kept, in bytes.
const MAX_INPUT: usize = 16 << 20;

/// Where a call's arguments go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The client's call with this index.
    Call(u64),
    /// The one call of a legacy answer.
    Legacy,
    /// The content: the call was forced to get JSON.
    Content,
}

#[derive(Debug)]
struct Tool {
    block: u64,
    kind: Kind,
    literals: Literals,
    /// The input of the block's start, while no fragment has come.
    input: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Tools {
    open: Vec<Tool>,
    calls: u64,
    kept: usize,
}

impl Tools {
    /// Calls of the client's tools so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// False when too much is open.
    pub(super) fn start(&mut self, block: u64, kind: Kind, input: &str) -> bool {
        if self.open.len() >= MAX_OPEN || self.kept + input.len() > MAX_INPUT {
            return false;
        }
        self.kept += input.len();
        self.calls += u64::from(!matches!(kind, Kind::Content));
        self.open.push(Tool {
            block,
            kind,
            literals: Literals::default(),
            input: Some(input.to_owned()),
        });
        true
    }

    /// More arguments for the call of this block; those of other blocks are nobody's.
    pub(super) fn fragment(&mut self, block: u64, inner: &str, chunks: &Chunks, out: &mut Vec<u8>) {
        if inner.is_empty() {
            return;
        }
        let Some(tool) = self.open.iter_mut().find(|tool| tool.block == block) else {
            return;
        };
        if let Some(input) = tool.input.take() {
            self.kept -= input.len();
        }
        let literals = &mut tool.literals;
        write(tool.kind, chunks, out, |out| literals.copy(inner, out));
    }

    /// The block has ended.
    pub(super) fn stop(&mut self, block: u64, chunks: &Chunks, out: &mut Vec<u8>) {
        if let Some(at) = self.open.iter().position(|tool| tool.block == block) {
            let tool = self.open.remove(at);
            self.close(tool, chunks, out);
        }
    }

    /// The message has ended.
    pub(super) fn stop_all(&mut self, chunks: &Chunks, out: &mut Vec<u8>) {
        for tool in std::mem::take(&mut self.open) {
            self.close(tool, chunks, out);
        }
    }

    fn close(&mut self, mut tool: Tool, chunks: &Chunks, out: &mut Vec<u8>) {
        write(tool.kind, chunks, out, |out| match &tool.input {
            Some(input) => encode(input, out),
            None => tool.literals.finish(out),
        });
        self.kept -= tool.input.map_or(0, |input| input.len());
    }
}

fn write(kind: Kind, chunks: &Chunks, out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) {
    match kind {
        Kind::Call(k) => chunks.arguments(k, out, text),
        Kind::Legacy => chunks.legacy_arguments(out, text),
        Kind::Content => chunks.content(out, text),
    }
}
