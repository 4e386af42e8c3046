//! An upstream that answers with given bytes: what the simulated Antigravity would never say.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One step of an answer.
#[derive(Clone)]
pub enum Act {
    Send(Vec<u8>),
    /// Says nothing more until the other side leaves.
    Hang,
}

/// Closes its listener and its task when dropped.
pub struct Canned {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Canned {
    /// Answers every request for a model with what `script` says, then closes the connection.
    pub async fn start(script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                tokio::spawn(async move {
                    let mut stream = stream;
                    if let Some(model) = request(&mut stream).await {
                        answer(&mut stream, script(&model)).await;
                    }
                });
            }
        });
        Self { address, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request with a content-length; gives the model that its body names.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        if let Some(head) = seen.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
            let length = text.split("content-length: ").nth(1)?;
            let length: usize = length.split("\r\n").next()?.parse().ok()?;
            if let Some(body) = seen.get(head + 4..head + 4 + length) {
                let body: serde_json::Value = serde_json::from_slice(body).ok()?;
                return body["model"].as_str().map(str::to_owned);
            }
        }
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(stream: &mut TcpStream, acts: Vec<Act>) {
    for act in acts {
        match act {
            // The other side may have left already, which is its right.
            Act::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::Hang => {
                let mut rest = [0; 64];
                while matches!(stream.read(&mut rest).await, Ok(n) if n > 0) {}
            }
        }
    }
    let _ = stream.shutdown().await;
}

/// The head of a stream, or of any answer that ends with its connection.
pub fn head(status: u16, content_type: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n")
        .into_bytes()
}

/// A whole answer with its length.
pub fn whole(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An SSE event.
pub fn event(data: &str) -> String {
    let parsed: serde_json::Value = serde_json::from_str(data).unwrap();
    format!(
        "event: {}\ndata: {data}\n\n",
        parsed["type"].as_str().unwrap()
    )
}

/// The events of a short answer of `model`, one a string.
pub fn events(model: &str) -> Vec<String> {
    let start = format!(
        r#"{{"type":"message_start","message":{{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"{model}","stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":7,"output_tokens":0}}}}}}"#
    );
    let delta = |text: &str| {
        format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
        )
    };
    [
        start,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned(),
        delta("Hello from "),
        delta(model),
        r#"{"type":"content_block_stop","index":0}"#.to_owned(),
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":3}}"#.to_owned(),
        r#"{"type":"message_stop"}"#.to_owned(),
    ]
    .iter()
    .map(|data| event(data))
    .collect()
}
