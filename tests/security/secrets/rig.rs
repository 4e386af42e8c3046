//! The gateway that is searched for secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use luna::simulate::{Running, spawn};
use serde_json::{Value, json};

use crate::support::binary::Luna;
use crate::support::raw;
use crate::support::world::{self, Answer, Setup};

pub const ADMIN: &str = "the-admin-key-Zq7vT2mXw9Rk4Lp8";
pub const UPSTREAM: &str = "sk-upstream-Hd83kfPq02LmZx71Vw";
pub const WRONG_UPSTREAM: &str = "sk-refused-Pw55xnTq83MaQv20Ks";
pub const PASSWORD: &str = "health-Mn4Bv7Cx1Zl9Kj6Hg3";
pub const TEAM: &str = "team-header-Ty6Gh2Nm8Qw4";
pub const OLD: &str = "sk-old-alice-Uu7Ii3Oo9Pp1Aa5";
pub const GUESS: &str = "luna-GuessedGuessedGuessedGuessedGuessedGuess00";

/// A gateway whose every secret is known, and all that it has said.
pub struct Rig {
    pub luna: Luna,
    pub sim: Running,
    pub client: reqwest::Client,
    pub h2: reqwest::Client,
    pub folder: tempfile::TempDir,
    /// Every answer that is not one which shows a new secret.
    pub said: Vec<String>,
    /// What must be nowhere, by name.
    pub secrets: BTreeMap<String, String>,
}

impl Rig {
    pub async fn start() -> Self {
        let mut setup = Setup::default();
        setup.sim.api_key = Some(UPSTREAM.into());
        setup.sim.webui_password = Some(PASSWORD.into());
        let sim = spawn(setup.sim.clone()).await.unwrap();
        setup.upstream = format!(
            "api_key = \"{UPSTREAM}\"\nhealth_password = \"{PASSWORD}\"\nheaders = {{ x-team-token = \"{TEAM}\" }}"
        );
        setup.server = "cors_origins = [\"https://app.example\"]".into();
        setup.toml = format!(
            "[upstreams.refused]\nurl = \"{}\"\napi_key = \"{WRONG_UPSTREAM}\"\nhealth = \"none\"\n\
             [upstreams.nobody]\nurl = \"http://127.0.0.1:1\"\napi_key = \"{WRONG_UPSTREAM}\"\nhealth = \"none\"",
            sim.url()
        );
        setup.fallback = r#"{"chains": {
            "claude-sonnet-4-6": ["claude-sonnet-4-6", "gemini-3-flash"],
            "refused": [{"model": "claude-sonnet-4-6", "upstream": "refused"}],
            "nobody": [{"model": "claude-sonnet-4-6", "upstream": "nobody"}]}}"#
            .into();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let old = json!({OLD: {"name": "Alice", "enabled": true}}).to_string();
        std::fs::write(folder.path().join("data/keys.json"), old).unwrap();
        std::fs::write(
            folder.path().join("luna.toml"),
            world::toml(&setup, &sim.url()),
        )
        .unwrap();
        std::fs::write(folder.path().join("fallback.json"), &setup.fallback).unwrap();
        let env = [("ADMIN_KEY", ADMIN), ("RUST_LOG", "trace")];
        let luna = Luna::again_with(folder.path(), &env);
        // An error means that another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A connection for each request: one is closed after a broken stream.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        let h2 = reqwest::Client::builder()
            .no_proxy()
            .http2_prior_knowledge()
            .build()
            .unwrap();
        let named = [
            ("the admin key", ADMIN),
            ("the upstream's key", UPSTREAM),
            ("a refused upstream key", WRONG_UPSTREAM),
            ("the health password", PASSWORD),
            ("a configured header", TEAM),
            ("an imported key", OLD),
            ("a guessed key", GUESS),
        ];
        let secrets = named
            .into_iter()
            .map(|(name, secret)| (name.to_owned(), secret.to_owned()))
            .collect();
        Self {
            luna,
            sim,
            client,
            h2,
            folder,
            said: Vec::new(),
            secrets,
        }
    }

    pub fn keep(&mut self, answer: &Answer) {
        let mut headers = answer.headers.clone();
        // The caller's own word, given back to it and to nobody else.
        headers.remove("x-luna-requested-model");
        self.said.push(format!("{headers:?}\n{}", answer.text()));
    }

    /// An admin call; what it answers is searched later.
    pub async fn admin(&mut self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = method.parse().unwrap();
        let mut request = self
            .client
            .request(method, self.luna.url(path))
            .header("x-api-key", ADMIN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        if answer.json().get("key").is_none() {
            self.keep(&answer);
        }
        answer
    }

    /// A new secret, which is looked for from now on.
    pub fn made(&mut self, name: &str, answer: &Answer) -> String {
        let secret = answer.json()["key"].as_str().unwrap().to_owned();
        self.secrets.insert(name.to_owned(), secret.clone());
        secret
    }

    pub async fn ask(&mut self, h2: bool, path: &str, header: (&str, &str), body: &Value) -> u16 {
        let client = if h2 { &self.h2 } else { &self.client };
        let request = client
            .post(self.luna.url(path))
            .header(header.0, header.1)
            .json(body);
        let answer = Answer::read(request.send().await.unwrap()).await;
        self.keep(&answer);
        answer.status
    }

    pub async fn raw(&mut self, request: &[u8]) {
        let said = raw::send(
            self.luna.address.parse().unwrap(),
            request,
            Duration::from_millis(500),
        )
        .await;
        self.said
            .push(String::from_utf8_lossy(&said.bytes).into_owned());
    }
}
