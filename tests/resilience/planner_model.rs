//! Thirty random scripts of quotas, faults, polls and requests through the running gateway, against
//! an independent model of contracts/gateway.md section 5 (`model`) and of the simulated upstream's
//! faults and quotas (`upstream`): the tier that answers is the one that the model predicts, and so
//! are the reasons, the status of an error and the state of every tier after each step.
//!
//! Time stands still but for its order: cooldowns are far longer than a script takes, so marks end by
//! polls, by successes and by hand, and which of two marks ends first is the order in which they were
//! set. Polls count only when the script wants them; those that marks ask for get a 503.

use std::time::Duration;

use luna::simulate::{Fault, FaultKind};
use serde_json::json;

use crate::support::world::{Setup, World, ask};

mod model;
mod script;
mod upstream;

use model::{Model, Outcome};
use script::{MODELS, Step, script};
use upstream::Upstream;

const STEPS: usize = 70;

/// The clock of marks and polls has milliseconds: no two events of a script may share one.
const APART: Duration = Duration::from_millis(2);

async fn world() -> World {
    let mut setup = Setup::default();
    setup.sim.models = MODELS.map(str::to_owned).to_vec();
    setup.sim.time_scale = 0.001;
    setup.sim.keep_alive_ms = 30_000_000;
    setup.toml =
        "[quota]\npoll_interval_s = 3600\nstale_after_s = 3600\n[fallback]\ncooldown_s = 1000\n\
                  cooldown_max_s = 3000\ncooldown_with_quota_max_s = 500"
            .to_owned();
    setup.fallback = json!({"threshold": 0.05, "recover": 0.10, "chains": {
        MODELS[0]: MODELS,
        MODELS[1]: [MODELS[1], MODELS[2]],
    }})
    .to_string();
    World::with(setup).await
}

/// The script's faults as the simulator has them now, with what is left of each; and whether polls fail.
fn rewrite(world: &World, polls_fail: bool) {
    let mut lines = Vec::new();
    if polls_fail {
        lines.push(Fault::new("/health", FaultKind::HealthError));
    }
    for line in world.handle().faults() {
        let mut fault = line.fault;
        let spent = fault.times.is_some_and(|times| line.applied >= times);
        if fault.fault != FaultKind::HealthError && !spent {
            fault.after = fault.after.saturating_sub(line.seen);
            fault.times = fault.times.map(|times| times - line.applied);
            lines.push(fault);
        }
    }
    world.handle().set_faults(lines).unwrap();
}

async fn poll(world: &World) {
    let polled_at = || world.app.book.snapshot().upstream("default").polled_at;
    let before = polled_at();
    rewrite(world, false);
    // A poll that a mark asked for in this very millisecond would be taken for ours.
    while polled_at() == before {
        tokio::time::sleep(APART).await;
        world.app.poller.poll_all().await;
    }
    rewrite(world, true);
}

/// Does the step; gives what the client saw when it is a request.
async fn act(world: &World, keys: &[String; 2], step: &Step) -> Option<Outcome> {
    match step {
        Step::Quota {
            model,
            left,
            reset_h,
        } => {
            let accounts = world.handle().accounts();
            let reset = reset_h.map(|hours| {
                let at = jiff::Timestamp::now() + jiff::Span::new().hours(hours);
                at.to_string()
            });
            for (account, left) in accounts.iter().zip(left) {
                world
                    .handle()
                    .set_quota(&account.email, model, *left, reset.as_deref())
                    .unwrap();
            }
        }
        Step::Faults(faults) => {
            let lines = faults.iter().map(script::Line::fault).collect();
            world.handle().set_faults(lines).unwrap();
            rewrite(world, true);
        }
        Step::Poll => poll(world).await,
        Step::Clear(model) => {
            let body = model.map_or(json!({}), |model| json!({"model": model}));
            let answer = world.admin_post("/admin/fallback/clear", &body).await;
            assert_eq!(answer.status, 200);
        }
        Step::Ask {
            model,
            stream,
            key,
            off,
        } => {
            let mut headers = vec![("x-api-key", keys[*key].as_str())];
            if *off {
                headers.push(("x-luna-fallback", "off"));
            }
            let request = world.client.post(world.url("/v1/messages"));
            let request = headers
                .iter()
                .fold(request, |r, (name, value)| r.header(*name, *value));
            let request = request.header("content-type", "application/json");
            let sent = request
                .body(ask(model, *stream).to_string())
                .send()
                .await
                .unwrap();
            let answer = crate::support::world::Answer::read(sent).await;
            return Some(Outcome {
                status: answer.status,
                served: answer.header("x-luna-served-model").to_owned(),
                tier: answer.header("x-luna-tier").to_owned(),
                reasons: answer.header("x-luna-fallback").to_owned(),
            });
        }
    }
    None
}

async fn states(world: &World) -> Vec<String> {
    let view = world.admin_get("/admin/fallback").await;
    let rows = view["tiers"].as_array().unwrap();
    let state = |model: &&str| {
        let row = rows.iter().find(|row| row["model"] == **model).unwrap();
        row["state"].as_str().unwrap().to_owned()
    };
    MODELS.iter().map(state).collect()
}

/// Gives how many requests were answered, and how many by another tier than the first.
async fn run(seed: u64) -> (usize, usize) {
    let world = world().await;
    let second = luna::keys::NewKey::named("another");
    let (_, second) = world.app.keys.create(second, luna::app::now()).unwrap();
    let keys = [world.key.clone(), second.reveal().to_owned()];
    let (mut model, mut upstream) = (Model::default(), Upstream::default());
    let steps = script(seed, STEPS);
    let first = [Step::Faults(Vec::new()), Step::Poll];
    let (mut answered, mut moved) = (0, 0);
    for (count, step) in first.iter().chain(&steps).enumerate() {
        let seen = act(&world, &keys, step).await;
        let expected = model.step(step, &mut upstream);
        let so_far = || {
            let done = first.iter().chain(&steps).take(count + 1);
            done.map(|step| format!("  {step:?}\n")).collect::<String>()
        };
        assert_eq!(
            seen,
            expected,
            "seed {seed}, step {count}:\n{}{model:#?}",
            so_far()
        );
        let states = states(&world).await;
        assert_eq!(
            states,
            model.states(),
            "seed {seed}, after step {count}:\n{}{model:#?}",
            so_far()
        );
        if let Some(outcome) = seen.filter(|outcome| outcome.status == 200) {
            answered += 1;
            moved += usize::from(outcome.tier != "1");
        }
        tokio::time::sleep(APART).await;
    }
    world.stop().await;
    (answered, moved)
}

async fn seeds(range: std::ops::Range<u64>) {
    let (mut answered, mut moved) = (0, 0);
    for seed in range {
        let (a, m) = run(seed).await;
        answered += a;
        moved += m;
    }
    // Scripts in which nothing happens would prove nothing.
    assert!(answered > 150 && moved > 40, "{answered} {moved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_1_to_10_go_where_the_model_says() {
    seeds(1..11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_11_to_20_go_where_the_model_says() {
    seeds(11..21).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_21_to_30_go_where_the_model_says() {
    seeds(21..31).await;
}
