//! What was made and counted is there again after a restart in the same folder.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use luna::simulate::{Generation, SimConfig, spawn};
use serde_json::Value;

use super::{curl, curled, hello};
use crate::support::binary::Luna;

fn address(luna: &Luna) -> SocketAddr {
    luna.address.parse().unwrap()
}

async fn asks(luna: &Luna, key: &str) -> u16 {
    let body = hello("claude-sonnet-4-6");
    curl(address(luna), "POST", "/v1/messages", key, Some(&body))
        .await
        .status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_usage_survive_a_restart() {
    let mut config = SimConfig::new(Generation::V2_7);
    config.time_scale = 0.0;
    let sim = spawn(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"off\"\n[upstreams.default]\nurl = \"{}\"\n",
        sim.url()
    );
    let mut luna = Luna::serve(folder.path(), &toml, "{}");
    let admin = luna.admin_key();
    let make = async |luna: &Luna, name: &str| {
        let body = format!(r#"{{"name":"{name}","models":["claude-*"]}}"#);
        let command = ("POST", "/admin/keys", admin.as_str(), Some(body.as_str()));
        let made = curled(address(luna), 201, command).await;
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    };
    let (_, kept) = make(&luna, "kept").await;
    let (disabled_id, disabled) = make(&luna, "disabled").await;
    let (deleted_id, deleted) = make(&luna, "deleted").await;
    let (rotated_id, before) = make(&luna, "rotated").await;
    for key in [&kept, &disabled, &deleted, &before] {
        assert_eq!(asks(&luna, key).await, 200);
    }
    let path = format!("/admin/keys/{disabled_id}/disable");
    curled(address(&luna), 200, ("POST", &path, &admin, None)).await;
    let path = format!("/admin/keys/{deleted_id}");
    curled(address(&luna), 200, ("DELETE", &path, &admin, None)).await;
    let path = format!("/admin/keys/{rotated_id}/rotate");
    let grace = Some(r#"{"grace_s":3600}"#);
    let rotated = curled(address(&luna), 200, ("POST", &path, &admin, grace)).await;
    let after = rotated["key"].as_str().unwrap().to_owned();

    let show = async |luna: &Luna| {
        let keys = curled(address(luna), 200, ("GET", "/admin/keys", &admin, None)).await;
        let usage = curled(address(luna), 200, ("GET", "/admin/usage", &admin, None)).await;
        let daily = curled(
            address(luna),
            200,
            ("GET", "/admin/usage/daily", &admin, None),
        )
        .await;
        (keys, usage, daily)
    };
    let shown = show(&luna).await;
    assert_eq!(shown.1["total"]["requests"], 4, "{}", shown.1);
    let read = |file: &str| std::fs::read_to_string(folder.path().join("data").join(file)).unwrap();
    for turn in 0..2 {
        luna.signal("TERM");
        let status = luna.wait(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "{turn}");
        let file = read("keys.json");
        for secret in [&kept, &disabled, &before, &after, &admin] {
            assert!(!file.contains(secret.as_str()), "a secret is in keys.json");
        }
        let path = folder.path().join("data/keys.json");
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "keys.json");
        let parsed: Value = serde_json::from_str(&file).unwrap();
        assert!(parsed.is_object());

        luna = Luna::again(folder.path());
        assert!(
            !luna.out().iter().any(|line| line.starts_with("luna-")),
            "no new admin key"
        );
        assert_eq!(show(&luna).await, shown, "{turn}");
    }
    for (key, status) in [
        (&kept, 200),
        (&disabled, 403),
        (&deleted, 401),
        (&before, 200),
        (&after, 200),
    ] {
        assert_eq!(asks(&luna, key).await, status);
    }
    let body = hello("gemini-3-flash");
    let refused = curl(address(&luna), "POST", "/v1/messages", &kept, Some(&body)).await;
    assert_eq!(refused.status, 403, "the list of models is kept");
    drop(luna);
    sim.stop().await;
}
