//! What one request, one fallback, one abort and one absurd number come to, in usage, journal and metrics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use futures_util::StreamExt;
use luna::simulate::Fault;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::world::{World, ask};

pub fn faults(script: Value) -> Vec<Fault> {
    serde_json::from_value(script).unwrap()
}

/// Waits until so many requests are counted; what /admin/usage says then.
pub async fn counted(world: &World, requests: u64) -> Value {
    let is = |usage: &Value| usage["total"]["requests"] == json!(requests);
    eventually("all is counted", Duration::from_secs(20), || async {
        is(&world.admin_get("/admin/usage").await)
    })
    .await;
    world.admin_get("/admin/usage").await
}

/// The journal's lines of requests.
pub fn journal(world: &World) -> Vec<Value> {
    let folder = world.folder.path().join("data/usage");
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "jsonl") {
            let text = std::fs::read_to_string(path).unwrap();
            let found = text.lines().skip(1);
            lines.extend(found.map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_tiers_are_one_request() {
    let world = World::start().await;
    world
        .handle()
        .set_faults(faults(json!([
            {"model": "claude-opus-4-6-thinking", "fault": "exhausted_400"},
            {"model": "claude-sonnet-4-6", "fault": "overloaded_503"},
        ])))
        .unwrap();
    let answer = world.post(&ask("claude-opus-4-6-thinking", true)).await;
    assert_eq!(answer.status, 200);
    let usage = counted(&world, 1).await;
    assert_eq!(usage["total"]["fallbacks"], 1);
    assert_eq!(usage["total"]["errors"], 0);
    assert_eq!(usage["models"].as_object().unwrap().len(), 1);
    let model = &usage["models"]["gemini-3-flash"];
    assert_eq!(model, &usage["total"]);
    let served = world.handle().messages();
    let served = served.iter().find(|entry| entry.progress.finished).unwrap();
    assert_eq!(model["output_tokens"], served.progress.tokens.output);
    assert_eq!(model["input_tokens"], served.progress.tokens.input);
    eventually("the line", Duration::from_secs(5), || async {
        journal(&world).len() == 1
    })
    .await;
    let line = &journal(&world)[0];
    assert_eq!(line["requested_model"], "claude-opus-4-6-thinking");
    assert_eq!(line["served_model"], "gemini-3-flash");
    assert_eq!(line["fallback_reasons"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&line["status"], &line["stream"]),
        (&json!(200), &json!(true))
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_stream_counts_what_was_seen() {
    let world = World::start().await;
    let mut body = ask("claude-sonnet-4-6", true);
    body["metadata"] = json!({"sim": {"events": 5000, "interval_ms": 500, "input_tokens": 321}});
    let answer = world
        .client
        .post(world.url("/v1/messages"))
        .header("x-api-key", &world.key)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let mut stream = answer.bytes_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(!first.is_empty());
    drop(stream);
    let usage = counted(&world, 1).await;
    assert_eq!(usage["total"]["aborted"], 1);
    assert_eq!(usage["total"]["errors"], 0);
    assert_eq!(usage["total"]["input_tokens"], 321);
    world.stop().await;
}

/// Sum of the series of a family whose labels hold all of these.
pub fn sum(text: &str, family: &str, labels: &[&str]) -> u64 {
    let lines = text.lines().filter(|line| {
        line.strip_prefix(family)
            .is_some_and(|rest| rest.starts_with('{') && labels.iter().all(|l| rest.contains(l)))
    });
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum::<f64>() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_agree_with_the_journal() {
    let world = World::start().await;
    world
        .handle()
        .set_faults(faults(json!([
            {"model": "claude-opus-4-6-thinking", "fault": "exhausted_400", "times": 2},
        ])))
        .unwrap();
    let models = [
        "claude-opus-4-6-thinking",
        "claude-sonnet-4-6",
        "gemini-3-flash",
        "nobody-knows-it",
    ];
    for round in 0..12 {
        world.post(&ask(models[round % 4], round % 3 == 0)).await;
    }
    let usage = counted(&world, 12).await;
    eventually("all lines", Duration::from_secs(5), || async {
        world.app.usage.unwritten() == 0
    })
    .await;
    let lines = journal(&world);
    assert_eq!(lines.len(), 12);
    let text = world.metrics().await;
    assert_eq!(sum(&text, "luna_requests_total", &["key=\"tester\""]), 12);
    for (kind, name, total) in [
        ("input", "input", "input_tokens"),
        ("output", "output", "output_tokens"),
        ("cache_read", "cache_read", "cache_read_input_tokens"),
        (
            "cache_creation",
            "cache_creation",
            "cache_creation_input_tokens",
        ),
    ] {
        let journaled: u64 = lines
            .iter()
            .map(|line| line["tokens"][name].as_u64().unwrap())
            .sum();
        let label = format!("kind=\"{kind}\"");
        assert_eq!(
            sum(&text, "luna_tokens_total", &[&label]),
            journaled,
            "{kind}"
        );
        assert_eq!(usage["total"][total], journaled, "{kind}");
    }
    for model in &models[..3] {
        let label = format!("model=\"{model}\"");
        let served = lines.iter().filter(|line| line["served_model"] == *model);
        assert_eq!(
            sum(&text, "luna_requests_total", &[&label]),
            served.count() as u64
        );
    }
    let passed: usize = lines
        .iter()
        .map(|line| line["fallback_reasons"].as_array().unwrap().len())
        .sum();
    assert_eq!(
        sum(&text, "luna_fallbacks_total", &["from="]),
        passed as u64
    );
    world.stop().await;
}
