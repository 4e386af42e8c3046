//! The real binary, killed under load: what is lost, what is counted twice. LUNA_TEST_LONG=1 runs the full number of rounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::Rig;
use crate::support::binary::Luna;
use crate::support::eventually;
use crate::support::world::ask;

const FLUSH: Duration = Duration::from_millis(200);
/// What a busy machine may add to a beat: the threads of several test programs share two cores.
const SLACK: Duration = Duration::from_millis(150);
const CLIENTS: usize = 24;

fn rounds(short: u64, long: u64) -> u64 {
    match std::env::var_os("LUNA_TEST_LONG") {
        Some(_) => long,
        None => short,
    }
}

/// Clients that ask without a pause until they are told to stop; when each answer was complete.
fn load(rig: &Rig, luna: &Luna) -> Load {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        let (http, url, key) = (rig.http.clone(), luna.url("/v1/messages"), rig.key.clone());
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let body = ask("claude-sonnet-4-6", number % 2 == 0);
            while !stop.load(Ordering::Relaxed) {
                let request = http.post(&url).header("x-api-key", &key).json(&body);
                let Ok(answer) = request.send().await else {
                    continue;
                };
                let sound = answer.status() == 200;
                if let (true, Ok(_)) = (sound, answer.bytes().await) {
                    done.lock().unwrap().push(Instant::now());
                }
            }
        }));
    }
    Load { stop, done, tasks }
}

struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<Instant>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn end(self) -> Vec<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let mut done = self.done.lock().unwrap().clone();
        done.sort();
        done
    }
}

fn requests(usage: &Value) -> u64 {
    usage["total"]["requests"].as_u64().unwrap()
}

/// Everything in the folder parses; days and keys.json say the same.
fn check_files(folder: &Path, usage: &Value) {
    let mut days = 0;
    for entry in std::fs::read_dir(folder.join("data/usage")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|end| end == "json") {
            let day: Value = serde_json::from_str(&text).unwrap();
            for models in day["day"].as_object().unwrap().values() {
                let models = models.as_object().unwrap().values();
                days += models.map(|c| c["requests"].as_u64().unwrap()).sum::<u64>();
            }
        }
    }
    assert!(days <= requests(usage));
    let keys = std::fs::read_to_string(folder.join("data/keys.json")).unwrap();
    let _: Value = serde_json::from_str(&keys).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_at_most_a_beat_and_counts_nothing_twice() {
    let (rig, mut luna) = Rig::new().await;
    let rounds = rounds(3, 50);
    let (mut before, mut worst, mut lost_in_all) = (0, Duration::ZERO, 0);
    for round in 0..rounds {
        let asked_before = rig.sim.handle().totals();
        let load = load(&rig, &luna);
        let began = Instant::now();
        // No two rounds end at the same place of a beat or a compaction.
        tokio::time::sleep(Duration::from_millis(600 + round * 137 % 400)).await;
        let killed = Instant::now();
        luna.signal("KILL");
        luna.wait(Duration::from_secs(10));
        let done = load.end().await;
        eventually(
            "the upstream is at rest",
            Duration::from_secs(10),
            || async {
                let totals = rig.sim.handle().totals();
                totals.ended == totals.requests
            },
        )
        .await;
        let asked = rig.sim.handle().totals().models["claude-sonnet-4-6"].requests
            - asked_before
                .models
                .get("claude-sonnet-4-6")
                .map_or(0, |model| model.requests);
        luna = Luna::again(rig.folder.path());
        let usage = rig.usage(&luna).await;
        let counted = requests(&usage) - before;
        before = requests(&usage);
        assert!(counted <= asked, "{counted} counted of {asked} asked");
        let in_time = done
            .iter()
            .filter(|at| **at + FLUSH + SLACK < killed)
            .count() as u64;
        assert!(
            counted >= in_time,
            "round {round}: {counted} counted, {in_time} were complete {:?} before the kill",
            FLUSH + SLACK
        );
        let lost = (done.len() as u64).saturating_sub(counted);
        lost_in_all += lost;
        if lost > 0 {
            let oldest = done[done.len() - lost as usize];
            worst = worst.max(killed.saturating_duration_since(oldest));
        }
        let model = &usage["models"]["claude-sonnet-4-6"];
        assert_eq!(model["requests"], usage["total"]["requests"]);
        check_files(rig.folder.path(), &usage);
        eprintln!(
            "round {round}: {:.0} requests/s, {} complete, {counted} counted, {lost} lost",
            done.len() as f64 / killed.duration_since(began).as_secs_f64(),
            done.len()
        );
    }
    eprintln!("{rounds} rounds: {lost_in_all} requests lost, the oldest {worst:?} before its kill");
    rig.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_loses_nothing() {
    let (rig, mut luna) = Rig::new().await;
    let rounds = rounds(3, 20);
    for round in 0..rounds {
        let load = load(&rig, &luna);
        tokio::time::sleep(Duration::from_millis(300 + round * 137 % 400)).await;
        luna.signal("TERM");
        let status = luna.wait(Duration::from_secs(60));
        assert_eq!(status.code(), Some(0));
        let done = load.end().await;
        assert!(!done.is_empty());
        luna = Luna::again(rig.folder.path());
        let usage = rig.usage(&luna).await;
        let ledger = rig.sim.handle().totals();
        let model = &ledger.models["claude-sonnet-4-6"];
        assert_eq!(requests(&usage), model.requests);
        let total = &usage["total"];
        for (name, tokens) in [
            ("input_tokens", model.tokens.input),
            ("output_tokens", model.tokens.output),
            ("cache_read_input_tokens", model.tokens.cache_read),
            ("cache_creation_input_tokens", model.tokens.cache_creation),
        ] {
            assert_eq!(total[name], tokens, "round {round}: {name}");
        }
        check_files(rig.folder.path(), &usage);
    }
    let ledger = rig.sim.handle().totals();
    eprintln!("{rounds} rounds: {} requests, all counted", ledger.requests);
    rig.sim.stop().await;
}
