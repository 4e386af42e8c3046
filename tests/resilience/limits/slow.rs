//! Slow and silent clients.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::h1::Raw;

use super::gone::raw;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_is_cut_and_counted_as_aborted() {
    let world = world("idle_s = 60", "client_write_timeout_s = 1").await;
    let mut body = ask(SECOND, true);
    body["metadata"] = json!({"sim": {"answer_bytes": 50_000_000, "event_bytes": 10_000}});
    let mut client = Raw::connect_narrow(world.app.address).await;
    client.send(raw(&world, &body)).await;
    eventually("it is cut", Duration::from_secs(10), || async {
        world.handle().totals().events > 0 && world.app.gateway.in_flight() == 0
    })
    .await;
    let total = check::usage(&world, 1).await;
    assert_eq!(
        (&total["aborted"], &total["errors"]),
        (&json!(1), &json!(0)),
        "{total}"
    );
    // It did not read the whole answer in advance.
    let sent = world.handle().totals().bytes_out;
    assert!(sent < 20_000_000, "{sent}");
    upstream_is_free(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_gets_everything() {
    let world = world("idle_s = 60", "client_write_timeout_s = 2").await;
    let mut body = ask(SECOND, true);
    body["metadata"] = json!({"sim": {"answer_bytes": 8_000_000, "event_bytes": 10_000}});
    let mut client = Raw::connect_narrow(world.app.address).await;
    client.send(raw(&world, &body)).await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    let mut bytes = 0;
    let mut chunks = 0;
    let mut last = Vec::new();
    while let Some(chunk) = client.chunk().await {
        bytes += chunk.len();
        chunks += 1;
        last = chunk;
        if chunks % 100 == 0 {
            // Not a wait for anything: the slowness itself.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(bytes > 8_000_000, "{bytes}");
    assert!(String::from_utf8_lossy(&last).contains("message_stop"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_gets_408() {
    let world = world("idle_s = 60", "client_body_timeout_s = 1").await;
    let bytes = raw(&world, &ask(CHAIN, true));
    let mut client = Raw::connect(world.app.address).await;
    let began = Instant::now();
    client.send(&bytes[..bytes.len() - 20]).await;
    let answer = client.answer().await;
    took("the body", began.elapsed(), 1.0);
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    assert!(
        answer.text().contains("client_body_timeout_s"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("connection"), "close");
    let total = check::usage(&world, 1).await;
    assert_eq!(
        (&total["errors"], &total["aborted"]),
        (&json!(1), &json!(0)),
        "{total}"
    );
    assert!(world.handle().totals().models.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_or_half_a_header_is_closed() {
    let world = world("idle_s = 60", "client_header_timeout_s = 1").await;
    for said in [
        "",
        "P",
        "PRI * HT",
        "POST /v1/messages HTTP/1.1\r\nhost: lu",
    ] {
        let mut client = TcpStream::connect(world.app.address).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
        let began = Instant::now();
        let mut answer = Vec::new();
        let closed = client.read_to_end(&mut answer);
        let closed = tokio::time::timeout(Duration::from_secs(8), closed).await;
        assert!(closed.is_ok(), "{said:?} keeps its connection");
        let time = began.elapsed();
        assert!(time < Duration::from_secs(5), "{said:?}: {time:?}");
    }
    eventually("they are gone", Duration::from_secs(5), || async {
        world.app.connections() == 0
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_head_is_not_one_of_its_answer() {
    let world = world("idle_s = 60", "client_header_timeout_s = 0.3").await;
    let mut body = ask(SECOND, true);
    // A second and a half, on a connection whose first bytes are the whole request.
    body["metadata"] = json!({"sim": {"events": 30, "interval_ms": 2_500}});
    for _ in 0..2 {
        check::whole_stream(&world.post(&body).await);
    }
    world.stop().await;
}
