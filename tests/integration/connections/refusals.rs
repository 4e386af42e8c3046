//! Refusals that are read by a client that is still sending, or does not send enough.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{message, post};
use crate::support::h1::{Raw, RawAnswer, request};
use crate::support::world::{Answer, Setup, World};

const LIMIT: usize = 100_000;

async fn small_world() -> World {
    World::with(Setup {
        server: format!(
            "max_body_bytes = {LIMIT}\nmax_header_bytes = 8192\nclient_body_timeout_s = 0.3"
        ),
        ..Setup::default()
    })
    .await
}

fn is_refusal(answer: &RawAnswer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["type"], "error", "{json}");
    assert_eq!(json["error"]["type"], kind, "{json}");
    assert_eq!(json["request_id"], answer.header("x-request-id"), "{json}");
}

async fn lives_on(world: &World, raw: &mut Raw) {
    raw.send(post(world, false, "still here")).await;
    let answer = raw.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn open(key: &str, framing: &str) -> String {
    format!("POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\n{framing}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_413_to_a_client_that_sends_it_all_first() {
    let world = small_world().await;
    for size in [LIMIT + 1, 4_000_000] {
        let mut raw = Raw::connect(world.app.address).await;
        raw.send(open(&world.key, &format!("content-length: {size}")))
            .await;
        raw.send(vec![b' '; size]).await;
        is_refusal(&raw.answer().await, 413, "request_too_large");
        lives_on(&world, &mut raw).await;

        let mut raw = Raw::connect(world.app.address).await;
        raw.send(open(&world.key, "transfer-encoding: chunked"))
            .await;
        for piece in vec![b' '; size].chunks(50_000) {
            let head = format!("{:x}\r\n", piece.len());
            raw.send([head.as_bytes(), piece, b"\r\n"].concat()).await;
        }
        raw.send("0\r\n\r\n").await;
        is_refusal(&raw.answer().await, 413, "request_too_large");
    }
    let mut raw = Raw::connect(world.app.address).await;
    let mut exact = message(false, "x");
    exact.resize(LIMIT, b' ');
    let headers = [("x-api-key", world.key.as_str())];
    raw.send(request("POST", "/v1/messages", &headers, &exact))
        .await;
    assert_eq!(raw.answer().await.status, 200, "exactly the limit");
    drop(raw);
    world.stop().await;
}

/// A library that reads while it sends gets the 413 however much there is to send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_body_is_413() {
    let world = small_world().await;
    for h2 in [false, true] {
        let mut client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20));
        if h2 {
            client = client.http2_prior_knowledge();
        }
        let piece = vec![b' '; 10_000];
        let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        let request = client
            .build()
            .unwrap()
            .post(world.url("/v1/messages"))
            .header("x-api-key", &world.key)
            .body(reqwest::Body::wrap_stream(endless.take(10_000)));
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 413, "h2 {h2}: {}", answer.text());
        assert_eq!(
            answer.json()["error"]["type"],
            "request_too_large",
            "h2 {h2}"
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_encoding_is_415() {
    let world = small_world().await;
    let mut raw = Raw::connect(world.app.address).await;
    for coding in ["gzip", "zstd", "identity, gzip"] {
        let headers = [
            ("x-api-key", world.key.as_str()),
            ("content-encoding", coding),
        ];
        raw.send(request(
            "POST",
            "/v1/messages",
            &headers,
            &message(false, "x"),
        ))
        .await;
        is_refusal(&raw.answer().await, 415, "invalid_request_error");
    }
    let headers = [
        ("x-api-key", world.key.as_str()),
        ("content-encoding", "identity"),
    ];
    raw.send(request(
        "POST",
        "/v1/messages",
        &headers,
        &message(false, "x"),
    ))
    .await;
    assert_eq!(raw.answer().await.status, 200, "identity is none");
    assert_eq!(world.handle().messages().len(), 1);
    drop(raw);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_408() {
    let world = small_world().await;
    let framings = [
        ("content-length: 1000", "{\"model\":"),
        ("transfer-encoding: chunked", "9\r\n{\"model\":\r\n"),
        ("content-length: 1000", ""),
    ];
    for (framing, begun) in framings {
        let mut raw = Raw::connect(world.app.address).await;
        raw.send(open(&world.key, framing) + begun).await;
        let answer = raw.answer().await;
        is_refusal(&answer, 408, "invalid_request_error");
        assert_eq!(answer.header("connection"), "close", "{framing}");
        assert!(raw.is_closed().await, "{framing}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_over_http2_is_408() {
    let world = small_world().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .timeout(Duration::from_secs(20));
    let begun = stream::iter([Ok::<_, std::io::Error>("{\"model\":")]);
    let request = client
        .build()
        .unwrap()
        .post(world.url("/v1/messages"))
        .header("x-api-key", &world.key)
        .body(reqwest::Body::wrap_stream(begun.chain(stream::pending())));
    let answer = Answer::read(request.send().await.unwrap()).await;
    assert_eq!(answer.status, 408, "{}", answer.text());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_over_the_limit_is_431() {
    let world = small_world().await;
    let long = "y".repeat(9000);
    for (name, value) in [("x-long", long.as_str()), ("cookie", &long)] {
        let mut raw = Raw::connect(world.app.address).await;
        let headers = [("x-api-key", world.key.as_str()), (name, value)];
        raw.send(request(
            "POST",
            "/v1/messages",
            &headers,
            &message(false, "x"),
        ))
        .await;
        is_refusal(&raw.answer().await, 431, "invalid_request_error");
    }
    let mut raw = Raw::connect(world.app.address).await;
    let path = format!("/v1/messages?beta={long}");
    let headers = [("x-api-key", world.key.as_str())];
    raw.send(request("POST", &path, &headers, &message(false, "x")))
        .await;
    let answer = raw.answer().await;
    is_refusal(&answer, 431, "invalid_request_error");
    assert_eq!(world.handle().messages().len(), 0);
    world.stop().await;
}

/// What cannot be parsed gets the plain 400 and a closed connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_400() {
    let world = small_world().await;
    let many: String = (0..300).map(|n| format!("x-{n}: y\r\n")).collect();
    let both = "content-length: 3\r\ncontent-length: 4\r\n";
    for (what, text) in [
        ("no request line", "no such thing\r\n\r\n".to_owned()),
        (
            "300 fields",
            format!("GET /health HTTP/1.1\r\nhost: luna\r\n{many}\r\n"),
        ),
        (
            "two lengths",
            format!("POST /v1/messages HTTP/1.1\r\nhost: luna\r\n{both}\r\nabc"),
        ),
    ] {
        let mut raw = Raw::connect(world.app.address).await;
        raw.send(text).await;
        let answer = raw.head().await;
        assert_eq!(answer.status, 400, "{what}");
        raw.rest().await;
        assert!(raw.is_closed().await, "{what}");
    }
    world.stop().await;
}
