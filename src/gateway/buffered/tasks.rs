//! What the upstream's side hands to the session, one task at a time: held, swallowed, or stripped of its end.

use bytes::Bytes;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};

use super::BufferedSession;

/// Splits a batch at the first byte that the filters let through.
pub(super) enum Held {
    /// Nothing to write yet.
    Nothing,
    /// The first body of the answer, and whether it is also the last.
    First(Bytes, bool),
}

impl BufferedSession {
    /// Takes what comes of an answer that nobody waits for any more.
    pub(super) fn swallow(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut ended = false;
        for task in tasks {
            ended |= is_end(&task);
            if let HttpTask::Failed(e) = task {
                return Err(e);
            }
        }
        if ended && !self.control.finished() {
            return Error::e_explain(
                ErrorType::ConnectionClosed,
                "the answer broke off before its end",
            );
        }
        Ok(ended)
    }

    pub(super) fn hold(&mut self, task: HttpTask) -> Result<Held> {
        match task {
            HttpTask::Header(header, end) => {
                if !header.status.is_informational() {
                    self.held = Some(header);
                    if end {
                        return Error::e_explain(
                            ErrorType::ConnectionClosed,
                            "the answer has no body",
                        );
                    }
                }
                Ok(Held::Nothing)
            }
            HttpTask::Body(Some(data), end) if !data.is_empty() => Ok(Held::First(data, end)),
            HttpTask::Body(_, false) => Ok(Held::Nothing),
            HttpTask::Failed(e) => Err(e),
            HttpTask::UpgradedBody(..) => {
                Error::e_explain(ErrorType::InternalError, "the upstream switched protocols")
            }
            HttpTask::Body(_, true) | HttpTask::Done | HttpTask::Trailer(_) => Error::e_explain(
                ErrorType::ConnectionClosed,
                "the answer ended before its first content",
            ),
        }
    }
}

pub(super) fn is_end(task: &HttpTask) -> bool {
    match task {
        HttpTask::Header(_, end) | HttpTask::Body(_, end) | HttpTask::UpgradedBody(_, end) => *end,
        HttpTask::Done | HttpTask::Trailer(_) => true,
        HttpTask::Failed(_) => false,
    }
}

/// Takes the end mark off a task, so that what it carries can be written without closing the answer.
pub(super) fn without_end(task: HttpTask) -> Option<HttpTask> {
    match task {
        HttpTask::Body(Some(data), _) if !data.is_empty() => {
            Some(HttpTask::Body(Some(data), false))
        }
        HttpTask::Failed(e) => Some(HttpTask::Failed(e)),
        _ => None,
    }
}
