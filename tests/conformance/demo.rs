//! `luna demo`: what it prints can be pasted, line by line, and does what is said above it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::binary;

struct Demo {
    child: Child,
    lines: Vec<String>,
    /// `url`, `key`, `admin`, `metrics`, `note`.
    named: HashMap<String, String>,
}

impl Demo {
    fn start(port: Option<u16>) -> Self {
        let mut command = Command::new(binary::path());
        command
            .arg("demo")
            .env_clear()
            .env("TMPDIR", std::env::temp_dir());
        if let Some(port) = port {
            command.env("PROXY_PORT", port.to_string());
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut lines: Vec<String> = Vec::new();
        while lines.last().is_none_or(|line| !line.contains("Ctrl-C")) {
            match receiver.recv_timeout(Duration::from_secs(20)) {
                Ok(line) => lines.push(line),
                Err(e) => {
                    // The test fails; nothing may stay behind.
                    let _ = child.kill();
                    panic!("{e} after:\n{}", lines.join("\n"));
                }
            }
        }
        let named = lines
            .iter()
            .take_while(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
                (name.to_owned(), value.trim().to_owned())
            });
        let named = named.collect();
        Self {
            child,
            lines,
            named,
        }
    }

    /// The commands, each with the comment that stands above it.
    fn commands(&self) -> Vec<(String, String)> {
        let mut comment = String::new();
        let mut commands = Vec::new();
        for line in &self.lines {
            if let Some(text) = line.strip_prefix("# ") {
                comment = text.to_owned();
            } else if line.starts_with("curl ") {
                commands.push((comment.clone(), line.clone()));
            }
        }
        commands
    }

    fn end(mut self) {
        let sent = Command::new("kill")
            .arg("-INT")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
        let until = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the demo does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn paste(line: &str) -> String {
    let done = Command::new("sh").args(["-c", line]).output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{line}\n{}\n{out}{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(
        !out.contains("\"type\":\"error\"") && !out.contains("\"error\":"),
        "{line}\n{out}"
    );
    out
}

fn get(url: &str) -> String {
    paste(&format!("curl -sf {url}"))
}

#[test]
fn every_line_can_be_pasted_and_does_what_it_says() {
    let curl = Command::new("curl").arg("--version").output();
    assert!(curl.is_ok(), "this test pastes curl lines: install curl");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let demo = Demo::start(Some(free));
    assert_eq!(
        demo.named["url"],
        format!("http://127.0.0.1:{free}"),
        "PROXY_PORT is honoured"
    );
    assert!(!demo.named.contains_key("note"), "{:?}", demo.named);
    for name in ["key", "admin"] {
        let secret = &demo.named[name];
        assert!(
            secret.starts_with("luna-") && secret.len() == 48,
            "{name}: {secret}"
        );
    }
    assert!(get(&demo.named["metrics"]).contains("luna_build_info"));
    assert!(get(&format!("{}/health", demo.named["url"])).contains("\"status\":\"ok\""));

    let commands = demo.commands();
    let mut by_comment: Vec<(String, Vec<String>)> = Vec::new();
    for (comment, line) in &commands {
        let out = paste(line);
        match by_comment.last_mut().filter(|(last, _)| last == comment) {
            Some((_, outs)) => outs.push(out),
            None => by_comment.push((comment.clone(), vec![out])),
        }
    }
    let told = |words: &str| {
        let found = by_comment
            .iter()
            .find(|(comment, _)| comment.contains(words));
        &found
            .unwrap_or_else(|| panic!("nothing says {words:?}: {by_comment:#?}"))
            .1
    };
    let asked: Value = serde_json::from_str(&told("ask (Anthropic")[0]).unwrap();
    assert_eq!(
        (asked["type"].as_str(), asked["model"].as_str()),
        (Some("message"), Some("claude-sonnet-4-6"))
    );
    let stream = &told("streaming")[0];
    assert!(
        stream.contains("event: message_start")
            && stream.trim_end().ends_with("{\"type\":\"message_stop\"}"),
        "{stream}"
    );
    let dry = told("run dry").last().unwrap();
    for line in [
        "HTTP/1.1 200",
        "x-luna-fallback: quota",
        "x-luna-served-model: gemini-3-flash",
        "x-luna-tier: 2",
    ] {
        assert!(dry.contains(line), "{line}\n{dry}");
    }
    let failing = told("fail without warning").last().unwrap();
    for line in [
        "HTTP/1.1 200",
        "x-luna-fallback: overloaded",
        "x-luna-requested-model: claude-opus-4-6-thinking",
    ] {
        assert!(failing.contains(line), "{line}\n{failing}");
    }
    let chunks = &told("OpenAI client")[0];
    assert!(
        chunks.contains("\"object\":\"chat.completion.chunk\"")
            && chunks.trim_end().ends_with("data: [DONE]"),
        "{chunks}"
    );
    let usage: Value = serde_json::from_str(told("usage").last().unwrap()).unwrap();
    assert_eq!(usage["total"]["requests"], 5, "{usage}");
    assert_eq!(usage["total"]["fallbacks"], 2, "{usage}");
    demo.end();
}

#[test]
fn a_taken_port_is_replaced_and_that_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let demo = Demo::start(Some(port));
    let url = demo.named["url"].clone();
    assert!(
        url.starts_with("http://127.0.0.1:") && !url.ends_with(&format!(":{port}")),
        "{url}"
    );
    let note = &demo.named["note"];
    let instead = url.rsplit(':').next().unwrap();
    assert!(
        note.contains(&port.to_string()) && note.contains(instead),
        "{note}"
    );
    assert!(get(&format!("{url}/health")).contains("\"status\""));
    // The lines to paste have the port that is in use.
    assert!(
        demo.commands()
            .iter()
            .all(|(_, line)| !line.contains(&format!(":{port}/")))
    );
    demo.end();
}

#[test]
fn the_demo_leaves_nothing_behind_and_refuses_a_port_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary::path());
    command
        .arg("demo")
        .env_clear()
        .env("TMPDIR", folder.path())
        .env("PROXY_PORT", "0");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Ctrl-C") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "the demo ended");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "all that it keeps is in one folder"
    );
    Command::new("kill")
        .arg("-TERM")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let wrong = Command::new(binary::path())
        .arg("demo")
        .env_clear()
        .env("PROXY_PORT", "http")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("PROXY_PORT"));
}
