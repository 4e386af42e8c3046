//! A request that failed leaves its client's connection as any other does.

use luna::simulate::{Fault, FaultKind};

use super::{message, post};
use crate::support::h1::{Raw, request};
use crate::support::world::{Setup, World};

/// One tier, so that its failure is the answer.
fn alone() -> Setup {
    Setup {
        fallback: r#"{"chains":{"claude-sonnet-4-6":["claude-sonnet-4-6"]}}"#.to_owned(),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_lives_on_after_any_failure() {
    let world = World::with(alone()).await;
    let mut raw = Raw::connect(world.app.address).await;
    for kind in [
        FaultKind::Exhausted400,
        FaultKind::MaxRetries,
        FaultKind::Overloaded529,
        FaultKind::Status,
        FaultKind::Html,
        FaultKind::Reset,
        FaultKind::Cut,
        FaultKind::ErrorEvent,
        FaultKind::SecondStart,
        FaultKind::Empty,
    ] {
        for stream in [false, true] {
            let mut fault = Fault::new("claude-sonnet-4-6", kind);
            // A reset on a used connection is forgiven once.
            fault.times = Some(if kind == FaultKind::Reset { 2 } else { 1 });
            world.handle().set_faults(vec![fault]).unwrap();
            raw.send(post(&world, stream, "Hello")).await;
            let answer = raw.answer().await;
            assert_ne!(answer.header("connection"), "close", "{kind:?} {stream}");
            let told = answer.text();
            let whole = kind == FaultKind::SecondStart && !stream;
            assert!(
                whole || told.contains("\"type\":\"error\""),
                "{kind:?} {stream}: {told}"
            );
            // On the same connection, once the tier is no longer marked.
            world.handle().set_faults(Vec::new()).unwrap();
            world
                .admin_post("/admin/fallback/clear", &serde_json::json!({}))
                .await;
            raw.send(post(&world, stream, "number two.")).await;
            let answer = raw.answer().await;
            assert_eq!(answer.status, 200, "{kind:?} {stream}: {}", answer.text());
            assert!(
                answer.text().contains("number two."),
                "{kind:?} {stream}: {}",
                answer.text()
            );
        }
    }
    drop(raw);
    world.stop().await;
}

/// The next request is already there when the failed one is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipelined_request_behind_a_failed_one_is_answered() {
    let world = World::with(alone()).await;
    let mut fault = Fault::new("claude-sonnet-4-6", FaultKind::ErrorEvent);
    fault.times = Some(1);
    world.handle().set_faults(vec![fault]).unwrap();
    let mut raw = Raw::connect(world.app.address).await;
    let mut both = post(&world, true, "first");
    both.extend(request("GET", "/health", &[], b""));
    raw.send(both).await;
    let broken = raw.answer().await;
    assert!(broken.text().contains("event: error"), "{}", broken.text());
    let health = raw.answer().await;
    assert_eq!(health.status, 200);
    assert!(health.text().contains("\"status\""), "{}", health.text());
    drop(raw);
    world.stop().await;
}

/// A head that trickles in is cut when its time is over, however regularly its bytes come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_comes_byte_by_byte_is_cut() {
    let mut setup = Setup::default();
    setup.server = "client_header_timeout_s = 1".into();
    let world = World::with(setup).await;
    let mut raw = Raw::connect(world.app.address).await;
    let headers = [("x-api-key", world.key.as_str())];
    let whole = request("POST", "/v1/messages", &headers, &message(false, "Hello"));
    let began = std::time::Instant::now();
    let mut sent = 0;
    for byte in &whole {
        if !raw.try_send(&[*byte]).await {
            break;
        }
        sent += 1;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if began.elapsed() > std::time::Duration::from_secs(20) {
            break;
        }
    }
    assert!(
        sent < whole.len(),
        "the head was taken although it took {:?}",
        began.elapsed()
    );
    assert!(
        began.elapsed() < std::time::Duration::from_secs(10),
        "cut only after {:?}",
        began.elapsed()
    );
    drop(raw);
    world.stop().await;
}
