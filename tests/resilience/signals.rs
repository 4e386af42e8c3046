//! The real binary and its signals: reload under load (here), the ways to stop (`stop`), and what a
//! new process finds (`again`), and the hand-over to one (`upgrade`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use luna::simulate::{Generation, Running, SimConfig, spawn};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::check;
use crate::support::binary::Luna;
use crate::support::world::{Answer, Setup, ask, client, toml};
use crate::support::{eventually, scale};

mod again;
mod leak;
mod stop;
#[path = "upgrade.rs"]
mod upgrade;

const MODEL: &str = "claude-sonnet-4-6";
const OTHER: &str = "gemini-2.5-flash";
const PATIENCE: Duration = Duration::from_secs(10);

/// `luna serve` in a folder of its own, in front of a simulated Antigravity.
struct Site {
    luna: Luna,
    sim: Running,
    folder: TempDir,
    admin: String,
    key: String,
    client: reqwest::Client,
}

fn chain(models: &[&str]) -> String {
    json!({"chains": {MODEL: models}}).to_string()
}

impl Site {
    /// Starts it with these lines in `[server]`, and makes a client key.
    async fn start(server: &str) -> Self {
        let mut config = SimConfig::new(Generation::V2_7);
        config.time_scale = 0.02;
        let sim = spawn(config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup {
            server: server.to_owned(),
            ..Setup::default()
        };
        let mut luna = Luna::serve(folder.path(), &toml(&setup, &sim.url()), &chain(&[MODEL]));
        let line = luna.wait_for_line("metrics on http://", PATIENCE);
        let (_, rest) = line.split_once("metrics on http://").unwrap();
        luna.metrics = Some(rest.split('/').next().unwrap().to_owned());
        let admin = luna.admin_key();
        let mut site = Self {
            luna,
            sim,
            folder,
            admin,
            key: String::new(),
            client: client(),
        };
        let made = site
            .admin("POST", "/admin/keys", Some(json!({"name": "tester"})))
            .await;
        site.key = made["key"].as_str().unwrap().to_owned();
        site
    }

    async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let mut request = self
            .client
            .request(method.parse().unwrap(), self.luna.url(path))
            .header("x-api-key", &self.admin)
            .header("content-type", "application/json");
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert!(answer.status < 300, "{path}: {}", answer.text());
        answer.json()
    }

    async fn ask(&self, body: &Value) -> reqwest::Result<reqwest::Response> {
        ask_at(
            &self.client,
            &self.luna.url("/v1/messages"),
            &self.key,
            body,
        )
        .await
    }

    async fn post(&self, body: &Value) -> Answer {
        Answer::read(self.ask(body).await.unwrap()).await
    }

    async fn metrics(&self) -> String {
        let address = self.luna.metrics.as_ref().unwrap();
        let url = format!("http://{address}/metrics");
        let answer = self.client.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }

    async fn reloads(&self, outcome: &str) -> f64 {
        let text = self.metrics().await;
        check::sum(&text, "luna_config_reloads_total", &[outcome])
    }

    /// Sends SIGHUP and waits until this outcome was counted once more.
    async fn reload(&self, outcome: &str) {
        let before = self.reloads(outcome).await;
        self.luna.signal("HUP");
        eventually(&format!("a reload with {outcome}"), PATIENCE, || async {
            self.reloads(outcome).await == before + 1.0
        })
        .await;
    }

    /// The totals of /admin/usage, as soon as they hold so many requests; more is an error.
    async fn counted(&self, requests: u64) -> Value {
        eventually("every request is counted", PATIENCE, || async {
            let usage = self.admin("GET", "/admin/usage", None).await;
            usage["total"]["requests"].as_u64() >= Some(requests)
        })
        .await;
        let total = self.admin("GET", "/admin/usage", None).await["total"].take();
        assert_eq!(total["requests"], requests, "{total}");
        total
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap()
    }

    /// The log lines with `text` in them, as soon as there are `count`; more is an error.
    async fn logged(&self, text: &str, count: usize) -> Vec<String> {
        let lines = || -> Vec<String> {
            let log = self.luna.log().into_iter();
            log.filter(|line| line.contains(text)).collect()
        };
        eventually(
            &format!("{count} lines with {text:?}"),
            PATIENCE,
            || async { lines().len() >= count },
        )
        .await;
        assert_eq!(lines().len(), count, "{:?}", lines());
        lines()
    }
}

async fn ask_at(
    client: &reqwest::Client,
    url: &str,
    key: &str,
    body: &Value,
) -> reqwest::Result<reqwest::Response> {
    let request = client
        .post(url)
        .header("x-api-key", key)
        .header("content-type", "application/json");
    request.body(body.to_string()).send().await
}

/// Tasks that ask without a pause until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<usize>>,
}

impl Load {
    fn start(site: &Site, tasks: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |n: usize| {
            let (stop, client) = (Arc::clone(&stop), site.client.clone());
            let (url, key) = (site.luna.url("/v1/messages"), site.key.clone());
            tokio::spawn(async move {
                let body = ask(MODEL, n.is_multiple_of(2));
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    let answer =
                        Answer::read(ask_at(&client, &url, &key, &body).await.unwrap()).await;
                    assert_eq!(
                        (answer.status, &answer.broken),
                        (200, &None),
                        "{}",
                        answer.text()
                    );
                    let served = answer.header("x-luna-served-model").to_owned();
                    assert!(
                        answer
                            .content()
                            .starts_with(&format!("Hello from {served}")),
                        "{}",
                        answer.text()
                    );
                    done += 1;
                }
                done
            })
        };
        let tasks = (0..tasks).map(one).collect();
        Self { stop, tasks }
    }

    /// How many requests it made; a failed one fails the test.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = 0;
        for task in self.tasks {
            sum += task.await.expect("no request fails");
        }
        sum
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_changes_a_chain_under_load_without_a_failed_request() {
    let site = Site::start("").await;
    let load = Load::start(&site, 6);
    let rounds = scale(10, 100);
    for round in 0..rounds {
        let to = if round % 2 == 0 { OTHER } else { MODEL };
        if round % 3 == 2 {
            site.write("fallback.json", "{\"chains\": {\"x\": []}}");
            site.reload("error").await;
        }
        site.write("fallback.json", &chain(&[to]));
        site.reload("ok").await;
        let answer = site.post(&ask(MODEL, true)).await;
        assert_eq!(answer.header("x-luna-served-model"), to, "round {round}");
    }
    let requests = load.stop().await;
    assert!(requests > 100, "{requests}");
    let told = site.logged("reload: ", rounds).await;
    assert!(
        told.iter()
            .all(|line| line.contains(&format!("chains.{MODEL}"))),
        "{told:?}"
    );
    let total = site.counted((requests + rounds) as u64).await;
    assert_eq!(total["errors"], 0, "{total}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_keeps_the_old_configuration_and_says_where_it_is_wrong() {
    let site = Site::start("").await;
    let good = (site.read("luna.toml"), site.read("fallback.json"));
    let cases = [
        ("fallback.json", "{\n  \"chains\": {\n", "fallback.json:3"),
        (
            "fallback.json",
            "{\n  \"chains\": {\"m\": [{\"model\": \"x\", \"upstream\": \"nowhere\"}]}\n}",
            "nowhere",
        ),
        (
            "luna.toml",
            "[server]\n\n\nlissten = \"127.0.0.1:0\"\n",
            "luna.toml:4",
        ),
        ("luna.toml", "[server\n", "luna.toml:1"),
    ];
    for (count, (file, text, said)) in cases.iter().enumerate() {
        site.write(file, text);
        site.reload("error").await;
        let told = site.logged("the old configuration stays", count + 1).await;
        let last = told.last().unwrap();
        assert!(last.contains("ERROR") && last.contains(said), "{last}");
        let answer = site.post(&ask(MODEL, false)).await;
        assert_eq!(
            (answer.status, answer.header("x-luna-served-model")),
            (200, MODEL)
        );
        site.write("luna.toml", &good.0);
        site.write("fallback.json", &good.1);
    }
    assert_eq!(site.reloads("ok").await, 0.0);
    // The same by the admin route, with the errors in its answer.
    site.write("fallback.json", "[]");
    let request = site
        .client
        .post(site.luna.url("/admin/reload"))
        .header("x-api-key", &site.admin);
    let answer = Answer::read(request.send().await.unwrap()).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("fallback.json"), "{}", answer.text());
    site.write("fallback.json", &chain(&[OTHER]));
    site.admin("POST", "/admin/reload", None).await;
    assert_eq!(
        site.post(&ask(MODEL, false))
            .await
            .header("x-luna-served-model"),
        OTHER
    );
    assert_eq!(
        (site.reloads("ok").await, site.reloads("error").await),
        (1.0, 5.0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_keeps_what_it_began_with() {
    let site = Site::start("").await;
    let mut slow = ask(MODEL, true);
    slow["metadata"] = json!({"sim": {"first_ms": 50_000}});
    let asked = async {
        let answer = site.post(&slow).await;
        assert_eq!(answer.header("x-luna-served-model"), MODEL);
        check::whole_stream(&answer);
    };
    let changed = async {
        let came = site
            .sim
            .handle()
            .wait(PATIENCE, |t| t.models.contains_key(MODEL))
            .await;
        assert!(came);
        site.write("fallback.json", &chain(&[OTHER]));
        site.reload("ok").await;
        let answer = site.post(&ask(MODEL, true)).await;
        assert_eq!(answer.header("x-luna-served-model"), OTHER);
    };
    tokio::join!(asked, changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_new_process_is_named() {
    let site = Site::start("").await;
    let changed = site
        .read("luna.toml")
        .replace("[server]\n", "[server]\nthreads = 7\n");
    site.write("luna.toml", &changed);
    site.reload("ok").await;
    let told = site.logged("server.threads", 1).await;
    assert!(
        told[0].contains("next start") || told[0].contains("upgrade"),
        "{told:?}"
    );
}
