//! A folder that cannot be written: remounted read-only where this user may mount, else by its permissions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::Rig;
use crate::support::binary::Luna;
use crate::support::eventually;
use crate::support::world::ask;

const LIMIT: Duration = Duration::from_secs(20);
const LINES: &str = "[usage]\ncompact_s = 0.1\nflush_ms = 20\n";

/// A folder that refuses writes, while it lives.
enum ReadOnly {
    Mounted(PathBuf),
    Closed(PathBuf),
}

fn mount(args: &[&str], at: &Path) -> bool {
    let output = Command::new("mount").args(args).arg(at).output();
    output.is_ok_and(|output| output.status.success())
}

impl ReadOnly {
    /// None when it cannot be made so.
    fn make(folder: &Path) -> Option<Self> {
        let of = folder.to_owned();
        if mount(&["--bind", folder.to_str()?], folder) {
            let made = Self::Mounted(of);
            return mount(&["-o", "remount,ro,bind"], folder).then_some(made);
        }
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o500)).ok()?;
        // Permissions do not stop root.
        let made = Self::Closed(of);
        let probe = folder.join("probe");
        let refuses = std::fs::write(&probe, "").is_err();
        if !refuses {
            std::fs::remove_file(probe).unwrap();
        }
        refuses.then_some(made)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        match self {
            Self::Mounted(at) => drop(Command::new("umount").arg("-l").arg(at).status()),
            Self::Closed(at) => drop(std::fs::set_permissions(
                at,
                PermissionsExt::from_mode(0o700),
            )),
        }
    }
}

async fn serve(rig: &Rig, luna: &Luna, requests: usize) {
    for number in 0..requests {
        let body = ask("claude-sonnet-4-6", number % 2 == 0);
        assert_eq!(rig.post(luna, &body).await.status, 200, "traffic goes on");
    }
}

async fn until_health(rig: &Rig, luna: &Luna, status: &str, problems: Value) {
    eventually("health", LIMIT, || async {
        let health = rig.admin_get(luna, "/health").await;
        health["problems"] == problems && health["status"] == status
    })
    .await;
}

async fn until_written(rig: &Rig, luna: &Luna, requests: u64) {
    until_health(rig, luna, "ok", json!([])).await;
    // What another program sees that reads the files alone.
    eventually("all is in files", LIMIT, || async {
        let mut offline = Command::new(crate::support::binary::path());
        offline
            .args([
                "usage",
                "--offline",
                "--by",
                "day",
                "--format",
                "json",
                "--config",
            ])
            .arg(rig.folder.path().join("luna.toml"))
            .env_clear();
        let output = offline.output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        said["days"][0]["total"]["requests"] == requests
    })
    .await;
    assert_eq!(rig.usage(luna).await["total"]["requests"], requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_folder_and_back() {
    let (rig, mut luna) = Rig::with(LINES, |_| {}).await;
    let folder = rig.usage_folder();
    serve(&rig, &luna, 4).await;
    until_written(&rig, &luna, 4).await;
    let Some(closed) = ReadOnly::make(&folder) else {
        eprintln!("not run: nothing that this user can do makes a folder read-only to it");
        return;
    };
    // The journal that is open goes on; new files cannot be made.
    serve(&rig, &luna, 6).await;
    until_health(&rig, &luna, "degraded", json!(["usage_unwritten"])).await;
    drop(closed);
    until_written(&rig, &luna, 10).await;
    // A gateway that starts with it has no open journal either.
    luna.signal("TERM");
    luna.wait(LIMIT);
    let closed = ReadOnly::make(&folder).expect("a second time");
    let luna = Luna::again(rig.folder.path());
    serve(&rig, &luna, 8).await;
    until_health(&rig, &luna, "degraded", json!(["usage_unwritten"])).await;
    assert_eq!(rig.usage(&luna).await["total"]["requests"], 18);
    let metrics = luna.metrics.clone().unwrap();
    let text = rig.http.get(format!("http://{metrics}/metrics")).send();
    let text = text.await.unwrap().text().await.unwrap();
    assert!(text.contains("\nluna_usage_unwritten 8\n"), "{text}");
    assert!(text.contains("\nluna_usage_lost_total 0\n"), "{text}");
    let said = luna.log();
    let said = said
        .iter()
        .filter(|line| line.contains("usage is not written"));
    assert_eq!(said.count(), 1, "one line a minute");
    drop(closed);
    until_written(&rig, &luna, 18).await;
    rig.sim.stop().await;
}
