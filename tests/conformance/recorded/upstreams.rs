//! What a client is told when the upstreams fail or the house is full.

use std::time::Duration;

use luna::app::now;
use luna::routing::rfc3339;
use luna::simulate::{Fault, FaultKind};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{FIRST, HELLO, Seen, get, head, hello, post};
use crate::support::eventually;
use crate::support::world::{Setup, World};

/// What a chain without a usable tier answers.
pub async fn upstream_failures(seen: &mut Seen) {
    let mut setup = Setup::default();
    setup.upstream = "limits.first_answer_s = 0.3\nlimits.total_s = 0.3".into();
    setup.toml = "[upstreams.nobody]\nurl = \"http://127.0.0.1:1\"\nhealth = \"none\"".into();
    setup.fallback = format!(
        r#"{{"chains": {{"{FIRST}": ["{FIRST}", "gemini-3-flash"], "absent": [{{"model": "absent", "upstream": "nobody"}}]}}}}"#
    );
    let world = World::with(setup).await;
    let key = world.key.clone();
    let ask = |model: &str| {
        post(
            "/v1/messages",
            &key,
            &[],
            &format!(r#"{{"model":"{model}",{HELLO}}}"#),
        )
    };
    let status = |code: u16, kind: &str, message: &str| Fault {
        code: Some(code),
        error_type: Some(kind.into()),
        message: Some(message.into()),
        ..Fault::new("*", FaultKind::Status)
    };
    let leak = "alice@example.com used luna-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG at https://u:p@host/x?key=1";
    let not_allowed = "messages.0: roles must alternate";
    for (name, model, fault) in [
        (
            "429-exhausted",
            FIRST,
            Fault::new("*", FaultKind::Exhausted400),
        ),
        (
            "429-rate-limited",
            FIRST,
            Fault {
                retry_after: Some("7".into()),
                ..Fault::new("*", FaultKind::RateLimit429)
            },
        ),
        (
            "529-overloaded",
            FIRST,
            Fault::new("*", FaultKind::Overloaded529),
        ),
        (
            "529-max-retries",
            FIRST,
            Fault {
                delay_ms: Some(0),
                ..Fault::new("*", FaultKind::MaxRetries)
            },
        ),
        ("504-silent", FIRST, Fault::new("*", FaultKind::Hang)),
        ("502-html", FIRST, Fault::new("*", FaultKind::Html)),
        ("502-reset", FIRST, Fault::new("*", FaultKind::Reset)),
        ("502-empty", FIRST, Fault::new("*", FaultKind::Empty)),
        ("500-upstream", FIRST, status(500, "api_error", leak)),
        (
            "502-upstream-401",
            FIRST,
            status(401, "authentication_error", leak),
        ),
        (
            "502-upstream-403",
            FIRST,
            status(403, "permission_error", leak),
        ),
        (
            "400-upstream",
            FIRST,
            status(400, "invalid_request_error", not_allowed),
        ),
        (
            "400-upstream-cleaned",
            FIRST,
            status(400, "invalid_request_error", leak),
        ),
        (
            "413-upstream",
            FIRST,
            status(413, "request_too_large", "too large"),
        ),
        (
            "404-model",
            "no-such-model",
            Fault::new("nobody", FaultKind::Hang),
        ),
        (
            "502-refused",
            "absent",
            Fault::new("nobody", FaultKind::Hang),
        ),
    ] {
        // Without the marks of the case before.
        let cleared = world.admin_post("/admin/fallback/clear", &json!({})).await;
        assert_eq!(cleared.status, 200);
        // A poll that comes at the wrong moment would lift a mark while the answer is worded.
        let no_poll = Fault::new("/health", FaultKind::HealthError);
        world.handle().set_faults(vec![no_poll, fault]).unwrap();
        seen.ask(name, &world, &ask(model)).await;
    }
    let cleared = world.admin_post("/admin/fallback/clear", &json!({})).await;
    assert_eq!(cleared.status, 200);
    world.handle().set_faults(Vec::new()).unwrap();
    let reset = rfc3339(now() + 2 * 3_600_000);
    world.set_quota(FIRST, 0.0, Some(&reset)).await;
    let off = post("/v1/messages", &key, &["x-luna-fallback: off"], &hello());
    world
        .handle()
        .set_faults(vec![Fault::new(FIRST, FaultKind::Exhausted400)])
        .unwrap();
    seen.ask("429-fallback-off", &world, &off).await;
    world.handle().set_faults(Vec::new()).unwrap();
    world.set_quota("gemini-3-flash", 0.0, Some(&reset)).await;
    seen.ask("429-quota", &world, &ask(FIRST)).await;
    world.stop().await;
}

pub async fn broken_streams(seen: &mut Seen) {
    let world = World::start().await;
    let body = format!(
        r#"{{"model":"{FIRST}","stream":true,"metadata":{{"sim":{{"text":"one two three","events":3}}}},{HELLO}}}"#
    );
    for (name, kind) in [
        ("200-stream-cut", FaultKind::Cut),
        ("200-stream-error", FaultKind::ErrorEvent),
    ] {
        world
            .handle()
            .set_faults(vec![Fault::new(FIRST, kind).at_event(4)])
            .unwrap();
        seen.ask(name, &world, &post("/v1/messages", &world.key, &[], &body))
            .await;
    }
    world.stop().await;
}

pub async fn full_houses(seen: &mut Seen) {
    let mut setup = Setup::default();
    setup.server = "max_in_flight = 1".into();
    let world = World::with(setup).await;
    let mut held = TcpStream::connect(world.app.address).await.unwrap();
    let waiting = format!(
        "{}content-length: 100\r\n\r\n{{",
        head("POST", "/v1/messages", &world.key, &[])
    );
    held.write_all(waiting.as_bytes()).await.unwrap();
    eventually(
        "one request is in the house",
        Duration::from_secs(10),
        || async { world.metric("luna_in_flight").await == 1.0 },
    )
    .await;
    seen.ask(
        "503-full-house",
        &world,
        &post("/v1/messages", &world.key, &[], &hello()),
    )
    .await;
    drop(held);
    eventually("the house is empty", Duration::from_secs(10), || async {
        world.metric("luna_in_flight").await == 0.0
    })
    .await;
    world.stop().await;

    let mut setup = Setup::default();
    setup.server = "max_body_bytes = 1000\nbody_memory_bytes = 1000".into();
    let world = World::with(setup).await;
    let mut held = TcpStream::connect(world.app.address).await.unwrap();
    let most = format!(
        "{}content-length: 900\r\n\r\n{}",
        head("POST", "/v1/messages", &world.key, &[]),
        " ".repeat(800)
    );
    held.write_all(most.as_bytes()).await.unwrap();
    eventually(
        "the first body is held",
        Duration::from_secs(10),
        || async { world.app.gateway.body_bytes() == 800 },
    )
    .await;
    seen.ask(
        "503-body-memory",
        &world,
        &post("/v1/messages", &world.key, &[], &" ".repeat(900)),
    )
    .await;
    drop(held);
    world.stop().await;

    let mut setup = Setup::default();
    setup.server = "max_connections = 1".into();
    let world = World::with(setup).await;
    // World::with has asked nothing: the house is empty.
    let _one = TcpStream::connect(world.app.address).await.unwrap();
    eventually(
        "one connection is there",
        Duration::from_secs(10),
        || async { world.app.connections() == 1 },
    )
    .await;
    seen.ask("503-connections", &world, &get("GET", "/", "", &[]))
        .await;
    world.stop().await;
}
