//! The upstream's side: connections are used again, and one that has died of age is no failure.

use std::collections::BTreeSet;

use luna::simulate::{Fault, FaultKind};

use crate::support::world::{Setup, World, ask};

fn connections(world: &World) -> BTreeSet<u64> {
    world
        .handle()
        .messages()
        .iter()
        .map(|entry| entry.connection)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_used_again() {
    let world = World::start().await;
    for n in 0..100 {
        let answer = world.post(&ask("claude-sonnet-4-6", n % 2 == 0)).await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
    }
    // A client may be so quick that the last connection is not back in the pool yet.
    let used = connections(&world).len();
    assert!(used <= 5, "{used} connections for 100 requests");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_idle_0_uses_none_again() {
    let world = World::with(Setup {
        upstream: "max_idle_s = 0".to_owned(),
        ..Setup::default()
    })
    .await;
    for _ in 0..5 {
        assert_eq!(
            world.post(&ask("claude-sonnet-4-6", false)).await.status,
            200
        );
    }
    assert_eq!(connections(&world).len(), 5);
    world.stop().await;
}

/// Whether the reset comes on a connection that was used before decides what it means.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_on_a_used_connection_is_retried_and_counts_for_nothing() {
    for stream in [false, true] {
        let world = World::start().await;
        let before = world.post(&ask("claude-sonnet-4-6", stream)).await;
        assert_eq!(before.status, 200);
        let reset = Fault::new("claude-sonnet-4-6", FaultKind::Reset).times(1);
        world.handle().set_faults(vec![reset]).unwrap();
        let answer = world.post(&ask("claude-sonnet-4-6", stream)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-luna-tier"), "1");
        assert_eq!(answer.header("x-luna-fallback"), "");
        let entries = world.handle().messages();
        let [first, died, anew] = &entries[..] else {
            panic!("{} attempts", entries.len());
        };
        assert_eq!(first.connection, died.connection, "a used connection");
        assert_ne!(died.connection, anew.connection, "a fresh connection");
        let metrics = world.metrics().await;
        let failed = metrics.lines().any(|line| {
            line.starts_with("luna_attempts_total") && !line.contains("outcome=\"ok\"")
        });
        assert!(!failed, "an attempt failed: {metrics}");
        let fallback = world.admin_get("/admin/fallback").await;
        assert!(
            !fallback.to_string().contains("cooldown"),
            "a mark: {fallback}"
        );
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_on_a_fresh_connection_is_a_failure_of_the_tier() {
    let world = World::start().await;
    let reset = Fault::new("claude-sonnet-4-6", FaultKind::Reset).times(1);
    world.handle().set_faults(vec![reset]).unwrap();
    let answer = world.post(&ask("claude-sonnet-4-6", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-luna-tier"), "2");
    assert_eq!(answer.header("x-luna-fallback"), "upstream_error");
    world.stop().await;
}

/// Two resets in a row are no matter of age any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_reset_is_not_forgiven() {
    let world = World::start().await;
    assert_eq!(
        world.post(&ask("claude-sonnet-4-6", true)).await.status,
        200
    );
    let reset = Fault::new("claude-sonnet-4-6", FaultKind::Reset).times(2);
    world.handle().set_faults(vec![reset]).unwrap();
    let answer = world.post(&ask("claude-sonnet-4-6", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-luna-fallback"), "upstream_error");
    let asked = world.handle().messages().len();
    assert_eq!(asked, 4, "before, died, anew, next tier");
    world.stop().await;
}

/// The upstream closes idle connections far earlier than the pool does; requests come at all moments
/// around that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_upstream_closes_are_no_failures() {
    let mut setup = Setup::default();
    setup.sim.time_scale = 1.0;
    setup.sim.keep_alive_ms = 20;
    setup.upstream = "max_idle_s = 30".to_owned();
    let world = World::with(setup).await;
    for n in 0..100 {
        let answer = world.post(&ask("claude-sonnet-4-6", n % 2 == 0)).await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
        assert_eq!(answer.header("x-luna-fallback"), "", "{n}");
        // Not a wait for anything: it is the distance that is tried.
        let pause = std::time::Duration::from_micros(18_000 + 50 * n);
        tokio::time::sleep(pause).await;
    }
    assert!(connections(&world).len() > 5, "the upstream closed some");
    world.stop().await;
}

/// A poll must not take a connection that the upstream closes just then for an upstream that is down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_quota_poll_has_a_connection_of_its_own() {
    let world = World::start().await;
    for _ in 0..5 {
        world.app.poller.poll_all().await;
    }
    let entries = world.handle().ledger().entries;
    let polls: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.path == "/health")
        .map(|entry| entry.connection)
        .collect();
    let distinct: BTreeSet<&u64> = polls.iter().collect();
    assert_eq!((polls.len(), distinct.len()), (6, 6), "{polls:?}");
    world.stop().await;
}
