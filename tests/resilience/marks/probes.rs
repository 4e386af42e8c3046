//! When a mark ends, and who finds out.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_after_a_mark_probes_and_clears_it() {
    let world = world("cooldown_s = 0.3").await;
    faults(
        &world,
        vec![Fault::new(FIRST, FaultKind::Overloaded529).times(1)],
    );
    served(&world.post(&ask(CHAIN, false)).await, 1, "overloaded");
    served(&world.post(&ask(CHAIN, false)).await, 1, "cooldown");
    state_becomes(&world, FIRST, "probing").await;
    assert_eq!(asked(&world, FIRST), 1);
    served_by(&world, 0, "").await;
    assert_eq!(tier(&world, FIRST).await["state"], "usable");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_probes_double_the_mark_up_to_its_maximum() {
    let world =
        world("cooldown_s = 0.2\ncooldown_max_s = 0.5\ncooldown_with_quota_max_s = 0.5").await;
    faults(&world, vec![Fault::new(FIRST, FaultKind::Overloaded529)]);
    let mut least = 0;
    for seconds in [0.2, 0.4, 0.5, 0.5] {
        let reason = "overloaded";
        let began = now();
        served(&world.post(&ask(CHAIN, false)).await, 1, reason);
        let until = tier(&world, FIRST).await["until"].clone();
        let at: jiff::Timestamp = until.as_str().unwrap().parse().unwrap();
        let lasts = u64::try_from(at.as_millisecond()).unwrap() - began;
        let span = (seconds * 1000.0) as u64;
        assert!(lasts >= span, "{lasts} ms instead of {span}");
        assert!(lasts >= least, "{lasts} ms after {least}");
        least = span;
        state_becomes(&world, FIRST, "probing").await;
    }
    assert_eq!(asked(&world, FIRST), 4);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_requests_at_once_make_one_mark_and_later_one_probe() {
    let world = world("cooldown_s = 3").await;
    let slow = serde_json::from_value(json!({"first_ms": 40_000})).unwrap();
    world
        .handle()
        .set_answers([(FIRST.to_owned(), slow)].into())
        .unwrap();
    // All of them are on their way to the first tier before its first failure is back.
    let mut fault = Fault::new(FIRST, FaultKind::Overloaded529);
    (fault.delay_ms, fault.times) = (Some(20_000), Some(50));
    faults(&world, vec![fault]);
    let body = ask(CHAIN, true);
    let all = || futures_util::future::join_all((0..50).map(|_| world.post(&body)));
    for answer in all().await {
        served(&answer, 1, "overloaded");
    }
    assert_eq!(asked(&world, FIRST), 50);
    let left = ahead(&tier(&world, FIRST).await["until"]);
    assert!(
        left <= Duration::from_secs(3),
        "fifty failures at once doubled the mark: {left:?}"
    );
    state_becomes(&world, FIRST, "probing").await;
    let answers = all().await;
    let probes = answers
        .iter()
        .filter(|a| a.header("x-luna-tier") == "1")
        .count();
    assert_eq!(probes, 1);
    for answer in answers.iter().filter(|a| a.header("x-luna-tier") != "1") {
        served(answer, 1, "cooldown");
    }
    assert_eq!(asked(&world, FIRST), 51);
    served_by(&world, 0, "").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_whose_client_leaves_frees_its_slot() {
    let world = world("cooldown_s = 0.2").await;
    faults(
        &world,
        vec![
            Fault::new(FIRST, FaultKind::Overloaded529).times(1),
            Fault::new(FIRST, FaultKind::Hang).times(1),
        ],
    );
    served(&world.post(&ask(CHAIN, true)).await, 1, "overloaded");
    state_becomes(&world, FIRST, "probing").await;
    let body = ask(CHAIN, true);
    {
        let mut probe = Box::pin(world.post(&body));
        let taken = eventually("the probe is asked", Duration::from_secs(5), || async {
            asked(&world, FIRST) == 2
        });
        tokio::select! {
            answer = &mut probe => panic!("the probe hangs: {answer:?}"),
            () = taken => {}
        }
        served(&world.post(&body).await, 1, "cooldown");
    }
    // Dropped above: neither a success nor a failure.
    eventually("the slot is free", Duration::from_secs(3), || async {
        world.post(&body).await.header("x-luna-tier") == "1"
    })
    .await;
    let usage = check::sum(
        &world.metrics().await,
        "luna_requests_total",
        &["status=\"aborted\""],
    );
    assert_eq!(usage, 1.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_shows_enough_ends_any_mark() {
    let world = world("cooldown_s = 1000\ncooldown_max_s = 1000").await;
    for kind in [FaultKind::Overloaded529, FaultKind::Exhausted400] {
        world.set_quota(FIRST, LITTLE, None).await;
        faults(&world, vec![Fault::new(FIRST, kind).times(1)]);
        let reason = if kind == FaultKind::Exhausted400 {
            "exhausted"
        } else {
            "overloaded"
        };
        served(&world.post(&ask(CHAIN, false)).await, 1, reason);
        world.admin_post("/admin/fallback/poll", &json!({})).await;
        served(&world.post(&ask(CHAIN, false)).await, 1, "cooldown");
        // One account is enough, and it is not the first.
        let second = world.handle().accounts()[1].email.clone();
        world
            .handle()
            .set_quota(&second, FIRST, Some(0.5), None)
            .unwrap();
        let after = world
            .admin_post("/admin/fallback/poll", &json!({}))
            .await
            .json();
        assert_eq!(after["stale"], false);
        assert_eq!(tier(&world, FIRST).await["state"], "probing");
        served_by(&world, 0, "").await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_against_plenty_of_quota_is_suspect_and_asks_for_a_poll_itself() {
    let setup = Setup {
        toml: "[fallback]\ncooldown_with_quota_max_s = 1".to_owned(),
        ..Setup::default()
    };
    let world = World::with(setup).await;
    faults(
        &world,
        vec![Fault::new(FIRST, FaultKind::Exhausted400).times(2)],
    );
    served(&world.post(&ask(CHAIN, true)).await, 1, "exhausted");
    // The text says hours; the poll that the mark asked for says that there is plenty.
    state_becomes(&world, FIRST, "probing").await;
    served(&world.post(&ask(CHAIN, true)).await, 1, "exhausted");
    let left = ahead(&tier(&world, FIRST).await["until"]);
    assert!(left <= Duration::from_secs(2), "{left:?}");
    let metrics = world.metrics().await;
    assert_eq!(
        check::sum(&metrics, "luna_suspect_429_total", &[FIRST]),
        2.0
    );
    world.stop().await;
}
