//! Every fault x stream or not x both generations x place in the chain, up to the commit.
//!
//! Each cell has three models and a chain of its own, so that no mark of one cell reaches another,
//! and all cells run at the same time against one gateway. A cell whose fault comes while another
//! tier is left must give that tier's whole answer and name the reason; a cell whose fault is the
//! last word must give one well-formed error. `cells` says what label and status each has to have.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use luna::simulate::{Fault, FaultKind, Generation, Quota, SimAccount, SimConfig, predict};
use serde_json::json;

use crate::check::{self, Client};
use crate::support::eventually;
use crate::support::world::{Answer, Setup, World, ask};

mod cells;

use cells::{Cell, Outcome, Place, expected, matrix, models, outcome, struck};

/// The limits of the gateway under test, in seconds: `first_event_s` and `first_answer_s`, and
/// `last_first_event_s` and `total_s`. Far above what an answer takes on a busy machine.
const LIMIT_S: f64 = 2.0;
const LAST_LIMIT_S: f64 = 2.5;
/// On top of the limits: what a busy machine may add.
const SLACK: Duration = Duration::from_secs(5);
const TIME_SCALE: f64 = 0.02;

fn faulty(cell: &Cell) -> Vec<Fault> {
    let [first, second, third] = models(cell);
    let strike = |model: &str| {
        let mut fault = Fault::new(model, cell.kind);
        fault.at_event = cell.at_event;
        fault
    };
    let plain = |model: &str| Fault::new(model, FaultKind::Status);
    match cell.place {
        Place::First => vec![strike(&first)],
        Place::Middle => vec![strike(&second)],
        Place::Last => vec![plain(&first), plain(&second), strike(&third)],
        Place::All => vec![strike(&first), strike(&second), strike(&third)],
    }
}

async fn world(generation: Generation, cells: &[Cell], health: Option<FaultKind>) -> World {
    let mut setup = Setup::default().generation(generation);
    setup.sim.time_scale = TIME_SCALE;
    setup.sim.keep_alive_ms = 30_000_000;
    setup.sim.models = cells.iter().flat_map(models).collect();
    let mut account = SimAccount::new("alice@example.com");
    let mut chains = BTreeMap::new();
    for cell in cells {
        let tiers = models(cell);
        for (index, model) in tiers.iter().enumerate() {
            let low = cell.place == Place::Middle && index == 0;
            let left = if low { 0.02 } else { 1.0 };
            let quota = Quota {
                remaining_fraction: Some(left),
                reset_time: None,
            };
            account.quotas.insert(model.clone(), quota);
        }
        chains.insert(cell.name.clone(), tiers);
    }
    setup.sim.accounts = vec![account];
    setup.fallback = json!({"chains": chains}).to_string();
    setup.upstream = format!(
        "[upstreams.default.limits]\nfirst_event_s = {LIMIT_S}\nfirst_answer_s = {LIMIT_S}\n\
         last_first_event_s = {LAST_LIMIT_S}\ntotal_s = {LAST_LIMIT_S}\nidle_s = {LIMIT_S}"
    );
    setup.toml = "[quota]\npoll_timeout_s = 5".to_owned();
    let world = World::with(setup).await;
    let mut script: Vec<Fault> = cells.iter().flat_map(faulty).collect();
    script.extend(health.map(|kind| Fault::new("*", kind)));
    world.handle().set_faults(script).unwrap();
    world
}

fn check_answer(
    client: Client,
    cell: &Cell,
    config: &SimConfig,
    answer: &Answer,
    at: usize,
    reasons: &[&str],
) {
    let tiers = models(cell);
    let served = &tiers[at];
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-luna-requested-model"), cell.name);
    assert_eq!(answer.header("x-luna-served-model"), served);
    assert_eq!(answer.header("x-luna-upstream"), "default");
    assert_eq!(answer.header("x-luna-tier"), (at + 1).to_string());
    assert_eq!(answer.header("x-luna-fallback"), reasons.join(","));
    if client == Client::Anthropic {
        assert_eq!(answer.header("x-request-id"), answer.header("request-id"));
    }
    let cut_short = cell.kind == FaultKind::EarlyEnd && at == struck(cell);
    let mut sent = ask(served, cell.stream);
    if config.generation == Generation::OpenAi {
        let members = sent.as_object_mut().unwrap();
        members.retain(|name, _| name != "max_tokens");
    }
    let whole = predict(config, sent.to_string().as_bytes()).unwrap();
    let text = if cell.stream {
        let events = answer.events().len() as u64;
        let relayed = client == Client::Anthropic && config.generation != Generation::OpenAi;
        let same = !relayed || events == whole.events;
        assert!(cut_short || same, "{}", answer.text());
        client.whole_stream(answer)
    } else {
        assert_eq!(answer.broken, None);
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
        assert_eq!(answer.json()["model"], served.as_str());
        client.content(answer)
    };
    if cut_short {
        // Nothing tells this from a whole answer (antigravity.md section 10, point 3).
        assert!(whole.text.starts_with(&text) && !text.is_empty(), "{text}");
    } else {
        assert_eq!(text, whole.text);
    }
    for other in tiers.iter().filter(|tier| *tier != served) {
        assert!(
            !answer.text().contains(other.as_str()),
            "{other} leaked: {}",
            answer.text()
        );
    }
}

/// Runs one cell: whether it gave an answer, and whether tiers were passed over.
async fn run(world: &World, generation: Generation, client: Client, cell: &Cell) -> (bool, bool) {
    let expected = expected(cell, generation);
    let began = Instant::now();
    let answer = client.ask(world, &cell.name, cell.stream).await;
    let took = began.elapsed();
    assert!(
        took < expected.within,
        "{took:?} instead of {:?}",
        expected.within
    );
    let lower = answer.text().to_ascii_lowercase();
    assert!(
        !lower.contains("<html") && !lower.contains("<!doctype"),
        "{lower}"
    );
    let fell_back = match &expected.end {
        Ok((at, reasons)) => {
            let mut config = SimConfig::new(generation);
            config.models = models(cell).to_vec();
            check_answer(client, cell, &config, &answer, *at, reasons);
            !reasons.is_empty()
        }
        Err(statuses) => {
            let message = client.error(&answer, statuses);
            for tier in models(cell) {
                assert!(message.contains(&tier), "{tier} is not in: {message}");
            }
            true
        }
    };
    let totals = world.handle().totals();
    let asked = models(cell).map(|model| totals.models.get(&model).map_or(0, |m| m.requests));
    for (index, times) in asked.into_iter().enumerate() {
        // A connection of the pool that dies unanswered is tried once more, on a fresh one.
        let most = if expected.asked[index] { 2 } else { 0 };
        let least = u64::from(expected.asked[index]);
        assert!(
            (least..=most).contains(&times),
            "tier {} asked {times} times",
            index + 1
        );
    }
    (expected.end.is_ok(), fell_back)
}

/// Runs all cells at once, then compares the counters with what was answered.
async fn run_all(
    generation: Generation,
    client: Client,
    kinds: &[FaultKind],
    health: Option<FaultKind>,
) {
    let mut cells = matrix(generation, kinds);
    // The long ones first, and all of them at once.
    cells.sort_by_key(|cell| !matches!(outcome(cell, generation), Outcome::Fails("timeout", _)));
    let world = world(generation, &cells, health).await;
    if health.is_some() {
        world.app.poller.poll_all().await;
    }
    let results: Vec<(bool, bool)> = futures_util::stream::iter(&cells)
        .map(|cell| {
            let world = &world;
            async move {
                let told = format!("{generation:?} {client:?} {cell:?}");
                let done = std::panic::AssertUnwindSafe(run(world, generation, client, cell));
                match futures_util::FutureExt::catch_unwind(done).await {
                    Ok(done) => done,
                    Err(why) => panic!("{told}: {}", said(&*why)),
                }
            }
        })
        .buffer_unordered(56)
        .collect()
        .await;
    let answered = results.iter().filter(|(ok, _)| *ok).count() as u64;
    let fell_back = results.iter().filter(|(_, fell)| *fell).count() as u64;
    settled(&world).await;
    let usage = check::usage(&world, cells.len() as u64).await;
    assert_eq!(usage["errors"], cells.len() as u64 - answered, "{usage}");
    assert_eq!(usage["fallbacks"], fell_back, "{usage}");
    assert_eq!(usage["aborted"], 0, "{usage}");
    let metrics = world.metrics().await;
    let ok = check::sum(&metrics, "luna_requests_total", &["status=\"200\""]);
    assert_eq!(ok, answered as f64);
    assert_eq!(
        check::sum(&metrics, "luna_requests_total", &[]),
        cells.len() as f64
    );
    world.stop().await;
}

fn said(why: &(dyn std::any::Any + Send)) -> String {
    let text = why.downcast_ref::<String>().cloned();
    text.or_else(|| why.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default()
}

/// Nothing is left of the requests: no place taken, no memory, no upstream request.
async fn settled(world: &World) {
    eventually(
        "every upstream request has ended",
        Duration::from_secs(10),
        || async {
            let totals = world.handle().totals();
            totals.ended == totals.requests && world.app.gateway.in_flight() == 0
        },
    )
    .await;
    assert_eq!(world.app.gateway.body_bytes(), 0);
    assert_eq!(world.metric("luna_in_flight").await, 0.0);
}

/// Every kind but those of /health, which concern no single tier.
fn kinds() -> Vec<FaultKind> {
    let health = [FaultKind::HealthError, FaultKind::HealthSlow];
    FaultKind::ALL
        .into_iter()
        .filter(|kind| !health.contains(kind))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_before_the_commit_of_generation_2_0() {
    run_all(Generation::V2_0, Client::Anthropic, &kinds(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_before_the_commit_of_generation_2_7() {
    run_all(Generation::V2_7, Client::Anthropic, &kinds(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_generation_2_0_to_an_openai_client() {
    run_all(Generation::V2_0, Client::OpenAi, &kinds(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_generation_2_7_to_an_openai_client() {
    run_all(Generation::V2_7, Client::OpenAi, &kinds(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_an_openai_upstream_to_an_openai_client() {
    run_all(Generation::OpenAi, Client::OpenAi, &kinds(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_an_openai_upstream_to_an_anthropic_client() {
    run_all(Generation::OpenAi, Client::Anthropic, &kinds(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_fails_or_is_slow_disturbs_no_request() {
    for generation in [Generation::V2_0, Generation::V2_7] {
        for health in [FaultKind::HealthError, FaultKind::HealthSlow] {
            // What the last good poll said is still trusted.
            run_all(generation, Client::Anthropic, &[health], Some(health)).await;
        }
    }
}

#[test]
fn the_matrix_is_as_large_as_promised() {
    let health = [FaultKind::HealthError, FaultKind::HealthSlow];
    let old = matrix(Generation::V2_0, &kinds()).len();
    let new = matrix(Generation::V2_7, &kinds()).len();
    let open = matrix(Generation::OpenAi, &kinds()).len();
    // Each for both kinds of clients.
    let cells = 2 * (old + new + open) + matrix(Generation::V2_7, &health).len();
    assert!(cells >= 600, "{cells}");
}
