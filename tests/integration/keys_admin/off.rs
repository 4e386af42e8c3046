//! `x-luna-fallback: off`: alias and first tier, whatever its state.

use luna::simulate::{Fault, FaultKind};

use crate::support::world::{World, ask};

const OFF: [(&str, &str); 1] = [("x-luna-fallback", "off")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_low_tier_is_asked_all_the_same() {
    let world = World::start().await;
    world.set_quota("claude-sonnet-4-6", 0.01, None).await;
    for stream in [false, true] {
        let answer = world
            .post_with(&ask("claude-3-5-sonnet-latest", stream), &OFF)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-luna-served-model"), "claude-sonnet-4-6");
        assert_eq!(answer.header("x-luna-tier"), "1");
        assert_eq!(answer.header("x-luna-fallback"), "");
    }
    let answer = world.post(&ask("claude-3-5-sonnet-latest", true)).await;
    assert_eq!(answer.header("x-luna-served-model"), "gemini-3-flash");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_tier_is_asked_all_the_same() {
    let world = World::start().await;
    let once = Fault::new("claude-sonnet-4-6", FaultKind::Overloaded529).times(1);
    world.handle().set_faults(vec![once]).unwrap();
    let answer = world.post(&ask("claude-sonnet-4-6", true)).await;
    assert_eq!(
        answer.header("x-luna-fallback"),
        "overloaded",
        "{}",
        answer.text()
    );
    let answer = world.post_with(&ask("claude-sonnet-4-6", true), &OFF).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-luna-served-model"), "claude-sonnet-4-6");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_failure_is_the_answer() {
    for (kind, status, error) in [
        (FaultKind::Exhausted400, 429, "rate_limit_error"),
        (FaultKind::RateLimit429, 429, "rate_limit_error"),
        (FaultKind::Overloaded529, 529, "overloaded_error"),
        (FaultKind::ErrorEvent, 500, "api_error"),
    ] {
        let world = World::start().await;
        let fault = Fault::new("claude-sonnet-4-6", kind).at_event(0);
        world.handle().set_faults(vec![fault]).unwrap();
        let answer = world.post_with(&ask("claude-sonnet-4-6", true), &OFF).await;
        assert_eq!(answer.status, status, "{kind:?}: {}", answer.text());
        assert_eq!(answer.json()["error"]["type"], error, "{kind:?}");
        assert_eq!(answer.header("x-luna-served-model"), "", "{kind:?}");
        assert_eq!(answer.header("x-luna-tier"), "", "{kind:?}");
        let asked = world.handle().messages().len();
        assert_eq!(asked, 1, "{kind:?}: one tier was asked, once");
        if status == 429 {
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=900).contains(&wait), "{kind:?}: {wait}");
        }
        world.stop().await;
    }
}
