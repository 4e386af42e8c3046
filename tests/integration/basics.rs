//! One request of each kind.

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
