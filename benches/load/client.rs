//! One keep-alive connection of the driver: writes a ready request, reads one answer and checks its length.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A stream's first content.
const DELTA: &[u8] = b"event: content_block_delta";
/// The same in a stream of chunks.
const CHAT_DELTA: &[u8] = b"\"delta\":{\"content\":";

/// Nothing that is measured here takes so long.
const STUCK: Duration = Duration::from_secs(30);

/// When an answer came, counted from the moment its request was written.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Its first content; of an answer that does not stream, its end.
    pub first: Duration,
    /// Its last byte.
    pub last: Duration,
}

/// A connection to the system under test.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// How an answer's end is known.
enum Framing {
    Length(usize),
    Chunks(Chunks),
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

impl Connection {
    /// Connects to `target`.
    ///
    /// # Errors
    /// What the system says.
    pub async fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 32 << 10],
            filled: 0,
        })
    }

    /// Asks once. The answer must be a 200 with exactly `expected` bytes of body, when that is known.
    ///
    /// # Errors
    /// Any other answer, and none within half a minute.
    pub async fn ask(&mut self, request: &[u8], expected: Option<usize>) -> io::Result<Times> {
        let began = Instant::now();
        tokio::time::timeout(STUCK, self.exchange(request, expected, began))
            .await
            .map_err(|_| broken("no answer within 30 s"))?
    }

    async fn exchange(
        &mut self,
        request: &[u8],
        expected: Option<usize>,
        began: Instant,
    ) -> io::Result<Times> {
        self.stream.write_all(request).await?;
        let mut framing = self.head().await?;
        let streams = matches!(framing, Framing::Chunks(_));
        let mut first = None;
        let mut body = 0;
        loop {
            let seen = self.buffer.get(..self.filled).unwrap_or_default();
            if first.is_none()
                && streams
                && (memmem::find(seen, DELTA).is_some() || memmem::find(seen, CHAT_DELTA).is_some())
            {
                first = Some(began.elapsed());
            }
            let ended = match &mut framing {
                Framing::Length(length) => {
                    body += seen.len();
                    body >= *length
                }
                Framing::Chunks(chunks) => {
                    chunks.feed(seen)?;
                    body = chunks.payload;
                    chunks.ended
                }
            };
            self.filled = 0;
            if ended {
                break;
            }
            self.read().await?;
        }
        if let Some(expected) = expected
            && body != expected
        {
            return Err(broken(format!(
                "an answer of {body} bytes instead of {expected}"
            )));
        }
        let last = began.elapsed();
        Ok(Times {
            first: first.unwrap_or(last),
            last,
        })
    }

    /// Asks for a stream and tells `on_bytes` of the payload as it comes, until the stream ends or `until` comes.
    ///
    /// # Errors
    /// Any answer but a chunked 200.
    pub async fn watch(
        &mut self,
        request: &[u8],
        until: tokio::time::Instant,
        mut on_bytes: impl FnMut(usize),
    ) -> io::Result<()> {
        self.stream.write_all(request).await?;
        let Framing::Chunks(mut chunks) = self.head().await? else {
            return Err(broken("an answer that is no stream"));
        };
        loop {
            let before = chunks.payload;
            chunks.feed(self.buffer.get(..self.filled).unwrap_or_default())?;
            self.filled = 0;
            on_bytes(chunks.payload - before);
            if chunks.ended {
                return Ok(());
            }
            match tokio::time::timeout_at(until, self.read()).await {
                Ok(read) => read?,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Reads up to the end of the head; what follows it stays in the buffer.
    async fn head(&mut self) -> io::Result<Framing> {
        loop {
            let seen = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(at) = memmem::find(seen, b"\r\n\r\n") {
                let framing = framing(seen.get(..at).unwrap_or_default());
                self.buffer.copy_within(at + 4..self.filled, 0);
                self.filled -= at + 4;
                return framing;
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let n = self.stream.read(room).await?;
        if n == 0 {
            return Err(broken("the connection was closed within an answer"));
        }
        self.filled += n;
        Ok(())
    }
}

fn framing(head: &[u8]) -> io::Result<Framing> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(broken(format!("answered {status:?}")));
    }
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.trim().parse();
            return length
                .map(Framing::Length)
                .map_err(|_| broken("a length that is no number"));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(Framing::Chunks(Chunks::default()));
        }
    }
    Err(broken("an answer without a length"))
}

/// Reads chunked framing as far as it has come.
#[derive(Default)]
struct Chunks {
    /// Bytes of payload so far.
    payload: usize,
    ended: bool,
    /// Payload left of the present chunk.
    left: usize,
    /// The size line so far.
    line: Vec<u8>,
    /// The line break after a chunk's payload is still to come.
    breaks: bool,
}

impl Chunks {
    fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let take = self.left.min(bytes.len());
                self.left -= take;
                self.payload += take;
                self.breaks = self.left == 0;
                bytes = bytes.get(take..).unwrap_or_default();
                continue;
            }
            let line = memchr::memchr(b'\n', bytes).map(|at| bytes.split_at(at + 1));
            let Some((line, rest)) = line else {
                self.line.extend_from_slice(bytes);
                return Ok(());
            };
            self.line.extend_from_slice(line);
            bytes = rest;
            let text = self.line.trim_ascii();
            if self.breaks {
                self.breaks = false;
            } else if self.ended {
                // The empty line after the last chunk.
            } else {
                let size = std::str::from_utf8(text).ok();
                let size = size.and_then(|text| usize::from_str_radix(text, 16).ok());
                self.left = size.ok_or_else(|| broken("a chunk without a size"))?;
                self.ended = self.left == 0;
            }
            self.line.clear();
        }
        Ok(())
    }
}
