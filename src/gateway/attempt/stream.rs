//! A streamed answer: whole events, held until the first content.

use bytes::{Bytes, BytesMut};

use super::{MAX_HELD, Passed};
use crate::routing::{Failure, Millis, classify_error_event};
use crate::wire::anthropic::{Step, StreamFault, StreamWatch};
use crate::wire::sse::{Event, Splitter};

/// One event of a stream may be this long.
const MAX_EVENT: usize = 16 << 20;

/// The stream of one attempt.
pub(super) struct StreamAnswer {
    splitter: Splitter,
    pub(super) watch: StreamWatch,
    held: Vec<Bytes>,
    held_bytes: usize,
    events: Vec<Event>,
}

pub(super) fn stream_failure(fault: &StreamFault, now: Millis) -> Failure {
    match fault {
        StreamFault::ErrorEvent(data) => classify_error_event(data, now),
        StreamFault::Empty => Failure::empty(),
        StreamFault::Cut => Failure::cut(),
        StreamFault::SecondStart => {
            Failure::garbage("the upstream began its message a second time")
        }
        StreamFault::Garbage(what) => {
            Failure::garbage(&format!("the upstream's stream cannot be read: {what}"))
        }
        StreamFault::TooLarge => Failure::garbage("an event of the upstream's stream is too long"),
    }
}

impl StreamAnswer {
    pub(super) fn new() -> Self {
        Self {
            splitter: Splitter::new(MAX_EVENT),
            watch: StreamWatch::new(),
            held: Vec::new(),
            held_bytes: 0,
            events: Vec::with_capacity(4),
        }
    }

    /// The error holds the bytes that still may pass.
    pub(super) fn on_body(
        &mut self,
        data: Option<Bytes>,
        end: bool,
        now: Millis,
    ) -> Result<Passed, (Failure, Bytes)> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let mut out = Outgoing::default();
        let mut fault = None;
        if let Some(chunk) = data {
            let clean = self.splitter.pending() == 0;
            if self.splitter.push(chunk.clone(), &mut events).is_err() {
                fault = Some(StreamFault::TooLarge);
            }
            let all = events.len();
            let mut passed = 0;
            for event in &events {
                match self.watch.on_event(event) {
                    Step::Hold => self.hold(event.raw.clone(), false),
                    Step::Restart => self.hold(event.raw.clone(), true),
                    Step::Commit => {
                        for held in self.held.drain(..) {
                            out.push(held);
                        }
                        self.held_bytes = 0;
                        out.push(event.raw.clone());
                    }
                    Step::Pass => {
                        passed += 1;
                        out.push(event.raw.clone());
                    }
                    Step::Ignore => {}
                    Step::Fail(found) => {
                        fault = Some(found);
                        break;
                    }
                }
                if self.held_bytes > MAX_HELD {
                    fault = Some(StreamFault::TooLarge);
                    break;
                }
            }
            if passed == all && clean && self.splitter.pending() == 0 && fault.is_none() {
                // Every event of the chunk passes and nothing else is in it: pass the chunk itself.
                out = Outgoing::from(chunk);
            }
        }
        self.events = events;
        if let Some(fault) = fault {
            return Err((stream_failure(&fault, now), out.into_bytes()));
        }
        if !end {
            return Ok(match out.is_empty() {
                true => Passed::Hold,
                false if self.watch.finished() => Passed::Done(out.into_bytes()),
                false => Passed::Go(out.into_bytes()),
            });
        }
        match self.watch.on_end() {
            Ok(()) => Ok(Passed::Done(out.into_bytes())),
            Err(fault) => Err((stream_failure(&fault, now), out.into_bytes())),
        }
    }

    fn hold(&mut self, raw: Bytes, anew: bool) {
        if anew {
            self.held.clear();
            self.held_bytes = 0;
        }
        self.held_bytes += raw.len();
        self.held.push(raw);
    }
}

/// Collects what passes of one chunk; a single piece stays uncopied.
#[derive(Default)]
struct Outgoing {
    first: Option<Bytes>,
    more: BytesMut,
}

impl From<Bytes> for Outgoing {
    fn from(all: Bytes) -> Self {
        Self {
            first: Some(all),
            more: BytesMut::new(),
        }
    }
}

impl Outgoing {
    fn push(&mut self, piece: Bytes) {
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(piece);
            return;
        }
        if let Some(first) = self.first.take() {
            self.more.reserve(first.len() + piece.len());
            self.more.extend_from_slice(&first);
        }
        self.more.extend_from_slice(&piece);
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    fn into_bytes(self) -> Bytes {
        self.first.unwrap_or_else(|| self.more.freeze())
    }
}
