//! `Expect: 100-continue`.

use std::time::Duration;

use super::{message, post};
use crate::support::h1::Raw;
use crate::support::world::{Setup, World};

fn head(key: &str, expect: &str, length: usize) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\nexpect: {expect}\r\n\
         content-length: {length}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_is_asked_for_and_the_connection_lives_on() {
    let world = World::start().await;
    let mut raw = Raw::connect(world.app.address).await;
    for (n, expect) in ["100-continue", "100-Continue"].into_iter().enumerate() {
        let words = format!("asked for {n}");
        for stream in [false, true] {
            let body = message(stream, &words);
            raw.send(head(&world.key, expect, body.len())).await;
            let interim = raw.head().await;
            assert_eq!(interim.status, 100, "{expect}");
            assert!(interim.headers.is_empty(), "{expect}: {interim:?}");
            raw.send(&body).await;
            let answer = raw.answer().await;
            assert_eq!(answer.status, 200, "{expect}: {}", answer.text());
            assert!(
                answer.text().contains(&words),
                "{expect}: {}",
                answer.text()
            );
            assert_ne!(answer.header("connection"), "close", "{expect}");
        }
    }
    raw.send(post(&world, false, "without")).await;
    assert_eq!(raw.answer().await.status, 200);
    drop(raw);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_is_asked_for_as_well() {
    let world = World::start().await;
    let mut raw = Raw::connect(world.app.address).await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nauthorization: Bearer {}\r\n\
         expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n",
        world.key
    );
    raw.send(head).await;
    assert_eq!(raw.head().await.status, 100);
    for piece in message(false, "in pieces").chunks(9) {
        let size = format!("{:x}\r\n", piece.len());
        raw.send([size.as_bytes(), piece, b"\r\n"].concat()).await;
    }
    assert!(
        !raw.speaks_within(Duration::from_millis(50)).await,
        "before the last chunk"
    );
    raw.send("0\r\n\r\n").await;
    let answer = raw.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("in pieces"), "{}", answer.text());
    drop(raw);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_wait_is_served_too() {
    let world = World::start().await;
    let mut raw = Raw::connect(world.app.address).await;
    let body = message(false, "impatient");
    raw.send(
        [
            head(&world.key, "100-continue", body.len()).as_bytes(),
            &body,
        ]
        .concat(),
    )
    .await;
    let mut answer = raw.head().await;
    if answer.status == 100 {
        answer = raw.head().await;
    }
    answer.body = raw.body(&answer).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    raw.send(post(&world, false, "again")).await;
    assert!(raw.answer().await.text().contains("again"));
    drop(raw);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_will_be_refused_is_not_asked_for() {
    let world = World::with(Setup {
        server: "max_body_bytes = 1000".to_owned(),
        ..Setup::default()
    })
    .await;
    let wrong = "luna-wrong";
    for (key, length, status) in [(wrong, 500, 401), (&world.key, 1001, 413)] {
        let mut raw = Raw::connect(world.app.address).await;
        raw.send(head(key, "100-continue", length)).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        // Whether the body comes all the same nobody knows: so nothing more on this connection.
        assert_eq!(answer.header("connection"), "close", "{status}");
        assert!(raw.is_closed().await, "{status}");
    }
    world.stop().await;
}
