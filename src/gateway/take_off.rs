//! A request that is read takes off: planned, its first tier chosen, its session wrapped.

use std::sync::Arc;

use bytes::Bytes;
use pingora::Result;
use pingora::protocols::http::ServerSession;
use pingora_proxy::Session;
use tower::Service;

use super::Gateway;
use super::body::{Held, TierBody};
use super::buffered::BufferedSession;
use super::choose::Asking;
use super::context::{Ctx, Flight};
use super::control::Control;
use crate::admission::Refusal;
use crate::admission::plan::{Ask, Plan, plan};
use crate::config::OnDisconnect;
use crate::routing::Trail;
use crate::wire::error::ErrorKind;
use crate::wire::scan::Head;

impl Gateway {
    pub(super) async fn planned(
        &self,
        ctx: &mut Ctx,
        head: Head,
    ) -> std::result::Result<Plan, Refusal> {
        let Some(account) = ctx.account.as_deref_mut() else {
            return Err(Refusal::new(
                500,
                ErrorKind::Api,
                "the gateway lost track of this request",
            ));
        };
        account.stream = head.stream;
        if let Some(model) = &head.model {
            account.requested_model = Some(Arc::from(model.name.as_str()));
            ctx.envelope.requested_model = Some(model.name.clone());
        }
        let plan = plan()
            .call(Ask {
                settings: &ctx.settings,
                identity: &account.identity,
                head,
            })
            .await?;
        if let Some(first) = plan.route.tiers.first() {
            account.served_model = Some(Arc::clone(&first.model));
            account.upstream = Arc::clone(&first.upstream);
        }
        Ok(plan)
    }

    /// Chooses the first tier and wraps the session; a chain without a tier is refused here, cheaply.
    pub(super) async fn take_off(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        plan: Plan,
        chunks: Vec<Bytes>,
        held: Held,
    ) -> Result<bool> {
        let head = session.req_header();
        let first_only = head
            .headers
            .get("x-luna-fallback")
            .is_some_and(|v| v.as_bytes().trim_ascii().eq_ignore_ascii_case(b"off"));
        let control = Arc::new(Control::new(ctx.settings.server.request));
        if ctx.settings.streams.on_disconnect == OnDisconnect::Drain {
            control.set_drains();
        }
        if plan.stream {
            control.set_keepalive(ctx.settings.streams.keepalive);
        }
        let mut flight = Box::new(Flight {
            control: Arc::clone(&control),
            trail: if first_only {
                Trail::first_only()
            } else {
                Trail::new()
            },
            route: plan.route,
            body: TierBody::placeholder(),
            held,
            attempt: None,
            again: false,
            query: client_query(head.uri.query()),
            delicate: plan.delicate,
            first_only,
            passed_over: Vec::new(),
            refusal: None,
            bytes_out: 0,
            closing: None,
        });
        let mut chosen = self.pick(&mut flight, plan.stream);
        // A pick that succeeds leaves an attempt.
        if let Some(attempt) = flight.attempt.as_ref().filter(|_| chosen.is_ok()) {
            flight.body = TierBody::join(chunks, &plan.model, &attempt.tier.model);
            let asking = Asking::of(ctx);
            chosen = match self.dress(&mut flight, &asking) {
                Ok(true) => Ok(()),
                Ok(false) => self.choose(&mut flight, &asking),
                Err(error) => Err(error),
            };
        }
        if let Err(error) = chosen {
            let reasons = flight.trail.fallback_reasons();
            if let Some(account) = ctx.account.as_deref_mut() {
                account.reasons = reasons;
            }
            let refusal = Refusal {
                error,
                limit: None,
                allow: None,
            };
            return self.refuse(session, ctx, refusal).await;
        }
        let body = flight
            .attempt
            .as_ref()
            .map(|attempt| attempt.asked.body.clone())
            .unwrap_or_default();
        flight.again = true;
        ctx.flight = Some(flight);
        if let Some(account) = ctx.account.as_deref() {
            self.metrics
                .overhead
                .with_label_values(&[account.endpoint.as_str()])
                .observe(ctx.arrived.elapsed().as_secs_f64());
        }
        let placeholder = Box::new(ServerSession::new_custom(Box::new(())));
        let inner = std::mem::replace(&mut session.downstream_session, placeholder);
        let wrapped = BufferedSession::new(inner, body, control);
        *session.downstream_session = ServerSession::new_custom(Box::new(wrapped));
        Ok(false)
    }
}

/// The client's query without what may hold a secret; with its `?`.
fn client_query(query: Option<&str>) -> String {
    let Some(query) = query else {
        return String::new();
    };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or("");
            !pair.is_empty()
                && !["key", "api_key", "token", "password"]
                    .iter()
                    .any(|secret| decoded_eq(name, secret))
        })
        .collect();
    if kept.is_empty() {
        String::new()
    } else {
        format!("?{}", kept.join("&"))
    }
}

/// Compares a percent-encoded name with a plain one, without regard to case.
fn decoded_eq(encoded: &str, plain: &str) -> bool {
    let mut bytes = encoded.bytes();
    let mut decoded = Vec::with_capacity(encoded.len());
    while let Some(b) = bytes.next() {
        if b != b'%' {
            decoded.push(b);
            continue;
        }
        let hex = |d: Option<u8>| d.and_then(|d| char::from(d).to_digit(16));
        match (hex(bytes.next()), hex(bytes.next())) {
            (Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            }
            _ => return false,
        }
    }
    decoded.eq_ignore_ascii_case(plain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_leave_the_query_and_nothing_else_does() {
        assert_eq!(client_query(Some("beta=true")), "?beta=true");
        assert_eq!(
            client_query(Some("key=x&beta=true&api_key=y&TOKEN=z&password=")),
            "?beta=true"
        );
        assert_eq!(client_query(Some("%6bey=x&a=%20")), "?a=%20");
        assert_eq!(client_query(Some("key=x")), "");
        assert_eq!(client_query(None), "");
    }
}
