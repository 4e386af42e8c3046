//! The stub upstream: the cheapest HTTP/1.1 server that answers as Antigravity does.
//!
//! One thread, no parsing beyond what framing needs, answers that lie ready. What comes back is chosen by the
//! request's query, which every proxy under test passes on: nothing for one small JSON message, `events=N` for a
//! stream of N events, `gap_us=G` for a pause before each event after the first.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::script;

/// A request head may have so many bytes.
const MAX_HEAD: usize = 16 << 10;

/// Serves on `listen` until it is killed.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            // A peer that leaves is the usual end.
            let _ = connection(socket).await;
        });
    }
}

/// What a request asks of the stub.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Want {
    Health,
    Message,
    Stream { events: u32, gap: Duration },
}

async fn connection(mut socket: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0_u8; 64 << 10];
    let mut filled = 0;
    let message = with_head("application/json", script::MESSAGE);
    loop {
        let head = loop {
            let seen = buffer.get(..filled).unwrap_or_default();
            if let Some(at) = memmem::find(seen, b"\r\n\r\n") {
                break at + 4;
            }
            if filled >= MAX_HEAD {
                return Err(io::Error::other("a head without an end"));
            }
            let n = socket
                .read(buffer.get_mut(filled..).unwrap_or_default())
                .await?;
            if n == 0 {
                return Ok(());
            }
            filled += n;
        };
        let (want, body) = read_head(buffer.get(..head).unwrap_or_default())?;
        let mut missing = body.saturating_sub(filled - head);
        while missing > 0 {
            let n = socket.read(&mut buffer).await?;
            if n == 0 {
                return Ok(());
            }
            missing = missing.saturating_sub(n);
        }
        filled = 0;
        match want {
            Want::Health => {
                let health = with_head("application/json", script::HEALTH);
                socket.write_all(&health).await?;
            }
            Want::Message => socket.write_all(&message).await?,
            Want::Stream { events, gap } => stream(&mut socket, events, gap).await?,
        }
    }
}

async fn stream(socket: &mut TcpStream, events: u32, gap: Duration) -> io::Result<()> {
    socket
        .write_all(
            b"HTTP/1.1 200 OK\r\nx-powered-by: Express\r\ncontent-type: text/event-stream\r\n\
              cache-control: no-cache\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await?;
    let mut due = tokio::time::Instant::now();
    let mut chunk = Vec::with_capacity(512);
    for n in 0..events {
        if n > 0 && !gap.is_zero() {
            due += gap;
            tokio::time::sleep_until(due).await;
        }
        let event = script::event(n, events).as_bytes();
        chunk.clear();
        chunk.extend_from_slice(format!("{:x}\r\n", event.len()).as_bytes());
        chunk.extend_from_slice(event);
        chunk.extend_from_slice(b"\r\n");
        socket.write_all(&chunk).await?;
    }
    socket.write_all(b"0\r\n\r\n").await
}

fn with_head(kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nx-powered-by: Express\r\ncontent-type: {kind}; charset=utf-8\r\ncontent-length: {}\r\n\
         date: Sat, 01 Nov 2025 12:00:00 GMT\r\nconnection: keep-alive\r\nkeep-alive: timeout=60\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What is wanted, and the length of the body.
fn read_head(head: &[u8]) -> io::Result<(Want, usize)> {
    let bad = || io::Error::other("a head that the stub cannot read");
    let text = std::str::from_utf8(head).map_err(|_| bad())?;
    let mut lines = text.split("\r\n");
    let path = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .ok_or_else(bad)?;
    let mut body = 0;
    let mut wanted = want(path);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            body = value.trim().parse().map_err(|_| bad())?;
        } else if name.eq_ignore_ascii_case("user-agent") && value.contains('?') {
            wanted = want(value);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(bad());
        }
    }
    Ok((wanted, body))
}

fn want(path: &str) -> Want {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if path == "/health" {
        return Want::Health;
    }
    let number = |name: &str| {
        query.split('&').find_map(|pair| {
            pair.strip_prefix(name)?
                .strip_prefix('=')?
                .parse::<u32>()
                .ok()
        })
    };
    match number("events") {
        Some(events) => Want::Stream {
            events: events.max(script::MIN_EVENTS),
            gap: Duration::from_micros(number("gap_us").unwrap_or(0).into()),
        },
        None => Want::Message,
    }
}
