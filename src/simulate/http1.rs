//! HTTP/1.1 by hand, because the faults need the socket: ends without a last chunk, resets,
//! silence, idle connections closed as Node closes them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::head::{self, MAX_HEAD, RequestHead, reason};
use super::request::{Body, Request, Version, is_json};
use super::server::ResetFlag;
use super::wire::{Framing, Head, Stop, Wire};
use super::{Sim, http2, routes};

/// Node's `headersTimeout` and `requestTimeout`; not scaled, they are for broken clients only.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_TIMEOUT: Duration = Duration::from_secs(300);
/// While an answer is under way so much of what the client sends next is read ahead.
const READ_AHEAD: usize = 64 * 1024;
/// So much of a refused body is read and thrown away, to keep the connection.
const MAX_DRAIN: u64 = 256 * 1024 * 1024;
/// What an HTTP/2 client begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

mod body;

/// One connection, and the framing of the answer under way.
struct H1<IO> {
    io: IO,
    input: BytesMut,
    output: BytesMut,
    eof: bool,
    keep_alive: bool,
    /// The `timeout` of the Keep-Alive header, in seconds.
    advertised: u64,
    version: Version,
    head_only: bool,
    framing: Framing,
}

pub(super) async fn serve<IO>(io: IO, sim: Arc<Sim>, reset: ResetFlag, id: u64)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut conn = H1 {
        io,
        input: BytesMut::with_capacity(8 * 1024),
        output: BytesMut::new(),
        eof: false,
        keep_alive: true,
        advertised: sim.config.keep_alive_ms / 1_000,
        version: Version::Http11,
        head_only: false,
        framing: Framing::None,
    };
    if sim.config.http2 && conn.has_preface().await {
        let H1 { io, input, .. } = conn;
        http2::serve(http2::Prefixed::new(input.freeze(), io), sim, reset, id).await;
        return;
    }
    let idle = sim.config.scaled(sim.config.keep_alive_ms);
    let mut wait = HEAD_TIMEOUT;
    while conn.one(&sim, &reset, id, wait).await {
        wait = idle;
    }
}

impl<IO> H1<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// Serves one request; says whether another may follow.
    async fn one(&mut self, sim: &Arc<Sim>, reset: &ResetFlag, id: u64, wait: Duration) -> bool {
        let Some(head) = self.read_head(wait).await else {
            return false;
        };
        self.version = head.version;
        self.keep_alive = head.keep_alive;
        self.head_only = head.method == "HEAD";
        if head.expect_continue {
            self.output
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            if self.write(false).await.is_err() {
                return false;
            }
        }
        let json = is_json(&head.headers);
        let limit = if json {
            sim.config.body_limit as u64
        } else {
            MAX_DRAIN
        };
        let read = timeout(BODY_TIMEOUT, self.read_body(head.length, limit));
        let (body, left) = read.await.unwrap_or((Body::Broken(Bytes::new()), None));
        let broken = matches!(body, Body::Broken(_));
        let request = Request {
            method: head.method,
            target: head.target,
            version: head.version,
            headers: head.headers,
            body,
            connection: id,
        };
        match routes::dispatch(sim, &request, self).await {
            Ok(()) => {
                if let Some(left) = left
                    && !self.drain(left).await
                {
                    return false;
                }
                if !self.keep_alive || broken {
                    // A failed goodbye is one all the same.
                    let _ = self.io.shutdown().await;
                }
                self.keep_alive && !broken
            }
            Err(Stop::Reset) => {
                reset.set();
                false
            }
            // Dropped as it is: no last chunk, and under TLS no close_notify.
            Err(Stop::Cut | Stop::Gone) => false,
        }
    }

    async fn has_preface(&mut self) -> bool {
        let read = async {
            loop {
                let common = self.input.len().min(PREFACE.len());
                if self.input.get(..common) != PREFACE.get(..common) {
                    return false;
                }
                if common == PREFACE.len() {
                    return true;
                }
                if !self.fill().await {
                    return false;
                }
            }
        };
        timeout(HEAD_TIMEOUT, read).await.unwrap_or(false)
    }

    /// Reads some more; false at the end.
    async fn fill(&mut self) -> bool {
        if self.eof {
            return false;
        }
        self.input.reserve(8 * 1024);
        let read = self.io.read_buf(&mut self.input).await;
        self.eof = !matches!(read, Ok(count) if count > 0);
        !self.eof
    }

    /// A whole head, or none when the connection is over (after saying why, as Node does).
    async fn read_head(&mut self, wait: Duration) -> Option<RequestHead> {
        if self.input.is_empty() {
            match timeout(wait, self.fill()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return None,
            }
        }
        let mut searched = 0;
        let end = loop {
            // Node forgives empty lines before a request.
            while self.input.starts_with(b"\r\n") {
                self.input.advance(2);
                searched = 0;
            }
            let from = searched.min(self.input.len());
            let rest = self.input.get(from..).unwrap_or_default();
            if let Some(at) = memchr::memmem::find(rest, b"\r\n\r\n") {
                break from + at;
            }
            searched = self.input.len().saturating_sub(3);
            if self.input.len() > MAX_HEAD {
                return self.refuse(431).await;
            }
            match timeout(HEAD_TIMEOUT, self.fill()).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => return self.refuse(408).await,
            }
        };
        if end > MAX_HEAD {
            return self.refuse(431).await;
        }
        let bytes = self.input.split_to(end);
        self.input.advance(4);
        match head::parse(&bytes) {
            Some(head) => Some(head),
            None => self.refuse(400).await,
        }
    }

    async fn refuse(&mut self, status: u16) -> Option<RequestHead> {
        let line = format!(
            "HTTP/1.1 {status} {}\r\nConnection: close\r\n\r\n",
            reason(status)
        );
        self.output.extend_from_slice(line.as_bytes());
        if self.write(false).await.is_ok() {
            // A failed goodbye is one all the same.
            let _ = self.io.shutdown().await;
        }
        None
    }

    /// Has the other side left? Reads ahead what it sends meanwhile.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let mut space = [0_u8; 2_048];
        while !self.eof && self.input.len() < READ_AHEAD {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.input.extend_from_slice(buf.filled());
                }
                Poll::Ready(_) => self.eof = true,
            }
        }
        self.eof
    }

    /// Writes all output. With `watch`, a client that has left ends it even if it could be
    /// written.
    async fn write(&mut self, watch: bool) -> Result<(), Stop> {
        poll_fn(|cx| {
            while !self.output.is_empty() {
                match Pin::new(&mut self.io).poll_write(cx, &self.output) {
                    Poll::Ready(Ok(count)) if count > 0 => self.output.advance(count),
                    Poll::Ready(_) => return Poll::Ready(Err(Stop::Gone)),
                    Poll::Pending if self.poll_gone(cx) => return Poll::Ready(Err(Stop::Gone)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) if watch && self.poll_gone(cx) => Poll::Ready(Err(Stop::Gone)),
                Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => Poll::Ready(Err(Stop::Gone)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

fn http_date() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl<IO> Wire for H1<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn head(&mut self, head: Head) {
        let mut framing = head.framing;
        if framing == Framing::Chunked && self.version == Version::Http10 {
            // Its end is the connection's end.
            (framing, self.keep_alive) = (Framing::None, false);
        }
        let mut text = format!("HTTP/1.1 {} {}\r\n", head.status, reason(head.status));
        let stream = framing == Framing::Chunked && self.keep_alive;
        for (name, value) in &head.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
            if stream && *name == "Cache-Control" {
                text.push_str("Connection: keep-alive\r\n");
            }
        }
        text.push_str(&format!("Date: {}\r\n", http_date()));
        match (self.keep_alive, framing) {
            (false, _) => text.push_str("Connection: close\r\n"),
            // Set by the real one itself, further up, and Node then leaves this out.
            (true, Framing::Chunked) => {}
            (true, _) => text.push_str(&format!(
                "Connection: keep-alive\r\nKeep-Alive: timeout={}\r\n",
                self.advertised
            )),
        }
        if framing == Framing::Chunked {
            text.push_str("Transfer-Encoding: chunked\r\n");
        }
        text.push_str("\r\n");
        self.framing = framing;
        self.output.extend_from_slice(text.as_bytes());
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        self.write(self.framing == Framing::Chunked).await
    }

    async fn send(&mut self, data: &[u8]) -> Result<(), Stop> {
        if !self.head_only && !data.is_empty() {
            if self.framing == Framing::Chunked {
                let size = format!("{:x}\r\n", data.len());
                self.output.extend_from_slice(size.as_bytes());
                self.output.extend_from_slice(data);
                self.output.extend_from_slice(b"\r\n");
            } else {
                self.output.extend_from_slice(data);
            }
        }
        self.flush().await
    }

    async fn finish(&mut self) -> Result<(), Stop> {
        if self.framing == Framing::Chunked && !self.head_only {
            self.output.extend_from_slice(b"0\r\n\r\n");
        }
        self.write(false).await
    }

    async fn pause(&mut self, time: Duration) -> Result<(), Stop> {
        if time.is_zero() {
            return Ok(());
        }
        let mut sleep = pin!(tokio::time::sleep(time));
        poll_fn(|cx| {
            if self.poll_gone(cx) {
                return Poll::Ready(Err(Stop::Gone));
            }
            sleep.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    async fn until_gone(&mut self) {
        poll_fn(|cx| match self.poll_gone(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}
