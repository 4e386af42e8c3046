//! An HTTP/1.1 connection by hand, step by step: what a client library would hide, such as when a
//! 100 comes, whether a connection lives on, and which chunk came when.
//!
//! [`raw`](super::raw) beside it sends bytes as they are and judges all that comes back at once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, or its head alone.
#[derive(Debug, Clone, Default)]
pub struct RawAnswer {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The first header of this (lower-case) name, or "".
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        found.next().map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }

    fn chunked(&self) -> bool {
        self.header("transfer-encoding") == "chunked"
    }
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("nothing within {PATIENCE:?}: {what}"),
    }
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("connecting", TcpStream::connect(address))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// A client whose kernel takes little that it has not read.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = soon("connecting", socket.connect(address)).await.unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("sending", self.stream.write_all(bytes.as_ref()))
            .await
            .unwrap();
    }

    /// False when the other side no longer takes anything.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        soon("sending", self.stream.write_all(bytes)).await.is_ok()
    }

    async fn fill(&mut self) -> std::io::Result<bool> {
        let read = self.stream.read_buf(&mut self.buffer);
        Ok(soon("reading", read).await? > 0)
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            let seen = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.fill().await.unwrap(), "closed in mid-line: {seen:?}");
        }
    }

    /// The next head, a 1xx included.
    pub async fn head(&mut self) -> RawAnswer {
        let first = self.line().await;
        let mut words = first.splitn(3, ' ');
        let mut answer = RawAnswer {
            version: words.next().unwrap_or("").to_owned(),
            ..RawAnswer::default()
        };
        let status = words.next().unwrap_or("").parse();
        answer.status = status.unwrap_or_else(|e| panic!("no status line ({e}): {first:?}"));
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return answer;
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?}"));
            answer
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Exactly so many bytes.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            let more = self.fill().await.unwrap();
            assert!(
                more,
                "closed {} bytes before the end",
                count - self.buffer.len()
            );
        }
        self.buffer.drain(..count).collect()
    }

    /// The next chunk of a chunked body; None after the last one.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line().await;
        let size = usize::from_str_radix(size.trim(), 16)
            .unwrap_or_else(|e| panic!("no chunk size ({e}): {size:?}"));
        let mut chunk = self.take(size + 2).await;
        assert!(chunk.ends_with(b"\r\n"), "a chunk without its end");
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// The body that belongs to `head`, to its end.
    pub async fn body(&mut self, head: &RawAnswer) -> Vec<u8> {
        if head.chunked() {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().await {
                body.extend_from_slice(&chunk);
            }
            return body;
        }
        match head.header("content-length") {
            "" => self.rest().await,
            length => self.take(length.parse().unwrap()).await,
        }
    }

    /// The next answer to anything but HEAD, whole.
    pub async fn answer(&mut self) -> RawAnswer {
        let mut answer = self.head().await;
        answer.body = self.body(&answer).await;
        answer
    }

    /// Everything until the other side closes; a reset ends it as well.
    pub async fn rest(&mut self) -> Vec<u8> {
        while let Ok(true) = self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// The other side has closed, cleanly, and sent nothing more.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.fill().await, Ok(false))
    }

    /// Whether a byte comes within `limit`.
    pub async fn speaks_within(&mut self, limit: Duration) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        let read = self.stream.read_buf(&mut self.buffer);
        matches!(timeout(limit, read).await, Ok(Ok(count)) if count > 0)
    }
}

/// A request with a body of known length and these header lines.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: luna\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
