//! One call of one tier: what it is asked, what comes back, and what that means.
//!
//! Knows nothing of pingora's phases: the filters in `proxy` hand it headers
//! and bytes, and it says what may pass, what must be held, and how it failed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use pingora::http::ResponseHeader;

use super::endpoint::Endpoint;
use crate::config::{Limits, Profile};
use crate::routing::{Failure, Millis, ProbeGuard, Tier, classify, classify_error_event};
use crate::wire::answer::{AnswerFault, UsageTail, check_message};
use crate::wire::anthropic::{Step, StreamFault, StreamWatch};
use crate::wire::sse::{Event, Splitter};
use crate::wire::usage::UsageSeen;

/// At most this much is held back before the commit; contracts/gateway.md section 5.
const MAX_HELD: usize = 1 << 20;
/// One event of a stream may be this long.
const MAX_EVENT: usize = 16 << 20;
/// An error body holds its reset time within this much (design, 8).
const MAX_ERROR_BODY: usize = 64 << 10;
/// A second more of first-event limit for each of these many request bytes.
const BYTES_PER_EXTRA_S: u64 = 20 * 1024;

/// What the filters do with what the upstream sent.
#[derive(Debug)]
pub(super) enum Passed {
    /// Nothing for the client yet.
    Hold,
    /// These bytes go to the client.
    Go(Bytes),
    /// These bytes go to the client and are the last: the answer is complete.
    Done(Bytes),
    /// The attempt is over; before the commit nothing has been written. The
    /// bytes are what may still pass of a stream that broke after its commit.
    Failed(Bytes),
}

/// The answer as far as it has come.
enum Answer {
    /// No header yet.
    None,
    Stream(Box<StreamAnswer>),
    Whole(Box<WholeAnswer>),
    /// A status that is no answer; its body is read to learn why.
    Error(BytesMut),
}

struct StreamAnswer {
    splitter: Splitter,
    watch: StreamWatch,
    held: Vec<Bytes>,
    held_bytes: usize,
    events: Vec<Event>,
}

struct WholeAnswer {
    chunks: Vec<Bytes>,
    bytes: usize,
    /// Set once the answer outgrew what is held: it streams through from then on.
    tail: Option<UsageTail>,
    usage: UsageSeen,
    finished: bool,
}

/// One attempt.
pub(super) struct Attempt {
    /// Index of the tier in the route.
    pub(super) index: usize,
    pub(super) tier: Tier,
    pub(super) endpoint: Arc<Endpoint>,
    /// Address of the present connection.
    pub(super) address: SocketAddr,
    /// How many of the endpoint's addresses were tried before.
    pub(super) addresses_tried: usize,
    /// Held while this attempt is the one that finds out whether a mark can go.
    pub(super) probe: Option<ProbeGuard>,
    /// No further tier would be tried after this one.
    pub(super) last: bool,
    pub(super) began: Millis,
    /// A stale pooled connection has been forgiven once.
    pub(super) forgiven: bool,
    pub(super) status: u16,
    content_type: Option<String>,
    retry_after: Option<u64>,
    stream: bool,
    answer: Answer,
    failure: Option<Failure>,
}

impl Attempt {
    #[allow(
        clippy::too_many_arguments,
        reason = "a plain record, built in one place"
    )]
    pub(super) fn new(
        index: usize,
        tier: Tier,
        endpoint: Arc<Endpoint>,
        address: SocketAddr,
        probe: Option<ProbeGuard>,
        last: bool,
        stream: bool,
        began: Millis,
    ) -> Self {
        Self {
            index,
            tier,
            endpoint,
            address,
            addresses_tried: 0,
            probe,
            last,
            began,
            forgiven: false,
            status: 0,
            content_type: None,
            retry_after: None,
            stream,
            answer: Answer::None,
            failure: None,
        }
    }

    fn limits(&self) -> &Limits {
        &self.endpoint.upstream.limits
    }

    /// The limit until the first content (or the whole answer), counted from
    /// the moment the request is written; then idle; then whether any event
    /// starts the first one anew.
    pub(super) fn deadlines(&self, body: usize) -> (Duration, Duration, Option<Duration>) {
        let limits = self.limits();
        if !self.stream {
            let limit = if self.last {
                limits.total
            } else {
                limits.first_answer
            };
            return (limit, limits.idle, None);
        }
        let first = if self.last {
            limits.last_first_event
        } else {
            limits.first_event
        };
        let body = u64::try_from(body).unwrap_or(u64::MAX);
        let limit = first + Duration::from_secs(body / BYTES_PER_EXTRA_S);
        let pings = self.endpoint.upstream.profile != Profile::Antigravity;
        (limit, limits.idle, pings.then_some(limit))
    }

    /// The same tier is asked again: forget what came of the connection before.
    pub(super) fn again(&mut self, now: Millis) {
        self.began = now;
        self.status = 0;
        self.content_type = None;
        self.retry_after = None;
        self.answer = Answer::None;
        self.failure = None;
    }

    /// An answer's head has come (never a 1xx). False when it can be no answer
    /// and its body is not worth waiting for.
    pub(super) fn on_header(&mut self, header: &ResponseHeader, now: Millis) -> bool {
        let text = |name| header.headers.get(name).and_then(|v| v.to_str().ok());
        self.status = header.status.as_u16();
        self.content_type = text(CONTENT_TYPE).map(str::to_ascii_lowercase);
        self.retry_after = text(RETRY_AFTER).and_then(|v| v.trim().parse().ok());
        let kind = self.content_type.as_deref().unwrap_or("");
        let is_sse = kind.starts_with("text/event-stream");
        if self.status != 200 {
            self.answer = Answer::Error(BytesMut::new());
            return true;
        }
        if self.stream && is_sse {
            self.answer = Answer::Stream(Box::new(StreamAnswer {
                splitter: Splitter::new(MAX_EVENT),
                watch: StreamWatch::new(),
                held: Vec::new(),
                held_bytes: 0,
                events: Vec::with_capacity(4),
            }));
            return true;
        }
        if !self.stream && kind.starts_with("application/json") {
            self.answer = Answer::Whole(Box::new(WholeAnswer {
                chunks: Vec::new(),
                bytes: 0,
                tail: None,
                usage: UsageSeen::default(),
                finished: false,
            }));
            return true;
        }
        if kind.starts_with("application/json") {
            // A JSON body where a stream was asked for: most likely an error that names its cause.
            self.answer = Answer::Error(BytesMut::new());
            return true;
        }
        let _ = now;
        self.failure = Some(Failure::not_an_answer(&format!(
            "a 200 with the content-type {kind:?}"
        )));
        false
    }

    /// Bytes of the answer's body, or its end.
    pub(super) fn on_body(&mut self, data: Option<Bytes>, end: bool, now: Millis) -> Passed {
        let (status, content_type, retry_after) =
            (self.status, self.content_type.as_deref(), self.retry_after);
        let result = match &mut self.answer {
            Answer::None => Err((
                Failure::garbage("a body came before its header"),
                Bytes::new(),
            )),
            Answer::Stream(stream) => stream.on_body(data, end, now),
            Answer::Whole(whole) => whole.on_body(data, end, now).map_err(|f| (f, Bytes::new())),
            Answer::Error(body) => {
                if let Some(data) = data {
                    let room = MAX_ERROR_BODY.saturating_sub(body.len());
                    body.extend_from_slice(data.get(..room.min(data.len())).unwrap_or(&data));
                }
                if !end && body.len() < MAX_ERROR_BODY {
                    return Passed::Hold;
                }
                Err((
                    error_answer(status, content_type, retry_after, body, now),
                    Bytes::new(),
                ))
            }
        };
        match result {
            Ok(passed) => passed,
            Err((failure, rest)) => {
                self.failure = Some(failure);
                Passed::Failed(rest)
            }
        }
    }

    /// The answer broke off: what its beginning tells about the cause.
    pub(super) fn on_cut(&mut self, now: Millis) -> Failure {
        if let Some(failure) = self.failure.take() {
            return failure;
        }
        match &mut self.answer {
            Answer::None => {
                Failure::reset_by_upstream("the upstream closed the connection before it answered")
            }
            Answer::Error(body) => error_answer(
                self.status,
                self.content_type.as_deref(),
                self.retry_after,
                body,
                now,
            ),
            Answer::Stream(stream) => match stream.watch.on_end() {
                Ok(()) | Err(StreamFault::Cut) => Failure::cut(),
                Err(fault) => stream_failure(&fault, now),
            },
            Answer::Whole(_) => Failure::cut(),
        }
    }

    /// A failure that a filter or a time limit has found.
    pub(super) fn fail(&mut self, failure: Failure) {
        if self.failure.is_none() {
            self.failure = Some(failure);
        }
    }

    /// True once a header has come from the upstream.
    pub(super) fn has_header(&self) -> bool {
        self.status != 0
    }

    /// The upstream may go on for idle's sake only once the answer is complete.
    pub(super) fn finished(&self) -> bool {
        match &self.answer {
            Answer::Stream(stream) => stream.watch.finished(),
            Answer::Whole(whole) => whole.finished,
            Answer::None | Answer::Error(_) => false,
        }
    }

    /// Whether the answer streams event by event.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.answer, Answer::Stream(_))
    }

    /// What the upstream has reported so far.
    pub(super) fn usage(&self) -> UsageSeen {
        match &self.answer {
            Answer::Stream(stream) => *stream.watch.usage(),
            Answer::Whole(whole) => whole.usage,
            Answer::None | Answer::Error(_) => UsageSeen::default(),
        }
    }
}

fn error_answer(
    status: u16,
    content_type: Option<&str>,
    retry_after: Option<u64>,
    body: &[u8],
    now: Millis,
) -> Failure {
    if status == 200 {
        let mut failure = classify_error_event(body, now);
        if failure.client_fault {
            // A 200 is no verdict on the request, whatever its body says.
            failure.client_fault = false;
        }
        return failure;
    }
    classify(status, content_type, body, retry_after, now)
}

fn stream_failure(fault: &StreamFault, now: Millis) -> Failure {
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
    /// The error holds the bytes that still may pass.
    fn on_body(
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

impl WholeAnswer {
    fn on_body(&mut self, data: Option<Bytes>, end: bool, now: Millis) -> Result<Passed, Failure> {
        if let Some(tail) = &mut self.tail {
            let data = data.unwrap_or_default();
            tail.feed(&data);
            return self.tail_state(data, end);
        }
        if let Some(data) = data {
            self.bytes += data.len();
            self.chunks.push(data);
        }
        if end {
            let body = crate::wire::scan::join(std::mem::take(&mut self.chunks), None);
            return match check_message(&body) {
                Ok(answer) => {
                    self.usage = answer.usage;
                    self.finished = true;
                    Ok(Passed::Done(body))
                }
                Err(fault) => Err(answer_failure(fault, now)),
            };
        }
        if self.bytes <= MAX_HELD {
            return Ok(Passed::Hold);
        }
        // Longer than what may be held: from here on it streams through.
        let body = crate::wire::scan::join(std::mem::take(&mut self.chunks), None);
        let mut tail = UsageTail::new();
        tail.feed(&body);
        self.tail = Some(tail);
        Ok(Passed::Go(body))
    }

    fn tail_state(&mut self, data: Bytes, end: bool) -> Result<Passed, Failure> {
        if !end {
            return Ok(if data.is_empty() {
                Passed::Hold
            } else {
                Passed::Go(data)
            });
        }
        let (usage, closed) = self.tail.take().map(UsageTail::finish).unwrap_or_default();
        self.usage = usage;
        self.finished = closed;
        if closed {
            Ok(Passed::Done(data))
        } else {
            Err(Failure::cut())
        }
    }
}

fn answer_failure(fault: AnswerFault, now: Millis) -> Failure {
    match fault {
        AnswerFault::Empty => Failure::empty(),
        AnswerFault::Error(body) => error_answer(200, None, None, &body, now),
        AnswerFault::NotJson => Failure::not_an_answer("a 200 whose body is not JSON"),
        AnswerFault::WrongShape(what) => {
            Failure::not_an_answer(&format!("a 200 that is not a message: {what}"))
        }
    }
}
