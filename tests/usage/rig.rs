//! The real binary in front of a simulated upstream.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use luna::simulate::{Generation, Running, SimConfig, spawn};
use serde_json::{Value, json};

use crate::support::binary::Luna;
use crate::support::eventually;
use crate::support::world::{Answer, CHAINS, Setup, client, toml};

pub struct Rig {
    pub folder: tempfile::TempDir,
    pub sim: Running,
    pub http: reqwest::Client,
    pub admin: String,
    pub key: String,
}

impl Rig {
    /// A gateway that has run once, with its keys.
    pub async fn new() -> (Self, Luna) {
        // Compactions fall into every round.
        Self::with("[usage]\ncompact_s = 0.3\n", |_| {}).await
    }

    /// The same with these lines in luna.toml and whatever `prepare` puts into the folder.
    pub async fn with(lines: &str, prepare: impl FnOnce(&Path)) -> (Self, Luna) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = SimConfig::new(Generation::V2_7);
        config.time_scale = 0.02;
        config.hash_bodies = false;
        let sim = spawn(config).await.unwrap();
        prepare(folder.path());
        let setup = Setup {
            toml: lines.to_owned(),
            ..Setup::default()
        };
        let luna = Luna::serve(folder.path(), &toml(&setup, &sim.url()), CHAINS);
        // It may be read from the pipe a moment after the gateway serves.
        eventually("an admin key", Duration::from_secs(5), || async {
            luna.out().iter().any(|line| line.starts_with("luna-"))
        })
        .await;
        let admin = luna.admin_key();
        let http = client();
        let made: Value = http
            .post(luna.url("/admin/keys"))
            .header("x-api-key", &admin)
            .json(&json!({"name": "tester"}))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let key = made["key"].as_str().unwrap().to_owned();
        let rig = Self {
            folder,
            sim,
            http,
            admin,
            key,
        };
        (rig, luna)
    }

    pub async fn usage(&self, luna: &Luna) -> Value {
        self.admin_get(luna, "/admin/usage").await
    }

    pub async fn admin_get(&self, luna: &Luna, path: &str) -> Value {
        let request = self.http.get(luna.url(path));
        let answer = request.header("x-api-key", &self.admin).send().await;
        answer.unwrap().json().await.unwrap()
    }

    /// One request with the tester's key.
    pub async fn post(&self, luna: &Luna, body: &Value) -> Answer {
        let request = self.http.post(luna.url("/v1/messages"));
        let request = request.header("x-api-key", &self.key).json(body);
        Answer::read(request.send().await.unwrap()).await
    }

    /// The folder of the day files.
    pub fn usage_folder(&self) -> PathBuf {
        self.folder.path().join("data/usage")
    }
}
