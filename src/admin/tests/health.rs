//! /health and /ready.

use super::*;
use serde_json::json;

async fn health(house: &House) -> Value {
    let reply = house.ask("/health").send().await;
    assert_eq!(reply.status, 200);
    reply.json()
}

#[tokio::test]
async fn ok_names_everything_to_loopback() {
    let house = House::new();
    house.polled(&[
        ("claude-opus", 0.5),
        ("claude-sonnet", 0.5),
        ("extra", 0.5),
        ("empty", 0.01),
    ]);
    let json = health(&house).await;
    assert_eq!(json["status"], "ok", "{json}");
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["uptime_s"].is_u64());
    // opus, sonnet, extra and far-1; empty is low.
    assert_eq!(json["models_available"], 4);
    assert_eq!(json["problems"], json!([]));
    let default = &json["upstreams"]["default"];
    assert_eq!(
        (&default["reachable"], &default["stale"]),
        (&json!(true), &json!(false))
    );
    assert!(default["polled_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        json["upstreams"]["backup"],
        json!({"reachable": true, "polled_at": null, "stale": false})
    );
}

#[tokio::test]
async fn names_and_problems_are_for_loopback_and_for_keys() {
    let house = House::new();
    let (id, client) = house.key("alice", &[]);
    let shown = |reply: Reply| {
        let json = reply.json();
        let (names, problems) = (
            json.get("upstreams").is_some(),
            json.get("problems").is_some(),
        );
        assert_eq!((reply.status, names), (200, problems));
        names
    };
    assert!(shown(house.ask("/health").send().await));
    assert!(!shown(house.ask("/health").from("10.0.0.1").send().await));
    assert!(!shown(
        house
            .ask("/health")
            .header("x-forwarded-for", "9.9.9.9")
            .from("127.0.0.1")
            .send()
            .await
    ));
    assert!(!shown(
        house
            .ask("/health")
            .key("luna-wrong")
            .from("10.0.0.1")
            .send()
            .await
    ));
    assert!(shown(
        house
            .ask("/health")
            .key(&client)
            .from("10.0.0.1")
            .send()
            .await
    ));
    assert!(shown(house.admin("/health").from("10.0.0.1").send().await));
    house.state.keys.disable(&id, now()).unwrap();
    assert!(!shown(
        house
            .ask("/health")
            .key(&client)
            .from("10.0.0.1")
            .send()
            .await
    ));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_degrades_and_all_of_them_are_down() {
    let house = House::new();
    house.polled(&[("claude-opus", 0.5), ("claude-sonnet", 0.5)]);
    house
        .state
        .book
        .poll_failed("default", now(), now(), "secret text of upstream");
    let json = health(&house).await;
    assert_eq!(json["status"], "degraded");
    assert_eq!(
        json["problems"],
        json!(["chain_unusable", "quotas_stale", "upstream_unreachable"])
    );
    assert_eq!(json["upstreams"]["default"]["reachable"], false);
    assert_eq!(
        json["models_available"], 1,
        "only far-1 of the other upstream"
    );
    assert!(!json.to_string().contains("secret text"));

    house.state.book.poll_failed("backup", now(), now(), "x");
    let json = health(&house).await;
    assert_eq!(
        (&json["status"], &json["models_available"]),
        (&json!("down"), &json!(0))
    );
    assert_eq!(
        json["upstreams"]["backup"]["stale"], false,
        "it has no quotas"
    );
}

#[tokio::test]
async fn stale_quotas_degrade_and_a_later_poll_mends() {
    let house = House::new();
    house
        .state
        .book
        .poll_refused("default", now(), now(), "404");
    let json = health(&house).await;
    assert_eq!(json["status"], "degraded");
    assert_eq!(json["problems"], json!(["quotas_stale"]));
    house.polled(&[("claude-sonnet", 0.5)]);
    assert_eq!(health(&house).await["status"], "ok");
}

#[tokio::test]
async fn a_chain_without_a_usable_tier_degrades() {
    let house = House::new();
    house.polled(&[("claude-opus", 0.5), ("claude-sonnet", 0.0)]);
    let json = health(&house).await;
    // Of `*`; the chain of claude-opus has its first tier.
    assert_eq!(
        (&json["status"], &json["problems"]),
        (&json!("degraded"), &json!(["chain_unusable"]))
    );
}

#[tokio::test]
async fn usage_that_is_not_written_degrades() {
    let house = House::new();
    assert_eq!(health(&house).await["status"], "ok");
    let folder = house.dir.path().join("data/usage");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    house.used("k", "claude-opus", NOON);
    assert!(house.state.usage.flush().await.is_err());
    let json = health(&house).await;
    assert_eq!(
        (&json["status"], &json["problems"]),
        (&json!("degraded"), &json!(["usage_unwritten"]))
    );
    assert!(!json.to_string().contains("data/usage"));
}

#[tokio::test]
async fn ready_follows_the_life_of_the_process() {
    let house = House::new();
    let ready = async || {
        let reply = house.ask("/ready").from("10.0.0.1").send().await;
        (
            reply.status,
            reply.json()["status"].as_str().unwrap().to_owned(),
            reply.json()["ready"] == true,
        )
    };
    assert_eq!(ready().await, (503, "starting".to_owned(), false));
    house.state.life.set_ready();
    // The first poll is not over; it is over at the latest after one second.
    let polling = tokio::spawn(Arc::clone(&house.state.poller).run());
    house
        .state
        .poller
        .first_round()
        .wait_for(|done| *done)
        .await
        .unwrap();
    polling.abort();
    assert_eq!(ready().await, (200, "ready".to_owned(), true));
    house.state.life.set_draining(true);
    assert_eq!(ready().await, (503, "draining".to_owned(), false));
    house.state.life.set_draining(false);
    assert_eq!(ready().await, (200, "ready".to_owned(), true));
}

#[tokio::test]
async fn a_name_that_only_a_client_knows_is_no_model() {
    let house = House::new();
    house.polled(&[("claude-sonnet", 0.5)]);
    let before = health(&house).await["models_available"].clone();
    // Its mark has ended, so a request would be let through.
    super::routing::mark(&house, "invented", now() - 3_600_000);
    assert_eq!(health(&house).await["models_available"], before);
}
