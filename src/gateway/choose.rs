//! Which tier is asked next, and with what: the planner's choice, and that tier's request out of the client's own.

use super::Gateway;
use super::attempt::Attempt;
use super::context::{Ctx, Flight};
use super::failures::request_over;
use super::lane;
use crate::routing::{self, Failure, Next, Reason, next};
use crate::wire::convert::Facts;
use crate::wire::error::{ClientError, ClientFormat, ErrorKind};

/// What every attempt of one request is asked with.
pub(super) struct Asking<'a> {
    pub(super) format: ClientFormat,
    pub(super) stream: bool,
    pub(super) request_id: &'a str,
    pub(super) body_memory: usize,
}

impl<'a> Asking<'a> {
    pub(super) fn of(ctx: &'a Ctx) -> Self {
        Self {
            format: ctx.envelope.format.unwrap_or(ClientFormat::Anthropic),
            stream: ctx.account.as_ref().is_some_and(|a| a.stream),
            request_id: &ctx.envelope.request_id,
            body_memory: ctx.settings.server.body_memory_bytes,
        }
    }
}

impl Gateway {
    /// Chooses the next tier by the newest snapshot, and makes its request.
    ///
    /// # Errors
    /// The client's answer, when no tier is left.
    pub(super) fn choose(
        &self,
        flight: &mut Flight,
        asking: &Asking<'_>,
    ) -> Result<(), ClientError> {
        loop {
            self.pick(flight, asking.stream)?;
            if self.dress(flight, asking)? {
                return Ok(());
            }
        }
    }

    /// Makes the request for the tier that was picked, out of the client's own. False when it cannot be made for this
    /// tier and the next one is to be picked.
    ///
    /// # Errors
    /// The client's answer: no tier was asked yet, so its request is what is wrong.
    pub(super) fn dress(
        &self,
        flight: &mut Flight,
        asking: &Asking<'_>,
    ) -> Result<bool, ClientError> {
        let Some(attempt) = flight.attempt.as_mut() else {
            return Ok(false);
        };
        let body = flight.body.for_model(&attempt.tier.model);
        let original = body.len();
        let facts = || Facts {
            model: attempt.tier.model.to_string(),
            created: self.now() / 1000,
            request_id: asking.request_id.to_owned(),
        };
        let upstream = &attempt.endpoint.upstream;
        let client = lane::Client {
            format: asking.format,
            stream: asking.stream,
            delicate: flight.delicate,
        };
        let rejection = match lane::asked(client, upstream, body, facts) {
            Ok(asked) => {
                let more = if asked.lane.converts() {
                    asked.body.len()
                } else {
                    asked.body.len().saturating_sub(original)
                };
                attempt.asked = asked;
                if more > 0 && !flight.held.grow(more, asking.body_memory) {
                    return Err(super::body::memory_full().error);
                }
                return Ok(true);
            }
            Err(rejection) => rejection,
        };
        if flight.trail.asked() <= 1 || flight.first_only {
            let mut error = ClientError::new(400, ErrorKind::InvalidRequest, rejection.message);
            error.param = rejection.param;
            error.details = rejection.details;
            return Err(error);
        }
        // As the 400 of a later tier: it decides nothing and marks nothing.
        let mut failure = Failure::new(Reason::UpstreamError, 400, &rejection.message);
        failure.client_fault = true;
        let index = attempt.index;
        flight.attempt = None;
        flight.trail.failed(index, failure);
        Ok(false)
    }

    /// Picks the next tier by the newest snapshot.
    ///
    /// # Errors
    /// The client's answer, when no tier is left.
    pub(super) fn pick(&self, flight: &mut Flight, stream: bool) -> Result<(), ClientError> {
        loop {
            if flight.control.request_time_over() {
                return Err(request_over());
            }
            let now = self.now();
            let snapshot = self.book.snapshot();
            let (index, probe, last) = match next(&snapshot, &flight.route, &mut flight.trail, now)
            {
                Next::Try {
                    index,
                    probe,
                    last_candidate,
                } => (index, probe, last_candidate),
                Next::Out => return Err(self.chain_is_out(flight)),
            };
            let Some(tier) = flight.route.tiers.get(index).cloned() else {
                return Err(self.chain_is_out(flight));
            };
            let endpoint = self.endpoints.get(&tier.upstream);
            let address = endpoint.as_ref().and_then(|e| e.address(0));
            let (Some(endpoint), Some(address)) = (endpoint, address) else {
                let failure = Failure::connect("the upstream's name has no address");
                self.attempt_failed(flight, index, probe.as_ref(), now, failure);
                continue;
            };
            flight.attempt = Some(Attempt::new(
                index, tier, endpoint, address, probe, last, stream, now,
            ));
            flight.again = true;
            return Ok(());
        }
    }

    pub(super) fn chain_is_out(&self, flight: &Flight) -> ClientError {
        let snapshot = self.book.snapshot();
        let verdict = routing::verdict(&flight.route, &flight.trail, &snapshot, self.now());
        super::leave::client_error(verdict)
    }
}
