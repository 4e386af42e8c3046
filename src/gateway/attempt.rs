//! One call of one tier: what it is asked, what comes back, and what that means.
//!
//! Knows nothing of pingora's phases: the filters in `proxy` hand it headers
//! and bytes, and it says what may pass, what must be held, and how it failed.

mod stream;
mod whole;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use pingora::http::ResponseHeader;

use self::stream::{StreamAnswer, stream_failure};
use self::whole::WholeAnswer;
use super::answer::Framing;
use super::endpoint::Endpoint;
use super::lane::Asked;
use crate::config::{Limits, Profile};
use crate::routing::{Failure, Millis, ProbeGuard, Tier, classify, classify_error_event};
use crate::wire::anthropic::StreamFault;
use crate::wire::usage::UsageSeen;

/// At most this much is held back before the commit; contracts/gateway.md section 5.
const MAX_HELD: usize = 1 << 20;
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
    /// What this tier is sent.
    pub(super) asked: Asked,
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
            asked: Asked::default(),
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
    pub(super) fn deadlines(&self) -> (Duration, Duration, Option<Duration>) {
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
        let body = u64::try_from(self.asked.body.len()).unwrap_or(u64::MAX);
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
            self.answer = Answer::Stream(Box::new(StreamAnswer::new(&self.asked.lane)));
            return true;
        }
        if !self.stream && kind.starts_with("application/json") {
            self.answer = Answer::Whole(Box::default());
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
            Answer::Whole(whole) => whole
                .on_body(&self.asked.lane, data, end, now)
                .map_err(|f| (f, Bytes::new())),
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
            Answer::Stream(stream) => match stream.on_end() {
                Ok(()) | Err(StreamFault::Cut) => Failure::cut(),
                Err(fault) => stream_failure(&fault, now),
            },
            Answer::Whole(_) => Failure::cut(),
        }
    }

    /// What completes an answer whose connection broke when all but its formal end had come; the client misses nothing.
    pub(super) fn complete(&mut self) -> Option<Bytes> {
        match &mut self.answer {
            Answer::Stream(stream) if self.failure.is_none() => stream.complete(),
            _ => None,
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
            Answer::Stream(stream) => stream.finished(),
            Answer::Whole(whole) => whole.finished,
            Answer::None | Answer::Error(_) => false,
        }
    }

    /// How the answer reaches the client.
    pub(super) fn framing(&self) -> Framing {
        if self.is_stream() {
            Framing::Events
        } else if self.asked.lane.converts() {
            Framing::Rebuilt
        } else {
            Framing::Same
        }
    }

    /// Whether the answer streams event by event.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.answer, Answer::Stream(_))
    }

    /// The upstream's stop reason, when a conversion had to guess what it means.
    pub(super) fn odd_stop_reason(&self) -> Option<&str> {
        let reason = match &self.answer {
            Answer::Stream(stream) => stream.watch.stop_reason(),
            Answer::Whole(whole) => whole.stop_reason.as_deref(),
            Answer::None | Answer::Error(_) => None,
        };
        reason.filter(|reason| self.asked.lane.is_odd(reason))
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
