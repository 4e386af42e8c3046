//! The real binary: started, watched, signalled.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running `luna serve`.
pub struct Luna {
    child: Child,
    pub address: String,
    pub metrics: Option<String>,
    log: Arc<Mutex<Vec<String>>>,
    out: Arc<Mutex<Vec<String>>>,
}

/// The path of the binary under test.
pub fn path() -> &'static str {
    env!("CARGO_BIN_EXE_luna")
}

fn collect(stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            sink.lock().unwrap().push(line);
        }
    });
    lines
}

impl Luna {
    /// Writes `luna.toml` and `fallback.json` into `folder` and starts `luna serve` there.
    pub fn serve(folder: &Path, toml: &str, fallback: &str) -> Self {
        std::fs::write(folder.join("luna.toml"), toml).unwrap();
        std::fs::write(folder.join("fallback.json"), fallback).unwrap();
        Self::again(folder)
    }

    /// Starts `luna serve` on what is in `folder`.
    pub fn again(folder: &Path) -> Self {
        Self::again_with(folder, &[])
    }

    /// Starts `luna serve` on what is in `folder`, with these variables in its environment.
    pub fn again_with(folder: &Path, env: &[(&str, &str)]) -> Self {
        let mut luna = Self::spawn(folder, &[], env);
        luna.await_serving();
        luna
    }

    /// Starts `luna serve --upgrade` on what is in `folder`, as far as it waits for the sockets.
    pub fn successor(folder: &Path) -> Self {
        let mut luna = Self::spawn(folder, &["--upgrade"], &[]);
        luna.wait_for_line("waiting at ", Duration::from_secs(20));
        luna
    }

    /// Starts `luna serve` with these further arguments, and waits for nothing.
    pub fn spawn(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let config: PathBuf = folder.join("luna.toml");
        let mut child = Command::new(path())
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .args(args)
            .current_dir(folder)
            .env_clear()
            .env("RUST_LOG", "debug,h2=info,rustls=info,hyper=info")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = collect(child.stderr.take().unwrap());
        let out = collect(child.stdout.take().unwrap());
        Self {
            child,
            address: String::new(),
            metrics: None,
            log,
            out,
        }
    }

    /// Waits until it serves, and learns where.
    pub fn await_serving(&mut self) {
        let line = self.wait_for_line(" serves on http://", Duration::from_secs(20));
        let (_, rest) = line.split_once(" serves on http://").unwrap();
        self.address = rest.split_whitespace().next().unwrap().to_owned();
        self.metrics = self.log().iter().find_map(|line| {
            let (_, rest) = line.split_once("metrics on http://")?;
            Some(rest.split('/').next()?.to_owned())
        });
    }

    /// The generated admin key, from standard output. A thread reads that, so it may take a moment.
    pub fn admin_key(&self) -> String {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let key = self
                .out()
                .into_iter()
                .find(|line| line.starts_with("luna-"));
            if let Some(key) = key {
                return key;
            }
            assert!(
                Instant::now() < until,
                "no admin key was printed: {:?}",
                self.out()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn out(&self) -> Vec<String> {
        self.out.lock().unwrap().clone()
    }

    /// The first log line with `text` in it.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> String {
        let until = Instant::now() + limit;
        loop {
            if let Some(line) = self.log().iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!(
                    "luna ended ({status}) before {text:?}:\n{}",
                    self.log().join("\n")
                );
            }
            assert!(
                Instant::now() < until,
                "no {text:?} within {limit:?}:\n{}",
                self.log().join("\n")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < until,
                "luna runs on:\n{}",
                self.log().join("\n")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Luna {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
