//! Which exception is raised, and what the SDK's own retries do.

use luna::app::now;
use luna::routing::rfc3339;
use luna::simulate::{Fault, FaultKind};
use serde_json::json;

use super::{FIRST, SECOND, asked, error, expect, run, run_with};
use crate::support::world::{Setup, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_and_wrong_requests_raise_their_own_classes() {
    let mut setup = Setup::default();
    setup.server = "max_body_bytes = 20000".into();
    let world = World::with(setup).await;
    let none = json!({});

    let unknown = "luna-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let told = run_with(&world, unknown, "errors.py", &["create", "0", "{}"]).await;
    expect(&told, "AuthenticationError", 401, "authentication_error");

    let list = world.admin_get("/admin/keys").await;
    let id = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "tester")
        .unwrap()["id"]
        .clone();
    let path = format!("/admin/keys/{}", id.as_str().unwrap());
    assert_eq!(
        world
            .admin_post(&format!("{path}/disable"), &none)
            .await
            .status,
        200
    );
    for how in ["create", "stream", "events"] {
        let told = error(&world, how, 3, &none).await;
        expect(&told, "PermissionDeniedError", 403, "permission_error");
    }
    assert_eq!(
        world
            .admin_post(&format!("{path}/enable"), &none)
            .await
            .status,
        200
    );
    assert_eq!(asked(&world), 0);

    let told = error(&world, "create", 0, &json!({"model": "no-such-model"})).await;
    expect(&told, "NotFoundError", 404, "not_found_error");
    let told = error(&world, "stream", 0, &json!({"model": "no-such-model"})).await;
    expect(&told, "NotFoundError", 404, "not_found_error");
    let told = error(&world, "get", 0, &json!({"path": "/v1/nothing"})).await;
    expect(&told, "NotFoundError", 404, "not_found_error");

    let told = error(&world, "create", 0, &json!({"model": ""})).await;
    expect(&told, "BadRequestError", 400, "invalid_request_error");
    assert!(
        told["error"]["message"].as_str().unwrap().contains("model"),
        "{told}"
    );
    let before = asked(&world);
    world.handle().set_faults(vec![bad_request()]).unwrap();
    let told = error(&world, "create", 3, &none).await;
    expect(&told, "BadRequestError", 400, "invalid_request_error");
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap()
            .contains("max_tokens: 0 is too small"),
        "{told}"
    );
    assert_eq!(
        asked(&world),
        before + 1,
        "a client's mistake is asked once"
    );

    let long = "x".repeat(30_000);
    let told = error(&world, "create", 3, &json!({"system": long})).await;
    expect(&told, "ContentTooLargeError", 413, "request_too_large");
    world.stop().await;
}

fn bad_request() -> Fault {
    Fault {
        code: Some(400),
        error_type: Some("invalid_request_error".into()),
        message: Some("max_tokens: 0 is too small".into()),
        ..Fault::new(FIRST, FaultKind::Status)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_quota_is_a_rate_limit_that_is_not_slept_through() {
    let world = World::start().await;
    let reset = rfc3339(now() + 2 * 3_600_000);
    for model in [FIRST, SECOND] {
        world.set_quota(model, 0.0, Some(&reset)).await;
    }
    for how in ["create", "stream"] {
        let told = error(&world, how, 4, &json!({})).await;
        expect(&told, "RateLimitError", 429, "rate_limit_error");
        let headers = &told["error"]["headers"];
        assert_eq!(headers["retry-after"], "900", "{told:#}");
        assert_eq!(headers["x-should-retry"], "false", "{told:#}");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(FIRST) && message.contains(SECOND),
            "{message}"
        );
        // Four retries of a client that does not obey take at least 0.5 + 1 + 2 + 4 s.
        assert!(told["seconds"].as_f64().unwrap() < 4.0, "{told}");
    }
    assert_eq!(
        asked(&world),
        0,
        "an empty chain costs the upstream nothing"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_wait_is_slept_through_and_then_answered() {
    let world = World::start().await;
    let told = run(&world, "retries.py", &["3", FIRST, SECOND]).await;
    assert!(
        told["text"]
            .as_str()
            .unwrap()
            .starts_with("Hello from claude-sonnet-4-6"),
        "{told}"
    );
    assert!(
        (1..=3).contains(&told["retries"].as_u64().unwrap()),
        "{told}"
    );
    assert_eq!(asked(&world), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_is_its_own_class() {
    let world = World::start().await;
    world
        .handle()
        .set_faults(vec![Fault::new("*", FaultKind::Overloaded529)])
        .unwrap();
    for how in ["create", "stream", "events"] {
        // Without the marks of the round before, which lengthen the wait.
        let cleared = world.admin_post("/admin/fallback/clear", &json!({})).await;
        assert_eq!(cleared.status, 200, "{}", cleared.text());
        let told = error(&world, how, 0, &json!({})).await;
        expect(&told, "OverloadedError", 529, "overloaded_error");
        expect(&told, "InternalServerError", 529, "overloaded_error");
        let wait: u64 = told["error"]["headers"]["retry-after"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=30).contains(&wait), "{told:#}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_overload_is_hidden_by_the_next_tier() {
    let world = World::start().await;
    world
        .handle()
        .set_faults(vec![Fault::new(FIRST, FaultKind::Overloaded529)])
        .unwrap();
    let told = run(&world, "retries.py", &["0"]).await;
    assert!(
        told["text"]
            .as_str()
            .unwrap()
            .starts_with("Hello from gemini-3-flash"),
        "{told}"
    );
    assert_eq!(told["retries"], 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_absence_are_gateway_errors() {
    let mut setup = Setup::default();
    setup.upstream = "limits.first_event_s = 0.3\nlimits.last_first_event_s = 0.3\nlimits.first_answer_s = 0.3\n\
                      limits.total_s = 1.0"
        .into();
    setup.toml = "[upstreams.nobody]\nurl = \"http://127.0.0.1:1\"\nhealth = \"none\"".into();
    setup.fallback =
        r#"{"chains": {"absent": [{"model": "absent", "upstream": "nobody"}]}}"#.into();
    let world = World::with(setup).await;
    world
        .handle()
        .set_faults(vec![Fault::new(FIRST, FaultKind::Hang)])
        .unwrap();
    for how in ["create", "stream"] {
        let told = error(&world, how, 0, &json!({})).await;
        expect(&told, "GatewayTimeoutError", 504, "timeout_error");
        let told = error(&world, how, 0, &json!({"model": "absent"})).await;
        expect(&told, "InternalServerError", 502, "api_error");
    }
    world.stop().await;
}

/// The SDK has the head of a 200 when the stream breaks: it must raise, whatever breaks it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_raises() {
    let mut setup = Setup::default();
    setup.upstream = "limits.idle_s = 0.5".into();
    let world = World::with(setup).await;
    for kind in [
        FaultKind::Cut,
        FaultKind::Reset,
        FaultKind::ErrorEvent,
        FaultKind::SecondStart,
        FaultKind::Stall,
    ] {
        let at = Fault {
            at_event: Some(4),
            ..Fault::new(FIRST, kind)
        };
        for how in ["stream", "events"] {
            world.handle().set_faults(vec![at.clone()]).unwrap();
            let fields =
                json!({"extra_body": {"metadata": {"sim": {"events": 8, "event_bytes": 16}}}});
            let told = error(&world, how, 2, &fields).await;
            let (class, kind_told) = match kind {
                FaultKind::Stall => ("APIStatusError", "timeout_error"),
                _ => ("APIStatusError", "api_error"),
            };
            expect(&told, class, 200, kind_told);
            assert!(
                told["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("not complete"),
                "{kind:?}: {told:#}"
            );
            assert!(
                !told["text"].as_str().unwrap().is_empty(),
                "{kind:?}: the text so far was shown"
            );
        }
    }
    assert_eq!(asked(&world), 10, "what was shown is not asked again");
    world.stop().await;
}
