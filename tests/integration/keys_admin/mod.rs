//! The commands of whoever runs a gateway, as they are typed with curl, and what they change.

mod allowed;
mod life;
mod off;
mod restart;
mod seen;
mod used;

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::h1::{Raw, RawAnswer};

/// What curl sends for `curl [-X METHOD] [-H 'x-api-key: KEY'] [-d DATA] URL`: with data also a
/// length and the content type of a form, and without data neither, even for a POST.
async fn curl(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    data: Option<&str>,
) -> RawAnswer {
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n"
    );
    if !key.is_empty() {
        text.push_str(&format!("x-api-key: {key}\r\n"));
    }
    if let Some(data) = data {
        let kind = "application/x-www-form-urlencoded";
        text.push_str(&format!(
            "Content-Length: {}\r\nContent-Type: {kind}\r\n",
            data.len()
        ));
    }
    text.push_str("\r\n");
    text.push_str(data.unwrap_or(""));
    let mut raw = Raw::connect(address).await;
    raw.send(text).await;
    raw.answer().await
}

/// The same, answered with `status` and JSON.
async fn curled(
    address: SocketAddr,
    status: u16,
    command: (&str, &str, &str, Option<&str>),
) -> Value {
    let (method, path, key, data) = command;
    let answer = curl(address, method, path, key, data).await;
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json"),
        "{method} {path}"
    );
    assert_ne!(answer.header("x-request-id"), "", "{method} {path}");
    answer.json()
}

/// A small message for a model.
fn hello(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","max_tokens":99,"messages":[{{"role":"user","content":"Hi"}}]}}"#
    )
}
