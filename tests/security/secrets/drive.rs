//! Everything that a secret may pass through.

use luna::simulate::{Fault, FaultKind};
use serde_json::json;

use super::rig::{GUESS, PASSWORD, Rig, UPSTREAM};
use crate::support::world::{self, Answer};

pub fn status(code: u16, message: &str) -> Fault {
    Fault {
        code: Some(code),
        message: Some(message.into()),
        ..Fault::new("*", FaultKind::Status)
    }
    .times(2)
}

/// Requests of every kind and fate with `key`.
pub async fn drive_clients(rig: &mut Rig, key: &str) {
    let bearer = format!("Bearer {key}");
    for h2 in [false, true] {
        for stream in [false, true] {
            let hello = world::ask("claude-sonnet-4-6", stream);
            assert_eq!(
                rig.ask(h2, "/v1/messages", ("x-api-key", key), &hello)
                    .await,
                200
            );
            assert_eq!(
                rig.ask(h2, "/v1/messages", ("authorization", &bearer), &hello)
                    .await,
                200
            );
            let query = format!(
                "/v1/messages?beta=true&api_key={key}&key={key}&token={key}&password={key}&other={GUESS}"
            );
            assert_eq!(rig.ask(h2, &query, ("x-api-key", key), &hello).await, 200);
        }
        let hello = world::ask("claude-sonnet-4-6", false);
        for path in [
            format!("/v1/{key}"),
            format!("/{key}"),
            format!("/v1/messages/{key}"),
            format!("/admin/{key}"),
        ] {
            let status = rig.ask(h2, &path, ("x-api-key", key), &hello).await;
            assert!(matches!(status, 403 | 404), "{path}: {status}");
        }
        assert_eq!(
            rig.ask(h2, "/v1/messages", ("x-api-key", GUESS), &hello)
                .await,
            401
        );
        assert_eq!(
            rig.ask(h2, "/v1/messages", ("authorization", GUESS), &hello)
                .await,
            401
        );
        // The model, a beta, an id, an agent that hold a key.
        assert_eq!(
            rig.ask(
                h2,
                "/v1/messages",
                ("x-api-key", key),
                &world::ask(key, false)
            )
            .await,
            404
        );
        for name in [
            "user-agent",
            "x-request-id",
            "anthropic-beta",
            "anthropic-version",
            "origin",
            "cookie",
            "referer",
        ] {
            let client = if h2 { &rig.h2 } else { &rig.client };
            let request = client
                .post(rig.luna.url("/v1/messages"))
                .header("x-api-key", key)
                .header(name, key);
            let answer = Answer::read(request.json(&hello).send().await.unwrap()).await;
            rig.keep(&answer);
        }
    }
    // Upstreams that refuse, repeat what they should not, or are not there.
    for message in [
        format!("invalid x-api-key {UPSTREAM} of {key}"),
        format!("Bearer {key} and https://u:{PASSWORD}@host/?key={UPSTREAM}"),
    ] {
        for code in [400, 401, 403, 429, 500, 529] {
            rig.sim
                .handle()
                .set_faults(vec![status(code, &message)])
                .unwrap();
            rig.admin("POST", "/admin/fallback/clear", Some(json!({})))
                .await;
            rig.ask(
                false,
                "/v1/messages",
                ("x-api-key", key),
                &world::ask("claude-sonnet-4-6", code % 2 == 0),
            )
            .await;
        }
        let fault = Fault {
            message: Some(message.clone()),
            ..Fault::new("*", FaultKind::ErrorEvent).at_event(3)
        };
        rig.sim.handle().set_faults(vec![fault.times(2)]).unwrap();
        rig.admin("POST", "/admin/fallback/clear", Some(json!({})))
            .await;
        rig.ask(
            false,
            "/v1/messages",
            ("x-api-key", key),
            &world::ask("claude-sonnet-4-6", true),
        )
        .await;
    }
    rig.sim
        .handle()
        .set_faults(vec![Fault::new("/health", FaultKind::HealthError)])
        .unwrap();
    rig.admin("POST", "/admin/fallback/poll", None).await;
    rig.sim.handle().set_faults(Vec::new()).unwrap();
    rig.admin("POST", "/admin/fallback/poll", None).await;
    for model in ["refused", "nobody"] {
        let status = rig
            .ask(
                false,
                "/v1/messages",
                ("x-api-key", key),
                &world::ask(model, false),
            )
            .await;
        assert_eq!(status, 502, "{model}");
    }
    // What is no HTTP, or only nearly.
    for broken in [
        format!("GET /?api_key={key} HTTP/9.9\r\nx-api-key: {key}\r\n\r\n"),
        format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key : {key}\r\n\r\n"),
        format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nbroken\r\n\r\n"),
        format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\0\r\n\r\n"),
        format!("GET /v1/models HTTP/1.1\nhost: x\nx-api-key: {key}\n\n"),
        format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"
        ),
        format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nx-api-key: {GUESS}\r\ncontent-length: 2\r\n\r\n{{}}"
        ),
        format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\nzz {key}\r\n"
        ),
        format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 200\r\n\r\n{{\"model\":\"{key}\""
        ),
        format!(
            "POST /v1/messages?{key} HTTP/1.1\r\nhost: {key}\r\nx-api-key: {key}\r\nexpect: {key}\r\ncontent-length: 0\r\n\r\n"
        ),
        format!("{key} / HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!(
            "GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n{}\r\n",
            "a: b\r\n".repeat(300)
        ),
        format!(
            "GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nx: {}\r\n\r\n",
            "y".repeat(80_000)
        ),
        format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n"),
    ] {
        rig.raw(broken.as_bytes()).await;
    }
}

/// The admin API and reloads; gives the secret that is good at the end.
pub async fn drive_admin(rig: &mut Rig) -> String {
    let made = rig
        .admin("POST", "/admin/keys", Some(json!({"name": "bob"})))
        .await;
    assert_eq!(made.status, 201);
    let first = rig.made("the first secret", &made);
    let turned = rig
        .admin(
            "POST",
            &format!("/admin/keys/{first}/rotate"),
            Some(json!({"grace_s": 60})),
        )
        .await;
    let second = rig.made("the second secret", &turned);
    for verb in ["disable", "enable"] {
        assert_eq!(
            rig.admin("POST", &format!("/admin/keys/{second}/{verb}"), None)
                .await
                .status,
            200
        );
        rig.ask(
            false,
            "/v1/messages",
            ("x-api-key", &first),
            &world::ask("claude-sonnet-4-6", false),
        )
        .await;
    }
    for (method, path, body) in [
        ("GET", format!("/admin/keys/{second}"), None),
        (
            "PATCH",
            format!("/admin/keys/{second}"),
            Some(json!({"models": ["claude-*", "gemini-*", "refused", "nobody"]})),
        ),
        (
            "PATCH",
            format!("/admin/keys/{second}"),
            Some(json!({"name": GUESS, "colour": GUESS})),
        ),
        (
            "PATCH",
            format!("/admin/keys/{second}"),
            Some(json!({"models": []})),
        ),
        ("GET", format!("/admin/keys/{second}/usage"), None),
        ("GET", format!("/admin/keys/{GUESS}"), None),
        ("POST", format!("/admin/keys/{GUESS}/disable"), None),
        ("DELETE", format!("/admin/keys/{GUESS}"), None),
        (
            "GET",
            format!("/admin/usage/daily?key={second}&from={GUESS}"),
            None,
        ),
        ("GET", format!("/admin/usage/hourly?key={GUESS}"), None),
        (
            "POST",
            "/admin/explain".into(),
            Some(json!({"model": "claude-sonnet-4-6", "key": second})),
        ),
        (
            "POST",
            "/admin/explain".into(),
            Some(json!({"model": "claude-sonnet-4-6", "key": GUESS})),
        ),
        ("POST", "/admin/keys".into(), Some(json!({"name": "bob"}))),
        (
            "POST",
            "/admin/keys".into(),
            Some(json!({"name": "x", "key": GUESS})),
        ),
        ("GET", format!("/admin/nothing/{second}"), None),
        ("GET", "/admin/keys".into(), None),
        ("GET", "/admin/usage".into(), None),
        ("GET", "/admin/fallback".into(), None),
        ("GET", "/admin/events".into(), None),
        ("POST", "/admin/reload".into(), None),
        ("GET", "/health".into(), None),
        ("GET", "/v1/models".into(), None),
    ] {
        rig.admin(method, &path, body).await;
    }
    let gone = rig
        .admin("POST", "/admin/keys", Some(json!({"name": "carol"})))
        .await;
    let gone = rig.made("a deleted secret", &gone);
    assert_eq!(
        rig.admin("DELETE", &format!("/admin/keys/{gone}"), None)
            .await
            .status,
        200
    );
    second
}

/// Files that are broken right where a secret stands.
pub async fn drive_reloads(rig: &mut Rig) {
    let path = rig.folder.path().join("luna.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    for broken in [
        good.replace(
            &format!("api_key = \"{UPSTREAM}\""),
            &format!("api_key = \"{UPSTREAM}"),
        ),
        good.replace(
            &format!("api_key = \"{UPSTREAM}\""),
            &format!("api_kee = \"{UPSTREAM}\""),
        ),
        good.replace(
            &format!("api_key = \"{UPSTREAM}\""),
            &format!("api_key = [\"{UPSTREAM}\"]"),
        ),
        good.replace(
            &format!("api_key = \"{UPSTREAM}\""),
            &format!("api_key = {UPSTREAM}"),
        ),
        good.replace(
            &format!("health_password = \"{PASSWORD}\""),
            &format!("health_password = {{ a = \"{PASSWORD}\" }}"),
        ),
        good.replace("x-team-token", "x team token"),
        good.replace(
            "url = \"http://",
            &format!("url = \"http://user:{PASSWORD}@"),
        ),
        format!("{good}\n[admin]\nkey = \"{GUESS}\"\nkey = \"{GUESS}\"\n"),
    ] {
        assert_ne!(broken, good);
        std::fs::write(&path, &broken).unwrap();
        let told = rig.admin("POST", "/admin/reload", None).await;
        assert_eq!(told.status, 422, "{broken}\n{}", told.text());
    }
    std::fs::write(&path, good).unwrap();
    rig.luna.signal("HUP");
    assert_eq!(rig.admin("POST", "/admin/reload", None).await.status, 200);
}
