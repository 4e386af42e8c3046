//! Nothing is held back: events leave as they come.

use std::time::{Duration, Instant};

use luna::simulate::{Shape, filler};

use super::{frames, shaped, text_of};
use crate::support::h1::{Raw, request};
use crate::support::world::{Setup, World};

const EVENTS: u32 = 20;
const INTERVAL_MS: u64 = 40;

fn paced() -> Shape {
    Shape {
        events: Some(EVENTS),
        event_bytes: Some(50),
        interval_ms: Some(INTERVAL_MS),
        ..Shape::default()
    }
}

async fn real_time() -> World {
    let mut setup = Setup::default();
    setup.sim.time_scale = 1.0;
    World::with(setup).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_one_by_one() {
    let world = real_time().await;
    let mut raw = Raw::connect(world.app.address).await;
    let headers = [("x-api-key", world.key.as_str())];
    let body = shaped(true, &paced()).to_string();
    raw.send(request("POST", "/v1/messages", &headers, body.as_bytes()))
        .await;
    let head = raw.head().await;
    assert_eq!(head.status, 200);
    let mut chunks = Vec::new();
    while let Some(chunk) = raw.chunk().await {
        if chunks.is_empty() {
            let entry = world.handle().messages().pop().unwrap();
            assert!(
                !entry.progress.finished,
                "the first event came after the last was sent"
            );
        }
        assert!(chunk.ends_with(b"\n\n"), "a part of an event");
        chunks.push((Instant::now(), chunk));
    }
    // message_start and block_start come with the first delta, at the commit; then each event for itself.
    let first = frames(&chunks[0].1);
    assert_eq!(first.len(), 3, "{first:?}");
    let all = EVENTS as usize + 3;
    assert!(
        chunks.len() > all / 2,
        "{} chunks for {all} events",
        chunks.len()
    );
    let took = chunks.last().unwrap().0 - chunks[0].0;
    let least = Duration::from_millis(INTERVAL_MS * u64::from(EVENTS) / 2);
    assert!(took >= least, "all came within {took:?}");
    let whole: Vec<u8> = chunks.into_iter().flat_map(|(_, chunk)| chunk).collect();
    assert_eq!(text_of(&frames(&whole)), filler(0, EVENTS as usize * 50));
    drop(raw);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_one_by_one_over_http2() {
    let world = real_time().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let mut response = client
        .post(world.url("/v1/messages"))
        .header("x-api-key", &world.key)
        .body(shaped(true, &paced()).to_string())
        .send()
        .await
        .unwrap();
    let mut whole = Vec::new();
    let mut times = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        if times.is_empty() {
            let entry = world.handle().messages().pop().unwrap();
            assert!(
                !entry.progress.finished,
                "the first event came after the last was sent"
            );
        }
        times.push(Instant::now());
        whole.extend_from_slice(&chunk);
    }
    let took = *times.last().unwrap() - times[0];
    let least = Duration::from_millis(INTERVAL_MS * u64::from(EVENTS) / 2);
    assert!(took >= least, "all came within {took:?}");
    assert_eq!(text_of(&frames(&whole)), filler(0, EVENTS as usize * 50));
    drop(client);
    world.stop().await;
}
