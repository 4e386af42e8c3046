//! Answers to requests that never concern the upstream.

use std::time::Duration;

use luna::app::now;
use luna::routing::rfc3339;
use serde_json::json;

use super::masks::rendered;
use super::{FIRST, HELLO, Seen, get, head, hello, post};
use crate::support::eventually;
use crate::support::raw;
use crate::support::world::{Setup, World};

async fn create(world: &World, body: serde_json::Value) -> String {
    let made = world.admin_post("/admin/keys", &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["key"].as_str().unwrap().to_owned()
}

pub async fn keys_and_requests(seen: &mut Seen) {
    let mut setup = Setup::default();
    setup.server = "max_body_bytes = 20000\nmax_header_bytes = 4096\nclient_body_timeout_s = 1\n\
                    cors_origins = [\"https://app.example\"]"
        .into();
    let world = World::with(setup).await;
    let key = world.key.clone();
    let wrong = "luna-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    seen.ask(
        "401-no-key",
        &world,
        &post("/v1/messages", "", &[], &hello()),
    )
    .await;
    seen.ask(
        "401-unknown-key",
        &world,
        &post("/v1/messages", wrong, &[], &hello()),
    )
    .await;
    seen.ask(
        "401-malformed-key",
        &world,
        &post("/v1/messages", "not a key", &[], &hello()),
    )
    .await;
    let two = [&*format!("x-api-key: {wrong}")];
    seen.ask(
        "401-two-keys",
        &world,
        &post("/v1/messages", &key, &two, &hello()),
    )
    .await;
    seen.ask(
        "401-openai-no-key",
        &world,
        &post("/v1/chat/completions", "", &[], &hello()),
    )
    .await;
    seen.ask(
        "401-unknown-path-no-key",
        &world,
        &get("GET", "/api/config", "", &[]),
    )
    .await;
    seen.ask(
        "401-admin-no-key",
        &world,
        &get("GET", "/admin/keys", "", &[]),
    )
    .await;
    seen.ask(
        "403-admin-client-key",
        &world,
        &get("GET", "/admin/keys", &key, &[]),
    )
    .await;

    let disabled = create(&world, json!({"name": "disabled"})).await;
    let done = world
        .admin_post(&format!("/admin/keys/{disabled}/disable"), &json!({}))
        .await;
    assert_eq!(done.status, 200);
    seen.ask(
        "403-disabled-key",
        &world,
        &post("/v1/messages", &disabled, &[], &hello()),
    )
    .await;
    let narrow = create(&world, json!({"name": "narrow", "models": ["gemini-*"]})).await;
    seen.ask(
        "403-model",
        &world,
        &post("/v1/messages", &narrow, &[], &hello()),
    )
    .await;
    let soon = rfc3339(now() + 1_000);
    let expiring = create(&world, json!({"name": "expiring", "expires_at": soon})).await;
    eventually("the key expires", Duration::from_secs(10), || async {
        raw::ask(world.app.address, &get("GET", "/me", &expiring, &[]))
            .await
            .status
            == 403
    })
    .await;
    seen.ask(
        "403-expired-key",
        &world,
        &post("/v1/messages", &expiring, &[], &hello()),
    )
    .await;

    for (name, body) in [
        ("400-empty-body", String::new()),
        ("400-not-json", "model=claude".to_owned()),
        ("400-not-an-object", "[]".to_owned()),
        ("400-cut-json", hello()[..40].to_owned()),
        ("400-no-model", format!("{{{HELLO}}}")),
        ("400-empty-model", format!(r#"{{"model":"",{HELLO}}}"#)),
        ("400-model-not-text", format!(r#"{{"model":7,{HELLO}}}"#)),
        (
            "400-model-twice",
            format!(r#"{{"model":"{FIRST}","m\u006fdel":"gemini-3-flash",{HELLO}}}"#),
        ),
        (
            "400-stream-not-bool",
            format!(r#"{{"model":"{FIRST}","stream":"yes",{HELLO}}}"#),
        ),
    ] {
        seen.ask(name, &world, &post("/v1/messages", &key, &[], &body))
            .await;
    }

    seen.ask(
        "413-length",
        &world,
        &post("/v1/messages", &key, &[], &"x".repeat(20_001)),
    )
    .await;
    let chunked = head(
        "POST",
        "/v1/messages",
        &key,
        &["transfer-encoding: chunked"],
    );
    let chunked = format!("{chunked}\r\n5000\r\n{}\r\n0\r\n\r\n", " ".repeat(0x5000));
    seen.ask("413-chunked", &world, chunked.as_bytes()).await;
    let long = [&*format!("x-long: {}", "x".repeat(5_000))];
    let long = post("/v1/messages", &key, &long, &hello());
    let answer = raw::ask(world.app.address, &long).await;
    // The exact size depends on nothing but the request.
    seen.add("431-header", &answer);
    let slow = format!(
        "{}content-length: 100\r\n\r\n{{",
        head("POST", "/v1/messages", &key, &[])
    );
    seen.ask("408-slow-body", &world, slow.as_bytes()).await;
    seen.ask(
        "415-gzip",
        &world,
        &post("/v1/messages", &key, &["content-encoding: gzip"], &hello()),
    )
    .await;

    seen.ask("404-path", &world, &get("GET", "/v1/nothing", &key, &[]))
        .await;
    seen.ask(
        "404-openai-route",
        &world,
        &post("/v1/responses", &key, &[], &hello()),
    )
    .await;
    seen.ask(
        "404-v1-twice",
        &world,
        &post("/v1/v1/messages", &key, &[], &hello()),
    )
    .await;
    seen.ask(
        "404-slash",
        &world,
        &post("/v1/messages/", &key, &[], &hello()),
    )
    .await;
    let version = ["anthropic-version: 2023-06-01"];
    seen.ask(
        "404-model-anthropic",
        &world,
        &get("GET", "/v1/models/nope", &key, &version),
    )
    .await;
    seen.ask(
        "404-model-openai",
        &world,
        &get("GET", "/v1/models/nope", &key, &[]),
    )
    .await;
    seen.ask(
        "405-messages",
        &world,
        &get("GET", "/v1/messages", &key, &[]),
    )
    .await;
    seen.ask("405-health", &world, &post("/health", &key, &[], "{}"))
        .await;
    let put = get("PUT", "/admin/keys", &world.admin, &["content-length: 0"]);
    seen.ask("405-admin", &world, &put).await;

    let origin = ["origin: https://app.example"];
    seen.ask(
        "401-with-origin",
        &world,
        &post("/v1/messages", "", &origin, &hello()),
    )
    .await;
    let asked = [
        "origin: https://app.example",
        "access-control-request-method: POST",
        "access-control-request-headers: x-api-key,content-type",
    ];
    seen.ask(
        "204-preflight",
        &world,
        &get("OPTIONS", "/v1/messages", "", &asked),
    )
    .await;
    seen.ask("200-root", &world, &get("GET", "/", "", &[]))
        .await;
    seen.ask("400-not-http", &world, b"HELO luna\r\n\r\n").await;
    assert!(
        world.handle().messages().is_empty(),
        "none of this concerns the upstream"
    );
    world.stop().await;
}

pub async fn too_many_wrong_keys(seen: &mut Seen) {
    let world = World::start().await;
    let wrong = get("GET", "/v1/models", "luna-wrong", &[]);
    for _ in 0..10 {
        assert_eq!(raw::ask(world.app.address, &wrong).await.status, 401);
    }
    let answer = raw::ask(world.app.address, &wrong).await;
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{answer:?}");
    let told = rendered(&answer).replace(&format!("etry-After: {wait}"), "etry-After: <SECONDS>");
    seen.0.insert(
        "429-wrong-keys".into(),
        told.replace(&format!("retry-after: {wait}"), "retry-after: <SECONDS>"),
    );
    world.stop().await;
}
