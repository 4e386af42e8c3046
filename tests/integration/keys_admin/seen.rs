//! /health and /admin/fallback.

use serde_json::json;

use super::{curl, curled};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_needs_no_key() {
    let world = World::start().await;
    let health = curled(world.app.address, 200, ("GET", "/health", "", None)).await;
    assert_eq!(health["status"], "ok", "{health}");
    assert_eq!(
        health["upstreams"]["default"]["reachable"], true,
        "{health}"
    );
    assert_eq!(health["upstreams"]["default"]["stale"], false, "{health}");
    assert_eq!(health["problems"], json!([]), "{health}");
    assert!(
        health["models_available"].as_u64().unwrap() >= 3,
        "{health}"
    );
    assert!(
        health["uptime_s"].is_u64() && health["version"].is_string(),
        "{health}"
    );
    let ready = curl(world.app.address, "GET", "/ready", "", None).await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fallback_shows_tiers_chains_and_upstreams() {
    let world = World::start().await;
    let (address, admin) = (world.app.address, world.admin.as_str());
    let seen = curled(address, 200, ("GET", "/admin/fallback", admin, None)).await;
    assert_eq!(seen["threshold"], 0.05);
    assert_eq!(seen["recover"], 0.10);
    assert_eq!(seen["stale"], false);
    assert!(seen["polled_at"].is_string());
    let tier = |seen: &serde_json::Value, model: &str| {
        let tiers = seen["tiers"].as_array().unwrap();
        tiers.iter().find(|t| t["model"] == model).cloned().unwrap()
    };
    let sonnet = tier(&seen, "claude-sonnet-4-6");
    assert_eq!(sonnet["upstream"], "default");
    assert_eq!(sonnet["remaining_fraction"], 1.0);
    assert_eq!(
        (&sonnet["accounts"], &sonnet["state"]),
        (&json!(2), &json!("usable"))
    );
    let chain = &seen["chains"]["claude-opus-4-6-thinking"];
    let models: Vec<&str> = chain
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|t| t["model"].as_str())
        .collect();
    assert_eq!(
        models,
        [
            "claude-opus-4-6-thinking",
            "claude-sonnet-4-6",
            "gemini-3-flash"
        ]
    );
    assert!(
        chain
            .as_array()
            .unwrap()
            .iter()
            .all(|t| t["usable"] == true),
        "{chain}"
    );
    let upstream = &seen["upstreams"]["default"];
    assert_eq!(upstream["url"], world.sim.url());
    assert_eq!(upstream["accounts"].as_array().unwrap().len(), 2);
    let text = seen.to_string();
    assert!(
        !text.contains("alice@") && !text.contains("bob@"),
        "e-mail addresses: {text}"
    );

    // The old system read only the first account: here only the second has something left.
    for (email, left) in [("alice@example.com", 0.0), ("bob@example.com", 0.42)] {
        world
            .handle()
            .set_quota(email, "claude-sonnet-4-6", Some(left), None)
            .unwrap();
    }
    let polled = curled(address, 200, ("POST", "/admin/fallback/poll", admin, None)).await;
    assert_eq!(
        tier(&polled, "claude-sonnet-4-6")["remaining_fraction"],
        0.42,
        "{polled}"
    );
    let email = "bob@example.com";
    world
        .handle()
        .set_quota(email, "claude-sonnet-4-6", Some(0.04), None)
        .unwrap();
    let polled = curled(
        address,
        200,
        ("POST", "/admin/fallback/poll", admin, Some("{}")),
    )
    .await;
    assert_eq!(
        tier(&polled, "claude-sonnet-4-6")["state"],
        "low",
        "{polled}"
    );
    assert_eq!(
        polled["chains"]["claude-sonnet-4-6"][0]["usable"], false,
        "{polled}"
    );

    let ask = Some(r#"{"model":"claude-3-5-sonnet-latest[1m]"}"#);
    let told = curled(address, 200, ("POST", "/admin/explain", admin, ask)).await;
    assert_eq!(told["requested"], "claude-3-5-sonnet-latest[1m]", "{told}");
    assert_eq!(told["resolved"], "claude-sonnet-4-6", "{told}");
    assert_eq!(told["tiers"][0]["usable"], false, "{told}");
    assert_eq!(told["tiers"][1]["model"], "gemini-3-flash", "{told}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_takes_the_admin_key_alone() {
    let world = World::start().await;
    for (method, path) in [
        ("GET", "/admin/fallback"),
        ("POST", "/admin/fallback/poll"),
        ("GET", "/admin/keys"),
        ("POST", "/admin/keys"),
        ("GET", "/admin/usage"),
        ("POST", "/admin/keys/x/disable"),
    ] {
        for (key, status, kind) in [
            ("", 401, "authentication_error"),
            ("luna-wrong", 401, "authentication_error"),
            (world.key.as_str(), 403, "permission_error"),
        ] {
            // Ten wrong keys in a minute would be throttled.
            if key == "luna-wrong" && path != "/admin/keys" {
                continue;
            }
            let said = curled(world.app.address, status, (method, path, key, None)).await;
            assert_eq!(
                said["error"]["type"], kind,
                "{method} {path} {key:?}: {said}"
            );
        }
    }
    assert_eq!(world.handle().messages().len(), 0);
    world.stop().await;
}
