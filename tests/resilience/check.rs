//! What every answer must look like, whatever went wrong upstream.

pub mod chat;

use std::time::Duration;

use serde_json::Value;

use crate::support::eventually;
use crate::support::world::{Answer, World, ask};

/// Which format the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Anthropic,
    OpenAi,
}

impl Client {
    /// One user turn that says Hello.
    pub async fn ask(self, world: &World, model: &str, stream: bool) -> Answer {
        match self {
            Self::Anthropic => world.post(&ask(model, stream)).await,
            Self::OpenAi => {
                let told = ask(model, stream);
                world
                    .chat(&serde_json::json!({"model": model, "stream": stream,
                                             "stream_options": {"include_usage": true},
                                             "messages": told["messages"]}))
                    .await
            }
        }
    }

    /// A stream that is whole; its text.
    pub fn whole_stream(self, answer: &Answer) -> String {
        match self {
            Self::Anthropic => whole_stream(answer),
            Self::OpenAi => chat::whole_stream(answer),
        }
    }

    /// The text of an answer that does not stream.
    pub fn content(self, answer: &Answer) -> String {
        match self {
            Self::Anthropic => answer.content(),
            Self::OpenAi => chat::content(answer),
        }
    }

    /// One well-formed error; its message. `statuses` are those of the Anthropic format.
    pub fn error(self, answer: &Answer, statuses: &[u16]) -> String {
        match self {
            Self::Anthropic => error(answer, statuses),
            Self::OpenAi => chat::error(answer, statuses),
        }
    }
}

/// The SSE events of a body, each with its name and data. Comments are left out.
pub fn frames(text: &str) -> Vec<(String, Value)> {
    let mut frames = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (frame, after) = rest
            .split_once("\n\n")
            .unwrap_or_else(|| panic!("half an event at the end: {rest:?}"));
        rest = after;
        if frame.starts_with(':') {
            continue;
        }
        let (name, data) = frame
            .strip_prefix("event: ")
            .and_then(|frame| frame.split_once("\ndata: "))
            .unwrap_or_else(|| panic!("not an event: {frame:?}"));
        let data: Value = serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}"));
        assert_eq!(data["type"], name, "name and type differ: {frame}");
        frames.push((name.to_owned(), data));
    }
    frames
}

/// A stream that is whole: one start, blocks that open and close in order, one end. Gives its text.
pub fn whole_stream(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.broken, None, "{}", answer.text());
    assert!(
        answer
            .header("content-type")
            .starts_with("text/event-stream")
    );
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    let frames = frames(&answer.text());
    let names: Vec<&str> = frames.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"message_start"), "{names:?}");
    assert_eq!(names.last(), Some(&"message_stop"), "{names:?}");
    for once in ["message_start", "message_delta", "message_stop"] {
        let times = names.iter().filter(|name| **name == once).count();
        assert_eq!(times, 1, "{once}: {names:?}");
    }
    assert!(!names.contains(&"error"), "{names:?}");
    let (mut open, mut next, mut text) = (None, 0, String::new());
    for (name, data) in &frames {
        let index = data["index"].as_u64();
        match name.as_str() {
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(next)), "{names:?}");
                (open, next) = (index, next + 1);
            }
            "content_block_delta" => {
                assert_eq!(open, index, "{names:?}");
                text.push_str(data["delta"]["text"].as_str().unwrap_or_default());
            }
            "content_block_stop" => {
                assert_eq!(open, index, "{names:?}");
                open = None;
            }
            _ => {}
        }
    }
    assert_eq!(open, None, "{names:?}");
    text
}

/// A stream that broke after its commit: what had passed, then one error event, and no end.
/// Gives the names of the events before the error.
pub fn broken_stream(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut frames = frames(&answer.text());
    let (last, error) = frames.pop().expect("events");
    assert_eq!(last, "error", "{}", answer.text());
    error_shape(&error, answer);
    let names: Vec<String> = frames.into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names.first().map(String::as_str),
        Some("message_start"),
        "{names:?}"
    );
    let starts = names.iter().filter(|name| *name == "message_start").count();
    assert_eq!(starts, 1, "{names:?}");
    assert!(
        !names.iter().any(|name| name == "message_stop"),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name == "error"), "{names:?}");
    names
}

fn error_shape(body: &Value, answer: &Answer) {
    assert_eq!(body["type"], "error", "{body}");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&body["error"]["type"]).expect("error.type");
    let message = text(&body["error"]["message"]).expect("error.message");
    assert!(
        kind.ends_with("_error") || kind == "request_too_large",
        "{kind}"
    );
    assert!(!message.is_empty());
    for leak in [
        "<",
        "@example.com",
        "Simulated failure",
        "127.0.0.1",
        "luna-",
    ] {
        assert!(!message.contains(leak), "{leak:?} in {message}");
    }
    assert_eq!(body["request_id"], answer.header("x-request-id"), "{body}");
}

/// One well-formed error in the Anthropic format. Gives its message.
pub fn error(answer: &Answer, statuses: &[u16]) -> String {
    let shown = answer.text();
    assert!(
        statuses.contains(&answer.status),
        "{} is none of {statuses:?}: {shown}",
        answer.status
    );
    assert_eq!(answer.broken, None, "{shown}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    for absent in ["x-luna-served-model", "x-luna-tier", "x-luna-upstream"] {
        assert_eq!(answer.header(absent), "", "{absent}");
    }
    let body = answer.json();
    error_shape(&body, answer);
    let kind = body["error"]["type"].as_str().unwrap();
    let expected = match answer.status {
        400 => "invalid_request_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    assert_eq!(kind, expected, "{shown}");
    patience(answer);
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// How long the client is told to wait, and whether it shall try again by itself.
fn patience(answer: &Answer) {
    let wait: Option<u64> = answer.headers.get("retry-after").map(|value| {
        let value = value.to_str().unwrap();
        value
            .parse()
            .unwrap_or_else(|_| panic!("retry-after: {value}"))
    });
    if matches!(answer.status, 429 | 503 | 529) {
        let wait = wait.expect("retry-after");
        assert!((1..=900).contains(&wait), "{wait}");
        let never = if wait > 30 { "false" } else { "" };
        assert_eq!(answer.header("x-should-retry"), never, "{wait}");
    }
}

/// The sum over all series that begin with `name{` and have every one of `labels` in them.
pub fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let prefix = format!("{name}{{");
    metrics
        .lines()
        .filter(|line| line.starts_with(&prefix) && labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// The totals of /admin/usage, as soon as they hold so many requests; more is an error.
pub async fn usage(world: &World, requests: u64) -> Value {
    eventually(
        "every request is counted",
        Duration::from_secs(5),
        || async {
            world.admin_get("/admin/usage").await["total"]["requests"].as_u64() >= Some(requests)
        },
    )
    .await;
    let total = world.admin_get("/admin/usage").await["total"].take();
    assert_eq!(total["requests"], requests, "{total}");
    total
}
