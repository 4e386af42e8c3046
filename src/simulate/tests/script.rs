//! How faults are scripted: by path, after, times, order; and those of routes without a model.

use super::super::{Fault, FaultKind, Generation};
use super::faults::under;
use super::{BOTH, Client, End, PLAIN, ask, body, get, post, start};

#[tokio::test]
async fn no_accounts_by_script() {
    let fault = || Fault::new("*", FaultKind::NoAccounts);
    let answer = under(Generation::V2_0, fault(), false).await.unwrap();
    assert_eq!(
        (answer.status, answer.error().1.as_str()),
        (500, "No accounts available")
    );
    let answer = under(Generation::V2_0, fault(), true).await.unwrap();
    assert_eq!(answer.names(), ["error"]);
    let mut soon = fault();
    soon.delay_ms = Some(1);
    assert_eq!(
        under(Generation::V2_7, soon, true).await.unwrap().status,
        500
    );
    let sim = start(Generation::V2_7).await;
    let models = Fault::new("/v1/models", FaultKind::NoAccounts);
    sim.handle().set_faults(vec![fault(), models]).unwrap();
    assert_eq!(get(&sim, "/v1/models").await.status, 503);
    let mut client = Client::connect(&sim).await;
    client.send(&post(&body(PLAIN, true))).await;
    let seen = |totals: &super::super::Totals| totals.faults["no_accounts"] == 2;
    assert!(sim.handle().wait(super::GUARD, seen).await);
    drop(client);
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.client_gone == 1)
            .await
    );
}

#[tokio::test]
async fn health_faults_and_faults_by_path() {
    for generation in BOTH {
        let sim = start(generation).await;
        let mut slow = Fault::new("*", FaultKind::HealthSlow).times(1);
        slow.delay_ms = Some(10_000);
        let script = vec![
            Fault::new("*", FaultKind::HealthError).times(1),
            slow,
            Fault::new("/health", FaultKind::Html).times(1),
            Fault::new("/health", FaultKind::Cut).times(1),
            Fault::new("/health", FaultKind::Reset).times(1),
        ];
        sim.handle().set_faults(script).unwrap();
        let answer = get(&sim, "/health").await;
        assert_eq!(
            (answer.status, answer.json()["status"].as_str()),
            (503, Some("error"))
        );
        let began = std::time::Instant::now();
        let answer = get(&sim, "/health").await;
        assert!(answer.status == 200 && began.elapsed().as_millis() >= 20);
        assert_eq!(get(&sim, "/health").await.status, 502);
        assert_eq!(get(&sim, "/health").await.end, End::Cut);
        let reset = ask(&sim, &super::request("GET", "/health", "")).await;
        assert_eq!(reset.unwrap_err(), End::Reset);
        assert_eq!(get(&sim, "/health").await.status, 200);
        // Requests for models are not health's.
        assert_eq!(
            ask(&sim, &post(&body(PLAIN, false))).await.unwrap().status,
            200
        );
    }
}

#[tokio::test]
async fn after_times_and_order() {
    let sim = start(Generation::V2_7).await;
    let mut third = Fault::new(PLAIN, FaultKind::Overloaded529).times(1);
    third.after = 1;
    let mut streams = Fault::new("*", FaultKind::RateLimit429);
    streams.stream = Some(true);
    let first = Fault::new("*", FaultKind::Overloaded503).times(1);
    sim.handle()
        .set_faults(vec![first, third, streams])
        .unwrap();
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(ask(&sim, &post(&body(PLAIN, false))).await.unwrap().status);
    }
    assert_eq!(got, [503, 200, 529, 200]);
    assert_eq!(
        ask(&sim, &post(&body(PLAIN, true))).await.unwrap().status,
        429
    );
    let counters: Vec<(u64, u64)> = sim
        .handle()
        .faults()
        .iter()
        .map(|state| (state.seen, state.applied))
        .collect();
    assert_eq!(counters, [(1, 1), (2, 1), (1, 1)]);
}
