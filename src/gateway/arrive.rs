//! A request arrives: local routes are answered, LLM requests admitted, read and planned.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, ORIGIN};
use http::{HeaderMap, Method};
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tower::Service;

use super::answer::{self, allowed_origin};
use super::body::{Collected, Held, NoBody, collect, drain};
use super::context::{Account, Ctx};
use super::{Gateway, client, connection, local, request_id, strict};
use crate::admission::Refusal;
use crate::admission::door::{Admitted, Arrival, Call, door};
use crate::usage::Endpoint;

/// An unread body up to this many bytes is read to its end after a refusal, so that the connection lives on.
const KEEP_AFTER_REFUSAL: u64 = 8 << 20;

impl Gateway {
    /// True when the request has been answered.
    pub(super) async fn arrive(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        connection::arrived();
        self.prepare(session, ctx);
        if let Some(flaw) = flaw(session) {
            ctx.route = "refused";
            session.downstream_session.set_keepalive(None);
            return self
                .refuse(session, ctx, Refusal::invalid(None, flaw))
                .await;
        }
        let head = session.req_header();
        let method = head.method.clone();
        let path = head.uri.path().to_owned();
        if path == "/" && (method == Method::GET || method == Method::HEAD) {
            ctx.route = "root";
            return self.answer_empty(session, ctx, 200).await;
        }
        let local = local::is_local(&path);
        if !local || local::is_client_route(&path) {
            ctx.envelope.origin = allowed_origin(&head.headers, &ctx.settings.server.cors_origins);
        }
        if local && (method != Method::OPTIONS || ctx.envelope.origin.is_none()) {
            ctx.route = local::template(&path);
            return local::serve(self, session, ctx, &method, &path).await;
        }
        if method == Method::OPTIONS
            && let Some(origin) = ctx.envelope.origin.clone()
            && head.headers.contains_key(ORIGIN)
        {
            ctx.route = "preflight";
            let asked = head.headers.get("access-control-request-headers").cloned();
            let header = answer::preflight(&origin, asked.as_ref())?;
            ctx.status = 204;
            answer::write(&mut session.downstream_session, header, Bytes::new()).await?;
            return Ok(true);
        }
        self.arrive_llm(session, ctx, &method, &path).await
    }

    /// What holds for every request: its id, its client, and what is no longer
    /// possible once the session is wrapped.
    fn prepare(&self, session: &mut Session, ctx: &mut Ctx) {
        let server = &ctx.settings.server;
        let socket: &mut ServerSession = &mut session.downstream_session;
        let keepalive =
            socket.get_keepalive().is_some() && !server.client_idle.is_zero() && !self.draining();
        socket.set_keepalive(keepalive.then(|| server.client_idle.as_secs().max(1)));
        socket.set_pipelining_enabled(true);
        socket.set_write_timeout(Some(server.client_write_timeout));
        socket.set_read_timeout(Some(server.client_body_timeout));
        socket.set_total_drain_timeout(Some(server.client_body_timeout));
        let peer = socket
            .client_addr()
            .and_then(|a| a.as_inet())
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |a| a.ip());
        let head = socket.req_header();
        ctx.client = client::address(peer, &head.headers, &server.trusted_proxies);
        ctx.envelope.request_id = request_id::new();
        ctx.envelope.format = Some(client::format_of(head.uri.path(), &head.headers));
        ctx.client_request_id = head
            .headers
            .get("x-request-id")
            .and_then(|v| v.to_str().ok())
            .map(|v| v.chars().take(128).collect());
    }

    async fn arrive_llm(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        method: &Method,
        path: &str,
    ) -> Result<bool> {
        let head = session.req_header();
        let arrival = Arrival {
            settings: &ctx.settings,
            method,
            path,
            headers: &head.headers,
            head_bytes: head_bytes(
                head.uri.path_and_query().map_or(path, |p| p.as_str()),
                &head.headers,
            ),
            client: ctx.client,
            now: self.now(),
        };
        let admitted = door(Arc::clone(&self.auth), Arc::clone(&self.house))
            .call(arrival)
            .await;
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                ctx.route = "refused";
                return self.refuse(session, ctx, refusal).await;
            }
        };
        let endpoint = match admitted.call {
            Call::Llm(endpoint) => endpoint,
            Call::CountTokens => return self.count_tokens(session, ctx, admitted).await,
        };
        ctx.route = endpoint.as_str();
        self.open_account(ctx, admitted, endpoint);
        let mut held = self.body_memory.hold();
        let collected = match self.read_body(session, ctx, &mut held).await? {
            Ok(collected) => collected,
            Err(refusal) => return self.refuse(session, ctx, refusal).await,
        };
        match self.planned(ctx, collected.head).await {
            Ok(plan) => {
                self.take_off(session, ctx, plan, collected.chunks, held)
                    .await
            }
            Err(refusal) => self.refuse(session, ctx, refusal).await,
        }
    }

    /// Reads the whole body, after the word that the client may wait for. The inner error is for the client.
    pub(super) async fn read_body(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        held: &mut Held,
    ) -> Result<std::result::Result<Collected, Refusal>> {
        if expects_continue(session) {
            say_continue(session).await?;
        }
        let settings = Arc::clone(&ctx.settings);
        match collect(&mut session.downstream_session, &settings, held).await {
            Ok(collected) => {
                log::trace!(
                    "{}: {} body bytes read",
                    ctx.envelope.request_id,
                    collected.bytes
                );
                Ok(Ok(collected))
            }
            Err(NoBody::Refused(refusal)) => Ok(Err(refusal)),
            Err(NoBody::Gone) => {
                if let Some(account) = ctx.account.as_deref_mut() {
                    account.aborted = true;
                    account.status = 499;
                }
                Error::e_explain(
                    ErrorType::ConnectionClosed,
                    "the client left while it sent its body",
                )
                .map_err(|e: Box<Error>| e.into_down())
            }
        }
    }

    fn open_account(&self, ctx: &mut Ctx, admitted: Admitted, endpoint: Endpoint) {
        self.metrics.in_flight.inc();
        ctx.account = Some(Box::new(Account {
            gateway: self.clone(),
            identity: admitted.identity,
            endpoint,
            request_id: ctx.envelope.request_id.clone(),
            arrived: ctx.arrived,
            stream: false,
            requested_model: None,
            served_model: None,
            upstream: Arc::from(""),
            tier: 0,
            status: 500,
            stream_error: false,
            aborted: false,
            reasons: Vec::new(),
            fell_back: false,
            tokens: Default::default(),
            estimated: false,
            first_event: None,
            _place: admitted.place,
        }));
    }

    /// Answers with a refusal and reads on, within bounds, what the client is still sending.
    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        refusal: Refusal,
    ) -> Result<bool> {
        if let Some(limit) = refusal.limit {
            self.metrics.limited.with_label_values(&[limit]).inc();
        }
        let (header, body) = ctx.envelope.error(&refusal.error, refusal.allow)?;
        ctx.status = header.status.as_u16();
        if let Some(account) = ctx.account.as_deref_mut() {
            account.status = ctx.status;
        }
        let waits = expects_continue(session);
        let socket: &mut ServerSession = &mut session.downstream_session;
        let unread = !socket.is_body_done();
        let too_long = content_length(&socket.req_header().headers)
            .is_none_or(|length| length > KEEP_AFTER_REFUSAL);
        let read_on = unread && !waits;
        if unread && (waits || too_long || ctx.status == 408) {
            socket.set_keepalive(None);
        } else {
            // What is unread is read below; pingora would close the connection at the answer.
            socket.set_close_on_response_before_downstream_finish(false);
        }
        answer::write(socket, header, body).await?;
        if read_on && !drain(socket).await {
            socket.set_keepalive(None);
        }
        Ok(true)
    }

    async fn answer_empty(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        status: u16,
    ) -> Result<bool> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, http::HeaderValue::from_static("0"));
        let header = ctx.envelope.local(status, &headers)?;
        ctx.status = status;
        answer::write(&mut session.downstream_session, header, Bytes::new()).await?;
        Ok(true)
    }
}

/// What makes the head of a request ambiguous. An HTTP/2 one has no lines.
fn flaw(session: &Session) -> Option<&'static str> {
    let socket: &ServerSession = &session.downstream_session;
    let head = socket.req_header();
    if !strict::is_target(head.raw_path()) {
        return Some("the request target is neither a path nor an http URL");
    }
    if socket.is_http2() {
        return None;
    }
    strict::flaw(&socket.to_h1_raw(), &head.headers)
}

/// Size of the head as it came, near enough for a limit: names, values and their separators.
fn head_bytes(target: &str, headers: &HeaderMap) -> usize {
    headers
        .iter()
        .fold(target.len() + 16, |sum, (name, value)| {
            sum + name.as_str().len() + value.len() + 4
        })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// True while the client waits for a 100 before it sends its body.
fn expects_continue(session: &Session) -> bool {
    let head = session.req_header();
    head.headers
        .get(EXPECT)
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        && session.downstream_session.response_written().is_none()
}

/// pingora's own write turns keep-alive off (design, 1).
async fn say_continue(session: &mut Session) -> Result<()> {
    let socket: &mut ServerSession = &mut session.downstream_session;
    let keepalive = socket.get_keepalive();
    let said = socket.write_continue_response().await;
    socket.set_keepalive(keepalive);
    said.map_err(|e| e.into_down())
}
