//! The life of a key.

use std::time::Duration;

use luna::simulate::{Shape, filler};
use serde_json::json;

use super::{curl, curled, hello};
use crate::support::eventually;
use crate::support::h1::Raw;
use crate::support::world::{Answer, Setup, World};

const MESSAGES: &str = "/v1/messages";

async fn asks(world: &World, key: &str) -> u16 {
    let body = hello("claude-sonnet-4-6");
    let answer = curl(world.app.address, "POST", MESSAGES, key, Some(&body)).await;
    answer.status
}

async fn create(world: &World, body: &str) -> (String, String) {
    let command = ("POST", "/admin/keys", world.admin.as_str(), Some(body));
    let made = curled(world.app.address, 201, command).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_shown_changed_and_deleted() {
    let world = World::start().await;
    let (address, admin) = (world.app.address, world.admin.as_str());
    let body = Some(r#"{"name":"alice","limits":{}}"#);
    let made = curled(address, 201, ("POST", "/admin/keys", admin, body)).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let letters = secret.strip_prefix("luna-").unwrap();
    assert_eq!(letters.len(), 43, "{secret}");
    assert!(
        letters
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
        "{secret}"
    );
    let expected = json!({
        "id": id, "name": "alice", "enabled": true, "admin": false, "permissions": [], "models": [],
        "limits": {}, "expires_at": null, "last_used_at": null,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}: {made}");
    }
    assert!(
        secret.starts_with(made["prefix"].as_str().unwrap()),
        "{made}"
    );

    let again = curled(address, 409, ("POST", "/admin/keys", admin, body)).await;
    assert_eq!(again["type"], "error", "{again}");
    let nameless = curled(address, 400, ("POST", "/admin/keys", admin, None)).await;
    assert!(
        nameless["error"]["message"]
            .as_str()
            .unwrap()
            .contains("name"),
        "{nameless}"
    );

    for path in [
        "/admin/keys".to_owned(),
        format!("/admin/keys/{id}"),
        format!("/admin/keys/{secret}"),
    ] {
        let shown = curled(address, 200, ("GET", &path, admin, None)).await;
        assert!(
            !shown.to_string().contains(secret),
            "the secret is shown again: {shown}"
        );
        assert!(shown.to_string().contains("\"alice\""), "{shown}");
    }
    assert_eq!(asks(&world, secret).await, 200);
    let patch = Some(r#"{"name":"Alice"}"#);
    let path = format!("/admin/keys/{id}");
    let renamed = curled(address, 200, ("PATCH", &path, admin, patch)).await;
    assert_eq!(renamed["name"], "Alice");
    assert!(renamed["last_used_at"].is_string(), "{renamed}");

    let gone = curled(address, 200, ("DELETE", &path, admin, None)).await;
    assert_eq!(gone["name"], "Alice");
    assert_eq!(asks(&world, secret).await, 401);
    let missing = curled(address, 404, ("GET", &path, admin, None)).await;
    assert_eq!(missing["error"]["type"], "not_found_error");
    let never = format!("/admin/keys/{secret}/disable");
    let missing = curled(address, 404, ("POST", &never, admin, None)).await;
    assert!(
        !missing.to_string().contains(secret),
        "an error repeats the key: {missing}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_key_is_refused_on_the_very_next_request() {
    let world = World::start().await;
    let (address, admin) = (world.app.address, world.admin.as_str());
    let (id, secret) = create(&world, r#"{"name":"bob"}"#).await;
    let mut kept = Raw::connect(address).await;
    let head = format!("POST {MESSAGES} HTTP/1.1\r\nhost: luna\r\nx-api-key: {secret}\r\n");
    let body = hello("claude-sonnet-4-6");
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    for turn in 0..10 {
        // By id and by secret in turn.
        let key = if turn % 2 == 0 { &id } else { &secret };
        let path = format!("/admin/keys/{key}/disable");
        let shown = curled(address, 200, ("POST", &path, admin, None)).await;
        assert_eq!(shown["enabled"], false, "{turn}");
        kept.send(&request).await;
        let answer = kept.answer().await;
        assert_eq!(answer.status, 403, "{turn}: {}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "permission_error", "{turn}");
        assert_eq!(
            asks(&world, &secret).await,
            403,
            "{turn}: on a new connection"
        );
        let models = curl(address, "GET", "/v1/models", &secret, None).await;
        assert_eq!(models.status, 403, "{turn}: another route");
        let path = format!("/admin/keys/{key}/enable");
        let shown = curled(address, 200, ("POST", &path, admin, Some(""))).await;
        assert_eq!(shown["enabled"], true, "{turn}");
        kept.send(&request).await;
        let answer = kept.answer().await;
        assert_eq!(answer.status, 200, "{turn}: {}", answer.text());
    }
    assert_eq!(world.handle().messages().len(), 10);
    drop(kept);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_in_flight_outlives_its_key() {
    let mut setup = Setup::default();
    setup.sim.time_scale = 1.0;
    let world = World::with(setup).await;
    let (id, secret) = create(&world, r#"{"name":"carol"}"#).await;
    let shape = Shape {
        events: Some(20),
        interval_ms: Some(30),
        ..Shape::default()
    };
    let body = json!({
        "model": "claude-sonnet-4-6", "max_tokens": 99, "stream": true,
        "messages": [{"role": "user", "content": "Hi"}], "metadata": {"sim": shape},
    });
    let request = world.client.post(world.url(MESSAGES)).bearer_auth(&secret);
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let path = format!("/admin/keys/{id}");
    curled(
        world.app.address,
        200,
        ("DELETE", &path, &world.admin, None),
    )
    .await;
    assert_eq!(asks(&world, &secret).await, 401);
    assert!(
        !world.handle().messages()[0].progress.finished,
        "the stream is still running"
    );
    let answer = Answer::read(response).await;
    assert_eq!(
        (answer.broken.clone(), answer.content()),
        (None, filler(0, 20 * 256))
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_works_until_its_grace_is_over() {
    let world = World::start().await;
    let (address, admin) = (world.app.address, world.admin.as_str());
    let (id, first) = create(&world, r#"{"name":"dave"}"#).await;
    let path = format!("/admin/keys/{id}/rotate");
    let grace = Some(r#"{"grace_s":1.5}"#);
    let rotated = curled(address, 200, ("POST", &path, admin, grace)).await;
    let second = rotated["key"].as_str().unwrap().to_owned();
    assert_eq!(rotated["id"], id);
    assert_ne!(second, first);
    assert_eq!(
        (asks(&world, &first).await, asks(&world, &second).await),
        (200, 200)
    );
    eventually(
        "the old secret is refused",
        Duration::from_secs(10),
        async || asks(&world, &first).await == 401,
    )
    .await;
    assert_eq!(asks(&world, &second).await, 200);
    let rotated = curled(address, 200, ("POST", &path, admin, None)).await;
    let third = rotated["key"].as_str().unwrap().to_owned();
    assert_eq!(
        (asks(&world, &second).await, asks(&world, &third).await),
        (401, 200)
    );
    // All that was one key's use.
    let usage = format!("/admin/keys/{third}/usage");
    let made = world.handle().messages().len();
    let used = async || curled(address, 200, ("GET", &usage, admin, None)).await;
    eventually("all is counted", Duration::from_secs(5), async || {
        used().await["total"]["requests"] == made
    })
    .await;
    let used = used().await;
    assert_eq!(
        (&used["id"], &used["name"]),
        (&json!(id), &json!("dave")),
        "{used}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_key_is_refused() {
    let world = World::start().await;
    let (address, admin) = (world.app.address, world.admin.as_str());
    let (_, secret) = create(
        &world,
        r#"{"name":"old","expires_at":"2020-01-01T00:00:00Z"}"#,
    )
    .await;
    let body = hello("claude-sonnet-4-6");
    let said = curled(address, 403, ("POST", MESSAGES, &secret, Some(&body))).await;
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains("expired"),
        "{said}"
    );
    let path = format!("/admin/keys/{secret}");
    curled(
        address,
        200,
        ("PATCH", &path, admin, Some(r#"{"expires_at":null}"#)),
    )
    .await;
    assert_eq!(asks(&world, &secret).await, 200);
    world.stop().await;
}
