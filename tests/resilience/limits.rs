//! The bounds in time and in number: no request waits longer than configured, a full house says so
//! at once, and a client that leaves takes everything with it.

use std::time::{Duration, Instant};

use luna::simulate::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::check;
use crate::support::eventually;
use crate::support::world::{Answer, Setup, World, ask};

mod gone;
mod house;
mod slow;

const CHAIN: &str = "claude-opus-4-6-thinking";
const FIRST: &str = "claude-opus-4-6-thinking";
const SECOND: &str = "claude-sonnet-4-6";
const THIRD: &str = "gemini-3-flash";
/// What a busy machine may add to a limit.
const SLACK: Duration = Duration::from_secs(3);

/// A gateway with these limits of its upstream and lines of its `[server]`.
async fn world(limits: &str, server: &str) -> World {
    let setup = Setup {
        upstream: format!("[upstreams.default.limits]\n{limits}"),
        server: server.to_owned(),
        ..Setup::default()
    };
    World::with(setup).await
}

fn hang(world: &World, models: &[&str]) {
    let faults = models
        .iter()
        .map(|model| Fault::new(model, FaultKind::Hang));
    world.handle().set_faults(faults.collect()).unwrap();
}

/// Asks, and tells how long the answer took.
async fn timed(world: &World, body: &Value) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = world.post(body).await;
    (answer, began.elapsed())
}

fn took(what: &str, took: Duration, limit_s: f64) {
    let limit = Duration::from_secs_f64(limit_s);
    assert!(
        took >= limit,
        "{what}: {took:?}, before its limit of {limit:?}"
    );
    assert!(
        took < limit + SLACK,
        "{what}: {took:?} instead of {limit:?}"
    );
}

/// Every request that was sent up has ended on the other side too.
async fn upstream_is_free(world: &World) {
    let free = world
        .handle()
        .wait(Duration::from_secs(5), |t| t.ended == t.requests)
        .await;
    assert!(free, "{:?}", world.handle().totals());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_tier_makes_room_after_its_limit_and_the_last_one_has_longer() {
    let limits = "first_event_s = 0.5\nfirst_answer_s = 0.8\nlast_first_event_s = 1.5\ntotal_s = 2";
    let world = world(limits, "").await;
    for (stream, each, last) in [(true, 0.5, 1.5), (false, 0.8, 2.0)] {
        hang(&world, &[FIRST]);
        let (answer, time) = timed(&world, &ask(CHAIN, stream)).await;
        assert_eq!(
            (answer.status, answer.header("x-luna-fallback")),
            (200, "timeout")
        );
        assert_eq!(answer.header("x-luna-served-model"), SECOND);
        took("the first tier", time, each);
        upstream_is_free(&world).await;
        world.admin_post("/admin/fallback/clear", &json!({})).await;
        hang(&world, &[FIRST, SECOND, THIRD]);
        let (answer, time) = timed(&world, &ask(CHAIN, stream)).await;
        let message = check::error(&answer, &[504]);
        assert!(
            message.contains(&format!("{THIRD} on default: timeout")),
            "{message}"
        );
        took("three tiers", time, 2.0 * each + last);
        upstream_is_free(&world).await;
        world.admin_post("/admin/fallback/clear", &json!({})).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_has_more_time_to_its_first_event() {
    let limits = "first_event_s = 0.5\nlast_first_event_s = 0.5";
    let world = world(limits, "").await;
    // A second for each 20 KB: 2 s for this one.
    let mut body = ask(CHAIN, true);
    body["system"] = json!("x".repeat(41 * 1024));
    body["metadata"] = json!({"sim": {"first_ms": 75_000}});
    let (answer, time) = timed(&world, &body).await;
    assert_eq!(
        (answer.status, answer.header("x-luna-fallback")),
        (200, ""),
        "{}",
        answer.text()
    );
    assert!(time > Duration::from_millis(1400), "{time:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_before_the_first_content_do_not_extend_the_limit() {
    let limits = "first_event_s = 0.6\nlast_first_event_s = 5\nidle_s = 5";
    let world = world(limits, "").await;
    // message_start and content_block_start come in time, each after 0.4 s.
    let mut slow = Fault::new(FIRST, FaultKind::Slow);
    slow.delay_ms = Some(20_000);
    world.handle().set_faults(vec![slow]).unwrap();
    let (answer, time) = timed(&world, &ask(CHAIN, true)).await;
    assert_eq!(
        (answer.status, answer.header("x-luna-fallback")),
        (200, "timeout")
    );
    took("the first tier", time, 0.6);
    check::whole_stream(&answer);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_request_ends_with_504_over_all_tiers() {
    let limits = "first_event_s = 0.7\nfirst_answer_s = 0.7\nlast_first_event_s = 60\ntotal_s = 60";
    let world = world(limits, "request_s = 1").await;
    hang(&world, &[FIRST, SECOND, THIRD]);
    for stream in [true, false] {
        let (answer, time) = timed(&world, &ask(CHAIN, stream)).await;
        let message = check::error(&answer, &[504]);
        assert!(message.contains("server.request_s"), "{message}");
        took("the request", time, 1.0);
        upstream_is_free(&world).await;
        world.admin_post("/admin/fallback/clear", &json!({})).await;
    }
    // It does not count once the answer has begun.
    world.handle().set_faults(Vec::new()).unwrap();
    let mut slow = ask(CHAIN, true);
    slow["metadata"] = json!({"sim": {"events": 8, "interval_ms": 10_000}});
    let (answer, time) = timed(&world, &slow).await;
    check::whole_stream(&answer);
    assert!(time > Duration::from_secs(1), "{time:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_after_the_commit_ends_the_stream_after_idle_s_and_events_extend_it() {
    let world = world("first_event_s = 5\nlast_first_event_s = 5\nidle_s = 1", "").await;
    let stall = Fault::new(FIRST, FaultKind::Stall).times(1);
    world.handle().set_faults(vec![stall]).unwrap();
    let (answer, time) = timed(&world, &ask(CHAIN, true)).await;
    check::broken_stream(&answer);
    assert!(answer.text().contains("timeout_error"), "{}", answer.text());
    took("the stall", time, 1.0);
    upstream_is_free(&world).await;
    // Each event after 0.4 s, far longer than the limit in all.
    let mut slow = ask(CHAIN, true);
    slow["metadata"] = json!({"sim": {"thinking": false, "events": 4, "interval_ms": 20_000}});
    let (answer, time) = timed(&world, &slow).await;
    check::whole_stream(&answer);
    assert!(time > Duration::from_millis(2500), "{time:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_nobody_takes_counts_as_connect() {
    // A listener whose queue is full: the kernel drops what comes, as a dead host would.
    let full = socket_with_a_full_queue().await;
    let setup = Setup {
        toml: format!(
            "[upstreams.dead]\nurl = \"http://{}\"\nhealth = \"none\"\n[upstreams.dead.limits]\nconnect_s = 0.5",
            full.0
        ),
        fallback: json!({"chains": {"one": [{"model": "a", "upstream": "dead"}, THIRD]}})
            .to_string(),
        ..Setup::default()
    };
    let world = World::with(setup).await;
    let (answer, time) = timed(&world, &ask("one", true)).await;
    assert_eq!(
        (answer.status, answer.header("x-luna-fallback")),
        (200, "connect")
    );
    took("the connection", time, 0.5);
    world.stop().await;
}

/// The address of a listener that accepts nothing, and what keeps its queue full.
async fn socket_with_a_full_queue() -> (
    std::net::SocketAddr,
    Vec<tokio::task::JoinHandle<()>>,
    tokio::net::TcpListener,
) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    loop {
        let connect = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(200), connect).await {
            Ok(stream) => held.push(tokio::spawn(async move {
                let _stream = stream.unwrap();
                std::future::pending::<()>().await;
            })),
            Err(_) => return (address, held, listener),
        }
        assert!(held.len() < 20, "the queue never fills");
    }
}
