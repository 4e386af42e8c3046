//! One request of each kind.

use serde_json::{Value, json};

use crate::support::world::{World, ask};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_comes_back_with_the_truth_about_who_answered() {
    let world = World::start().await;
    for stream in [false, true] {
        let answer = world.post(&ask("claude-sonnet-4-6", stream)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer.content().starts_with("Hello from claude-sonnet-4-6"),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("x-luna-served-model"), "claude-sonnet-4-6");
        assert_eq!(answer.header("x-luna-requested-model"), "claude-sonnet-4-6");
        assert_eq!(answer.header("x-luna-upstream"), "default");
        assert_eq!(answer.header("x-luna-tier"), "1");
        assert_eq!(answer.header("x-luna-fallback"), "");
        assert_eq!(answer.header("x-request-id"), answer.header("request-id"));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_low_tier_is_passed_over_and_the_answer_says_so() {
    let world = World::start().await;
    world.set_quota("claude-sonnet-4-6", 0.01, None).await;
    let answer = world.post(&ask("claude-3-5-sonnet-latest", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-luna-served-model"), "gemini-3-flash");
    assert_eq!(answer.header("x-luna-tier"), "2");
    assert_eq!(answer.header("x-luna-fallback"), "quota");
    assert!(answer.content().starts_with("Hello from gemini-3-flash"));
    world.stop().await;
}

/// Antigravity drops some fields without a word; the gateway relays them all the same, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_upstream_ignores_is_told() {
    let world = World::start().await;
    let asked = |field: &str, value: Value| {
        let mut body = ask("claude-sonnet-4-6", false);
        body[field] = value;
        body
    };
    for (field, value, told) in [
        ("stop_sequences", json!(["END"]), "stop_sequences:ignored"),
        ("stop_sequences", json!([]), ""),
        ("stop_sequences", json!(null), ""),
        ("tool_choice", json!({"type": "any"}), "tool_choice:ignored"),
        ("tool_choice", json!({"type": "auto"}), ""),
        (
            "output_config",
            json!({"format": {"type": "json_schema", "schema": {}}}),
            "output_config:ignored",
        ),
        ("metadata", json!({"user_id": "stop_sequences"}), ""),
        ("thread", json!(null), ""),
    ] {
        let body = asked(field, value);
        let answer = world.post(&body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        assert_eq!(answer.header("x-luna-warnings"), told, "{body}");
        let seq = world.handle().messages().last().unwrap().seq;
        let sent = world.handle().body(seq).unwrap();
        assert_eq!(sent, body.to_string(), "relayed as it came");
    }
    // Whoever ignores this answers without the history, so it is refused, in the words that make an SDK send it.
    let answer = world
        .post(&asked(
            "thread",
            json!({"type": "continue", "previous_message_id": "msg_1"}),
        ))
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!(
        error["details"],
        json!({"error_code": "thread_unsupported_request", "unsupported": ["gateway"]})
    );
    world.stop().await;
}
