//! The control over HTTP, and the ledger.

use super::super::{Generation, spawn};
use super::{Answer, MODEL, PLAIN, Running, ask, body, config, get, post, request, start};

async fn put(sim: &Running, path: &str, body: &str) -> Answer {
    ask(sim, &request("PUT", path, body)).await.unwrap()
}

#[tokio::test]
async fn orders_over_http_equal_those_in_process() {
    let sim = start(Generation::V2_0).await;
    let quota = "/__sim/quota/alice%40example.com/gemini-3-flash";
    let set = r#"{"remainingFraction":0.25,"resetTime":"2030-01-01T00:00:00Z"}"#;
    assert_eq!(put(&sim, quota, set).await.status, 200);
    assert_eq!(
        sim.handle().accounts()[0].quotas[MODEL].remaining_fraction,
        Some(0.25)
    );
    assert_eq!(
        put(&sim, quota, r#"{"remainingFraction":null}"#)
            .await
            .status,
        200
    );
    let answer = ask(&sim, &request("DELETE", quota, "")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(!sim.handle().accounts()[0].quotas.contains_key(MODEL));

    let faults = r#"[{"model":"*","fault":"status","code":418,"after":0,"times":1,"at_event":2,"delay_ms":1}]"#;
    assert_eq!(put(&sim, "/__sim/faults", faults).await.status, 200);
    let shown = get(&sim, "/__sim/faults").await.json();
    assert_eq!(
        (&shown[0]["code"], &shown[0]["applied"]),
        (&418.into(), &0.into())
    );
    assert_eq!(
        ask(&sim, &post(&body(PLAIN, true))).await.unwrap().status,
        418
    );

    let accounts = r#"[{"email":"c@x","status":"rate-limited"},{"email":"d@x","models":{"claude-x":{"remainingFraction":1}}}]"#;
    assert_eq!(put(&sim, "/__sim/accounts", accounts).await.status, 200);
    let disabled = r#"{"status":"disabled"}"#;
    assert_eq!(
        put(&sim, "/__sim/accounts/d%40x", disabled).await.status,
        200
    );
    let shown = get(&sim, "/__sim/accounts").await.json();
    assert_eq!(
        (&shown[0]["email"], &shown[1]["status"]),
        (&"c@x".into(), &"disabled".into())
    );

    let answers = r#"{"*":{"text":"preset"}}"#;
    assert_eq!(put(&sim, "/__sim/answers", answers).await.status, 200);
    let answer = ask(&sim, &post(&body(PLAIN, true))).await.unwrap();
    assert_eq!(answer.text(), "preset");
    assert_eq!(
        put(&sim, "/__sim/drain", "{\"drain\":0.1}").await.status,
        200
    );

    let ledger = get(&sim, "/__sim/ledger?after=1").await.json();
    assert_eq!(ledger["totals"]["requests"], 2);
    assert_eq!(ledger["entries"].as_array().unwrap().len(), 1);
    assert_eq!(ledger["entries"][0]["finished"], true);
    let kept = get(&sim, "/__sim/bodies/2").await;
    assert_eq!(kept.body, body(PLAIN, true));
    assert_eq!(get(&sim, "/__sim/bodies/77").await.status, 404);

    assert_eq!(
        ask(&sim, &request("POST", "/__sim/reset", ""))
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(get(&sim, "/__sim/totals").await.json()["requests"], 0);
    assert_eq!(sim.handle().accounts()[0].email, "alice@example.com");
    assert!(sim.handle().faults().is_empty());
    let answer = ask(&sim, &post(&body(PLAIN, true))).await.unwrap();
    assert_ne!(answer.text(), "preset");
    assert_eq!(sim.handle().messages()[0].seq, 1);
}

#[tokio::test]
async fn bad_orders_are_named() {
    let sim = start(Generation::V2_7).await;
    for (path, sent, wanted) in [
        (
            "/__sim/quota/nobody/m",
            "{\"remainingFraction\":1}",
            "no account \"nobody\"",
        ),
        (
            "/__sim/quota/alice%40example.com/m",
            "{\"remainingFraction\":2}",
            "0 to 1",
        ),
        (
            "/__sim/quota/alice%40example.com/m",
            "{\"resetTime\":\"soon\"}",
            "ISO",
        ),
        (
            "/__sim/quota/alice%40example.com/m",
            "{\"remaining\":1}",
            "remaining",
        ),
        ("/__sim/quota/alice%40example.com/m", "nonsense", "body"),
        (
            "/__sim/faults",
            "[{\"fault\":\"bang\"}]",
            "entry 0: unknown variant `bang`",
        ),
        (
            "/__sim/faults",
            "[{\"fault\":\"cut\",\"code\":500}]",
            "fault 0: code",
        ),
        (
            "/__sim/faults",
            "{\"fault\":\"status\",\"code\":42}",
            "200 to 599",
        ),
        (
            "/__sim/faults",
            "{\"fault\":\"cut\",\"times\":0}",
            "at least 1",
        ),
        ("/__sim/faults", "{\"fault\":\"cut\",\"typo\":0}", "typo"),
        (
            "/__sim/faults",
            "{\"fault\":\"cut\",\"retry_after\":\"a\\nb\"}",
            "ASCII",
        ),
        (
            "/__sim/accounts",
            "[{\"email\":\"a\"},{\"email\":\"a\"}]",
            "twice",
        ),
        (
            "/__sim/accounts",
            "[{\"email\":\"a\",\"status\":\"fine\"}]",
            "fine",
        ),
        ("/__sim/accounts/nobody", "{\"status\":\"ok\"}", "nobody"),
        (
            "/__sim/answers",
            "{\"m\":{\"events\":9999999}}",
            "m: events",
        ),
        ("/__sim/drain", "{\"drain\":-1}", "0 to 1"),
    ] {
        let answer = put(&sim, path, sent).await;
        assert_eq!(answer.status, 400, "{path} {sent}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(wanted), "{error}");
    }
    let answer = get(&sim, "/__sim/ledger?limit=x").await;
    assert_eq!(answer.status, 400);
    let answer = get(&sim, "/__sim/nothing").await;
    assert!(answer.status == 404 && answer.body.contains("/__sim/faults"));
    assert_eq!(sim.handle().totals().requests, 0, "orders are in no ledger");
}

#[tokio::test]
async fn totals_lose_nothing_that_the_ring_drops() {
    let mut config = config(Generation::V2_7);
    config.ledger_capacity = 3;
    config.keep_bodies = 2 * body(PLAIN, true).len();
    let sim = spawn(config).await.unwrap();
    for _ in 0..10 {
        ask(&sim, &post(&body(PLAIN, true))).await.unwrap();
    }
    let view = sim.handle().ledger();
    assert_eq!((view.entries.len(), view.dropped), (3, 7));
    assert_eq!(view.entries[0].seq, 8);
    let each = view.entries[0].progress.tokens;
    let model = &view.totals.models[PLAIN];
    assert_eq!((model.requests, model.finished), (10, 10));
    assert_eq!(model.tokens.input, 10 * each.input);
    assert_eq!(view.totals.tokens.output, 10 * each.output);
    assert_eq!(view.totals.statuses[&200], 10);
    assert!(sim.handle().body(8).is_none() && sim.handle().body(9).is_some());
}

#[tokio::test]
async fn a_request_that_a_reset_overtakes_is_in_no_ledger() {
    let sim = start(Generation::V2_7).await;
    let hang = super::super::Fault::new("*", super::super::FaultKind::Hang);
    sim.handle().set_faults(vec![hang]).unwrap();
    let mut client = super::Client::connect(&sim).await;
    client.send(&post(&body(PLAIN, true))).await;
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.requests == 1)
            .await
    );
    sim.handle().reset();
    drop(client);
    ask(&sim, &post(&body(PLAIN, false))).await.unwrap();
    let totals = sim.handle().totals();
    assert_eq!(
        (totals.requests, totals.ended, totals.client_gone),
        (1, 1, 0)
    );
}
