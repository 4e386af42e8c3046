//! Comments while an upstream is silent: only once the stream is committed, only between two whole
//! events, and also to clients that do not read.

use std::time::Duration;

use luna::simulate::{Fault, FaultKind, Shape, filler};

use super::{frames, shaped, text_of};
use crate::support::h1::{Raw, request};
use crate::support::world::{Answer, Setup, World};
use crate::support::{eventually, filling};

const COMMENT: &str = ": keep-alive";

async fn chatty() -> World {
    let mut setup = Setup::default();
    setup.sim.time_scale = 1.0;
    setup.toml = "[streams]\nkeepalive_s = 0.05".to_owned();
    World::with(setup).await
}

async fn open(world: &World, mut raw: Raw, shape: &Shape) -> Raw {
    let headers = [("x-api-key", world.key.as_str())];
    let body = shaped(true, shape).to_string();
    raw.send(request("POST", "/v1/messages", &headers, body.as_bytes()))
        .await;
    let head = raw.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("transfer-encoding"), "chunked");
    raw
}

/// Reads to the end. Every chunk is whole frames; the comments are counted and taken out.
async fn read(raw: &mut Raw) -> (Vec<String>, usize) {
    let mut all = Vec::new();
    let mut comments = 0;
    while let Some(chunk) = raw.chunk().await {
        for frame in frames(&chunk) {
            if frame == COMMENT {
                comments += 1;
            } else {
                all.push(frame);
            }
        }
    }
    (all, comments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_after_the_commit_is_filled_between_events() {
    let world = chatty().await;
    let shape = Shape {
        events: Some(4),
        event_bytes: Some(100),
        first_ms: Some(400),
        interval_ms: Some(250),
        ..Shape::default()
    };
    let raw = Raw::connect(world.app.address).await;
    let mut raw = open(&world, raw, &shape).await;
    let first = raw.chunk().await.unwrap();
    assert!(
        first.starts_with(b"event: message_start"),
        "no comment before the commit"
    );
    let held = frames(&first);
    assert!(!held.iter().any(|frame| frame == COMMENT), "{held:?}");
    let (rest, comments) = read(&mut raw).await;
    let all: Vec<String> = held.into_iter().chain(rest).collect();
    assert_eq!(text_of(&all), filler(0, 400));
    assert_eq!(all.len(), 9, "{all:?}");
    assert!(all.last().unwrap().starts_with("event: message_stop"));
    // Six silences of 250 ms after the commit.
    assert!((6..=30).contains(&comments), "{comments} comments");
    let sent = world.handle().messages().pop().unwrap().progress.bytes_out;
    let got: usize = all.iter().map(|frame| frame.len() + 2).sum();
    let sent = sent + filling(&all.join("\n\n")).len() as u64;
    assert_eq!(got as u64, sent, "every byte of the upstream and no other");
    drop(raw);
    world.stop().await;
}

/// Events come just when comments are due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_at_the_moment_of_a_comment_stay_whole() {
    let world = chatty().await;
    let one = async |n: u64| {
        let shape = Shape {
            events: Some(30),
            event_bytes: Some(3_000),
            interval_ms: Some(47 + n),
            ..Shape::default()
        };
        let raw = Raw::connect(world.app.address).await;
        let mut raw = open(&world, raw, &shape).await;
        let (all, comments) = read(&mut raw).await;
        assert!(text_of(&all) == filler(0, 90_000), "{n}: a wrong text");
        assert_eq!(all.len(), 35, "{n}");
        comments
    };
    let comments = futures_util::future::join_all((0..10).map(one)).await;
    assert!(
        comments.iter().sum::<usize>() > 0,
        "no comment was ever due"
    );
    world.stop().await;
}

/// HTTP/2 clients get none, and a client that does not stream never does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_comment_where_none_belongs() {
    let world = chatty().await;
    let shape = Shape {
        events: Some(3),
        interval_ms: Some(150),
        first_ms: Some(300),
        ..Shape::default()
    };
    let h2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for (client, stream) in [(&h2, true), (&h2, false), (&world.client, false)] {
        let request = client
            .post(world.url("/v1/messages"))
            .header("x-api-key", &world.key)
            .body(shaped(stream, &shape).to_string());
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.content(), filler(0, 768), "streaming {stream}");
        assert!(!answer.text().contains(COMMENT), "streaming {stream}");
        let sent = world.handle().messages().pop().unwrap().progress.bytes_out;
        let sent = sent + filling(&answer.text()).len() as u64;
        assert_eq!(answer.body.len() as u64, sent, "streaming {stream}");
    }
    drop(h2);
    world.stop().await;
}

/// While comments fall due these clients read nothing; their sockets are full to different degrees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_gets_everything_later() {
    let world = chatty().await;
    // A burst, a silence in which many comments fall due, and an error.
    let fault = Fault {
        delay_ms: Some(3_000),
        ..Fault::new("*", FaultKind::ErrorEvent).at_event(102)
    };
    world.handle().set_faults(vec![fault]).unwrap();
    let one = async |n: u32| {
        let size = 500 * (1 << (n / 2)) + 333 * (n % 2);
        let shape = Shape {
            events: Some(200),
            event_bytes: Some(size),
            ..Shape::default()
        };
        let raw = Raw::connect_narrow(world.app.address).await;
        let mut raw = open(&world, raw, &shape).await;
        // Not a wait for anything: so long it does not read.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let (all, comments) = read(&mut raw).await;
        assert!(
            text_of(&all) == filler(0, 100 * size as usize),
            "{size}: a wrong text"
        );
        assert_eq!(all.len(), 103, "{size}");
        let last = all.last().unwrap();
        assert!(last.starts_with("event: error\n"), "{size}: {last}");
        comments
    };
    // Up to 6 MB, more than a loopback socket takes.
    let comments = futures_util::future::join_all((0..14).map(one)).await;
    assert!(comments[0] > 0, "comments fell due meanwhile: {comments:?}");
    world.stop().await;
}

/// A client that takes no byte for client_write_timeout_s is cut, and counted as aborted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_cut() {
    let mut setup = Setup {
        server: "client_write_timeout_s = 0.3".to_owned(),
        toml: "[streams]\nkeepalive_s = 0.05".to_owned(),
        ..Setup::default()
    };
    setup.sim.time_scale = 1.0;
    let world = World::with(setup).await;
    let shape = Shape {
        events: Some(1_000),
        event_bytes: Some(100_000),
        ..Shape::default()
    };
    let raw = Raw::connect_narrow(world.app.address).await;
    let raw = open(&world, raw, &shape).await;
    let gone = world
        .handle()
        .wait(Duration::from_secs(10), |t| t.client_gone == 1)
        .await;
    assert!(gone, "the upstream still writes");
    eventually("it is counted", Duration::from_secs(5), async || {
        let counted = world.app.usage.totals().await.unwrap().total.counters;
        (counted.requests, counted.aborted, counted.errors) == (1, 1, 0)
    })
    .await;
    drop(raw);
    world.stop().await;
}
