//! A gateway in this process with its simulated upstream.

use std::path::Path;
use std::time::Duration;

use luna::app::{App, now};
use luna::config::Settings;
use luna::keys::NewKey;
use luna::simulate::{Generation, Handle, Running, SimConfig, spawn};
use serde_json::{Value, json};

/// Three tiers, an alias, and a `*` chain.
pub const CHAINS: &str = r#"{
  "threshold": 0.05, "recover": 0.10,
  "chains": {
    "claude-opus-4-6-thinking": ["claude-opus-4-6-thinking", "claude-sonnet-4-6", "gemini-3-flash"],
    "claude-sonnet-4-6": ["claude-sonnet-4-6", "gemini-3-flash"]
  },
  "aliases": {"claude-3-5-sonnet-*": "claude-sonnet-4-6", "fast": "gemini-3-flash"}
}"#;

/// How a [`World`] is set up.
pub struct Setup {
    pub sim: SimConfig,
    /// Lines of luna.toml; `[server]`, `[metrics]`, `[store]` and `[upstreams.default]` url are given,
    /// so name other sections or use dotted keys (`server.grace_s = 1` goes into `server`).
    pub toml: String,
    /// Lines within `[server]`.
    pub server: String,
    /// Lines within `[upstreams.default]` after its url.
    pub upstream: String,
    pub fallback: String,
}

impl Default for Setup {
    fn default() -> Self {
        let mut sim = SimConfig::new(Generation::V2_7);
        sim.time_scale = 0.02;
        sim.keep_bodies = 64 << 20;
        Self {
            sim,
            toml: String::new(),
            server: String::new(),
            upstream: String::new(),
            fallback: CHAINS.to_owned(),
        }
    }
}

impl Setup {
    pub fn generation(mut self, generation: Generation) -> Self {
        let mut sim = SimConfig::new(generation);
        sim.time_scale = self.sim.time_scale;
        sim.keep_bodies = self.sim.keep_bodies;
        self.sim = sim;
        self
    }
}

/// A running gateway, its upstream, a client key and the admin key.
pub struct World {
    pub app: App,
    pub sim: Running,
    pub key: String,
    pub admin: String,
    pub client: reqwest::Client,
    pub folder: tempfile::TempDir,
}

/// luna.toml for a gateway in `folder` in front of `upstream`.
pub fn toml(setup: &Setup, upstream: &str) -> String {
    // On a machine that is short of processors the default of 2 s can pass even on loopback.
    let patient = match [&setup.upstream, &setup.toml]
        .iter()
        .any(|t| t.contains("limits"))
    {
        true => "",
        false => "[upstreams.default.limits]\nconnect_s = 30",
    };
    let (base, speaks) = match setup.sim.generation {
        Generation::OpenAi => ("/v1", "profile = \"openai\"\nhealth = \"none\"\n"),
        Generation::Anthropic => ("", "profile = \"anthropic\"\nhealth = \"none\"\n"),
        Generation::V2_0 | Generation::V2_7 => ("", ""),
    };
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{}\n[metrics]\nlisten = \"127.0.0.1:0\"\n[store]\ndata_dir = \"data\"\n\
         [upstreams.default]\nurl = \"{upstream}{base}\"\n{speaks}{}\n{patient}\n{}\n",
        setup.server, setup.upstream, setup.toml
    )
}

pub fn settings(setup: &Setup, upstream: &str, folder: &Path) -> Settings {
    Settings::from_text(&toml(setup, upstream), Some(&setup.fallback), folder).unwrap_or_else(
        |problems| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}", all.join("\n"))
        },
    )
}

impl World {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// Starts, waits for the first poll, makes a key.
    pub async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sim = spawn(setup.sim.clone()).await.unwrap();
        let app = App::start(settings(&setup, &sim.url(), folder.path()), None)
            .await
            .unwrap();
        let mut first = app.poller.first_round();
        let polled = first.wait_for(|done| *done);
        tokio::time::timeout(Duration::from_secs(30), polled)
            .await
            .expect("the first poll")
            .expect("the poller lives");
        let (_, secret) = app.keys.create(NewKey::named("tester"), now()).unwrap();
        let admin = app
            .opened
            .generated_admin
            .as_ref()
            .unwrap()
            .reveal()
            .to_owned();
        Self {
            key: secret.reveal().to_owned(),
            admin,
            client: client(),
            app,
            sim,
            folder,
        }
    }

    pub fn handle(&self) -> &Handle {
        self.sim.handle()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address)
    }

    /// POST /v1/messages with the tester's key.
    pub async fn post(&self, body: &Value) -> Answer {
        self.post_with(body, &[]).await
    }

    pub async fn post_with(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = self
            .client
            .post(self.url("/v1/messages"))
            .header("x-api-key", &self.key)
            .header("content-type", "application/json")
            .body(body.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await.unwrap()).await
    }

    /// POST /v1/chat/completions with the tester's key.
    pub async fn chat(&self, body: &Value) -> Answer {
        let request = self
            .client
            .post(self.url("/v1/chat/completions"))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(body.to_string());
        Answer::read(request.send().await.unwrap()).await
    }

    /// A GET of an admin route with the admin key.
    pub async fn admin_get(&self, path: &str) -> Value {
        let request = self
            .client
            .get(self.url(path))
            .header("x-api-key", &self.admin);
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// A POST of an admin route with the admin key.
    pub async fn admin_post(&self, path: &str, body: &Value) -> Answer {
        let request = self
            .client
            .post(self.url(path))
            .header("x-api-key", &self.admin)
            .header("content-type", "application/json")
            .body(body.to_string());
        Answer::read(request.send().await.unwrap()).await
    }

    /// All metrics as text.
    pub async fn metrics(&self) -> String {
        let address = self.app.metrics_address.unwrap();
        let url = format!("http://{address}/metrics");
        self.client
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// The value of the series that begins with `series` (name and labels as exposed).
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .unwrap_or(0.0)
    }

    /// Sets every account's quota of a model and makes the gateway see it.
    pub async fn set_quota(&self, model: &str, fraction: f64, reset: Option<&str>) {
        for account in self.handle().accounts() {
            self.handle()
                .set_quota(&account.email, model, Some(fraction), reset)
                .unwrap();
        }
        self.app.poller.poll_all().await;
    }

    pub async fn stop(self) {
        self.app.stop(Duration::from_secs(5)).await.unwrap();
        self.sim.stop().await;
    }
}

/// A client that waits as long as a test may take, and never asks a proxy.
pub fn client() -> reqwest::Client {
    // An error means that another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
    /// Set when the body broke off.
    pub broken: Option<String>,
}

impl Answer {
    pub async fn read(mut response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        let mut broken = None;
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(e) => {
                    broken = Some(e.to_string());
                    break;
                }
            }
        }
        Self {
            status,
            headers,
            body,
            broken,
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }

    /// The names of the SSE events in order.
    pub fn events(&self) -> Vec<String> {
        self.text()
            .lines()
            .filter_map(|line| line.strip_prefix("event: ").map(str::to_owned))
            .collect()
    }

    /// The text of all text deltas, or of a message that did not stream.
    pub fn content(&self) -> String {
        if self.header("content-type").starts_with("text/event-stream") {
            let deltas = self
                .text()
                .lines()
                .filter_map(|line| {
                    let data: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
                    data.pointer("/delta/text")?.as_str().map(str::to_owned)
                })
                .collect::<String>();
            return deltas;
        }
        let blocks = self.json()["content"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        blocks
            .iter()
            .filter_map(|b| b["text"].as_str().map(str::to_owned))
            .collect()
    }
}

/// A small request.
pub fn ask(model: &str, stream: bool) -> Value {
    json!({
        "model": model,
        "max_tokens": 200,
        "stream": stream,
        "messages": [{"role": "user", "content": "Hello"}],
    })
}
