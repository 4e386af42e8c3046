//! Clients that leave: the upstream request goes with them, and each is counted once, as aborted.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A POST /v1/messages with the tester's key, byte for byte.
pub fn raw(world: &World, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        world.key,
        body.len()
    )
    .into_bytes()
}

async fn send(world: &World, body: &Value) -> TcpStream {
    let mut client = TcpStream::connect(world.app.address).await.unwrap();
    client.write_all(&raw(world, body)).await.unwrap();
    client
}

async fn asked(world: &World, requests: u64) {
    let came = world.handle().wait(Duration::from_secs(5), |t| {
        t.models.values().map(|model| model.requests).sum::<u64>() >= requests
    });
    assert!(came.await, "{:?}", world.handle().totals());
}

/// The last messages request was dropped by the gateway within a second of `left`.
async fn dropped_within_a_second(world: &World, left: Instant) {
    let gone = world.handle().wait(Duration::from_secs(5), |t| {
        t.client_gone > 0 && t.ended == t.requests
    });
    assert!(gone.await, "{:?}", world.handle().totals());
    assert!(
        left.elapsed() < Duration::from_millis(1500),
        "{:?}",
        left.elapsed()
    );
}

async fn aborted_once(world: &World) {
    let total = check::usage(world, 1).await;
    assert_eq!(
        (&total["aborted"], &total["errors"]),
        (&json!(1), &json!(0)),
        "{total}"
    );
    let metrics = world.metrics().await;
    let aborted = ["status=\"aborted\""];
    assert_eq!(check::sum(&metrics, "luna_requests_total", &aborted), 1.0);
    assert_eq!(check::sum(&metrics, "luna_requests_total", &[]), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_it_waits_takes_the_upstream_request_with_it() {
    for stream in [true, false] {
        let world = world(
            "first_event_s = 60\nlast_first_event_s = 60\nidle_s = 60",
            "",
        )
        .await;
        hang(&world, &[FIRST]);
        let client = send(&world, &ask(CHAIN, stream)).await;
        asked(&world, 1).await;
        let left = Instant::now();
        drop(client);
        dropped_within_a_second(&world, left).await;
        aborted_once(&world).await;
        assert_eq!(
            world.handle().totals().models.len(),
            1,
            "no other tier was asked"
        );
        let state = world.admin_get("/admin/fallback").await;
        let marked = state["tiers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|tier| tier["reason"].is_string());
        assert!(!marked, "{state}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_in_mid_stream_takes_the_upstream_request_with_it() {
    let world = world(
        "first_event_s = 60\nlast_first_event_s = 60\nidle_s = 60",
        "",
    )
    .await;
    let mut body = ask(SECOND, true);
    body["metadata"] = json!({"sim": {"events": 1000, "interval_ms": 1000, "input_tokens": 77}});
    let mut client = send(&world, &body).await;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("content_block_delta") {
        assert!(client.read_buf(&mut seen).await.unwrap() > 0);
    }
    let left = Instant::now();
    drop(client);
    dropped_within_a_second(&world, left).await;
    aborted_once(&world).await;
    // What had been told is counted.
    assert_eq!(check::usage(&world, 1).await["input_tokens"], 77);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_it_sends_its_body_is_counted_and_nobody_is_asked() {
    let world = world("idle_s = 60", "").await;
    let mut bytes = raw(&world, &ask(CHAIN, true));
    bytes.truncate(bytes.len() - 10);
    let mut client = TcpStream::connect(world.app.address).await.unwrap();
    client.write_all(&bytes).await.unwrap();
    eventually("it is in flight", Duration::from_secs(5), || async {
        world.app.gateway.in_flight() == 1
    })
    .await;
    drop(client);
    aborted_once(&world).await;
    assert!(world.handle().totals().models.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_stream_that_is_reset_takes_its_upstream_request_with_it() {
    for first_byte in [false, true] {
        let mut world = world(
            "first_event_s = 60\nlast_first_event_s = 60\nidle_s = 60",
            "",
        )
        .await;
        let client = reqwest::Client::builder()
            .no_proxy()
            .http2_prior_knowledge()
            .build()
            .unwrap();
        let mut body = ask(SECOND, true);
        body["metadata"] = json!({"sim": {"events": 1000, "interval_ms": 1000}});
        if !first_byte {
            hang(&world, &[SECOND]);
        }
        let request = client
            .post(world.url("/v1/messages"))
            .header("x-api-key", &world.key)
            .body(body.to_string());
        let mut sent = Box::pin(request.send());
        let mut answer = None;
        if first_byte {
            let mut head = sent.await.unwrap();
            assert!(head.chunk().await.unwrap().is_some());
            answer = Some(head);
        } else {
            tokio::select! {
                _ = &mut sent => panic!("it hangs"),
                () = asked(&world, 1) => {}
            }
            drop(sent);
        }
        let left = Instant::now();
        drop(answer);
        dropped_within_a_second(&world, left).await;
        aborted_once(&world).await;
        // Only the stream has gone.
        world.client = client;
        assert_eq!(world.post(&ask(THIRD, true)).await.status, 200);
        eventually("its place is free", Duration::from_secs(2), || async {
            world.app.gateway.in_flight() == 0
        })
        .await;
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_aborts_leave_nothing_behind() {
    const CLIENTS: u64 = 200;
    let world = world(
        "first_event_s = 60\nlast_first_event_s = 60\nidle_s = 60",
        "",
    )
    .await;
    // A third of them wait for the head, a third are in mid-stream, a third stall in their body.
    hang(&world, &[FIRST]);
    let mut streaming = ask(SECOND, true);
    streaming["metadata"] = json!({"sim": {"events": 1000, "interval_ms": 1000}});
    let mut clients = Vec::new();
    let (mut upstream, mut reading) = (0, 0);
    for n in 0..CLIENTS {
        let body = if n % 3 == 0 {
            ask(CHAIN, true)
        } else {
            streaming.clone()
        };
        let mut bytes = raw(&world, &body);
        if n % 3 == 2 {
            bytes.truncate(bytes.len() - 1);
        } else {
            upstream += 1;
        }
        reading += u64::from(n % 3 == 1);
        let mut client = TcpStream::connect(world.app.address).await.unwrap();
        client.write_all(&bytes).await.unwrap();
        clients.push((n, client));
    }
    asked(&world, upstream).await;
    for (n, client) in &mut clients {
        if *n % 3 == 1 {
            let mut some = [0; 16];
            assert!(client.read(&mut some).await.unwrap() > 0);
            reading -= 1;
        }
    }
    assert_eq!(reading, 0);
    eventually("all are in flight", Duration::from_secs(5), || async {
        world.app.gateway.in_flight() == CLIENTS as usize
    })
    .await;
    let left = Instant::now();
    clients.clear();
    eventually("nothing is left", Duration::from_secs(8), || async {
        world.app.gateway.in_flight() == 0
            && world.app.connections() == 0
            && world.app.gateway.body_bytes() == 0
    })
    .await;
    upstream_is_free(&world).await;
    assert!(
        left.elapsed() < Duration::from_secs(5),
        "{:?}",
        left.elapsed()
    );
    let total = check::usage(&world, CLIENTS).await;
    assert_eq!(
        (&total["aborted"], &total["errors"]),
        (&json!(CLIENTS), &json!(0)),
        "{total}"
    );
    assert_eq!(world.handle().totals().client_gone, upstream);
    // Only what the poll keeps warm may still be open.
    eventually(
        "upstream connections are gone",
        Duration::from_secs(5),
        || async { world.handle().open_connections() <= 1 },
    )
    .await;
    assert_eq!(world.metric("luna_in_flight").await, 0.0);
    world.stop().await;
}
