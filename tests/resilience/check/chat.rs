//! What an OpenAI client must get, whatever went wrong upstream.

use serde_json::Value;

use super::patience;
use crate::support::world::Answer;

/// The data of each event, up to `[DONE]`, and whether that came last.
fn chunks(answer: &Answer) -> (Vec<Value>, bool) {
    let text = answer.text();
    let mut done = false;
    let mut chunks = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (frame, after) = rest
            .split_once("\n\n")
            .unwrap_or_else(|| panic!("half an event at the end: {rest:?}"));
        rest = after;
        if frame.starts_with(':') {
            continue;
        }
        assert!(!done, "something follows [DONE]: {text}");
        let data = frame
            .strip_prefix("data: ")
            .unwrap_or_else(|| panic!("not a chunk: {frame:?}"));
        if data == "[DONE]" {
            done = true;
            continue;
        }
        chunks.push(serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}")));
    }
    (chunks, done)
}

/// The text of the chunks, all of one completion, and how often one had a finish reason.
fn read(chunks: &[Value], shown: &str) -> (String, usize) {
    let (mut text, mut finished) = (String::new(), 0);
    for (at, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk["object"], "chat.completion.chunk", "{shown}");
        for same in ["id", "model", "created"] {
            assert_eq!(chunk[same], chunks[0][same], "{same}: {shown}");
        }
        let choices = chunk["choices"].as_array().expect("choices");
        if choices.is_empty() {
            assert_eq!(at + 1, chunks.len(), "usage is last: {shown}");
            assert!(chunk["usage"]["total_tokens"].is_u64(), "{shown}");
            continue;
        }
        assert_eq!(choices.len(), 1, "{shown}");
        assert_eq!(finished, 0, "a chunk after the finish: {shown}");
        let role = &choices[0]["delta"]["role"];
        assert_eq!(role.is_string(), at == 0, "{shown}");
        text.push_str(choices[0]["delta"]["content"].as_str().unwrap_or_default());
        finished += usize::from(choices[0]["finish_reason"].is_string());
    }
    (text, finished)
}

/// A stream that is whole; gives its text.
pub fn whole_stream(answer: &Answer) -> String {
    let shown = answer.text();
    assert_eq!(answer.status, 200, "{shown}");
    assert_eq!(answer.broken, None, "{shown}");
    assert!(
        answer
            .header("content-type")
            .starts_with("text/event-stream")
    );
    assert_eq!(answer.header("cache-control"), "no-cache");
    let (chunks, done) = chunks(answer);
    assert!(done, "{shown}");
    let (text, finished) = read(&chunks, &shown);
    assert_eq!(finished, 1, "{shown}");
    assert_eq!(
        chunks.last().expect("chunks")["choices"],
        serde_json::json!([]),
        "the usage that was asked for: {shown}"
    );
    text
}

/// A stream that broke after its commit: what had passed, then one error, no finish. Gives its text.
pub fn broken_stream(answer: &Answer) -> String {
    let shown = answer.text();
    assert_eq!(answer.status, 200, "{shown}");
    let (mut chunks, done) = chunks(answer);
    assert!(!done, "a broken stream that says it is done: {shown}");
    let error = chunks.pop().expect("chunks");
    shape(&error);
    let (text, finished) = read(&chunks, &shown);
    assert_eq!(
        finished, 0,
        "a broken stream that says it has finished: {shown}"
    );
    text
}

/// The text of a completion.
pub fn content(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!(body["object"], "chat.completion", "{body}");
    assert_eq!(body["choices"].as_array().map(Vec::len), Some(1), "{body}");
    assert!(body["usage"]["total_tokens"].is_u64(), "{body}");
    let message = &body["choices"][0]["message"];
    assert_eq!(message["role"], "assistant", "{body}");
    message["content"].as_str().expect("content").to_owned()
}

fn shape(body: &Value) {
    let error = body["error"].as_object().expect("error");
    for always in ["message", "type", "param", "code"] {
        assert!(error.contains_key(always), "{always}: {body}");
    }
    let message = error["message"].as_str().expect("a message");
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
}

/// One well-formed error. Gives its message.
pub fn error(answer: &Answer, statuses: &[u16]) -> String {
    let shown = answer.text();
    let mapped: Vec<u16> = statuses
        .iter()
        .map(|s| if *s == 529 { 503 } else { *s })
        .collect();
    assert!(
        mapped.contains(&answer.status),
        "{} is none of {mapped:?}: {shown}",
        answer.status
    );
    assert_eq!(answer.broken, None, "{shown}");
    assert_eq!(answer.header("content-type"), "application/json");
    for absent in ["x-luna-served-model", "x-luna-tier", "x-luna-upstream"] {
        assert_eq!(answer.header(absent), "", "{absent}");
    }
    let body = answer.json();
    shape(&body);
    let expected = match answer.status {
        400 | 404 | 413 => "invalid_request_error",
        429 => "rate_limit_error",
        _ => "server_error",
    };
    assert_eq!(body["error"]["type"], expected, "{shown}");
    patience(answer);
    body["error"]["message"]
        .as_str()
        .expect("a message")
        .to_owned()
}
