//! No secret is written anywhere but where it belongs: every feature is driven with the real binary at
//! the most talkative log level, then log, metrics, events, answers and files are searched.

mod drive;
mod rig;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use self::drive::{drive_admin, drive_clients, drive_reloads, status};
use self::rig::{OLD, Rig};
use crate::support::{eventually, world};

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_written_where_it_does_not_belong() {
    let mut rig = Rig::start().await;
    let key = drive_admin(&mut rig).await;
    drive_clients(&mut rig, &key).await;
    drive_clients(&mut rig, OLD).await;
    drive_reloads(&mut rig).await;
    rig.admin("GET", "/admin/events", None).await;
    let metrics = rig
        .luna
        .wait_for_line("metrics on http://", Duration::from_secs(5));
    let metrics = metrics
        .split("metrics on ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    let text = rig
        .client
        .get(&metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(text.contains("luna_requests_total"), "{text}");
    rig.said.push(text);
    rig.luna.signal("TERM");
    assert!(rig.luna.wait(Duration::from_secs(20)).success());

    let mut places: Vec<(String, String)> = vec![
        ("the log".into(), rig.luna.log().join("\n")),
        ("standard output".into(), rig.luna.out().join("\n")),
        ("an answer or the metrics".into(), rig.said.join("\n")),
    ];
    let mut found = Vec::new();
    files(&rig.folder.path().join("data"), &mut found);
    let modes: Vec<(String, u32)> = found
        .iter()
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            )
        })
        .collect();
    for (path, mode) in &modes {
        let secret = path.contains("keys.json");
        assert!(
            if secret {
                *mode == 0o600
            } else {
                mode & 0o022 == 0
            },
            "{modes:?}"
        );
    }
    assert!(
        found.iter().any(|path| path.ends_with("keys.json"))
            && found
                .iter()
                .any(|path| path.ends_with("keys.json.imported"))
    );
    assert!(
        found
            .iter()
            .any(|path| path.to_string_lossy().contains("usage/")),
        "{found:?}"
    );
    for path in found {
        let bytes = std::fs::read(&path).unwrap();
        // The copy of the old file holds what the old file held; a warning says so.
        if !path.ends_with("keys.json.imported") {
            places.push((
                path.display().to_string(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
    let log = &places[0].1;
    assert!(
        log.contains(" TRACE luna"),
        "the log is as talkative as it can be"
    );
    assert!(
        log.contains("plain") && log.contains("keys.json.imported"),
        "the copy is warned about"
    );

    let mut leaks = Vec::new();
    for (name, secret) in &rig.secrets {
        // The end of a secret is as telling as all of it; its beginning is shown on purpose.
        let tail = &secret[secret.len() - 16..];
        for (place, text) in &places {
            for line in text.lines().filter(|line| line.contains(tail)) {
                let short: String = line.chars().take(600).collect();
                leaks.push(format!("{name} in {place}: {short}"));
            }
        }
    }
    assert!(
        leaks.is_empty(),
        "{} leaks\n{}",
        leaks.len(),
        leaks[..leaks.len().min(40)].join("\n")
    );
    rig.sim.stop().await;
}

/// A line of the log is one event, whatever a request holds: nobody can forge another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_forges_a_log_line() {
    let mut rig = Rig::start().await;
    let made = rig
        .admin("POST", "/admin/keys", Some(json!({"name": "bob"})))
        .await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let forged =
        "x\r\n2026-11-24T00:00:00.000Z INFO luna forged\u{1b}[2Jforged\u{2028}forged\u{85}forged";
    for stream in [false, true] {
        rig.ask(
            false,
            "/v1/messages",
            ("x-api-key", &key),
            &world::ask(forged, stream),
        )
        .await;
    }
    rig.admin("POST", "/admin/explain", Some(json!({"model": forged})))
        .await;
    rig.admin("POST", "/admin/keys", Some(json!({"name": forged})))
        .await;
    rig.sim
        .handle()
        .set_faults(vec![status(500, forged)])
        .unwrap();
    rig.ask(
        false,
        "/v1/messages",
        ("x-api-key", &key),
        &world::ask("claude-sonnet-4-6", false),
    )
    .await;
    rig.raw(format!("GET /v1/forged%0d%0aforged\u{85} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nx-request-id: a\u{1b}[31mforged\tb\r\n\r\n").as_bytes()).await;
    rig.raw(b"GET / HTTP/1.1\r\n\x1b[31mforged: x\r\n\r\n")
        .await;
    rig.luna.signal("TERM");
    assert!(rig.luna.wait(Duration::from_secs(20)).success());
    let log = rig.luna.log();
    assert!(log.len() > 8);
    for line in &log {
        let mut words = line.split_whitespace();
        let at = words.next().unwrap_or_default();
        let level = words.next().unwrap_or_default();
        assert!(
            at.len() > 20 && at.ends_with('Z') && at.starts_with("20"),
            "{line:?}"
        );
        assert!(
            ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level),
            "{line:?}"
        );
        assert!(
            !line.contains("panicked") && !line.chars().any(|c| c.is_control() && c != '\t'),
            "{line:?}"
        );
    }
    rig.sim.stop().await;
}

/// What people write and what they are answered is logged at no level.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_are_not_logged() {
    let mut rig = Rig::start().await;
    let made = rig
        .admin("POST", "/admin/keys", Some(json!({"name": "bob"})))
        .await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let private = "the patient's name is Wendelin";
    for stream in [false, true] {
        let mut body = world::ask("claude-sonnet-4-6", stream);
        body["messages"][0]["content"] = private.into();
        body["system"] = private.into();
        assert_eq!(
            rig.ask(false, "/v1/messages", ("x-api-key", &key), &body)
                .await,
            200
        );
    }
    let seen = rig.sim.handle().messages().len();
    assert_eq!(seen, 2);
    rig.luna.signal("TERM");
    assert!(rig.luna.wait(Duration::from_secs(20)).success());
    let log = rig.luna.log().join("\n");
    assert!(log.contains("luna::access"), "{log}");
    let leaks: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("Wendelin"))
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    eventually("the files are there", Duration::from_secs(5), || async {
        rig.folder.path().join("data/usage").exists()
    })
    .await;
    let mut found = Vec::new();
    files(&rig.folder.path().join("data"), &mut found);
    for path in found {
        assert!(
            !String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("Wendelin"),
            "{}",
            path.display()
        );
    }
    rig.sim.stop().await;
}
