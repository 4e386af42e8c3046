//! A disk that refuses while requests are served: they go on, /health tells, and all of it is written later.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::world::{Setup, World, ask};

async fn world() -> World {
    World::with(Setup {
        toml: "[usage]\ncompact_s = 0.1\nflush_ms = 20\n".to_owned(),
        ..Setup::default()
    })
    .await
}

async fn health(world: &World) -> Value {
    let answer = world.client.get(world.url("/health")).send().await.unwrap();
    answer.json().await.unwrap()
}

async fn until_health(world: &World, problems: Value) {
    eventually("health", Duration::from_secs(20), || async {
        health(world).await["problems"] == problems
    })
    .await;
}

async fn serve(world: &World, requests: usize) {
    for number in 0..requests {
        let answer = world.post(&ask("claude-sonnet-4-6", number % 2 == 0)).await;
        assert_eq!(answer.status, 200, "traffic goes on");
    }
}

/// Requests in the day files.
fn written(folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            let day: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            for models in day["day"].as_object().unwrap().values() {
                for counters in models.as_object().unwrap().values() {
                    sum += counters["requests"].as_u64().unwrap();
                }
            }
        }
    }
    sum
}

async fn until_written(world: &World, requests: u64) {
    let folder = world.folder.path().join("data/usage");
    eventually("all is in files", Duration::from_secs(20), || async {
        folder.is_dir() && written(&folder) == requests
    })
    .await;
    let usage = world.admin_get("/admin/usage").await;
    assert_eq!(usage["total"]["requests"], requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_trouble_and_back() {
    let world = world().await;
    let folder = world.folder.path().join("data/usage");
    serve(&world, 4).await;
    until_written(&world, 4).await;
    // Deleted: made anew with all that it held.
    std::fs::remove_dir_all(&folder).unwrap();
    serve(&world, 4).await;
    until_written(&world, 8).await;
    // Its place is taken: a disk that refuses everything.
    let aside = world.folder.path().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    while std::fs::write(&folder, "in the way").is_err() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    serve(&world, 6).await;
    until_health(&world, json!(["usage_unwritten"])).await;
    assert_eq!(health(&world).await["status"], "degraded");
    let usage = world.admin_get("/admin/usage").await;
    assert_eq!(usage["total"]["requests"], 14);
    assert!(world.metric("luna_usage_unwritten").await > 0.0);
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    until_written(&world, 14).await;
    until_health(&world, json!([])).await;
    assert_eq!(world.metric("luna_usage_unwritten").await, 0.0);
    world.stop().await;
}

/// A small disk, while it lives.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=64k", "none"])
            .arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_and_back() {
    let world = world().await;
    let folder = world.folder.path().join("data/usage");
    let Some(disk) = Disk::mount(&folder) else {
        eprintln!("not run: this user may not mount a tmpfs");
        world.stop().await;
        return;
    };
    serve(&world, 4).await;
    until_written(&world, 4).await;
    let ballast = folder.join("ballast");
    // The disk takes part of it and says no to the rest.
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
    serve(&world, 40).await;
    until_health(&world, json!(["usage_unwritten"])).await;
    serve(&world, 6).await;
    std::fs::remove_file(&ballast).unwrap();
    until_written(&world, 50).await;
    until_health(&world, json!([])).await;
    // Before the folder that it is mounted in goes.
    drop(disk);
    world.stop().await;
}
