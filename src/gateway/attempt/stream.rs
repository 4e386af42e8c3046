//! A streamed answer: whole events, held until the first content.

use bytes::Bytes;

use super::super::lane::{Converter, Lane, Watch};
use super::{MAX_HELD, Passed};
use crate::routing::{Failure, Millis, classify_error_event};
use crate::wire::anthropic::{Step, StreamFault, with_input_tokens};
use crate::wire::sse::{Event, Splitter};

/// One event of a stream may be this long.
const MAX_EVENT: usize = 16 << 20;

/// The stream of one attempt.
pub(super) struct StreamAnswer {
    splitter: Splitter,
    pub(super) watch: Watch,
    /// None when the stream is relayed.
    converter: Option<Converter>,
    /// The upstream leaves the input tokens out of `message_delta`.
    mend: bool,
    held: Vec<Event>,
    held_bytes: usize,
    events: Vec<Event>,
    /// A converted stream was completed although its formal end never came.
    completed: bool,
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
    pub(super) fn new(lane: &Lane) -> Self {
        Self {
            splitter: Splitter::new(MAX_EVENT),
            watch: Watch::of(lane),
            converter: Converter::of(lane),
            mend: matches!(lane, Lane::Anthropic { mend: true }),
            held: Vec::new(),
            held_bytes: 0,
            events: Vec::with_capacity(4),
            completed: false,
        }
    }

    /// Whether the client has been given the whole answer.
    pub(super) fn finished(&self) -> bool {
        self.watch.finished() || self.completed
    }

    /// The upstream's stream is over.
    pub(super) fn on_end(&mut self) -> Result<(), StreamFault> {
        self.watch.on_end()
    }

    /// The connection is gone: the end that a converted stream can still be given, when the upstream had said why it
    /// stops (contracts/conversion.md, sections 3 and 5).
    pub(super) fn complete(&mut self) -> Option<Bytes> {
        let converter = self.converter.as_ref()?;
        let owed = self.watch.stop_reason().is_some() || converter.is_complete();
        if !self.watch.committed() || !owed || self.completed {
            return None;
        }
        self.completed = true;
        self.finish_conversion()
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
            match self.judge(&events, &mut out) {
                Err(found) => fault = Some(found),
                // Every event of the chunk passes and nothing else is in it: pass the chunk itself.
                Ok(true) if clean && self.splitter.pending() == 0 && fault.is_none() => {
                    out = Outgoing::from(chunk);
                }
                Ok(_) => {}
            }
        }
        if end
            && fault.is_none()
            && let Some(last) = self.splitter.finish()
        {
            fault = self.judge(&[last], &mut out).err();
        }
        events.clear();
        self.events = events;
        if fault.is_some() && self.converter.as_ref().is_some_and(Converter::is_complete) {
            // The client lacks nothing but the close.
            out.push(self.complete().unwrap_or_default());
            return Ok(Passed::Done(out.into_bytes()));
        }
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
        let fault = self.on_end().err();
        let completed = match fault {
            None => self.finish_conversion(),
            Some(_) => self.complete(),
        };
        match (fault, completed) {
            (Some(fault), None) => Err((stream_failure(&fault, now), out.into_bytes())),
            (_, rest) => {
                out.push(rest.unwrap_or_default());
                Ok(Passed::Done(out.into_bytes()))
            }
        }
    }

    /// What a converter still owes at an end without a fault.
    fn finish_conversion(&mut self) -> Option<Bytes> {
        let mut rest = Vec::new();
        self.converter.as_mut()?.finish(&mut rest);
        Some(rest.into())
    }

    /// Lets pass what may pass. True when that is every event, unchanged.
    fn judge(&mut self, events: &[Event], out: &mut Outgoing) -> Result<bool, StreamFault> {
        let mut unchanged = self.converter.is_none();
        for event in events {
            match self.watch.on_event(event) {
                Step::Hold => {
                    self.hold(event, false);
                    unchanged = false;
                }
                Step::Restart => {
                    self.hold(event, true);
                    unchanged = false;
                }
                Step::Commit => {
                    unchanged = false;
                    self.held_bytes = 0;
                    for held in std::mem::take(&mut self.held) {
                        self.pass(&held, out)?;
                    }
                    self.pass(event, out)?;
                }
                Step::Pass => unchanged &= self.pass(event, out)?,
                Step::Ignore => unchanged = false,
                Step::Fail(found) => return Err(found),
            }
            if self.held_bytes > MAX_HELD {
                return Err(StreamFault::TooLarge);
            }
        }
        Ok(unchanged)
    }

    /// Adds an event to what the client gets. True when it goes out as it came.
    fn pass(&mut self, event: &Event, out: &mut Outgoing) -> Result<bool, StreamFault> {
        if let Some(converter) = &mut self.converter {
            converter.event(event, &mut out.made)?;
            return Ok(false);
        }
        if self.mend
            && let Some(filled) = with_input_tokens(event, &self.watch.usage().tokens)
        {
            out.push(filled);
            return Ok(false);
        }
        out.push(event.raw.clone());
        Ok(true)
    }

    fn hold(&mut self, event: &Event, anew: bool) {
        if anew {
            self.held.clear();
            self.held_bytes = 0;
        }
        self.held_bytes += event.raw.len();
        self.held.push(event.clone());
    }
}

/// Collects what passes of one chunk; a single piece stays uncopied.
#[derive(Default)]
struct Outgoing {
    first: Option<Bytes>,
    /// More pieces, or all that a converter has written.
    made: Vec<u8>,
}

impl From<Bytes> for Outgoing {
    fn from(all: Bytes) -> Self {
        Self {
            first: Some(all),
            made: Vec::new(),
        }
    }
}

impl Outgoing {
    fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.first.is_none() && self.made.is_empty() {
            self.first = Some(piece);
            return;
        }
        if let Some(first) = self.first.take() {
            self.made.reserve(first.len() + piece.len());
            self.made.extend_from_slice(&first);
        }
        self.made.extend_from_slice(&piece);
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.made.is_empty()
    }

    fn into_bytes(self) -> Bytes {
        self.first.unwrap_or_else(|| self.made.into())
    }
}
