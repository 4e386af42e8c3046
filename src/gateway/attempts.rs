//! From tier to tier: ask the chosen one, and let pass what may pass of its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT,
};
use http::{HeaderMap, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::Gateway;
use super::answer::Served;
use super::attempt::Passed;
use super::choose::Asking;
use super::context::{Account, Ctx, Flight};
use crate::routing;
use crate::wire::error::ClientFormat;

/// What is sent when the client names no version of its own.
const ANTHROPIC_VERSION: &str = "2023-06-01";
static VERSION: HeaderName = HeaderName::from_static("anthropic-version");
static BETA: HeaderName = HeaderName::from_static("anthropic-beta");
static OPENAI_BETA: HeaderName = HeaderName::from_static("openai-beta");
static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// An upstream that has said all may take this long to close its answer.
const END_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

fn stop(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, what)
}

impl Gateway {
    /// The peer of the chosen tier; called once per try.
    pub(super) fn next_peer(&self, ctx: &mut Ctx) -> Result<HttpPeer> {
        let Some(mut flight) = ctx.flight.take() else {
            return Err(stop("a request without a plan"));
        };
        let chosen = if flight.again {
            Ok(())
        } else {
            self.choose(&mut flight, &Asking::of(ctx))
        };
        let flight = ctx.flight.insert(flight);
        if let Err(error) = chosen {
            flight.attempt = None;
            flight.refusal = Some(error);
            return Err(stop("no tier is left"));
        }
        flight.again = false;
        let now = self.now();
        let left = flight.control.request_time_left();
        let Some(attempt) = flight.attempt.as_mut() else {
            return Err(stop("a try without an attempt"));
        };
        attempt.again(now);
        let body = attempt.asked.body.len();
        let mut peer = attempt.endpoint.peer(attempt.address, body, left);
        if attempt.forgiven {
            // A group of its own: the pool must not hand out another stale connection.
            peer.group_key = now;
        }
        Ok(peer)
    }

    /// Writes this tier's request from nothing, so that only what is meant to go up goes up.
    pub(super) fn ask(
        &self,
        client: &RequestHeader,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let Some(flight) = ctx.flight.as_deref_mut() else {
            return Err(stop("a request without a plan"));
        };
        let Some(attempt) = flight.attempt.as_ref() else {
            return Err(stop("a request without an attempt"));
        };
        attempt.endpoint.note_good(&attempt.address);
        let upstream = &attempt.endpoint.upstream;
        let to_openai = attempt.asked.lane.upstream_format() == ClientFormat::OpenAi;
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(HOST, attempt.endpoint.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(attempt.asked.body.len()));
        for name in [ACCEPT, USER_AGENT] {
            if let Some(value) = client.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let beta = if to_openai {
            &OPENAI_BETA
        } else {
            let version = client.headers.get(&VERSION).cloned();
            let version = version.unwrap_or_else(|| HeaderValue::from_static(ANTHROPIC_VERSION));
            headers.insert(&VERSION, version);
            &BETA
        };
        if let Some(value) = joined(&client.headers, beta) {
            headers.insert(beta, value);
        }
        if let Some(key) = &upstream.api_key {
            let (name, value) = if to_openai {
                (
                    AUTHORIZATION,
                    HeaderValue::try_from(format!("Bearer {}", key.expose())),
                )
            } else {
                (X_API_KEY.clone(), HeaderValue::from_str(key.expose()))
            };
            headers.insert(
                name,
                value.map_err(|_| stop("the upstream's key cannot be sent"))?,
            );
        }
        for (name, value) in &upstream.headers {
            headers.insert(name, value.clone());
        }
        let (mut up, ()) = http::Request::new(()).into_parts();
        up.method = Method::POST;
        // A query belongs to the format that it was written for.
        let query = if attempt.asked.lane.converts() {
            ""
        } else {
            &flight.query
        };
        up.uri = attempt
            .endpoint
            .target(query)
            .ok_or_else(|| stop("the request's query cannot be sent"))?;
        up.version = request.version;
        up.headers = headers;
        *request = RequestHeader::from(up);
        let (limit, idle, extend) = attempt.deadlines();
        flight.control.begin_attempt(limit, idle, extend);
        Ok(())
    }

    /// The head of an upstream's answer.
    pub(super) fn on_upstream_header(&self, header: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if header.status.is_informational() {
            return Ok(());
        }
        let now = self.now();
        let attempt = ctx.flight.as_deref_mut().and_then(|f| f.attempt.as_mut());
        let Some(attempt) = attempt else {
            return Err(stop("an answer without an attempt"));
        };
        if attempt.on_header(header, now) {
            Ok(())
        } else {
            Err(stop("the upstream's answer is none"))
        }
    }

    /// The head that the client will get, if this attempt commits.
    pub(super) fn write_head(&self, header: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if header.status.is_informational() {
            return Ok(());
        }
        let Some(flight) = ctx.flight.as_deref_mut() else {
            return Ok(());
        };
        let Some(attempt) = flight.attempt.as_ref() else {
            return Ok(());
        };
        let passed_over = flight.trail.fallback_reasons();
        let served = Served {
            model: &attempt.tier.model,
            upstream: &attempt.tier.upstream,
            tier: attempt.index + 1,
            passed_over: &passed_over,
            warnings: &attempt.asked.warnings,
        };
        let mut down = ctx
            .envelope
            .of_upstream(header, &served, attempt.framing())?;
        down.set_version(header.version);
        flight.passed_over = passed_over;
        *header = down;
        Ok(())
    }

    /// Bytes of an upstream's answer: what of them may pass.
    pub(super) fn on_upstream_body(
        &self,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let now = self.now();
        let Some(flight) = ctx.flight.as_deref_mut() else {
            return Err(stop("an answer without a plan"));
        };
        let Some(attempt) = flight.attempt.as_mut() else {
            return Err(stop("an answer without an attempt"));
        };
        if flight.control.fault() {
            // The stream is broken; what still comes of it is not the client's.
            *body = None;
            return Ok(());
        }
        let was_committed = flight.control.committed() || flight.bytes_out > 0;
        let (pass, finished) = match attempt.on_body(body.take(), end, now) {
            Passed::Hold => (Bytes::new(), attempt.finished()),
            Passed::Go(bytes) => (bytes, false),
            Passed::Done(bytes) => (bytes, true),
            Passed::Failed(rest) => {
                if !was_committed && rest.is_empty() {
                    return Err(stop("the attempt failed before its commit"));
                }
                // What has passed is still written; then the session ends the attempt.
                flight.control.set_fault();
                (rest, false)
            }
        };
        if finished {
            if end && !was_committed {
                flight.control.set_whole();
            }
            flight.control.finish(END_GRACE);
        }
        if !was_committed && !pass.is_empty() {
            self.committed(flight, ctx.account.as_deref_mut(), ctx.arrived.elapsed());
        }
        flight.bytes_out += pass.len();
        *body = Some(pass);
        Ok(())
    }

    /// The first content of an attempt is about to reach the client.
    fn committed(
        &self,
        flight: &mut Flight,
        account: Option<&mut Account>,
        took: std::time::Duration,
    ) {
        let Some(attempt) = flight.attempt.as_mut() else {
            return;
        };
        let now = self.now();
        let key = account.as_ref().map_or(0, |a| a.identity.key().tag);
        let told = routing::Attempt {
            tier: &attempt.tier,
            key,
            began: attempt.began,
            probe: attempt.probe.as_ref(),
            first: flight.trail.asked() <= 1,
        };
        self.book.attempt_committed(&told, now);
        attempt.probe = None;
        if let Some(account) = account {
            account.served_model = Some(Arc::clone(&attempt.tier.model));
            account.upstream = Arc::clone(&attempt.tier.upstream);
            account.tier = attempt.index + 1;
            account.status = attempt.status;
            account.reasons.clone_from(&flight.passed_over);
            account.fell_back = flight.trail.fell_back();
            account.first_event = Some(took);
        }
    }
}

/// All lines of a header as one, joined by commas.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let mut all = first.as_bytes().to_vec();
    for line in lines {
        all.push(b',');
        all.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_bytes(&all).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beta_line_goes_up_as_one() {
        let mut headers = HeaderMap::new();
        assert!(joined(&headers, &BETA).is_none());
        headers.append("anthropic-beta", HeaderValue::from_static("a,b"));
        headers.append("anthropic-beta", HeaderValue::from_static("c"));
        assert_eq!(joined(&headers, &BETA).unwrap(), "a,b,c");
    }
}
