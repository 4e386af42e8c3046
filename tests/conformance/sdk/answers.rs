//! What comes back when all goes well: messages, streams, tools.

use std::time::Duration;

use serde_json::{Value, json};

use super::{FIRST, run};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_gives_the_upstreams_answer() {
    let world = World::start().await;
    let told = run(&world, "create.py", &[]).await;
    assert!(
        told["text"]
            .as_str()
            .unwrap()
            .starts_with("Hello from claude-sonnet-4-6")
    );
    assert_eq!(told["thinking"], "Let me think.");
    let bodies: Vec<Value> = world
        .handle()
        .messages()
        .iter()
        .map(|entry| serde_json::from_slice(&world.handle().body(entry.seq).unwrap()).unwrap())
        .collect();
    let systems: Vec<&Value> = bodies
        .iter()
        .map(|body| &body["system"])
        .filter(|s| !s.is_null())
        .collect();
    assert_eq!(systems[0], "Answer in rhymes.");
    assert_eq!(systems[1][0]["cache_control"], json!({"type": "ephemeral"}));
    let budget = bodies
        .iter()
        .find(|body| body["model"] == "claude-opus-4-6-thinking")
        .unwrap();
    assert_eq!(
        budget["thinking"],
        json!({"type": "enabled", "budget_tokens": 1024})
    );
    // One request each: nothing was asked twice behind the SDK's back.
    assert_eq!(bodies.len(), 30);
    assert!(
        world
            .handle()
            .messages()
            .iter()
            .all(|entry| !entry.has_authorization && !entry.has_x_api_key)
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_in_the_same_message_as_create() {
    let world = World::start().await;
    let told = run(&world, "stream.py", &[]).await;
    let plain: Vec<&str> = told["seen"][FIRST]["types"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(plain[..2], ["message_start", "content_block_start"]);
    let thinking = told["seen"]["claude-opus-4-6-thinking"]["types"]
        .as_array()
        .unwrap();
    let starts = thinking
        .iter()
        .filter(|kind| **kind == "content_block_start")
        .count();
    assert_eq!(starts, 2, "{thinking:?}");
    // All but the stream that its reader left.
    let gone = world
        .handle()
        .wait(Duration::from_secs(10), |totals| totals.client_gone == 1)
        .await;
    assert!(gone, "{:?}", world.handle().totals());
    let totals = world.handle().totals();
    assert_eq!(
        totals.finished,
        world.handle().ledger().entries.len() as u64 - 1,
        "{totals:?}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_go_there_and_back() {
    let world = World::start().await;
    let told = run(&world, "tools.py", &[]).await;
    let bodies: Vec<String> = world
        .handle()
        .messages()
        .iter()
        .map(|entry| String::from_utf8(world.handle().body(entry.seq).unwrap().to_vec()).unwrap())
        .collect();
    for id in told["ids"].as_array().unwrap() {
        let id = id.as_str().unwrap();
        let back = bodies
            .iter()
            .filter(|body| body.contains(&format!("\"tool_use_id\":\"{id}\"")))
            .count();
        assert_eq!(back, 1, "{id}");
    }
    let signature = told["signature"].as_str().unwrap();
    assert!(
        bodies.last().unwrap().contains(signature),
        "the signed thinking block went back"
    );
    world.stop().await;
}
