//! The command line of the real binary: what it prints, its exit codes, and that it works.

mod check;
mod explain;
mod keys;
mod simulate;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use luna::simulate::{Running, spawn};
use serde_json::{Value, json};

use crate::support::binary::{self, Luna};
use crate::support::world::{self, Answer, Setup};

/// `luna serve` in a folder of its own, in front of a simulated upstream in this process.
pub struct Gateway {
    pub luna: Luna,
    pub sim: Running,
    pub folder: tempfile::TempDir,
    pub admin: String,
    client: reqwest::Client,
}

impl Gateway {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sim = spawn(setup.sim.clone()).await.unwrap();
        let luna = Luna::serve(
            folder.path(),
            &world::toml(&setup, &sim.url()),
            &setup.fallback,
        );
        let admin = luna.admin_key();
        let gateway = Self {
            luna,
            sim,
            folder,
            admin,
            client: world::client(),
        };
        crate::support::eventually("the gateway is ready", Duration::from_secs(10), || async {
            let answer = gateway.client.get(gateway.luna.url("/ready")).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        gateway
    }

    pub async fn create_key(&self, name: &str) -> String {
        let request = self
            .client
            .post(self.luna.url("/admin/keys"))
            .header("x-api-key", &self.admin);
        let answer = Answer::read(request.json(&json!({"name": name})).send().await.unwrap()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["key"].as_str().unwrap().to_owned()
    }

    /// The status of a small request with `key`.
    pub async fn status(&self, key: &str) -> u16 {
        let request = self
            .client
            .post(self.luna.url("/v1/messages"))
            .header("x-api-key", key);
        let answer = request
            .json(&world::ask("claude-sonnet-4-6", false))
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    }

    /// PATH with the binary under test in front.
    pub fn path_with_luna(&self) -> OsString {
        let mut paths = vec![Path::new(binary::path()).parent().unwrap().to_owned()];
        paths.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        std::env::join_paths(paths).unwrap()
    }

    /// `luna ARGUMENTS`, told where the gateway is and with its admin key in ADMIN_KEY.
    async fn cli(&self, arguments: &[&str]) -> Done {
        let url = self.luna.url("");
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--url", &url]).collect();
        luna(
            self.folder.path(),
            &arguments,
            &[("ADMIN_KEY", &self.admin)],
        )
        .await
    }

    pub async fn stop(mut self) {
        self.luna.signal("TERM");
        let status = self.luna.wait(Duration::from_secs(20));
        assert!(status.success(), "{status}\n{}", self.luna.log().join("\n"));
        self.sim.stop().await;
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// Runs `luna ARGUMENTS` in `folder` to its end, with nothing but `env` and PATH in its environment.
pub async fn luna(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Done {
    let mut command = Command::new(binary::path());
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(env.iter().copied())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    Done::of(&output)
}
