//! HTTP/1.1 byte by byte, for what a polite client would never send or never show.
//!
//! [`Answers`] reads strictly: what it refuses is a fault of the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// One answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    pub status: u16,
    /// Status line and header lines, each with its line end, without the empty line.
    pub head: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
    /// The body was delimited by the end of the connection.
    pub until_close: bool,
}

impl RawAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }
}

/// What a connection said.
#[derive(Debug)]
pub struct Said {
    pub bytes: Vec<u8>,
    /// The gateway closed the connection within the time limit.
    pub closed: bool,
}

impl Said {
    /// All answers; `head` says of each by its index whether it is one to HEAD.
    pub fn answers(&self, head: impl Fn(usize) -> bool) -> Result<Vec<RawAnswer>, String> {
        let mut rest = self.bytes.as_slice();
        let mut answers = Vec::new();
        while !rest.is_empty() {
            let (answer, after) =
                parse(rest, head(answers.len()), self.closed)?.ok_or_else(|| {
                    format!("an unfinished answer: {}", String::from_utf8_lossy(rest))
                })?;
            if answer.until_close && !after.is_empty() {
                return Err("bytes after an answer that ends with its connection".to_owned());
            }
            answers.push(answer);
            rest = after;
        }
        Ok(answers)
    }

    /// The only answer.
    pub fn one(&self) -> RawAnswer {
        let mut answers = self.answers(|_| false).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(answers.len(), 1, "{}", String::from_utf8_lossy(&self.bytes));
        answers.remove(0)
    }
}

/// Sends `request` and reads until the connection is closed or `limit` is over.
pub async fn send(address: SocketAddr, request: &[u8], limit: Duration) -> Said {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // A gateway that has refused and closed may make the rest of the request fail.
    let _ = socket.write_all(request).await;
    read_all(&mut socket, limit).await
}

/// Reads until the connection is closed or `limit` is over.
pub async fn read_all(socket: &mut TcpStream, limit: Duration) -> Said {
    let until = Instant::now() + limit;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match timeout_at(until, socket.read(&mut buffer)).await {
            Ok(Ok(0)) | Ok(Err(_)) => {
                return Said {
                    bytes,
                    closed: true,
                };
            }
            Ok(Ok(n)) => bytes.extend_from_slice(&buffer[..n]),
            Err(_) => {
                return Said {
                    bytes,
                    closed: false,
                };
            }
        }
    }
}

/// Sends one well-formed request and reads its answer, whether the connection stays open or not.
pub async fn ask(address: SocketAddr, request: &[u8]) -> RawAnswer {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // As above.
    let _ = socket.write_all(request).await;
    next(&mut socket, &mut Vec::new()).await
}

/// Reads the next answer of a connection; `rest` keeps what came after it.
pub async fn next(socket: &mut TcpStream, rest: &mut Vec<u8>) -> RawAnswer {
    let until = Instant::now() + Duration::from_secs(30);
    let mut buffer = vec![0; 16 * 1024];
    let mut closed = false;
    loop {
        if let Some((answer, after)) = parse(rest, false, closed).unwrap_or_else(|e| panic!("{e}"))
        {
            *rest = after.to_vec();
            return answer;
        }
        assert!(
            !closed,
            "closed in mid-answer: {:?}",
            String::from_utf8_lossy(rest)
        );
        match timeout_at(until, socket.read(&mut buffer))
            .await
            .expect("an answer in time")
        {
            Ok(0) | Err(_) => closed = true,
            Ok(n) => rest.extend_from_slice(&buffer[..n]),
        }
    }
}

/// The first answer in `bytes` and what follows it; None when it is not whole yet.
pub fn parse(
    bytes: &[u8],
    to_head: bool,
    closed: bool,
) -> Result<Option<(RawAnswer, &[u8])>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end + 2]).map_err(|e| format!("the head: {e}"))?;
    let rest = &bytes[end + 4..];
    let mut lines = head.split_terminator("\r\n");
    let status = status(lines.next().unwrap_or(""))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("no header: {line:?}"))?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(format!("no header name: {line:?}"));
        }
        if value.chars().any(|c| c != '\t' && c.is_control()) {
            return Err(format!("a control character: {line:?}"));
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = RawAnswer {
        status,
        head: head.to_owned(),
        headers,
        body: Vec::new(),
        until_close: false,
    };
    let lengths = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "content-length")
        .count();
    let coding = answer.header("transfer-encoding").map(str::to_owned);
    if lengths > 1 || (lengths == 1 && coding.is_some()) {
        return Err(format!("two framings: {head}"));
    }
    if to_head || status == 204 || status == 304 || status < 200 {
        return Ok(Some((answer, rest)));
    }
    if let Some(coding) = coding {
        if coding != "chunked" {
            return Err(format!("transfer-encoding {coding}"));
        }
        return Ok(chunks(rest)?.map(|(body, after)| {
            answer.body = body;
            (answer, after)
        }));
    }
    if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().map_err(|e| format!("content-length: {e}"))?;
        return Ok(rest.split_at_checked(length).map(|(body, after)| {
            answer.body = body.to_vec();
            (answer, after)
        }));
    }
    answer.until_close = true;
    answer.body = rest.to_vec();
    Ok(closed.then_some((answer, &[])))
}

fn status(line: &str) -> Result<u16, String> {
    let bad = || format!("no status line: {line:?}");
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| line.strip_prefix("HTTP/1.0 "))
        .ok_or_else(bad)?;
    let (code, _reason) = rest.split_once(' ').ok_or_else(bad)?;
    let code: u16 = code.parse().map_err(|_| bad())?;
    if (100..600).contains(&code) {
        Ok(code)
    } else {
        Err(bad())
    }
}

/// The content of a chunked body and what follows its last chunk.
pub type Unchunked<'a> = (Vec<u8>, &'a [u8]);

/// Takes a chunked body apart; None when it is not whole yet.
pub fn chunks(mut rest: &[u8]) -> Result<Option<Unchunked<'_>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&rest[..end]).map_err(|e| e.to_string())?;
        let size =
            usize::from_str_radix(size, 16).map_err(|e| format!("chunk size {size:?}: {e}"))?;
        rest = &rest[end + 2..];
        let Some((chunk, after)) = rest.split_at_checked(size) else {
            return Ok(None);
        };
        if after.len() < 2 {
            return Ok(None);
        }
        let (line_end, after) = after.split_at(2);
        if line_end != b"\r\n" {
            return Err("a chunk without its line end".to_owned());
        }
        rest = after;
        if size == 0 {
            return Ok(Some((body, rest)));
        }
        body.extend_from_slice(chunk);
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
