//! What only the running program shows: its log, its signals, what a kill leaves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::Rig;
use crate::support::binary::Luna;
use crate::support::eventually;
use crate::support::world::ask;

const LIMIT: Duration = Duration::from_secs(20);

fn price(output: f64) -> String {
    format!("[[price]]\nmodel = \"claude-sonnet-*\"\ninput = 0\noutput = {output}\n")
}

/// A day of two years ago, of a key that is gone.
const OLD: &str = r#"{"version": 1, "date": "2024-11-24", "timezone": "UTC", "through": {}, "hours": null,
  "day": {"key_gone": {"claude-sonnet-4-5": {"requests": 1, "output_tokens": 2000000}}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_with_other_prices_changes_the_past() {
    let lines = "[usage]\ncompact_s = 0.1\nprices = \"prices.toml\"\n";
    let (rig, luna) = Rig::with(lines, |folder| {
        std::fs::create_dir_all(folder.join("data/usage")).unwrap();
        std::fs::write(folder.join("data/usage/2024-11-24.json"), OLD).unwrap();
        std::fs::write(folder.join("prices.toml"), price(10.0)).unwrap();
    })
    .await;
    let mut body = ask("claude-sonnet-4-6", false);
    body["metadata"] = json!({"sim": {"output_tokens": 1_000_000}});
    assert_eq!(rig.post(&luna, &body).await.status, 200);
    let costs = async || {
        let day = "/admin/usage/daily?from=2024-11-24&to=2024-11-24";
        let old = rig.admin_get(&luna, day).await;
        let totals = rig.usage(&luna).await;
        let now = &totals["models"]["claude-sonnet-4-6"]["cost_usd"];
        json!([
            old["days"][0]["total"]["cost_usd"],
            now,
            totals["total"]["cost_usd"]
        ])
    };
    let until = async |expected: Value| {
        eventually("the costs", LIMIT, || async { costs().await == expected }).await;
    };
    until(json!([20.0, 10.0, 30.0])).await;
    std::fs::write(rig.folder.path().join("prices.toml"), price(15.0)).unwrap();
    luna.signal("HUP");
    until(json!([30.0, 15.0, 45.0])).await;
    // A price list that cannot be read leaves the costs as they were.
    std::fs::write(rig.folder.path().join("prices.toml"), "[[price]]\n").unwrap();
    luna.signal("HUP");
    eventually("the refusal", LIMIT, || async {
        luna.log().iter().any(|line| line.contains("prices.toml:"))
    })
    .await;
    assert_eq!(costs().await, json!([30.0, 15.0, 45.0]));
    rig.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_numbers_are_clamped_and_logged_once_for_each_request() {
    let (rig, luna) = Rig::new().await;
    let mut ids = Vec::new();
    for (stream, tokens) in [(false, u64::MAX), (true, u64::MAX), (true, 5), (false, 5)] {
        let mut body = ask("claude-sonnet-4-6", stream);
        body["metadata"] = json!({"sim": {"output_tokens": tokens, "input_tokens": 7}});
        let answer = rig.post(&luna, &body).await;
        assert_eq!(answer.status, 200);
        ids.push(answer.header("x-request-id").to_owned());
    }
    eventually("all is counted", LIMIT, || async {
        rig.usage(&luna).await["total"]["requests"] == 4
    })
    .await;
    let usage = rig.usage(&luna).await;
    assert_eq!(usage["total"]["output_tokens"], 2_000_000_010u64);
    assert_eq!(usage["total"]["input_tokens"], 28);
    let logged = |id: &str| {
        let log = luna.log();
        let lines = log.iter().filter(|line| line.contains(id));
        lines
            .filter(|line| line.contains("impossible token numbers"))
            .count()
    };
    // A thread of the test reads the log.
    let two = || async { logged("") == 2 };
    eventually("both lines", LIMIT, two).await;
    let each: Vec<usize> = ids.iter().map(|id| logged(id)).collect();
    assert_eq!(each, [1, 1, 0, 0]);
    rig.sim.stop().await;
}

/// Requests in the day files.
fn in_days(folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            let day: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let keys = day["day"].as_object().unwrap().values();
            let models = keys.flat_map(|models| models.as_object().unwrap().values());
            sum += models
                .map(|counters| counters["requests"].as_u64().unwrap())
                .sum::<u64>();
        }
    }
    sum
}

/// Requests in the totals of keys.json.
fn in_keys(rig: &Rig) -> u64 {
    let text = std::fs::read(rig.folder.path().join("data/keys.json")).unwrap();
    let keys: Value = serde_json::from_slice(&text).unwrap();
    let keys = keys["keys"].as_array().unwrap().iter();
    keys.map(|key| key["usage"]["requests"].as_u64().unwrap_or(0))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_the_folder_refuses_leaves_totals_and_days_equal() {
    let (rig, mut luna) = Rig::with("[usage]\ncompact_s = 0.1\nflush_ms = 20\n", |_| {}).await;
    let folder = rig.usage_folder();
    for _ in 0..3 {
        assert_eq!(
            rig.post(&luna, &ask("claude-sonnet-4-6", true))
                .await
                .status,
            200
        );
    }
    eventually("three are in files", LIMIT, || async {
        in_days(&folder) == 3 && in_keys(&rig) == 3
    })
    .await;
    let aside = rig.folder.path().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    while std::fs::write(&folder, "in the way").is_err() {
        // A compaction has made it anew in the moment between.
        std::fs::remove_dir_all(&folder).unwrap();
    }
    for _ in 0..4 {
        assert_eq!(
            rig.post(&luna, &ask("claude-sonnet-4-6", true))
                .await
                .status,
            200
        );
    }
    eventually("degraded", LIMIT, || async {
        let health = rig.admin_get(&luna, "/health").await;
        health["problems"] == json!(["usage_unwritten"])
    })
    .await;
    // keys.json is written meanwhile, with the totals that the days have.
    let made = rig
        .http
        .post(luna.url("/admin/keys"))
        .header("x-api-key", &rig.admin)
        .json(&json!({"name": "second"}))
        .send();
    assert_eq!(made.await.unwrap().status(), 201);
    luna.signal("KILL");
    luna.wait(LIMIT);
    assert_eq!(in_keys(&rig), 3);
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    luna = Luna::again(rig.folder.path());
    let usage = rig.usage(&luna).await;
    // What only the memory had is gone, from both.
    assert_eq!(usage["total"]["requests"], 3);
    assert_eq!(usage["models"]["claude-sonnet-4-6"], usage["total"]);
    luna.signal("TERM");
    luna.wait(LIMIT);
    assert_eq!((in_days(&folder), in_keys(&rig)), (3, 3));
    rig.sim.stop().await;
}
