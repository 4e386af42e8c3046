//! What the connection itself does.

use super::super::{Generation, SimConfig, serve_connection, spawn};
use super::{Client, End, MODEL, PLAIN, ask, body, config, get, post, request, start};

#[tokio::test]
async fn idle_connections_are_closed_and_kept_ones_reused() {
    let mut config = config(Generation::V2_0);
    config.keep_alive_ms = 5_000;
    config.time_scale = 0.2;
    let sim = spawn(config).await.unwrap();
    let mut client = Client::connect(&sim).await;
    for _ in 0..3 {
        client.send(&request("GET", "/v1/models", "")).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    let began = std::time::Instant::now();
    assert_eq!(client.answer().await.unwrap_err(), End::Cut);
    assert!(began.elapsed().as_millis() >= 500);
    let entries = sim.handle().ledger().entries;
    assert!(entries.iter().all(|entry| entry.connection == 1));
    let handle = sim.handle();
    let closed = |_: &super::super::Totals| handle.open_connections() == 0;
    assert!(handle.wait(super::GUARD, closed).await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let sim = start(Generation::V2_7).await;
    let mut client = Client::connect(&sim).await;
    let mut both = post(&body(MODEL, true));
    both.extend(request("GET", "/nothing", ""));
    both.extend(post(&body(PLAIN, false)));
    client.send(&both).await;
    let got = [
        client.answer().await.unwrap().names().len() > 5,
        client.answer().await.unwrap().status == 404,
        client.answer().await.unwrap().json()["model"] == PLAIN,
    ];
    assert_eq!(got, [true; 3]);
}

#[tokio::test]
async fn expect_continue_and_chunked_bodies() {
    let sim = start(Generation::V2_7).await;
    let mut client = Client::connect(&sim).await;
    let sent = body(PLAIN, false);
    let head = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json; charset=utf-8\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().status, 100);
    let (first, second) = sent.split_at(20);
    for part in [first, second] {
        let chunk = format!("{:x};ext=1\r\n{part}\r\n", part.len());
        client.send(chunk.as_bytes()).await;
    }
    client.send(b"0\r\nX-Trailer: y\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    let entry = sim.handle().messages().remove(0);
    assert_eq!(entry.body_bytes, sent.len() as u64);
    assert_eq!(sim.handle().body(entry.seq).unwrap(), sent.as_bytes());
    assert_eq!(entry.headers["transfer-encoding"], "chunked");
}

#[tokio::test]
async fn bodies_over_the_limit_get_html_and_the_connection_lives() {
    let mut config = config(Generation::V2_0);
    config.body_limit = 100_000;
    let sim = spawn(config).await.unwrap();
    let mut client = Client::connect(&sim).await;
    let big = " ".repeat(300_000);
    let chunked = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{0:x}\r\n{1}\r\n{0:x}\r\n{1}\r\n0\r\n\r\n",
        90_000,
        " ".repeat(90_000)
    );
    for bytes in [post(&big), chunked.into_bytes()] {
        client.send(&bytes).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, 413);
        assert!(
            answer
                .body
                .contains("PayloadTooLargeError: request entity too large")
        );
    }
    client.send(&request("GET", "/v1/models", "")).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn big_bodies_come_through_whole() {
    let sim = start(Generation::V2_7).await;
    for size in [0, 1_000, 65_000, 200_000, 5_000_000] {
        let word = "a".repeat(size);
        let sent = body(PLAIN, false).replace("\"hi\"", &format!("\"{word}\""));
        let answer = ask(&sim, &post(&sent)).await.unwrap();
        assert_eq!(answer.status, 200);
        let entry = sim.handle().messages().pop().unwrap();
        assert_eq!(sim.handle().body(entry.seq).unwrap(), sent.as_bytes());
    }
}

#[tokio::test]
async fn malformed_requests_get_nodes_plain_answers() {
    let sim = start(Generation::V2_0).await;
    for (bytes, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
                "a".repeat(20_000)
            ),
            431,
        ),
    ] {
        let mut client = Client::connect(&sim).await;
        client.send(bytes.as_bytes()).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(sim.handle().totals().requests, 0);
}

#[tokio::test]
async fn http_1_0_and_connection_close() {
    let sim = start(Generation::V2_7).await;
    let sent = body(PLAIN, true);
    let old = format!(
        "POST /v1/messages HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{sent}",
        sent.len()
    );
    let answer = ask(&sim, old.as_bytes()).await.unwrap();
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.names().last().unwrap(), "message_stop");
    let mut client = Client::connect(&sim).await;
    client
        .send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.answer().await.unwrap_err(), End::Cut);
}

#[tokio::test]
async fn the_head_of_a_2_0_stream_comes_before_the_first_event() {
    let sent = body(PLAIN, true).replace(
        "\"stream\"",
        "\"metadata\":{\"sim\":{\"first_ms\":80000000}},\"stream\"",
    );
    for generation in super::BOTH {
        let sim = start(generation).await;
        let mut client = Client::connect(&sim).await;
        client.send(&post(&sent)).await;
        if generation == Generation::V2_0 {
            assert!(client.until("\r\n\r\n").await);
        } else {
            assert!(
                sim.handle()
                    .wait(super::GUARD, |totals| totals.requests == 1)
                    .await
            );
        }
        assert!(!String::from_utf8_lossy(&client.input).contains("event:"));
        drop(client);
        assert!(
            sim.handle()
                .wait(super::GUARD, |totals| totals.client_gone == 1)
                .await
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_stream_is_noticed() {
    let sim = start(Generation::V2_7).await;
    let sent = body(PLAIN, true).replace(
        "\"stream\"",
        "\"metadata\":{\"sim\":{\"events\":100,\"interval_ms\":5000}},\"stream\"",
    );
    let mut client = Client::connect(&sim).await;
    client.send(&post(&sent)).await;
    assert!(client.until("text_delta").await);
    drop(client);
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.client_gone == 1)
            .await
    );
    let progress = sim.handle().messages().remove(0).progress;
    assert!(progress.events >= 3 && progress.events < 100);
    assert!(!progress.finished && progress.gone_after_ms.is_some());
    assert!(progress.tokens.input > 0 && progress.tokens.output == 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_stream_and_is_noticed() {
    let sim = start(Generation::V2_7).await;
    let sent = body(PLAIN, true).replace(
        "\"stream\"",
        "\"metadata\":{\"sim\":{\"events\":2000,\"event_bytes\":100000}},\"stream\"",
    );
    let mut client = Client::connect(&sim).await;
    client.send(&post(&sent)).await;
    assert!(client.until("text_delta").await);
    drop(client);
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.client_gone == 1)
            .await
    );
    assert!(sim.handle().totals().events < 2000);
}

#[tokio::test]
async fn a_long_stream_comes_whole() {
    let sim = start(Generation::V2_0).await;
    let sent = body(PLAIN, true).replace(
        "\"stream\"",
        "\"metadata\":{\"sim\":{\"answer_bytes\":3000000,\"events\":500}},\"stream\"",
    );
    let answer = ask(&sim, &post(&sent)).await.unwrap();
    assert_eq!(answer.text(), super::super::filler(0, 3_000_000));
}

#[tokio::test]
async fn stop_closes_everything_at_once() {
    let sim = start(Generation::V2_7).await;
    let hang = super::super::Fault::new("*", super::super::FaultKind::Hang);
    sim.handle().set_faults(vec![hang]).unwrap();
    let mut client = Client::connect(&sim).await;
    client.send(&post(&body(PLAIN, true))).await;
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.requests == 1)
            .await
    );
    let (address, handle) = (sim.address(), sim.handle().clone());
    sim.stop().await;
    assert_eq!(client.answer().await.unwrap_err(), End::Cut);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let totals = handle.totals();
    assert_eq!((totals.ended, totals.client_gone), (1, 0));
}

#[tokio::test]
async fn any_stream_can_carry_a_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sim = super::super::Sim::new(SimConfig::new(Generation::V2_7));
    let (mut near, far) = tokio::io::duplex(64);
    let server = tokio::spawn(serve_connection(far, sim));
    let request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    near.write_all(request).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("]}"));
    server.await.unwrap();
}

#[tokio::test]
async fn the_preface_of_http_2_is_refused_unless_switched_on() {
    let sim = start(Generation::V2_7).await;
    let mut client = Client::connect(&sim).await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 400);
    assert_eq!(get(&sim, "/health").await.status, 200);
}
