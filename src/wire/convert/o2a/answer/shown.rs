//! What the client sees of the text that the model wrote: up to a stop sequence, without a fence around it.
//!
//! Stop sequences come first. They are the model's business: an upstream that obeys them compares them with the text as
//! the model writes it, fence and all, and what is left is the answer, whose fence is then taken off. The other way round
//! an answer would end elsewhere only because Luna cuts instead of the upstream. So a stop sequence of three backticks
//! that meets a fenced answer leaves nothing, with both kinds of upstream.
//! Invariant: where the pieces are cut never changes what goes out. Neighbours: `answer` and `stream`, which both let
//! their text go through here; `fence`; `stops` (the parent's).

use super::fence::Fence;
use crate::wire::convert::o2a::{Back, JsonAnswer};
use crate::wire::convert::stops::Stops;

/// The state of one text.
#[derive(Debug)]
pub(in super::super) struct Shown {
    stops: Option<Stops>,
    fence: Option<Fence>,
}

impl Shown {
    pub(in super::super) fn new(back: &Back) -> Self {
        Self {
            stops: Stops::new(back.stops.iter().map(String::as_str)),
            fence: (back.json == JsonAnswer::Fenced).then(Fence::new),
        }
    }

    /// Nothing is held, and whatever comes goes out as it is: the caller may copy it without asking.
    pub(in super::super) fn is_plain(&self) -> bool {
        self.stops.is_none() && self.fence.as_ref().is_none_or(Fence::is_off)
    }

    /// Takes the next piece and appends to `out` what may go out. True once a stop sequence has been found.
    pub(in super::super) fn push(&mut self, piece: &str, out: &mut String) -> bool {
        let Some(stops) = &mut self.stops else {
            unfence(self.fence.as_mut(), piece, out);
            return false;
        };
        let mut said = String::new();
        let found = stops.push(piece, &mut said);
        unfence(self.fence.as_mut(), &said, out);
        found
    }

    /// The text has ended: appends what was held back and is text after all.
    pub(in super::super) fn finish(&mut self, out: &mut String) {
        if let Some(stops) = &mut self.stops {
            let held = stops.finish();
            unfence(self.fence.as_mut(), &held, out);
        }
        if let Some(fence) = &mut self.fence {
            out.push_str(&fence.finish());
        }
    }
}

fn unfence(fence: Option<&mut Fence>, piece: &str, out: &mut String) {
    match fence {
        Some(fence) => fence.push(piece, out),
        None => out.push_str(piece),
    }
}
