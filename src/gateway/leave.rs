//! The end of a request: the last word to the client, the count, the log line.

use std::borrow::Cow;

use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorSource};
use pingora_proxy::{FailToProxy, Session};

use super::Gateway;
use super::answer;
use super::connection;
use super::context::{Account, Ctx, Flight};
use crate::routing::{Verdict, VerdictKind};
use crate::telemetry::{Event, EventKind};
use crate::wire::error::{ClientError, ClientFormat, ErrorKind, render_sse};
use crate::wire::text::clean;

/// Status in the log and the metrics of a request whose client left first (nginx's word for it).
const CLIENT_CLOSED: u16 = 499;

const NO_ANSWER: FailToProxy = FailToProxy {
    error_code: 0,
    can_reuse_downstream: false,
};

impl Gateway {
    /// pingora has given up on the request: speak for the whole chain, once.
    pub(super) async fn conclude(
        &self,
        session: &mut Session,
        e: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        let Some(flight) = ctx.flight.as_deref_mut() else {
            // Before the take-off only a client that left, or a mistake of ours, ends here.
            return self.conclude_early(session, e, ctx).await;
        };
        restore(session, flight);
        let control = &flight.control;
        if control.client_gone() {
            return NO_ANSWER;
        }
        if control.finished() {
            // The answer was complete; only the upstream's connection was slow to end.
            let socket = &mut session.downstream_session;
            let finished = match flight.closing.take() {
                Some(rest) => socket.write_response_body(rest, true).await,
                None => socket.finish_body().await,
            };
            ctx.complete = finished.is_ok();
            return NO_ANSWER;
        }
        let error = flight.refusal.take().unwrap_or_else(internal);
        if control.committed() {
            let is_stream = flight.attempt.as_ref().is_some_and(|a| a.is_stream());
            return end_broken(session, ctx, &error, is_stream).await;
        }
        let reasons = flight.trail.fallback_reasons();
        if let Some(account) = ctx.account.as_deref_mut() {
            account.reasons = reasons;
        }
        self.answer_error(session, ctx, &error).await
    }

    async fn conclude_early(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        if *e.esource() == ErrorSource::Downstream {
            return NO_ANSWER;
        }
        log::error!("{}: {e}", ctx.envelope.request_id);
        if session.response_written().is_some() {
            return NO_ANSWER;
        }
        self.answer_error(session, ctx, &internal()).await
    }

    async fn answer_error(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        error: &ClientError,
    ) -> FailToProxy {
        if ctx.flight.is_none() {
            // Something of the request may be unread.
            session.downstream_session.set_keepalive(None);
        }
        let written = match ctx.envelope.error(error, None) {
            Ok((header, body)) => {
                ctx.status = header.status.as_u16();
                answer::write(&mut session.downstream_session, header, body).await
            }
            Err(e) => Err(e),
        };
        ctx.complete = written.is_ok() && ctx.flight.is_some();
        if let Some(account) = ctx.account.as_deref_mut() {
            account.status = ctx.status;
            if written.is_err() {
                account.aborted = true;
            }
        }
        FailToProxy {
            error_code: ctx.status,
            can_reuse_downstream: false,
        }
    }

    /// Counts, logs, and gives the client's real session back to pingora.
    pub(super) fn leave(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Ctx) {
        if let Some(flight) = ctx.flight.as_deref_mut() {
            restore(session, flight);
            if let Some(account) = ctx.account.as_deref_mut() {
                settle(flight, account);
                self.count_fallbacks(flight, account);
                if let Some(attempt) = &flight.attempt
                    && !account.stream_error
                {
                    let outcome = if account.aborted { "aborted" } else { "ok" };
                    self.count_attempt(&attempt.tier.model, outcome);
                }
            }
        } else if let Some(account) = ctx.account.as_deref_mut()
            && e.is_some_and(|e| *e.esource() == ErrorSource::Downstream)
        {
            account.aborted = true;
            account.status = CLIENT_CLOSED;
        }
        let method = session.req_header().method.clone();
        self.log_line(&method, ctx);
        if let Some(account) = ctx.account.as_deref() {
            self.note_event(account, ctx);
        }
        ctx.account = None;
        ctx.flight = None;
        if e.is_some() && ctx.complete {
            connection::keep(session);
        }
    }

    /// `fallbacks_total`: one for each tier passed over; `to` is `none` when no tier answered. A failure without a change of
    /// tier is in `attempts_total` only.
    fn count_fallbacks(&self, flight: &Flight, account: &Account) {
        if !account.fell_back {
            return;
        }
        let passed = flight.trail.passed_over();
        let answered = account.served_model.as_deref().filter(|_| account.tier > 0);
        let to = answered.map_or("none", |model| self.metrics.model_label(model));
        for (index, reason) in passed {
            let Some(tier) = flight.route.tiers.get(index) else {
                continue;
            };
            self.metrics
                .fallbacks
                .with_label_values(&[self.metrics.model_label(&tier.model), to, reason.as_str()])
                .inc();
        }
    }

    fn log_line(&self, method: &http::Method, ctx: &Ctx) {
        let took = ctx.arrived.elapsed().as_millis();
        let id = &ctx.envelope.request_id;
        let theirs = ctx.client_request_id.as_deref().map(clean);
        let theirs = theirs.as_deref().unwrap_or("-");
        // Any token is a method, a key too.
        let method = clean(method.as_str());
        let Some(a) = ctx.account.as_deref() else {
            log::info!(
                target: "luna::access",
                "{id} {method} {} {} {took}ms client={} theirs={theirs}",
                ctx.route, ctx.status, ctx.client,
            );
            return;
        };
        let reasons: Vec<&str> = a.reasons.iter().map(|r| r.as_str()).collect();
        log::info!(
            target: "luna::access",
            "{id} {method} {} {} {took}ms client={} key={} model={} served={} upstream={} tier={} stream={} \
             {}={} in={} out={} cached={} first={}ms aborted={} broken={} warnings={} theirs={theirs}",
            ctx.route,
            a.status,
            ctx.client,
            a.identity.key().name,
            clean(a.requested_model.as_deref().unwrap_or("-")),
            clean(a.served_model.as_deref().unwrap_or("-")),
            a.upstream,
            a.tier,
            a.stream,
            if a.fell_back || reasons.is_empty() { "fallback" } else { "failed" },
            if reasons.is_empty() { Cow::Borrowed("-") } else { Cow::Owned(reasons.join(",")) },
            a.tokens.input,
            a.tokens.output,
            a.tokens.cache_read,
            a.first_event.map_or(0, |d| d.as_millis()),
            a.aborted,
            a.stream_error,
            ctx.flight
                .as_deref()
                .and_then(|flight| flight.attempt.as_ref())
                .map(|attempt| attempt.asked.warnings.as_str())
                .filter(|warnings| !warnings.is_empty())
                .map_or(Cow::Borrowed("-"), |warnings| Cow::Owned(warnings.replace(", ", ","))),
        );
    }

    fn note_event(&self, a: &Account, ctx: &Ctx) {
        let failed = !a.aborted && (a.status >= 500 || a.status == 429 || a.stream_error);
        let fell_back = a.tier > 0 && !a.reasons.is_empty();
        if !failed && !fell_back {
            return;
        }
        let kind = if failed {
            EventKind::Error
        } else {
            EventKind::Fallback
        };
        let mut event = Event::new(kind);
        event.request_id = Some(ctx.envelope.request_id.clone());
        event.key = Some(a.identity.key().name.to_string());
        event.model = a.requested_model.as_deref().map(clean);
        event.upstream = Some(a.upstream.to_string());
        event.served = (a.tier > 0)
            .then(|| a.served_model.as_deref().map(clean))
            .flatten();
        let reasons: Vec<&str> = a.reasons.iter().map(|r| r.as_str()).collect();
        event.reason = Some(if reasons.is_empty() {
            a.status.to_string()
        } else {
            reasons.join(",")
        });
        self.events.push(event);
    }
}

/// What the account learns from the flight's last attempt.
fn settle(flight: &mut Flight, account: &mut Account) {
    account.fell_back = flight.trail.fell_back();
    account.aborted = account.aborted || flight.control.client_gone();
    if account.aborted && !flight.control.committed() {
        account.status = CLIENT_CLOSED;
        account.reasons = flight.trail.fallback_reasons();
    }
    let Some(attempt) = flight.attempt.as_ref() else {
        return;
    };
    if !flight.control.committed() && !account.aborted {
        return;
    }
    if let Some(reason) = attempt.odd_stop_reason() {
        log::warn!(
            "{}: the upstream stopped for a reason that is not known ({}); the client is told `stop`",
            account.request_id,
            clean(reason)
        );
    }
    let seen = attempt.usage();
    account.tokens = seen.tokens;
    if seen.clamped > 0 {
        log::warn!(
            "{}: the upstream reported {} impossible token numbers; they were clamped",
            account.request_id,
            seen.clamped
        );
    }
    if !seen.seen && flight.bytes_out > 0 {
        // Nothing was reported: four bytes of JSON make about a token, and half of a stream's bytes are frames.
        let bytes = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        account.tokens.input = bytes(flight.body.len()) / 4;
        account.tokens.output = bytes(flight.bytes_out) / if attempt.is_stream() { 40 } else { 4 };
        account.estimated = true;
    }
}

/// Takes the wrapper off, so that the real session can be written to and kept alive.
fn restore(session: &mut Session, flight: &Flight) {
    if !session.downstream_session.is_custom() {
        return;
    }
    let placeholder = Box::new(ServerSession::new_custom(Box::new(())));
    let wrapped = std::mem::replace(&mut session.downstream_session, placeholder);
    drop(wrapped);
    if let Some(real) = flight.control.take_returned() {
        session.downstream_session = real;
    }
}

/// Ends an answer that broke after its commit: a stream by an error event, anything else by a
/// connection that closes without an end. Never a clean finish.
async fn end_broken(
    session: &mut Session,
    ctx: &mut Ctx,
    error: &ClientError,
    is_stream: bool,
) -> FailToProxy {
    if is_stream {
        let format = ctx.envelope.format.unwrap_or(ClientFormat::Anthropic);
        let event = Bytes::from(render_sse(format, error, &ctx.envelope.request_id));
        let written = session
            .downstream_session
            .write_response_body(event, true)
            .await;
        ctx.complete = written.is_ok();
        if written.is_err()
            && let Some(account) = ctx.account.as_deref_mut()
        {
            account.aborted = true;
        }
    } else {
        session.downstream_session.shutdown().await;
    }
    FailToProxy {
        error_code: 200,
        can_reuse_downstream: false,
    }
}

fn internal() -> ClientError {
    ClientError {
        status: 500,
        kind: ErrorKind::Api,
        message: "the gateway could not handle this request; its log knows why".to_owned(),
        param: None,
        code: None,
        retry_after_s: None,
        details: None,
    }
}

/// A verdict of the chain as an answer for the client.
pub(super) fn client_error(verdict: Verdict) -> ClientError {
    let kind = match verdict.kind {
        VerdictKind::RateLimit => ErrorKind::RateLimit,
        VerdictKind::Overloaded => ErrorKind::Overloaded,
        VerdictKind::Timeout => ErrorKind::Timeout,
        VerdictKind::NotFound => ErrorKind::NotFound,
        VerdictKind::InvalidRequest => ErrorKind::InvalidRequest,
        VerdictKind::TooLarge => ErrorKind::TooLarge,
        VerdictKind::Api => ErrorKind::Api,
    };
    ClientError {
        status: verdict.status,
        kind,
        message: clean(&verdict.message),
        param: None,
        code: (kind == ErrorKind::NotFound).then_some("model_not_found"),
        retry_after_s: verdict.retry_after_s,
        details: None,
    }
}
