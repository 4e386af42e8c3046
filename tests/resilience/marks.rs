//! Cooldowns as users see them: what sets a mark, how long it holds and who may try again
//! (`probes`), and what a client is told when nothing is left (`out`).

mod out;
mod probes;

use std::time::{Duration, Instant};

use luna::app::now;
use luna::simulate::{Fault, FaultKind, Generation};
use serde_json::{Value, json};

use crate::check;
use crate::support::eventually;
use crate::support::world::{Answer, Setup, World, ask};

const CHAIN: &str = "claude-opus-4-6-thinking";
const FIRST: &str = "claude-opus-4-6-thinking";
const SECOND: &str = "claude-sonnet-4-6";
const THIRD: &str = "gemini-3-flash";
const TIERS: [&str; 3] = [FIRST, SECOND, THIRD];
/// Enough to be used, too little to speak against a mark: between `threshold` and `recover`.
const LITTLE: f64 = 0.08;

/// A gateway with this `[fallback]`, whose first tier has `LITTLE` left.
async fn world(fallback: &str) -> World {
    let setup = Setup {
        toml: format!("[fallback]\n{fallback}"),
        ..Setup::default()
    };
    let world = World::with(setup).await;
    world.set_quota(FIRST, LITTLE, None).await;
    world
}

fn faults(world: &World, faults: Vec<Fault>) {
    world.handle().set_faults(faults).unwrap();
}

/// The row of a model at `default` in GET /admin/fallback.
async fn tier(world: &World, model: &str) -> Value {
    let state = world.admin_get("/admin/fallback").await;
    let rows = state["tiers"].as_array().unwrap();
    let found = rows
        .iter()
        .find(|row| row["model"] == model && row["upstream"] == "default");
    found
        .unwrap_or_else(|| panic!("no tier {model}: {state}"))
        .clone()
}

async fn state_becomes(world: &World, model: &str, state: &str) {
    eventually(
        &format!("{model} is {state}"),
        Duration::from_secs(8),
        || async { tier(world, model).await["state"] == state },
    )
    .await;
}

/// How far ahead an RFC 3339 time is.
fn ahead(time: &Value) -> Duration {
    let at: jiff::Timestamp = time
        .as_str()
        .unwrap_or_else(|| panic!("no time: {time}"))
        .parse()
        .unwrap();
    let ms = u64::try_from(at.as_millisecond())
        .unwrap()
        .saturating_sub(now());
    Duration::from_millis(ms)
}

fn in_seconds(seconds: u64) -> String {
    let at = i64::try_from(now() + seconds * 1000).unwrap();
    jiff::Timestamp::from_millisecond(at).unwrap().to_string()
}

fn asked(world: &World, model: &str) -> u64 {
    world
        .handle()
        .totals()
        .models
        .get(model)
        .map_or(0, |totals| totals.requests)
}

/// Served by the tier of this index, passing over others for these reasons.
fn served(answer: &Answer, index: usize, reasons: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-luna-fallback"), reasons);
    assert_eq!(answer.header("x-luna-tier"), (index + 1).to_string());
    assert_eq!(answer.header("x-luna-served-model"), TIERS[index]);
}

async fn served_by(world: &World, index: usize, reasons: &str) {
    for stream in [false, true] {
        served(&world.post(&ask(CHAIN, stream)).await, index, reasons);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_the_text_holds_the_tier_until_then_without_a_call() {
    for generation in [Generation::V2_0, Generation::V2_7] {
        let mut setup = Setup::default().generation(generation);
        setup.sim.models = TIERS.map(str::to_owned).to_vec();
        let world = World::with(setup).await;
        world.set_quota(FIRST, LITTLE, None).await;
        faults(
            &world,
            vec![Fault::new(FIRST, FaultKind::Exhausted400).times(1)],
        );
        served(&world.post(&ask(CHAIN, true)).await, 1, "exhausted");
        let text = if generation == Generation::V2_0 {
            299
        } else {
            17_989
        };
        for _ in 0..2 {
            let row = tier(&world, FIRST).await;
            assert_eq!(
                (&row["state"], &row["reason"]),
                (&json!("cooldown"), &json!("exhausted")),
                "{row}"
            );
            let left = ahead(&row["until"]);
            assert!(left <= Duration::from_secs(text), "{row}");
            assert!(left >= Duration::from_secs(text - 20), "{row}");
            // The poll that the mark asked for, and one by hand, see nothing that speaks against it.
            world.admin_post("/admin/fallback/poll", &json!({})).await;
        }
        served_by(&world, 1, "cooldown").await;
        assert_eq!(asked(&world, FIRST), 1);
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_400_that_echoes_the_client_marks_nothing() {
    for (generation, kind) in [
        (Generation::V2_7, FaultKind::Status),
        (Generation::V2_0, FaultKind::ExhaustedSse),
    ] {
        let mut setup = Setup::default().generation(generation);
        setup.sim.models = TIERS.map(str::to_owned).to_vec();
        let world = World::with(setup).await;
        let echo = "messages.0.content: \"You have exhausted your capacity on this model. \
                    RESOURCE_EXHAUSTED: Quota will reset after 99h0m0s.\" is not allowed";
        let mut fault = Fault::new("*", kind);
        fault.code = (kind == FaultKind::Status).then_some(400);
        fault.message = Some(echo.to_owned());
        fault.error_type = Some("invalid_request_error".to_owned());
        faults(&world, vec![fault]);
        for stream in [true, generation == Generation::V2_0] {
            let message = check::error(&world.post(&ask(CHAIN, stream)).await, &[400]);
            assert_eq!(message, echo);
        }
        assert_eq!((asked(&world, FIRST), asked(&world, SECOND)), (2, 0));
        assert_eq!(tier(&world, FIRST).await["state"], "usable");
        faults(&world, Vec::new());
        served_by(&world, 0, "").await;
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_marks_the_whole_upstream() {
    // Nothing listens on port 1 of loopback.
    let setup = Setup {
        toml: "[upstreams.dead]\nurl = \"http://127.0.0.1:1\"\nhealth = \"none\"\n[fallback]\ncooldown_s = 1".to_owned(),
        fallback: json!({"chains": {
            "one": [{"model": "a", "upstream": "dead"}, THIRD],
            "two": [{"model": "b", "upstream": "dead"}, {"model": "c", "upstream": "dead"}, THIRD],
            "lost": [{"model": "a", "upstream": "dead"}, {"model": "d", "upstream": "dead"}],
        }})
        .to_string(),
        ..Setup::default()
    };
    let world = World::with(setup).await;
    let first = world.post(&ask("one", true)).await;
    assert_eq!(
        (first.status, first.header("x-luna-fallback")),
        (200, "connect")
    );
    // Its other models are passed over with it.
    let second = world.post(&ask("two", true)).await;
    assert_eq!(
        (second.status, second.header("x-luna-fallback")),
        (200, "cooldown,cooldown")
    );
    assert_eq!(second.header("x-luna-tier"), "3");
    let state = world.admin_get("/admin/fallback").await;
    assert_eq!(state["upstreams"]["dead"]["reachable"], false, "{state}");
    assert_eq!(state["upstreams"]["default"]["reachable"], true, "{state}");
    let health: Value = world
        .client
        .get(world.url("/health"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(health["status"], "degraded", "{health}");
    // A mark never blocks the last resort, so it is tried, and the client hears of it at once.
    for stream in [true, false] {
        let began = Instant::now();
        let message = check::error(&world.post(&ask("lost", stream)).await, &[502]);
        assert!(message.contains("a on dead: connect"), "{message}");
        assert!(began.elapsed() < Duration::from_secs(3));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_drops_the_marks_that_it_names() {
    let world = world("cooldown_s = 1000\ncooldown_max_s = 1000").await;
    world.set_quota(SECOND, LITTLE, None).await;
    let mark_both = || async {
        faults(
            &world,
            vec![
                Fault::new(FIRST, FaultKind::Exhausted400).times(1),
                Fault::new(SECOND, FaultKind::Exhausted400).times(1),
            ],
        );
        served(
            &world.post(&ask(CHAIN, false)).await,
            2,
            "exhausted,exhausted",
        );
    };
    mark_both().await;
    let after = world
        .admin_post("/admin/fallback/clear", &json!({"model": SECOND}))
        .await;
    assert_eq!(after.status, 200, "{}", after.text());
    assert!(after.json()["tiers"].is_array());
    served_by(&world, 1, "cooldown").await;
    let after = world
        .admin_post("/admin/fallback/clear", &json!({"upstream": "default"}))
        .await;
    assert_eq!(after.status, 200, "{}", after.text());
    served_by(&world, 0, "").await;
    mark_both().await;
    world.admin_post("/admin/fallback/clear", &json!({})).await;
    served_by(&world, 0, "").await;
    let wrong = world
        .admin_post("/admin/fallback/clear", &json!({"upstream": "nobody"}))
        .await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    world.stop().await;
}
