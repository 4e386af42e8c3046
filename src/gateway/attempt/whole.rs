//! An answer that does not stream: checked whole when it is short, passed on with a look at its end when it is long.

use bytes::Bytes;

use super::super::lane::{self, Lane};
use super::{MAX_HELD, Passed, error_answer};
use crate::routing::{Failure, Millis};
use crate::wire::answer::{AnswerFault, UsageTail};
use crate::wire::error::ClientFormat;
use crate::wire::scan::join;
use crate::wire::usage::UsageSeen;

/// An answer that must be converted has to be whole in memory; a longer one is refused.
const MAX_CONVERTED: usize = 64 << 20;

/// The whole answer of one attempt.
#[derive(Default)]
pub(super) struct WholeAnswer {
    chunks: Vec<Bytes>,
    bytes: usize,
    /// Set once the answer outgrew what is held: it streams through from then on.
    tail: Option<UsageTail>,
    pub(super) usage: UsageSeen,
    pub(super) stop_reason: Option<String>,
    pub(super) finished: bool,
}

impl WholeAnswer {
    pub(super) fn on_body(
        &mut self,
        lane: &Lane,
        data: Option<Bytes>,
        end: bool,
        now: Millis,
    ) -> Result<Passed, Failure> {
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
            let body = join(std::mem::take(&mut self.chunks), None);
            return match lane::whole(lane, body) {
                Ok((body, answer)) => {
                    self.usage = answer.usage;
                    self.stop_reason = answer.stop_reason;
                    self.finished = true;
                    Ok(Passed::Done(body))
                }
                Err(fault) => Err(answer_failure(fault, now)),
            };
        }
        if lane.converts() {
            return if self.bytes > MAX_CONVERTED {
                Err(Failure::garbage(
                    "the upstream's answer is too long to be converted",
                ))
            } else {
                Ok(Passed::Hold)
            };
        }
        if self.bytes <= MAX_HELD {
            return Ok(Passed::Hold);
        }
        // Longer than what may be held: from here on it streams through.
        let body = join(std::mem::take(&mut self.chunks), None);
        let mut tail = match lane.upstream_format() {
            ClientFormat::Anthropic => UsageTail::new(),
            ClientFormat::OpenAi => UsageTail::openai(),
        };
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
