//! HTTP/2, which the real server lacks, for gateways that are to be tested with such an upstream.
//!
//! `cut` resets the stream, `reset` ends the whole connection with a TCP reset.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::request::{Body, Request, Version, is_json};
use super::server::ResetFlag;
use super::wire::{Framing, Head, Stop, Wire};
use super::{Sim, routes};

const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 24;
/// Bodies that are not read as JSON are thrown away up to this length.
const MAX_FOREIGN_BODY: usize = 256 * 1024 * 1024;

/// See [`H2::settle`].
const SETTLE: Duration = Duration::from_millis(10);

/// A stream whose first bytes have been read already.
pub(super) struct Prefixed<IO> {
    prefix: Bytes,
    io: IO,
}

impl<IO> Prefixed<IO> {
    pub(super) fn new(prefix: Bytes, io: IO) -> Self {
        Self { prefix, io }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Prefixed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Prefixed<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

pub(super) async fn serve<IO>(io: IO, sim: Arc<Sim>, reset: ResetFlag, id: u64)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(10_000);
    let Ok(mut connection) = builder.handshake::<IO, Bytes>(io).await else {
        return;
    };
    let kill = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = kill.notified() => {
                reset.set();
                break;
            }
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else {
                    break;
                };
                let (sim, kill) = (Arc::clone(&sim), Arc::clone(&kill));
                tasks.spawn(one(sim, request, respond, kill, id));
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    // Every stream that is left now finds its client gone, and says so in the ledger.
    drop(connection);
    while tasks.join_next().await.is_some() {}
}

async fn one(
    sim: Arc<Sim>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
    kill: Arc<Notify>,
    id: u64,
) {
    let (parts, mut stream) = request.into_parts();
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect();
    let limit = match is_json(&headers) {
        true => sim.config.body_limit,
        false => MAX_FOREIGN_BODY,
    };
    let target = parts.uri.path_and_query();
    let request = Request {
        method: parts.method.as_str().to_owned(),
        target: target.map_or("/", |target| target.as_str()).to_owned(),
        version: Version::Http2,
        body: read_body(&mut stream, limit).await,
        headers,
        connection: id,
    };
    let mut wire = H2 {
        respond,
        stream: None,
        head: None,
        head_only: request.method == "HEAD",
    };
    match routes::dispatch(&sim, &request, &mut wire).await {
        Ok(()) => {}
        Err(Stop::Reset) => {
            wire.settle().await;
            kill.notify_one();
        }
        Err(Stop::Cut | Stop::Gone) => {
            wire.settle().await;
            match &mut wire.stream {
                Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
                None => wire.respond.send_reset(Reason::INTERNAL_ERROR),
            }
        }
    }
}

async fn read_body(stream: &mut RecvStream, limit: usize) -> Body {
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let Ok(data) = data else {
            return Body::Broken(body.freeze());
        };
        if body.len() + data.len() > limit {
            return Body::TooLarge(None);
        }
        body.extend_from_slice(&data);
        if stream.flow_control().release_capacity(data.len()).is_err() {
            return Body::Broken(body.freeze());
        }
    }
    Body::Whole(body.freeze())
}

struct H2 {
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
    head: Option<Response<()>>,
    head_only: bool,
}

impl H2 {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let reset = match &mut self.stream {
            Some(stream) => stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.is_ready()
    }

    /// Lets the connection write what the stream has queued: a reset would throw it away, and h2
    /// does not tell when it is out.
    async fn settle(&mut self) {
        if self.stream.is_some() {
            let _ = self.pause(SETTLE).await;
        }
    }

    fn open(&mut self, end: bool) -> Result<(), Stop> {
        if let Some(head) = self.head.take() {
            let stream = self.respond.send_response(head, end);
            self.stream = Some(stream.map_err(|_| Stop::Gone)?);
        }
        Ok(())
    }
}

impl Wire for H2 {
    fn head(&mut self, head: Head) {
        let mut builder = Response::builder().status(head.status);
        for (name, value) in head.headers {
            builder = builder.header(name, value);
        }
        // The status and the names are ours, the values printable: this does not fail.
        self.head = builder.body(()).ok();
        if head.framing == Framing::None {
            self.head_only = true;
        }
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        self.open(false)
    }

    async fn send(&mut self, data: &[u8]) -> Result<(), Stop> {
        self.open(false)?;
        let mut data = match self.head_only {
            true => Bytes::new(),
            false => Bytes::copy_from_slice(data),
        };
        while data.has_remaining() {
            let room = poll_fn(|cx| {
                if self.poll_gone(cx) {
                    return Poll::Ready(None);
                }
                let Some(stream) = &mut self.stream else {
                    return Poll::Ready(None);
                };
                stream.reserve_capacity(data.len());
                loop {
                    // poll_capacity tells changes only, so what is there already comes first.
                    if stream.capacity() > 0 {
                        return Poll::Ready(Some(stream.capacity()));
                    }
                    match stream.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(_) => return Poll::Ready(None),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            });
            let room = room.await.ok_or(Stop::Gone)?;
            let part = data.split_to(room.min(data.len()));
            let stream = self.stream.as_mut().ok_or(Stop::Gone)?;
            stream.send_data(part, false).map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Stop> {
        if self.head.is_some() {
            return self.open(true);
        }
        let stream = self.stream.as_mut().ok_or(Stop::Gone)?;
        stream.send_data(Bytes::new(), true).map_err(|_| Stop::Gone)
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
