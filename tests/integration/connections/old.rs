//! HTTP/1.0, and HEAD wherever there is GET.

use super::message;
use crate::support::h1::{Raw, request};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_gets_no_chunks_and_a_closed_connection() {
    let world = World::start().await;
    for stream in [false, true] {
        for extra in ["", "connection: keep-alive\r\n"] {
            let body = message(stream, "from long ago");
            let head = format!(
                "POST /v1/messages HTTP/1.0\r\nx-api-key: {}\r\ncontent-length: {}\r\n{extra}\r\n",
                world.key,
                body.len()
            );
            let mut raw = Raw::connect(world.app.address).await;
            raw.send([head.as_bytes(), &body].concat()).await;
            let mut answer = raw.head().await;
            assert_eq!(answer.status, 200, "streaming {stream} {extra:?}");
            assert_eq!(
                answer.header("transfer-encoding"),
                "",
                "streaming {stream} {extra:?}"
            );
            if stream || extra.is_empty() {
                assert_eq!(
                    answer.header("connection"),
                    "close",
                    "streaming {stream} {extra:?}"
                );
                answer.body = raw.rest().await;
            } else {
                answer.body = raw.body(&answer).await;
            }
            if !stream {
                let length = answer.body.len().to_string();
                assert_eq!(answer.header("content-length"), length, "{extra:?}");
                assert_eq!(answer.json()["type"], "message", "{extra:?}");
            }
            let text = answer.text();
            assert!(
                text.contains("from long ago"),
                "streaming {stream} {extra:?}: {text}"
            );
            assert!(
                !stream || text.trim_end().ends_with("\"message_stop\"}"),
                "{extra:?}: {text}"
            );
        }
    }
    let mut raw = Raw::connect(world.app.address).await;
    raw.send("GET /health HTTP/1.0\r\n\r\n").await;
    let answer = raw.head().await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    drop(raw);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_get_without_its_body() {
    let world = World::start().await;
    let mut raw = Raw::connect(world.app.address).await;
    let (key, admin) = (world.key.as_str(), world.admin.as_str());
    for (path, key) in [
        ("/", ""),
        ("/health", ""),
        ("/ready", ""),
        ("/v1/models", key),
        ("/v1/models/gemini-3-flash", key),
        ("/v1/models/nobody", key),
        ("/me", key),
        ("/me/usage", key),
        ("/admin/keys", admin),
        ("/admin/keys/nobody", admin),
        ("/admin/fallback", admin),
        ("/admin/usage", admin),
        ("/admin/usage/daily", admin),
        ("/admin/usage/hourly?format=csv", admin),
        ("/admin/events", admin),
        ("/dashboard", ""),
        ("/nowhere", key),
        ("/me", ""),
    ] {
        let mut headers = Vec::new();
        if !key.is_empty() {
            headers.push(("x-api-key", key));
        }
        raw.send(request("GET", path, &headers, b"")).await;
        let get = raw.answer().await;
        raw.send(request("HEAD", path, &headers, b"")).await;
        // Were there a body, the next head would not be one.
        let head = raw.head().await;
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-type", "cache-control", "connection"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
        let length = |text: &str| {
            text.parse::<i64>()
                .unwrap_or_else(|e| panic!("{path}: {e}"))
        };
        let apart = length(head.header("content-length")) - length(get.header("content-length"));
        // Time has gone on between the two.
        assert!(apart.abs() <= 2, "{path}: {apart}");
        assert_ne!(head.header("x-request-id"), "", "{path}");
    }
    drop(raw);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_method_on_a_known_path_is_405() {
    let world = World::start().await;
    let mut raw = Raw::connect(world.app.address).await;
    for (method, path, allow) in [
        ("GET", "/v1/messages", "POST"),
        ("HEAD", "/v1/messages", "POST"),
        ("PUT", "/messages", "POST"),
        ("POST", "/v1/models", "GET,HEAD"),
        ("POST", "/health", "GET,HEAD"),
        ("PUT", "/me", "GET,HEAD"),
    ] {
        raw.send(request(method, path, &[("x-api-key", &world.key)], b""))
            .await;
        let mut answer = raw.head().await;
        if method != "HEAD" {
            answer.body = raw.body(&answer).await;
        }
        assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
        let named: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        for wanted in allow.split(',') {
            assert!(named.contains(&wanted), "{method} {path}: {named:?}");
        }
    }
    drop(raw);
    world.stop().await;
}
