//! The two directions of the conversion, driven as the gateway drives them.

use std::sync::Arc;

use bytes::Bytes;
use luna::simulate::{Generation, strict_refusal};
use luna::wire::answer::{AnswerFault, check_message};
use luna::wire::anthropic::{self, Step, StreamFault};
use luna::wire::convert::{Capabilities, Converted, Facts, Rejection, Target, a2o, o2a};
use luna::wire::openai::{self, check_completion};
use luna::wire::sse::{Event, Splitter};

use super::shapes;

/// Larger than any case.
const MAX_EVENT: usize = 16 << 20;

pub(super) trait Direction {
    type Back;
    type Stream: Stream<Self::Back>;

    fn request(body: &[u8], target: &Target<'_>) -> Result<Converted<Self::Back>, Rejection>;
    /// Why the real API, as it is known, would refuse a converted request.
    fn refusal(body: &[u8], capabilities: &Capabilities) -> Option<String>;
    /// Judges the upstream's answer, then converts it.
    fn answer(body: &[u8], back: &Self::Back, facts: &Facts) -> Result<Vec<u8>, AnswerFault>;
    /// What a client would not accept of an answer.
    fn answer_shape(body: &[u8]) -> Vec<String>;
    /// What a client would not accept of a stream; a cut one has no end.
    fn stream_shape(body: &[u8], cut: bool) -> Vec<String>;
}

/// A conversion and the judge in front of it.
pub(super) trait Stream<B> {
    fn new(back: Arc<B>, facts: Facts) -> Self;
    fn judge(&mut self, event: &Event) -> Step;
    fn convert(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), StreamFault>;
    /// Whether a fault takes nothing from the client's answer any more.
    fn is_complete(&self) -> bool;
    fn finish(&mut self, out: &mut Vec<u8>);
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault>;
}

/// What a client has seen at the end.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) out: Vec<u8>,
    /// The Debug text of the fault.
    pub(super) fault: Option<String>,
}

/// The events of a stream whose bytes are cut at `cuts`.
pub(super) fn split(answer: &[u8], cuts: &[usize]) -> Vec<Event> {
    let mut splitter = Splitter::new(MAX_EVENT);
    let mut events = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([answer.len()]) {
        let chunk = Bytes::copy_from_slice(&answer[from..to]);
        from = to;
        splitter.push(chunk, &mut events).unwrap();
    }
    events.extend(splitter.finish());
    events
}

/// Lets the bytes, cut at `cuts`, go through splitter, judge and conversion.
pub(super) fn run_stream<D: Direction>(
    answer: &[u8],
    cuts: &[usize],
    back: &Arc<D::Back>,
    facts: &Facts,
) -> Seen {
    let mut gateway = Gateway::<D> {
        stream: D::Stream::new(back.clone(), facts.clone()),
        held: Vec::new(),
        out: Vec::new(),
    };
    let mut fault = gateway.run(answer, cuts).err();
    if fault.is_some() && gateway.stream.is_complete() {
        gateway.stream.finish(&mut gateway.out);
        fault = None;
    }
    Seen {
        out: gateway.out,
        fault: fault.map(|fault| format!("{fault:?}")),
    }
}

struct Gateway<D: Direction> {
    stream: D::Stream,
    held: Vec<Event>,
    out: Vec<u8>,
}

impl<D: Direction> Gateway<D> {
    fn run(&mut self, answer: &[u8], cuts: &[usize]) -> Result<(), StreamFault> {
        let mut splitter = Splitter::new(MAX_EVENT);
        let mut events = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([answer.len()]) {
            let chunk = Bytes::copy_from_slice(&answer[from..to]);
            from = to;
            splitter
                .push(chunk, &mut events)
                .map_err(|_| StreamFault::TooLarge)?;
            for event in events.drain(..) {
                self.event(event)?;
            }
        }
        if let Some(event) = splitter.finish() {
            self.event(event)?;
        }
        self.stream.end(&mut self.out)
    }

    fn event(&mut self, event: Event) -> Result<(), StreamFault> {
        match self.stream.judge(&event) {
            Step::Hold => self.held.push(event),
            Step::Restart => self.held = vec![event],
            Step::Commit => {
                for held in std::mem::take(&mut self.held) {
                    self.stream.convert(&held, &mut self.out)?;
                }
                self.stream.convert(&event, &mut self.out)?;
            }
            Step::Pass => self.stream.convert(&event, &mut self.out)?,
            Step::Ignore => {}
            Step::Fail(fault) => return Err(fault),
        }
        Ok(())
    }
}

/// An OpenAI client, an Anthropic upstream.
pub(super) enum O2a {}

pub(super) struct O2aStream {
    watch: anthropic::StreamWatch,
    stream: o2a::Stream,
}

impl Direction for O2a {
    type Back = o2a::Back;
    type Stream = O2aStream;

    fn request(body: &[u8], target: &Target<'_>) -> Result<Converted<o2a::Back>, Rejection> {
        o2a::request(body, target)
    }

    fn refusal(body: &[u8], capabilities: &Capabilities) -> Option<String> {
        // The simulator is as strict as the newest models, which take temperature or top_p.
        let allowed = |why: &String| !capabilities.exclusive_sampling && why.contains("top_p");
        strict_refusal(Generation::Anthropic, body).filter(|why| !allowed(why))
    }

    fn answer(body: &[u8], back: &o2a::Back, facts: &Facts) -> Result<Vec<u8>, AnswerFault> {
        check_message(body)?;
        o2a::answer(body, back, facts)
    }

    fn answer_shape(body: &[u8]) -> Vec<String> {
        shapes::openai::completion(body)
    }

    fn stream_shape(body: &[u8], cut: bool) -> Vec<String> {
        shapes::openai::stream(body, cut)
    }
}

impl Stream<o2a::Back> for O2aStream {
    fn new(back: Arc<o2a::Back>, facts: Facts) -> Self {
        Self {
            watch: anthropic::StreamWatch::new(),
            stream: o2a::Stream::new(back, facts),
        }
    }

    fn judge(&mut self, event: &Event) -> Step {
        self.watch.on_event(event)
    }

    fn convert(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        self.stream.event(event, out)
    }

    fn is_complete(&self) -> bool {
        self.stream.is_complete()
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.stream.finish(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        // An end without message_stop is one all the same when the stop reason has been told.
        let told = self.watch.stop_reason().is_some();
        match self.watch.on_end() {
            Err(StreamFault::Cut) if told => {}
            end => end?,
        }
        self.stream.finish(out);
        Ok(())
    }
}

/// An Anthropic client, an OpenAI upstream.
pub(super) enum A2o {}

pub(super) struct A2oStream {
    watch: openai::StreamWatch,
    stream: a2o::Stream,
}

impl Direction for A2o {
    type Back = a2o::Back;
    type Stream = A2oStream;

    fn request(body: &[u8], target: &Target<'_>) -> Result<Converted<a2o::Back>, Rejection> {
        let mut converted = a2o::request(body, target)?;
        assert!(
            converted.back.input_estimate > 0,
            "clients read the context size before the answer"
        );
        // How good the estimate is, is tested elsewhere; golden files must not change with it.
        converted.back.input_estimate = 25;
        Ok(converted)
    }

    fn refusal(body: &[u8], _: &Capabilities) -> Option<String> {
        strict_refusal(Generation::OpenAi, body)
    }

    fn answer(body: &[u8], back: &a2o::Back, facts: &Facts) -> Result<Vec<u8>, AnswerFault> {
        check_completion(body)?;
        a2o::answer(body, back, facts)
    }

    fn answer_shape(body: &[u8]) -> Vec<String> {
        shapes::anthropic::message(body)
    }

    fn stream_shape(body: &[u8], cut: bool) -> Vec<String> {
        shapes::anthropic::stream(body, cut)
    }
}

impl Stream<a2o::Back> for A2oStream {
    fn new(back: Arc<a2o::Back>, facts: Facts) -> Self {
        Self {
            watch: openai::StreamWatch::new(false),
            stream: a2o::Stream::new(back, facts),
        }
    }

    fn judge(&mut self, event: &Event) -> Step {
        self.watch.on_event(event)
    }

    fn convert(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        self.stream.event(event, out)
    }

    fn is_complete(&self) -> bool {
        false
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.stream.finish(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        self.watch.on_end()?;
        self.stream.finish(out);
        Ok(())
    }
}
