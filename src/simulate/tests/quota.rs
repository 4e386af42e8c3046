//! Quotas, account states and exhaustion, in both generations.

use super::super::{AccountStatus, Generation, iso, now_ms};
use super::{BOTH, Client, MODEL, PLAIN, ask, body, get, post, start};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

#[tokio::test]
async fn health_shows_quotas_and_the_null_rule() {
    for (generation, fraction, remaining) in [
        (Generation::V2_0, serde_json::Value::Null, "N/A"),
        (Generation::V2_7, serde_json::json!(0), "0%"),
    ] {
        let sim = start(generation).await;
        let handle = sim.handle();
        let reset = Some("2030-01-01T00:00:00Z");
        handle.set_quota(ALICE, MODEL, None, reset).unwrap();
        handle.set_quota(ALICE, PLAIN, Some(0.034), None).unwrap();
        handle.set_quota(BOB, MODEL, None, None).unwrap();
        handle.remove_quota(BOB, PLAIN).unwrap();
        let answer = get(&sim, "/health").await;
        let alice = &answer.json()["accounts"][0];
        assert_eq!(alice["models"][MODEL]["remainingFraction"], fraction);
        assert_eq!(alice["models"][MODEL]["remaining"], remaining);
        assert_eq!(alice["models"][MODEL]["resetTime"], "2030-01-01T00:00:00Z");
        let shown = r#""gemini-2.5-flash-lite":{"remaining":"3%","remainingFraction":0.034,"resetTime":null}"#;
        assert!(answer.body.contains(shown), "{}", answer.body);
        let bob = &answer.json()["accounts"][1];
        assert!(bob["models"][MODEL]["remainingFraction"].is_null());
        assert_eq!(bob["models"][MODEL]["remaining"], "N/A");
        assert!(bob["models"].get(PLAIN).is_none());
        // Whole fractions are integers, as JavaScript prints them.
        assert!(answer.body.contains("\"remainingFraction\":1,"));
    }
}

#[tokio::test]
async fn account_states_in_health() {
    for generation in BOTH {
        let sim = start(generation).await;
        let handle = sim.handle();
        let status = |status| handle.set_account_status(BOB, status, None).unwrap();
        let read = async || get(&sim, "/health").await.json();
        status(AccountStatus::Invalid);
        let json = read().await;
        assert_eq!(json["accounts"][1]["status"], "invalid");
        assert!(
            json["accounts"][1]["error"]
                .as_str()
                .unwrap()
                .contains("invalid_grant")
        );
        assert_eq!(json["accounts"][1]["models"], serde_json::json!({}));
        assert_eq!(
            json["summary"],
            "2 total, 1 available, 0 rate-limited, 1 invalid"
        );
        status(AccountStatus::Error);
        let json = read().await;
        assert_eq!(json["accounts"][1]["status"], "error");
        assert_eq!(json["counts"]["available"], 2);
        status(AccountStatus::Disabled);
        let json = read().await;
        assert_eq!(json["accounts"][1]["status"], "ok");
        assert!(json["accounts"][1]["models"].get(MODEL).is_some());
        assert_eq!(json["counts"]["available"], 1);
        let limits = get(&sim, "/account-limits").await.json();
        assert_eq!(limits["accounts"][1]["enabled"], false);
        status(AccountStatus::RateLimited);
        let json = read().await;
        let bob = &json["accounts"][1];
        assert_eq!(bob["status"], "rate-limited");
        assert_eq!(bob["modelRateLimits"][MODEL]["isRateLimited"], true);
        assert!(bob["modelRateLimits"][MODEL]["resetTime"].as_u64().unwrap() > now_ms());
        let actual = bob["modelRateLimits"][MODEL].get("actualResetMs");
        assert_eq!(actual.is_some(), generation == Generation::V2_7);
        assert!(bob["rateLimitCooldownRemaining"].as_u64().unwrap() > 50_000);
        assert_eq!(json["counts"]["rateLimited"], 1);
        handle.set_accounts(&[]).unwrap();
        let json = read().await;
        assert_eq!(
            (
                json["status"].as_str(),
                json["accounts"].as_array().unwrap().len()
            ),
            (Some("ok"), 0)
        );
    }
}

#[tokio::test]
async fn the_next_account_serves_when_the_first_is_out() {
    let sim = start(Generation::V2_7).await;
    sim.handle()
        .set_quota(ALICE, MODEL, Some(0.0), None)
        .unwrap();
    let answer = ask(&sim, &post(&body(MODEL, false))).await.unwrap();
    assert_eq!(answer.status, 200);
    let entry = sim.handle().messages().remove(0);
    assert_eq!(entry.progress.account.as_deref(), Some(BOB));
    let json = get(&sim, "/health").await.json();
    assert!(
        json["accounts"][0]["lastUsed"].is_null() && json["accounts"][1]["lastUsed"].is_string()
    );
}

#[tokio::test]
async fn drain_takes_from_the_account_that_served() {
    let sim = start(Generation::V2_7).await;
    let handle = sim.handle();
    handle.set_drain(0.5).unwrap();
    for _ in 0..3 {
        assert_eq!(
            ask(&sim, &post(&body(MODEL, false))).await.unwrap().status,
            200
        );
    }
    let left = |n: usize| handle.accounts()[n].quotas[MODEL].remaining_fraction;
    assert_eq!((left(0), left(1)), (Some(0.0), Some(0.5)));
    assert_eq!(
        handle.accounts()[0].quotas[PLAIN].remaining_fraction,
        Some(1.0)
    );
}

fn exhaust(sim: &super::Running, reset_in_ms: Option<u64>) {
    let reset = reset_in_ms.map(|ms| iso(now_ms() + ms));
    for email in [ALICE, BOB] {
        let fraction = reset.is_none().then_some(0.0);
        sim.handle()
            .set_quota(email, PLAIN, fraction, reset.as_deref())
            .unwrap();
    }
}

#[tokio::test]
async fn exhaustion_in_2_0_is_max_retries_and_a_limit_in_health() {
    let sim = start(Generation::V2_0).await;
    exhaust(&sim, None);
    let began = std::time::Instant::now();
    let answer = ask(&sim, &post(&body(PLAIN, false))).await.unwrap();
    assert_eq!(answer.status, 500);
    assert!(began.elapsed().as_millis() >= 40, "20.1 s, scaled");
    assert_eq!(
        answer.body,
        r#"{"type":"error","error":{"type":"api_error","message":"Max retries exceeded"}}"#
    );
    let mut client = Client::connect(&sim).await;
    client.send(&post(&body(PLAIN, true))).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.end), (200, super::End::Whole));
    assert_eq!(
        answer.body,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Max retries exceeded\"}}\n\n"
    );
    let limits = &get(&sim, "/health").await.json()["accounts"][0]["modelRateLimits"];
    assert!(limits.get(PLAIN).is_some(), "{limits}");
    // The other models are not touched.
    assert_eq!(
        ask(&sim, &post(&body(MODEL, false))).await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn in_2_0_a_disabled_account_beside_makes_it_give_up_at_once() {
    let sim = start(Generation::V2_0).await;
    exhaust(&sim, None);
    let disabled = AccountStatus::Disabled;
    sim.handle()
        .set_account_status(BOB, disabled, None)
        .unwrap();
    let answer = ask(&sim, &post(&body(PLAIN, false))).await.unwrap();
    assert_eq!(answer.error().1, "No accounts available");
}

#[tokio::test]
async fn exhaustion_in_2_7_is_400_with_the_reset() {
    let sim = start(Generation::V2_7).await;
    for stream in [false, true] {
        exhaust(&sim, Some(17_995_000));
        let answer = ask(&sim, &post(&body(PLAIN, stream))).await.unwrap();
        assert_eq!(answer.status, 400);
        let (kind, text) = answer.error();
        assert_eq!(kind, "invalid_request_error");
        let start = "RESOURCE_EXHAUSTED: You have exhausted your capacity on gemini-2. Quota will reset after 4h59m5";
        assert!(text.starts_with(start) && text.ends_with("s."), "{text}");
    }
    exhaust(&sim, None);
    let answer = ask(&sim, &post(&body(PLAIN, true))).await.unwrap();
    assert!(
        answer
            .error()
            .1
            .ends_with("Please wait for your quota to reset.")
    );
}

#[tokio::test]
async fn a_short_reset_makes_2_7_wait_until_there_is_quota() {
    let sim = start(Generation::V2_7).await;
    exhaust(&sim, Some(60_000));
    let mut client = Client::connect(&sim).await;
    client.send(&post(&body(PLAIN, false))).await;
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.requests == 1)
            .await
    );
    assert_eq!(sim.handle().totals().ended, 0);
    sim.handle().set_quota(BOB, PLAIN, Some(0.5), None).unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn without_accounts() {
    let sim = start(Generation::V2_0).await;
    sim.handle().set_accounts(&[]).unwrap();
    let answer = ask(&sim, &post(&body(MODEL, false))).await.unwrap();
    assert_eq!(
        (answer.status, answer.error().1.as_str()),
        (500, "No accounts available")
    );
    let answer = ask(&sim, &post(&body(MODEL, true))).await.unwrap();
    assert_eq!(
        (answer.status, answer.names()),
        (200, vec!["error".to_owned()])
    );

    let sim = start(Generation::V2_7).await;
    for email in [ALICE, BOB] {
        let invalid = AccountStatus::Invalid;
        sim.handle()
            .set_account_status(email, invalid, Some("gone"))
            .unwrap();
    }
    let answer = ask(&sim, &post(&body(MODEL, true))).await.unwrap();
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.error().1,
        "All accounts are invalid: gone, gone. Visit the WebUI to fix them."
    );
    sim.handle().set_accounts(&[]).unwrap();
    let mut client = Client::connect(&sim).await;
    client.send(&post(&body(MODEL, true))).await;
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.requests == 2)
            .await
    );
    drop(client);
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.client_gone == 1)
            .await
    );
    assert_eq!(sim.handle().messages()[1].progress.status, None);
}
