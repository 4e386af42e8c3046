//! One process at a time, and the next one finds everything.

use std::process::{Command, Stdio};

use crate::support::binary;

use super::*;

/// Puts the port that the system chose into luna.toml, so that the next process takes the same.
fn keep_port(site: &Site) {
    let toml = site.read("luna.toml");
    let kept = toml.replacen("127.0.0.1:0", &site.luna.address, 1);
    assert_ne!(toml, kept);
    site.write("luna.toml", &kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_the_same_folder_is_refused_and_disturbs_nothing() {
    let site = Site::start("").await;
    let load = Load::start(&site, 2);
    let folder = site.folder.path().to_owned();
    let second = tokio::task::spawn_blocking(move || {
        Command::new(binary::path())
            .args(["serve", "--config", "luna.toml"])
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let second = tokio::time::timeout(PATIENCE, second)
        .await
        .expect("it ends")
        .unwrap();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains(&site.luna.pid().to_string()), "{told}");
    assert!(told.contains("luna.lock"), "{told}");
    assert!(load.stop().await > 0);
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_keys_and_totals() {
    let mut site = Site::start("").await;
    let off = site
        .admin("POST", "/admin/keys", Some(json!({"name": "off"})))
        .await;
    let path = format!("/admin/keys/{}/disable", off["id"].as_str().unwrap());
    site.admin("POST", &path, None).await;
    for stream in [true, false, true] {
        assert_eq!(site.post(&ask(MODEL, stream)).await.status, 200);
    }
    let keys = |site: &Site| {
        let (client, url, admin) = (
            site.client.clone(),
            site.luna.url("/admin/keys"),
            site.admin.clone(),
        );
        async move {
            let answer = client
                .get(url)
                .header("x-api-key", admin)
                .send()
                .await
                .unwrap();
            let mut keys: Value = answer.json().await.unwrap();
            for key in keys["keys"].as_array_mut().unwrap() {
                // It is written now and then only.
                key.as_object_mut().unwrap().remove("last_used_at");
            }
            keys
        }
    };
    site.counted(3).await;
    let (old_keys, old_usage) = (
        keys(&site).await,
        site.admin("GET", "/admin/usage", None).await,
    );
    site.luna.signal("TERM");
    assert_eq!(site.luna.wait(PATIENCE).code(), Some(0));
    site.luna = Luna::again(site.folder.path());
    // No new admin key is made: the old one holds.
    assert!(
        !site.luna.out().iter().any(|line| line.starts_with("luna-")),
        "{:?}",
        site.luna.out()
    );
    assert_eq!(keys(&site).await, old_keys);
    let usage = site.admin("GET", "/admin/usage", None).await;
    for part in ["total", "models"] {
        assert_eq!(usage[part], old_usage[part], "{part}");
    }
    for (key, counted) in old_usage["keys"].as_object().unwrap() {
        assert_eq!(&usage["keys"][key], counted, "{key}");
    }
    assert_eq!(old_usage["total"]["requests"], 3);
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
    let (url, secret) = (site.luna.url("/v1/messages"), off["key"].as_str().unwrap());
    let body = ask(MODEL, true);
    let refused = ask_at(&site.client, &url, secret, &body).await;
    assert_eq!(refused.unwrap().status(), 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_the_next_process_serves_within_a_second() {
    let mut site = Site::start("").await;
    keep_port(&site);
    for round in 0..3 {
        let load = Load::start(&site, 3);
        assert_eq!(
            site.post(&ask(MODEL, true)).await.status,
            200,
            "round {round}"
        );
        load.stop().await;
        // In mid-write and in mid-stream, as far as chance has it.
        let mut slow = ask(MODEL, true);
        slow["metadata"] = json!({"sim": {"events": 100, "interval_ms": 5_000}});
        let stream = site.ask(&slow).await.unwrap();
        site.luna.signal("KILL");
        site.luna.wait(PATIENCE);
        assert!(Answer::read(stream).await.broken.is_some());
        let began = Instant::now();
        site.luna = Luna::again(site.folder.path());
        // Its connections died with the old process.
        site.client = client();
        let answer = site.post(&ask(MODEL, false)).await;
        let took = began.elapsed();
        assert_eq!(
            (answer.status, answer.header("x-luna-served-model")),
            (200, MODEL),
            "{}",
            answer.text()
        );
        assert!(took < Duration::from_secs(1), "round {round}: {took:?}");
        let keys: Value = serde_json::from_str(&site.read("data/keys.json")).unwrap();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    }
}
