//! Faults after the commit: the client's stream ends with an error event, a long answer with a
//! connection that closes before its end, and neither ever looks whole.

use std::collections::BTreeMap;

use luna::simulate::{Fault, FaultKind, Generation, predict};
use serde_json::json;

use crate::check::{self, Client};
use crate::support::world::{Setup, World, ask};

/// The idle limit of the gateway under test, in seconds.
const IDLE_S: f64 = 1.0;

fn limits() -> String {
    format!(
        "[upstreams.default.limits]\nfirst_event_s = 5\nfirst_answer_s = 5\nlast_first_event_s = 5\n\
         total_s = 5\nidle_s = {IDLE_S}"
    )
}

/// Index of the first event with content: after message_start and content_block_start.
const COMMIT: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_after_the_commit_ends_the_stream_with_an_error_event() {
    for (generation, thinking, plain) in [
        (
            Generation::V2_0,
            "claude-opus-4-5-thinking",
            "claude-sonnet-4-5",
        ),
        (
            Generation::V2_7,
            "claude-opus-4-6-thinking",
            "claude-sonnet-4-6",
        ),
    ] {
        let mut setup = Setup::default().generation(generation);
        setup.upstream = limits();
        setup.fallback = json!({"chains": {
            thinking: [thinking, "gemini-3-flash"],
            plain: [plain, "gemini-3-flash"],
        }})
        .to_string();
        let config = setup.sim.clone();
        let mut world = World::with(setup).await;
        world.client = without_pool();
        let (mut broken, mut input, mut output) = (0, 0, 0);
        for (model, thinks) in [(thinking, true), (plain, false)] {
            let whole = predict(&config, ask(model, true).to_string().as_bytes()).unwrap();
            assert_eq!(whole.thinking.is_some(), thinks, "{model}");
            let last = u32::try_from(whole.events).unwrap() - 1;
            for kind in [
                FaultKind::Cut,
                FaultKind::Reset,
                FaultKind::ErrorEvent,
                FaultKind::SecondStart,
                FaultKind::Stall,
            ] {
                // A stall costs its limit each time.
                let places =
                    (COMMIT + 1..=last).filter(|at| kind != FaultKind::Stall || at % 4 == 0);
                for at in places {
                    let told = format!("{generation:?} {model} {kind:?} before event {at}");
                    let fault = Fault::new(model, kind).at_event(at).times(1);
                    world.handle().set_faults(vec![fault]).unwrap();
                    let answer = world.post(&ask(model, true)).await;
                    let names = check::broken_stream(&answer);
                    assert_eq!(names.len(), at as usize, "{told}: {names:?}");
                    assert_eq!(answer.header("x-luna-served-model"), model, "{told}");
                    assert_eq!(answer.header("x-luna-tier"), "1", "{told}");
                    broken += 1;
                    input += whole.tokens.input;
                    // It is told by the event before the last one.
                    output += if at == last { whole.tokens.output } else { 0 };
                }
            }
        }
        assert!(broken > 40 && output > 0, "{broken}");
        counted(&world, broken, (input, output)).await;
        // Nothing moved on, so nothing is marked, and the next request goes to the first tier.
        let state = world.admin_get("/admin/fallback").await;
        for tier in state["tiers"].as_array().unwrap() {
            assert_eq!(
                (&tier["state"], &tier["reason"]),
                (&json!("usable"), &json!(null)),
                "{tier}"
            );
        }
        check::whole_stream(&world.post(&ask(plain, true)).await);
        world.stop().await;
    }
}

/// The same for a client whose answer is converted. What is lost after the upstream has said why it stops is only the
/// formal end: then the client's stream is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_after_the_commit_ends_a_converted_stream_with_an_error_chunk() {
    let (thinking, plain) = ("claude-opus-4-6-thinking", "claude-sonnet-4-6");
    let mut setup = Setup::default();
    setup.upstream = limits();
    let config = setup.sim.clone();
    let world = World::with(setup).await;
    let (mut broken, mut whole_ones) = (0, 0);
    for model in [thinking, plain] {
        let whole = predict(&config, ask(model, true).to_string().as_bytes()).unwrap();
        let last = u32::try_from(whole.events).unwrap() - 1;
        for kind in [
            FaultKind::Cut,
            FaultKind::Reset,
            FaultKind::ErrorEvent,
            FaultKind::SecondStart,
            FaultKind::Stall,
        ] {
            let places = (COMMIT + 1..=last)
                .filter(|at| kind != FaultKind::Stall || at % 4 == 0 || *at == last);
            for at in places {
                let fault = Fault::new(model, kind).at_event(at).times(1);
                world.handle().set_faults(vec![fault]).unwrap();
                let answer = Client::OpenAi.ask(&world, model, true).await;
                let told = format!("{model} {kind:?} before event {at}: {}", answer.text());
                let lost = matches!(kind, FaultKind::Cut | FaultKind::Reset | FaultKind::Stall);
                if at == last && lost {
                    assert_eq!(Client::OpenAi.whole_stream(&answer), whole.text, "{told}");
                    whole_ones += 1;
                } else {
                    let text = check::chat::broken_stream(&answer);
                    assert!(whole.text.starts_with(&text), "{told}");
                    broken += 1;
                }
                assert_eq!(answer.header("x-luna-tier"), "1", "{told}");
            }
        }
    }
    assert!(broken > 40 && whole_ones == 6, "{broken} {whole_ones}");
    let total = check::usage(&world, broken + whole_ones).await;
    assert_eq!(total["errors"], broken, "{total}");
    assert_eq!(total["aborted"], 0, "{total}");
    world.stop().await;
}

/// A client that opens a connection for each request.
pub fn without_pool() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

/// Each of them is an error once, with the tokens that it had reported.
async fn counted(world: &World, broken: u64, (input, output): (u64, u64)) {
    let total = check::usage(world, broken).await;
    assert_eq!(total["errors"], broken, "{total}");
    assert_eq!(total["aborted"], 0, "{total}");
    assert_eq!(total["fallbacks"], 0, "{total}");
    assert_eq!(total["input_tokens"], input, "{total}");
    assert_eq!(total["output_tokens"], output, "{total}");
    let metrics = world.metrics().await;
    let label = ["status=\"stream_error\""];
    assert_eq!(
        check::sum(&metrics, "luna_requests_total", &label),
        broken as f64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_json_answer_that_breaks_after_its_commit_never_looks_whole() {
    let mut setup = Setup::default();
    setup.upstream = limits();
    let world = World::with(setup).await;
    let shape = serde_json::from_value(json!({"answer_bytes": 4 << 20})).unwrap();
    world
        .handle()
        .set_answers(BTreeMap::from([("*".to_owned(), shape)]))
        .unwrap();
    let model = "claude-sonnet-4-6";
    let mut broken = 0;
    for kind in [FaultKind::Cut, FaultKind::Reset, FaultKind::Stall] {
        let fault = Fault::new(model, kind).times(1).at_event(1);
        world.handle().set_faults(vec![fault]).unwrap();
        let answer = world.post(&ask(model, false)).await;
        assert_eq!(answer.status, 200);
        if kind == FaultKind::Reset && answer.broken.is_none() {
            // A reset discards what is on its way: nothing had been shown, and the next tier answered.
            assert_eq!(answer.header("x-luna-fallback"), "stream_error");
            assert_eq!(answer.content().len(), 4 << 20);
            world.admin_post("/admin/fallback/clear", &json!({})).await;
            continue;
        }
        broken += 1;
        let length = answer.body.len();
        assert!(
            answer.broken.is_some(),
            "{kind:?}: {length} bytes and a clean end"
        );
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
        assert_eq!(answer.header("x-luna-served-model"), model);
    }
    let answer = world.post(&ask(model, false)).await;
    assert_eq!((answer.status, &answer.broken), (200, &None));
    assert_eq!(answer.content().len(), 4 << 20);
    let total = check::usage(&world, 4).await;
    assert_eq!(total["errors"], broken, "{total}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_a_broken_stream_ends_with_the_error_event_and_its_connection_lives_on() {
    let mut setup = Setup::default();
    setup.upstream = limits();
    let mut world = World::with(setup).await;
    world.client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let model = "claude-sonnet-4-6";
    for kind in [
        FaultKind::Cut,
        FaultKind::ErrorEvent,
        FaultKind::SecondStart,
        FaultKind::Stall,
    ] {
        let fault = Fault::new(model, kind).at_event(4).times(1);
        world.handle().set_faults(vec![fault]).unwrap();
        let names = check::broken_stream(&world.post(&ask(model, true)).await);
        assert_eq!(names.len(), 4, "{kind:?}: {names:?}");
        check::whole_stream(&world.post(&ask(model, true)).await);
    }
    // And before the commit: nothing of the first tier, and an error that is one answer.
    world
        .handle()
        .set_faults(vec![Fault::new(model, FaultKind::Cut).at_event(2)])
        .unwrap();
    let moved = world.post(&ask(model, true)).await;
    assert_eq!(moved.header("x-luna-fallback"), "stream_error");
    check::whole_stream(&moved);
    world
        .handle()
        .set_faults(vec![Fault::new("*", FaultKind::Overloaded529)])
        .unwrap();
    for stream in [true, false] {
        check::error(&world.post(&ask("gemini-2.5-pro", stream)).await, &[529]);
    }
    assert_eq!(world.app.connections(), 1);
    world.stop().await;
}
