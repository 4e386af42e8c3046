//! Connections that are used again.

use std::time::Duration;

use super::post;
use crate::support::eventually;
use crate::support::h1::{Raw, request};
use crate::support::world::{Answer, World, ask};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_share_one_connection() {
    let world = World::start().await;
    let mut raw = Raw::connect(world.app.address).await;
    for n in 0..1000 {
        raw.send(post(&world, n % 2 == 0, &format!("number {n}.")))
            .await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
        assert_ne!(answer.header("connection"), "close", "{n}");
        // A stream may cut the words anywhere, and does so after every third.
        let words = format!("number {n}.");
        assert!(answer.text().contains(&words), "{n}: {}", answer.text());
        assert!(world.app.connections() <= 1, "{n}");
    }
    assert_eq!(world.metric("luna_connections").await, 1.0);
    drop(raw);
    eventually(
        "the connection is gone",
        Duration::from_secs(5),
        async || world.metric("luna_connections").await == 0.0,
    )
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_share_one_http2_connection() {
    let world = World::start().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    let send = async |n: usize| {
        let request = client
            .post(world.url("/v1/messages"))
            .header("x-api-key", &world.key)
            .body(ask("claude-sonnet-4-6", n.is_multiple_of(2)).to_string());
        Answer::read(request.send().await.unwrap()).await
    };
    for wave in 0..50 {
        let answers = futures_util::future::join_all((0..20).map(send)).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.status, 200, "{wave}.{n}: {}", answer.text());
            assert!(
                answer.content().ends_with("You wrote: Hello"),
                "{wave}.{n}: {}",
                answer.text()
            );
        }
        assert_eq!(world.app.connections(), 1, "{wave}");
    }
    drop(client);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start().await;
    let mut raw = Raw::connect(world.app.address).await;
    let mut all = Vec::new();
    for n in 0..12 {
        match n % 4 {
            0 => all.extend(post(&world, false, &format!("pipelined {n}."))),
            1 => all.extend(post(&world, true, &format!("pipelined {n}."))),
            2 => all.extend(request("GET", "/health", &[], b"")),
            // Longer than any buffer on the way.
            _ => all.extend(post(
                &world,
                false,
                &format!("pipelined {n}. {}", "x ".repeat(100_000)),
            )),
        }
    }
    raw.send(all).await;
    for n in 0..12 {
        let answer = raw.answer().await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
        let wanted = match n % 4 {
            2 => "\"uptime_s\"".to_owned(),
            _ => format!("pipelined {n}."),
        };
        assert!(answer.text().contains(&wanted), "{n}: {}", answer.text());
    }
    raw.send(post(&world, false, "afterwards")).await;
    assert!(raw.answer().await.text().contains("afterwards"));
    drop(raw);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_wants_to_close_is_heard() {
    let world = World::start().await;
    for path in ["/health", "/v1/messages"] {
        let mut raw = Raw::connect(world.app.address).await;
        let headers = [("x-api-key", world.key.as_str()), ("connection", "close")];
        let (method, body) = match path {
            "/health" => ("GET", Vec::new()),
            _ => ("POST", super::message(true, "bye")),
        };
        raw.send(request(method, path, &headers, &body)).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("connection"), "close", "{path}");
        assert!(raw.is_closed().await, "{path}");
    }
    world.stop().await;
}
