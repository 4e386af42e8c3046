//! The client's session while a request is being tried on its tiers.
//!
//! pingora neither forwards a body that was read before (its retry buffer
//! holds 64 KiB) nor retries a POST. [`BufferedSession`] stands in front of the
//! real H1 or H2 session, hands the whole body to every attempt, and holds the
//! response header back until the filters let a first byte through, so that
//! nothing of a failed attempt reaches the client.
//!
//! Invariants:
//! - before the commit nothing is written to the client;
//! - a clean end is written only when the filters said that the answer is
//!   complete ([`Control::finished`]);
//! - keep-alive comments go only between two whole writes, through the inner
//!   session's cancel-safe task queue (HTTP/1.1; HTTP/2 clients get none,
//!   because pingora has no cancel-safe write for them).
//!
//! The real session comes back through [`Control::give_back`] on drop.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use tokio::time::Sleep;

use self::tasks::{Held, is_end, without_end};
use super::control::Control;

mod tasks;

/// What a silent, committed stream gets every `streams.keepalive_s`.
const KEEPALIVE_COMMENT: &[u8] = b": keep-alive\n\n";

/// The wrapper; see the module's text.
pub(super) struct BufferedSession {
    inner: Option<Box<ServerSession>>,
    control: Arc<Control>,
    body: Bytes,
    held: Option<Box<ResponseHeader>>,
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
    last_write: u64,
    is_h1: bool,
}

impl BufferedSession {
    /// Wraps `inner`, whose body has been read whole into `body`.
    pub(super) fn new(inner: Box<ServerSession>, body: Bytes, control: Arc<Control>) -> Self {
        let is_h1 = !inner.is_http2();
        Self {
            inner: Some(inner),
            control,
            body,
            held: None,
            timer: None,
            armed: None,
            last_write: 0,
            is_h1,
        }
    }

    #[allow(
        clippy::expect_used,
        reason = "the inner session is taken only by Drop; no other code can empty it"
    )]
    fn inner(&self) -> &ServerSession {
        self.inner
            .as_deref()
            .expect("inner session present until drop")
    }

    #[allow(
        clippy::expect_used,
        reason = "the inner session is taken only by Drop; no other code can empty it"
    )]
    fn inner_mut(&mut self) -> &mut ServerSession {
        self.inner
            .as_deref_mut()
            .expect("inner session present until drop")
    }

    /// The client has gone: an error, unless its answer is read on without it.
    fn lost(&self, e: Box<Error>) -> Result<()> {
        let e = self.gone(e);
        if self.control.drains() {
            return Ok(());
        }
        Err(e)
    }

    fn gone(&self, e: Box<Error>) -> Box<Error> {
        self.control.set_client_gone();
        e.into_down()
    }

    /// Writes the held header. From here on this attempt is the client's answer.
    async fn commit(&mut self, first_body: usize, end: bool) -> Result<()> {
        let Some(mut header) = self.held.take() else {
            return Error::e_explain(ErrorType::InternalError, "a body came before its header");
        };
        self.control.commit();
        if end && self.control.whole() {
            header.remove_header(&TRANSFER_ENCODING);
            header.insert_header(CONTENT_LENGTH, first_body)?;
        }
        let version = self.inner().req_header().version;
        if version == Version::HTTP_10 || version == Version::HTTP_2 {
            // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
            header.remove_header(&TRANSFER_ENCODING);
        }
        if version == Version::HTTP_10 && !header.headers.contains_key(CONTENT_LENGTH) {
            self.inner_mut().set_keepalive(None);
        }
        let written = self.inner_mut().write_response_header(header).await;
        written.or_else(|e| self.lost(e))
    }

    async fn drive_pending(&mut self) -> Result<()> {
        if self.is_h1 && self.inner().has_pending_downstream_proxy_tasks() {
            let driven = self.inner_mut().write_downstream_proxy_tasks().await;
            if let Err(e) = driven {
                self.lost(e)?;
            }
        }
        Ok(())
    }

    async fn write_committed(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        if tasks.is_empty() {
            return Ok(false);
        }
        if self.control.draining() {
            return Ok(tasks.iter().any(is_end));
        }
        let ended = tasks.iter().any(is_end);
        let failed = matches!(tasks.last(), Some(HttpTask::Failed(_)));
        let written = self.inner_mut().response_duplex_vec(tasks).await;
        self.last_write = self.control.now();
        match written {
            Err(e) if failed && *e.esource() != pingora::ErrorSource::Downstream => Err(e),
            Err(e) => self.lost(e).map(|()| ended),
            ok => ok,
        }
    }

    fn next_wake(&self) -> Option<u64> {
        let comment = self
            .control
            .keepalive()
            .filter(|_| self.is_h1)
            .map(|every| self.last_write.saturating_add(every));
        match (self.control.deadline(), comment) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Arms the one timer for `at`. A later wake than the armed one is left to
    /// the spurious wake-up: most events move the deadline, few let it pass.
    fn arm(&mut self, at: u64) {
        let at = self.control.instant(at);
        if self.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        let deadline = tokio::time::Instant::from_std(at);
        match self.timer.as_mut() {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
        self.armed = Some(at);
    }

    /// The timer has fired: a deadline is an error, a due comment is queued.
    fn on_timer(&mut self) -> Result<()> {
        self.armed = None;
        if self.control.note_expiry().is_some() {
            return Error::e_explain(ErrorType::ReadTimedout, "time limit of the attempt");
        }
        if self.control.draining() {
            return Ok(());
        }
        let due = self
            .control
            .keepalive()
            .is_some_and(|every| self.control.now() >= self.last_write.saturating_add(every));
        if due && self.is_h1 && !self.control.fault() {
            self.last_write = self.control.now();
            let comment = HttpTask::Body(Some(Bytes::from_static(KEEPALIVE_COMMENT)), false);
            self.inner_mut().send_downstream_proxy_task(comment);
        }
        Ok(())
    }
}

impl Drop for BufferedSession {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.control.give_back(inner);
        }
    }
}

#[async_trait]
impl CustomSession for BufferedSession {
    fn req_header(&self) -> &RequestHeader {
        self.inner().req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner_mut().req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(None)
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.drive_pending().await?;
        self.inner_mut().write_response_header(resp).await
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, _end: bool) -> Result<()> {
        self.drive_pending().await?;
        self.inner_mut().write_response_header_ref(resp).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.drive_pending().await?;
        self.inner_mut().write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.drive_pending().await?;
        self.inner_mut().write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        self.control.upstream_spoke();
        if self.control.draining() && !self.control.committed() {
            return self.swallow(tasks);
        }
        self.drive_pending().await?;
        let mut rest = Vec::new();
        if !self.control.committed() {
            let mut queue = tasks.into_iter();
            for task in queue.by_ref() {
                if let Held::First(data, end) = self.hold(task)? {
                    self.commit(data.len(), end).await?;
                    rest.push(HttpTask::Body(Some(data), end));
                    break;
                }
            }
            if !self.control.committed() {
                return Ok(false);
            }
            rest.extend(queue);
            tasks = rest;
        }
        if tasks.iter().any(|t| matches!(t, HttpTask::Header(..))) {
            tasks.retain(|t| !matches!(t, HttpTask::Header(..)));
        }
        let ended = tasks.iter().any(is_end);
        if self.control.fault() || (ended && !self.control.finished()) {
            let passed = tasks.into_iter().filter_map(without_end).collect();
            self.write_committed(passed).await?;
            return Error::e_explain(
                ErrorType::ConnectionClosed,
                "the answer broke off before its end",
            );
        }
        self.write_committed(tasks).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner().get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner().get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner().get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        // The real one holds the query string, which may hold a key.
        String::from("wrapped request")
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        if !self.control.committed() {
            return None;
        }
        self.inner()
            .response_written()
            .filter(|h| !h.status.is_informational())
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        self.inner_mut().shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        true
    }

    async fn finish(&mut self) -> Result<()> {
        if self.control.committed() && self.control.finished() && !self.control.draining() {
            self.drive_pending().await?;
            return self.inner_mut().finish_body().await;
        }
        Ok(())
    }

    fn is_body_empty(&mut self) -> bool {
        self.body.is_empty()
    }

    async fn read_body_or_idle(&mut self, _no_body_expected: bool) -> Result<Option<Bytes>> {
        loop {
            if let Some(at) = self.next_wake() {
                self.arm(at);
            }
            let draining = self.control.draining();
            let pending =
                self.is_h1 && !draining && self.inner().has_pending_downstream_proxy_tasks();
            let armed = self.armed.is_some();
            let Self { inner, timer, .. } = self;
            let Some(inner) = inner.as_deref_mut() else {
                return Error::e_explain(ErrorType::InternalError, "the session was given back");
            };
            let fired = async {
                match timer.as_mut() {
                    Some(timer) if armed => timer.as_mut().await,
                    _ => std::future::pending().await,
                }
            };
            if draining {
                fired.await;
                self.on_timer()?;
                continue;
            }
            let client: Result<()> = if pending {
                tokio::select! {
                    biased;
                    written = inner.write_downstream_proxy_tasks() => written.map(|_| ()),
                    () = fired => {
                        self.on_timer()?;
                        continue;
                    }
                }
            } else {
                tokio::select! {
                    biased;
                    () = fired => {
                        self.on_timer()?;
                        continue;
                    }
                    idle = inner.read_body_or_idle(true) => match idle {
                        // A whole request has been read, so nothing more can come of it.
                        Ok(_) => std::future::pending().await,
                        Err(e) => Err(e),
                    },
                }
            };
            if let Err(e) = client {
                self.lost(e)?;
            }
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner().body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner().body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner().digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner_mut().digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner().client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner().server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner().to_h1_raw()
    }

    fn enable_retry_buffering(&mut self) {}

    fn retry_buffer_truncated(&self) -> bool {
        false
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        // The h2 client path has sent END_STREAM with the header when there is no body.
        (!self.body.is_empty()).then(|| self.body.clone())
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}
