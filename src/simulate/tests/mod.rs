//! The simulator over real sockets, and its pure parts. This file is the client: it reads raw
//! HTTP/1.1 and tells a whole answer from one that was cut or reset.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod clients;
mod control;
mod faults;
mod http2;
mod openai;
mod openai_faults;
mod pure;
mod quota;
mod round_trips;
mod routes;
mod samples;
mod script;
mod sockets;
mod strict;
mod strict_openai;
mod strict_turns;

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Generation, Running, SimConfig, spawn};

const BOTH: [Generation; 2] = [Generation::V2_0, Generation::V2_7];
/// Nothing here takes as long; a test that hangs fails.
const GUARD: Duration = Duration::from_secs(20);

fn config(generation: Generation) -> SimConfig {
    SimConfig {
        time_scale: 0.002,
        keep_alive_ms: 30_000_000,
        keep_bodies: 64 << 20,
        ..SimConfig::new(generation)
    }
}

async fn start(generation: Generation) -> Running {
    spawn(config(generation)).await.unwrap()
}

/// A model that both generations list.
const MODEL: &str = "gemini-3-flash";
/// One without a thinking block.
const PLAIN: &str = "gemini-2.5-flash-lite";

fn body(model: &str, stream: bool) -> String {
    format!(
        "{{\"model\":\"{model}\",\"stream\":{stream},\"max_tokens\":1000,\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}"
    )
}

fn post(body: &str) -> Vec<u8> {
    request("POST", "/v1/messages", body)
}

fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    head.into_bytes()
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As its framing says.
    Whole,
    /// The connection was closed before that.
    Cut,
    /// It was reset.
    Reset,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
    end: End,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut pairs = lines.filter_map(|line| line.split_once(": "));
        pairs
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Names and data of the SSE events.
    fn events(&self) -> Vec<(String, Value)> {
        let frames = self.body.split_terminator("\n\n");
        let read = |frame: &str| {
            let (name, data) = frame.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap().to_owned();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            (name, data)
        };
        frames.map(read).collect()
    }

    fn names(&self) -> Vec<String> {
        self.events().into_iter().map(|(name, _)| name).collect()
    }

    /// All text deltas joined.
    fn text(&self) -> String {
        let events = self.events();
        let texts = events
            .iter()
            .filter_map(|(_, data)| data["delta"]["text"].as_str());
        texts.collect()
    }

    fn error(&self) -> (String, String) {
        let json = self.json();
        let error = &json["error"];
        let read = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
        (read("type"), read("message"))
    }
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    end: Option<End>,
}

impl Client {
    async fn connect(sim: &Running) -> Self {
        let stream = TcpStream::connect(sim.address()).await.unwrap();
        Self {
            stream,
            input: Vec::new(),
            end: None,
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads some more; false at the end, whose kind is then known.
    async fn fill(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let read = self.stream.read_buf(&mut self.input);
        match tokio::time::timeout(GUARD, read).await.expect("no answer") {
            Ok(0) => self.end = Some(End::Cut),
            Ok(_) => return true,
            Err(_) => self.end = Some(End::Reset),
        }
        false
    }

    async fn until(&mut self, needle: &str) -> bool {
        loop {
            if String::from_utf8_lossy(&self.input).contains(needle) {
                return true;
            }
            if !self.fill().await {
                return false;
            }
        }
    }

    /// The next answer; none if the connection ends before a head.
    async fn answer(&mut self) -> Result<Answer, End> {
        let head_end = loop {
            if let Some(at) = memchr::memmem::find(&self.input, b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await {
                return Err(self.end.unwrap());
            }
        };
        let head = String::from_utf8(self.input[..head_end].to_vec()).unwrap();
        self.input.drain(..head_end + 4);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
            end: End::Whole,
        };
        if status == 100 {
            return Ok(answer);
        }
        let chunked = answer.header("transfer-encoding") == Some("chunked");
        let length: Option<usize> = answer.header("content-length").map(|n| n.parse().unwrap());
        let body = match (chunked, length) {
            (true, _) => self.chunks().await,
            (false, Some(length)) => self.exactly(length).await,
            (false, None) if status == 304 => (Vec::new(), End::Whole),
            (false, None) => {
                while self.fill().await {}
                (std::mem::take(&mut self.input), End::Whole)
            }
        };
        answer.body = String::from_utf8(body.0).unwrap();
        answer.end = body.1;
        Ok(answer)
    }

    async fn exactly(&mut self, length: usize) -> (Vec<u8>, End) {
        while self.input.len() < length {
            if !self.fill().await {
                return (std::mem::take(&mut self.input), self.end.unwrap());
            }
        }
        (self.input.drain(..length).collect(), End::Whole)
    }

    async fn chunks(&mut self) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(at) = memchr::memmem::find(&self.input, b"\r\n") {
                    break at;
                }
                if !self.fill().await {
                    return (body, self.end.unwrap());
                }
            };
            let line: Vec<u8> = self.input.drain(..line_end + 2).collect();
            let digits = std::str::from_utf8(&line[..line_end]).unwrap();
            let size = usize::from_str_radix(digits, 16).unwrap();
            let (chunk, end) = self.exactly(size + 2).await;
            if end != End::Whole {
                return (body, end);
            }
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return (body, End::Whole);
            }
        }
    }
}

/// One request on a connection of its own.
async fn ask(sim: &Running, bytes: &[u8]) -> Result<Answer, End> {
    let mut client = Client::connect(sim).await;
    client.send(bytes).await;
    client.answer().await
}

async fn get(sim: &Running, path: &str) -> Answer {
    ask(sim, &request("GET", path, "")).await.unwrap()
}
