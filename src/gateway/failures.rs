//! A failed attempt: whose fault it was, who is told, and whether the request goes on.

use std::sync::Arc;

use pingora::Error;

use super::Gateway;
use super::context::{Ctx, Flight};
use super::control::Expired;
use crate::routing::{self, After, Failure, Reason};
use crate::telemetry::{Event, EventKind};
use crate::wire::error::{ClientError, ErrorKind};
use crate::wire::text::clean;

impl Gateway {
    /// True when the request goes on: to the same tier once more, or to the next one.
    pub(super) fn on_attempt_error(&self, e: &Error, ctx: &mut Ctx, reused: bool) -> bool {
        let now = self.now();
        let Some(flight) = ctx.flight.as_deref_mut() else {
            return false;
        };
        let control = Arc::clone(&flight.control);
        if control.client_gone() || control.finished() {
            return false;
        }
        let expired = control.expired();
        let Some(attempt) = flight.attempt.as_mut() else {
            return false;
        };
        let committed = control.committed() || flight.bytes_out > 0;
        if committed && let Some(rest) = attempt.complete() {
            flight.closing = Some(rest);
            control.finish(std::time::Duration::ZERO);
            return false;
        }
        let stale = reused && expired.is_none() && !attempt.has_header() && !attempt.forgiven;
        if stale && !committed {
            // The pool's connection had died of age: no verdict on the tier (design, 6).
            attempt.forgiven = true;
            flight.again = true;
            return true;
        }
        match expired {
            Some(Expired::Attempt) => attempt.fail(Failure::timeout(if committed {
                "the upstream fell silent in mid-answer"
            } else {
                "the upstream did not answer within its limit"
            })),
            Some(Expired::Request) => attempt.fail(Failure::timeout("server.request_s is over")),
            None => {}
        }
        let failure = attempt.on_cut(now);
        log::debug!("{}: attempt failed: {e}", ctx.envelope.request_id);
        self.after_failure(ctx, failure, committed, expired == Some(Expired::Request))
    }

    /// A connection could not be made: the next address of the same upstream, else the next tier.
    pub(super) fn on_connect_error(&self, e: &Error, ctx: &mut Ctx) -> bool {
        let Some(flight) = ctx.flight.as_deref_mut() else {
            return false;
        };
        let Some(attempt) = flight.attempt.as_mut() else {
            return false;
        };
        attempt.addresses_tried += 1;
        if let Some(address) = attempt.endpoint.address(attempt.addresses_tried)
            && !flight.control.request_time_over()
        {
            attempt.address = address;
            flight.again = true;
            return true;
        }
        attempt.endpoint.note_unreachable();
        let over = flight.control.request_time_over();
        let what = format!("cannot connect: {}", e.etype().as_str());
        log::debug!("{}: {what}: {e}", ctx.envelope.request_id);
        self.after_failure(ctx, Failure::connect(&what), false, over)
    }

    fn after_failure(&self, ctx: &mut Ctx, failure: Failure, committed: bool, over: bool) -> bool {
        let now = self.now();
        let key = ctx.account.as_ref().map_or(0, |a| a.identity.key().tag);
        let Some(flight) = ctx.flight.as_deref_mut() else {
            return false;
        };
        let Some(mut attempt) = flight.attempt.take() else {
            return false;
        };
        let probe = attempt.probe.take();
        if committed {
            // The answer is this tier's for good; its probe was settled at the commit.
            self.count_attempt(&attempt.tier.model, failure.reason.as_str());
            if let Some(account) = ctx.account.as_deref_mut() {
                account.stream_error = true;
            }
            flight.refusal = Some(midstream_error(&failure));
            flight.attempt = Some(attempt);
            return false;
        }
        let usage = attempt.usage().tokens;
        self.count_attempt_tokens(&attempt.tier.model, usage);
        let after = self.note_failure(
            flight,
            attempt.index,
            probe.as_ref(),
            attempt.began,
            key,
            &failure,
            now,
        );
        drop(probe);
        if over {
            flight.refusal = Some(request_over());
            return false;
        }
        if after == After::End || flight.first_only {
            flight.refusal = Some(self.chain_is_out(flight));
            return false;
        }
        true
    }

    pub(super) fn attempt_failed(
        &self,
        flight: &mut Flight,
        index: usize,
        probe: Option<&routing::ProbeGuard>,
        now: routing::Millis,
        failure: Failure,
    ) {
        self.note_failure(flight, index, probe, now, 0, &failure, now);
    }

    /// Tells the book, the trail, the metrics and the ring of events.
    #[allow(
        clippy::too_many_arguments,
        reason = "one place where all of them meet"
    )]
    fn note_failure(
        &self,
        flight: &mut Flight,
        index: usize,
        probe: Option<&routing::ProbeGuard>,
        began: routing::Millis,
        key: u64,
        failure: &Failure,
        now: routing::Millis,
    ) -> After {
        let Some(tier) = flight.route.tiers.get(index).cloned() else {
            return After::End;
        };
        let first = flight.trail.asked() <= 1;
        let outcome = self.book.attempt_failed(
            &routing::Attempt {
                tier: &tier,
                key,
                began,
                probe,
                first,
            },
            failure,
            now,
        );
        let after = flight.trail.failed(index, failure.clone());
        self.count_attempt(&tier.model, failure.reason.as_str());
        if outcome.suspect_429 {
            let label = self.metrics.model_label(&tier.model);
            self.metrics.suspect.with_label_values(&[label]).inc();
        }
        if let Some(at) = outcome.poll_at {
            self.poller.ask(at);
        }
        if outcome.marked {
            let mut event = Event::new(EventKind::Mark);
            event.model = Some(clean(&tier.model));
            event.upstream = Some(tier.upstream.to_string());
            event.reason = Some(failure.reason.as_str().to_owned());
            event.detail = Some(clean(&failure.message));
            log::warn!(
                "tier {} at {} is marked: {} ({})",
                clean(&tier.model),
                tier.upstream,
                failure.reason,
                clean(&failure.message),
            );
            self.events.push(event);
        }
        after
    }

    /// `attempts_total`: once for each call of an upstream, when its outcome is known.
    pub(super) fn count_attempt(&self, model: &str, outcome: &str) {
        self.metrics
            .attempts
            .with_label_values(&[self.metrics.model_label(model), outcome])
            .inc();
    }

    pub(super) fn count_attempt_tokens(&self, model: &str, tokens: crate::wire::usage::Tokens) {
        let label = self.metrics.model_label(model);
        for (kind, n) in [
            ("input", tokens.input),
            ("output", tokens.output),
            ("cache_read", tokens.cache_read),
            ("cache_creation", tokens.cache_creation),
        ] {
            if n > 0 {
                self.metrics
                    .attempt_tokens
                    .with_label_values(&[label, kind])
                    .inc_by(n);
            }
        }
    }
}

pub(super) fn request_over() -> ClientError {
    ClientError {
        status: 504,
        kind: ErrorKind::Timeout,
        message: "no model answered within the gateway's limit for one request (server.request_s)"
            .to_owned(),
        param: None,
        code: None,
        retry_after_s: None,
        details: None,
    }
}

/// What the client of a broken stream is told, in the stream.
fn midstream_error(failure: &Failure) -> ClientError {
    let (status, kind) = match failure.reason {
        Reason::Overloaded => (529, ErrorKind::Overloaded),
        Reason::Timeout => (504, ErrorKind::Timeout),
        Reason::Exhausted | Reason::RateLimited => (429, ErrorKind::RateLimit),
        _ => (502, ErrorKind::Api),
    };
    ClientError {
        status,
        kind,
        message: format!(
            "the answer broke off ({}); it is not complete: send the request again",
            failure.reason
        ),
        param: None,
        code: None,
        retry_after_s: None,
        details: None,
    }
}
