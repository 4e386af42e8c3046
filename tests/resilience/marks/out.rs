//! No tier is left: the last resort, and the answer when there is none.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_quota_is_gone_the_answer_is_429_without_a_call() {
    for (wait, told, retry) in [(20, 20, ""), (90, 90, "false"), (7200, 900, "false")] {
        let world = World::start().await;
        for (model, more) in TIERS.iter().zip([600, 0, 60]) {
            world
                .set_quota(model, 0.0, Some(&in_seconds(wait + more)))
                .await;
        }
        for stream in [false, true] {
            let answer = world.post(&ask(CHAIN, stream)).await;
            let message = check::error(&answer, &[429]);
            let after: u64 = answer.header("retry-after").parse().unwrap();
            assert!(
                after <= told && after + 5 > told,
                "{after} instead of {told}"
            );
            assert_eq!(answer.header("x-should-retry"), retry);
            assert_eq!(answer.header("x-luna-fallback"), "");
            assert_eq!(answer.header("x-luna-requested-model"), CHAIN);
            names_each(&message, &TIERS);
        }
        assert!(TIERS.iter().all(|model| asked(&world, model) == 0));
        // The reset of the second comes first; then it is unknown, and may be asked.
        let off = world
            .post_with(&ask(CHAIN, false), &[("x-luna-fallback", "off")])
            .await;
        assert_eq!(
            asked(&world, FIRST),
            1,
            "off: the first tier, whatever its state: {}",
            off.status
        );
        world.stop().await;
    }
}

/// The message has every tier with its reset in UTC and as a duration.
fn names_each(message: &str, models: &[&str]) {
    for model in models {
        let (_, rest) = message
            .split_once(&format!("{model} on default: "))
            .unwrap_or_else(|| {
                panic!("{model} is not in: {message}");
            });
        let part = rest.split([';', '.']).next().unwrap();
        let (_, time) = part
            .split_once(", until ")
            .unwrap_or_else(|| panic!("no reset: {part}"));
        let (at, left) = time
            .split_once(" UTC (in ")
            .unwrap_or_else(|| panic!("{time}"));
        let stamp = format!("{}Z", at.replace(' ', "T"));
        let at: jiff::Timestamp = stamp.parse().unwrap_or_else(|e| panic!("{e}: {stamp}"));
        assert!(at > jiff::Timestamp::now(), "{part}");
        assert!(left.ends_with("s)") || left.ends_with("h)"), "{part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_that_passes_opens_the_tier_without_a_poll() {
    let world = World::start().await;
    for model in TIERS {
        world
            .set_quota(
                model,
                0.0,
                Some(&in_seconds(if model == SECOND { 2 } else { 3600 })),
            )
            .await;
    }
    check::error(&world.post(&ask(CHAIN, false)).await, &[429]);
    // The simulator goes by its own quota, so that is filled up, and nobody polls.
    for account in world.handle().accounts() {
        world
            .handle()
            .set_quota(&account.email, SECOND, Some(1.0), None)
            .unwrap();
    }
    eventually(
        "the second tier answers",
        Duration::from_secs(8),
        || async {
            let answer = world.post(&ask(CHAIN, false)).await;
            answer.status == 200 && answer.header("x-luna-fallback") == "quota"
        },
    )
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_tier_says_exhausted_the_client_gets_429_and_each_reset() {
    let world = World::start().await;
    for model in TIERS {
        world.set_quota(model, LITTLE, None).await;
    }
    faults(&world, vec![Fault::new("*", FaultKind::Exhausted400)]);
    for (round, stream) in [true, false].into_iter().enumerate() {
        let answer = world.post(&ask(CHAIN, stream)).await;
        let message = check::error(&answer, &[429]);
        assert_eq!(answer.header("retry-after"), "900");
        names_each(&message, &TIERS);
        // From then on it is refused without a call.
        let calls: u64 = TIERS.iter().map(|model| asked(&world, model)).sum();
        assert_eq!(calls, 3, "in round {round}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_retries_is_429_only_when_health_says_that_quota_is_gone() {
    let mut setup = Setup::default().generation(Generation::V2_0);
    setup.sim.models = TIERS.map(str::to_owned).to_vec();
    let world = World::with(setup).await;
    faults(&world, vec![Fault::new("*", FaultKind::MaxRetries)]);
    check::error(&world.post(&ask(THIRD, true)).await, &[529]);
    for model in TIERS {
        world.set_quota(model, 0.02, None).await;
    }
    world.admin_post("/admin/fallback/clear", &json!({})).await;
    check::error(&world.post(&ask(THIRD, true)).await, &[429]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_resort_takes_the_fullest_low_tier_then_the_mark_that_ends_first() {
    let world = world("cooldown_s = 100").await;
    for (model, left) in TIERS.iter().zip([0.01, 0.04, 0.02]) {
        world.set_quota(model, left, None).await;
    }
    served_by(&world, 1, "quota").await;
    // It fails: then the next fullest, and the reasons say all.
    faults(
        &world,
        vec![Fault::new(SECOND, FaultKind::Overloaded529).times(1)],
    );
    served(&world.post(&ask(CHAIN, true)).await, 2, "quota,overloaded");
    // 0 without a reset comes after what has some left.
    for (model, left) in TIERS.iter().zip([0.0, 0.0, 0.02]) {
        world.set_quota(model, left, None).await;
    }
    served_by(&world, 2, "quota,quota").await;
    // All marked, without a reset: the mark that ends first is tried.
    for model in TIERS {
        world.set_quota(model, LITTLE, None).await;
    }
    world.admin_post("/admin/fallback/clear", &json!({})).await;
    faults(
        &world,
        vec![Fault::new("*", FaultKind::Overloaded529).times(3)],
    );
    check::error(&world.post(&ask(CHAIN, true)).await, &[529]);
    served(&world.post(&ask(CHAIN, true)).await, 0, "");
    world.stop().await;
}
