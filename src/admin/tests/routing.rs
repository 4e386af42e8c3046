//! /admin/fallback, /admin/explain, /admin/reload.

use super::*;
use crate::routing::{Attempt, Failure, Reason, Tier};
use serde_json::json;

pub(super) fn mark(house: &House, model: &str, at: u64) {
    let tier = Tier::new(model, "default");
    let attempt = Attempt {
        tier: &tier,
        key: 1,
        began: at,
        probe: None,
        first: true,
    };
    let failure = Failure::new(Reason::Overloaded, 529, "busy");
    assert!(
        house
            .state
            .book
            .attempt_failed(&attempt, &failure, at)
            .marked
    );
}

async fn rows(reply: Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200);
    reply.json()["tiers"].as_array().unwrap().clone()
}

#[tokio::test]
async fn fallback_shows_tiers_chains_and_upstreams() {
    let house = House::new();
    house.polled(&[("claude-opus", 0.0), ("claude-sonnet", 0.42)]);
    let json = house.admin("/admin/fallback").send().await.json();
    assert_eq!(
        (&json["threshold"], &json["recover"], &json["stale"]),
        (&json!(0.05), &json!(0.1), &json!(false))
    );
    assert!(json["polled_at"].is_string());
    let sonnet = json["tiers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["model"] == "claude-sonnet")
        .unwrap();
    assert_eq!(
        *sonnet,
        json!({"model": "claude-sonnet", "upstream": "default", "remaining_fraction": 0.42,
        "reset_time": null, "accounts": 1, "state": "usable", "stale": false, "until": null, "reason": null})
    );
    let chain = &json["chains"]["claude-opus"];
    assert_eq!(
        (&chain[0]["usable"], &chain[1]["usable"]),
        (&json!(false), &json!(true))
    );
    assert!(chain[0]["why"].as_str().unwrap().starts_with("quota"));
    assert!(json["chains"]["*"].is_array());
    let default = &json["upstreams"]["default"];
    assert_eq!(
        default["accounts"],
        json!([{"email": "a***@example.com", "status": "ok"}])
    );
    assert_eq!(default["url"], "http://127.0.0.1:9");
    assert_eq!(
        json["upstreams"]["backup"]["url"],
        "http://127.0.0.1:9/base"
    );
}

#[tokio::test]
async fn a_poll_by_hand_happens_at_once() {
    let house = House::new();
    let reply = house.admin("POST /admin/fallback/poll").send().await;
    // Nothing listens there.
    let default = &reply.json()["upstreams"]["default"];
    assert_eq!((reply.status, &default["reachable"]), (200, &json!(false)));
    assert_eq!(house.state.metrics.poll_failures.get(), 1);
}

#[tokio::test]
async fn marks_are_cleared_all_or_in_part() {
    let house = House::new();
    let marked = |tiers: Vec<Value>| tiers.iter().filter(|t| t["state"] == "cooldown").count();
    for model in ["claude-opus", "claude-sonnet"] {
        mark(&house, model, now());
    }
    let shown = rows(house.admin("/admin/fallback").send().await).await;
    assert!(
        shown
            .iter()
            .any(|t| t["reason"] == "overloaded" && t["until"].is_string())
    );
    assert_eq!(marked(shown), 2);
    let clear = |body: &'static str| house.admin("POST /admin/fallback/clear").body(body).send();
    assert_eq!(
        marked(rows(clear("{\"model\": \"claude-opus\"}").await).await),
        1
    );
    assert_eq!(
        marked(rows(clear("{\"upstream\": \"backup\"}").await).await),
        1
    );
    assert_eq!(marked(rows(clear("").await).await), 0);
}

#[tokio::test]
async fn explain_names_the_tiers_in_order() {
    let house = House::new();
    house.polled(&[("claude-opus", 0.0), ("claude-sonnet", 0.42)]);
    let ask = async |body: Value| {
        house
            .admin("POST /admin/explain")
            .body(body.to_string())
            .send()
            .await
    };
    let json = ask(json!({"model": "gpt-4o"})).await.json();
    assert_eq!(
        (&json["requested"], &json["resolved"], &json["via"]),
        (&json!("gpt-4o"), &json!("claude-opus"), &json!("alias"))
    );
    assert_eq!(json["tiers"][0]["usable"], false);
    assert_eq!(json["tiers"][1]["remaining_fraction"], 0.42);
    assert!(json.get("allowed").is_none());

    let (id, secret) = house.key("alice", &["claude-sonnet"]);
    for key in [&id, &secret] {
        let yes = ask(json!({"model": "claude-3-5-x", "key": key}))
            .await
            .json();
        assert_eq!(
            (&yes["allowed"], &yes["tiers"][0]["usable"]),
            (&json!(true), &json!(true))
        );
        let no = ask(json!({"model": "claude-opus", "key": key}))
            .await
            .json();
        assert_eq!(
            (&no["allowed"], &no["tiers"][1]["usable"]),
            (&json!(false), &json!(false))
        );
        assert!(
            no["tiers"][1]["why"]
                .as_str()
                .unwrap()
                .contains("may not use this model")
        );
    }
    let mut old = NewKey::named("old");
    old.expires_at = Some(now() - 1);
    let (old, _) = house.state.keys.create(old, now()).unwrap();
    let over = ask(json!({"model": "claude-sonnet", "key": old.id}))
        .await
        .json();
    assert!(
        over["tiers"][0]["why"]
            .as_str()
            .unwrap()
            .contains("expired")
    );
    house.state.keys.disable(&id, now()).unwrap();
    let off = ask(json!({"model": "claude-sonnet", "key": id}))
        .await
        .json();
    assert!(
        off["tiers"][0]["why"]
            .as_str()
            .unwrap()
            .contains("disabled")
    );
}

#[tokio::test]
async fn reload_says_what_changed_or_every_error() {
    let house = House::new();
    let good = house.admin("POST /admin/reload").send().await;
    assert_eq!(
        (good.status, good.json()),
        (200, json!({"changed": ["quota.poll_interval_s"]}))
    );
    let errors = vec![
        "luna.toml:3: unknown".to_owned(),
        "fallback.json:1: empty".to_owned(),
    ];
    house.reload.store(Arc::new(Err(errors.clone())));
    let bad = house.admin("POST /admin/reload").send().await;
    assert_eq!(
        (bad.status, bad.error().as_str()),
        (422, "invalid_request_error")
    );
    assert_eq!(bad.json()["errors"], json!(errors));
}

#[tokio::test]
async fn a_reload_goes_on_when_its_caller_leaves() {
    let house = House::new();
    house.gate.forget_permits(1);
    let mut call = Box::pin(house.admin("POST /admin/reload").response());
    tokio::select! {
        biased;
        _ = &mut call => panic!("it waits at the gate"),
        () = tokio::task::yield_now() => {}
    }
    drop(call);
    house.gate.add_permits(1);
    let mut reloads = house.reloads.subscribe();
    let ended = reloads.wait_for(|count| *count == 1);
    let limit = std::time::Duration::from_secs(10);
    assert!(tokio::time::timeout(limit, ended).await.is_ok());
}

#[tokio::test]
async fn an_upstream_without_quotas_is_never_stale() {
    let house = House::new();
    // As before a reload that set health = "none".
    house.state.book.poll_refused("backup", now(), now(), "404");
    let json = house.admin("/admin/fallback").send().await.json();
    assert_eq!(
        (&json["upstreams"]["backup"]["stale"], &json["stale"]),
        (&json!(false), &json!(false))
    );
    house
        .state
        .book
        .poll_refused("default", now(), now(), "404");
    let json = house.admin("/admin/fallback").send().await.json();
    assert_eq!(
        (&json["upstreams"]["default"]["stale"], &json["stale"]),
        (&json!(true), &json!(true))
    );
}
