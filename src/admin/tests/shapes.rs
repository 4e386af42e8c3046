//! What holds for every answer: security headers, errors, methods, bounds.

use super::*;

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let house = House::new();
    for route in [
        "/health",
        "/admin/keys",
        "/nothing",
        "POST /health",
        "/dashboard",
    ] {
        let reply = house.admin(route).send().await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{route} {name}");
        }
    }
}

#[tokio::test]
async fn another_method_is_405_and_names_the_right_ones() {
    let house = House::new();
    for (route, allow) in [
        ("POST /health", "GET,HEAD"),
        ("PUT /admin/keys", "GET,HEAD,POST"),
        ("GET /admin/reload", "POST"),
        ("POST /admin/keys/luna-secret", "GET,HEAD,PATCH,DELETE"),
        ("DELETE /me", "GET,HEAD"),
    ] {
        let reply = house.admin(route).send().await;
        assert_eq!(
            (reply.status, reply.error().as_str()),
            (405, "invalid_request_error"),
            "{route}"
        );
        assert_eq!(reply.header("allow"), Some(allow), "{route}");
        assert!(!reply.text.contains("luna-secret"));
    }
}

#[tokio::test]
async fn models_errors_are_in_the_format_of_the_client() {
    let house = House::new();
    let openai = house.admin("/v1/models/none").send().await;
    assert_eq!(openai.status, 404);
    assert_eq!(openai.json()["error"]["code"], "model_not_found");
    assert_eq!(openai.json()["error"]["param"], "model");
    let anthropic = house
        .admin("/v1/models/none")
        .header("anthropic-version", "2023-06-01");
    assert_eq!(anthropic.send().await.error(), "not_found_error");
    let method = house.admin("POST /v1/models").send().await;
    assert_eq!(
        (method.status, method.header("allow")),
        (405, Some("GET,HEAD"))
    );
    assert_eq!(method.json()["error"]["type"], "invalid_request_error");
    assert_eq!(
        house.ask("/v1/models").send().await.json()["error"]["type"],
        "authentication_error"
    );
}

#[tokio::test]
async fn head_is_answered_where_get_is_and_has_no_body() {
    let house = House::new();
    for route in [
        "/health",
        "/ready",
        "/me",
        "/admin/keys",
        "/v1/models",
        "/admin/usage",
        "/nothing",
    ] {
        let get = house.admin(route).send().await;
        let head = house.admin(&format!("HEAD {route}")).send().await;
        assert_eq!(head.status, get.status, "{route}");
        assert_eq!(head.text, "", "{route}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{route}"
        );
    }
}

#[tokio::test]
async fn a_bad_body_is_400_and_names_what_is_wrong() {
    let house = House::new();
    let (id, _) = house.key("alice", &[]);
    let rotate = format!("POST /admin/keys/{id}/rotate");
    let patch = format!("PATCH /admin/keys/{id}");
    for (route, body, named) in [
        ("POST /admin/keys", "{", "body"),
        ("POST /admin/keys", "[]", "body"),
        ("POST /admin/keys", "", "name"),
        ("POST /admin/keys", "{\"name\": 1}", "name"),
        (
            "POST /admin/keys",
            "{\"name\": \"b\", \"limits\": {\"rpm\": 1}}",
            "rpm",
        ),
        (
            "POST /admin/keys",
            "{\"name\": \"b\", \"expires_at\": \"soon\"}",
            "expires_at",
        ),
        (
            "POST /admin/keys",
            "{\"name\": \"b\", \"colour\": 1}",
            "colour",
        ),
        (&rotate, "{\"grace_s\": -1}", "grace_s"),
        (&patch, "{\"enabled\": \"yes\"}", "enabled"),
        ("POST /admin/explain", "{}", "model"),
        ("POST /admin/explain", "{\"model\": \"\"}", "model"),
        (
            "POST /admin/explain",
            "{\"model\": \"m\", \"mode\": 1}",
            "mode",
        ),
        ("POST /admin/fallback/clear", "{\"model\": 5}", "model"),
        (
            "POST /admin/fallback/clear",
            "{\"upstream\": \"nobody\"}",
            "upstream",
        ),
    ] {
        let reply = house.admin(route).body(body).send().await;
        assert_eq!(
            (reply.status, reply.error().as_str()),
            (400, "invalid_request_error"),
            "{route} {body}"
        );
        assert!(
            reply.message().contains(named),
            "{body}: {}",
            reply.message()
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let house = House::new();
    let long = format!("{{\"name\": \"{}\"}}", "x".repeat(MAX_BODY));
    let reply = house.admin("POST /admin/keys").body(long).send().await;
    assert_eq!(
        (reply.status, reply.error().as_str()),
        (413, "request_too_large")
    );
}

#[tokio::test]
async fn no_error_repeats_a_key() {
    let house = House::new();
    let secret = "luna-0123456789abcdefghijABCDEFGHIJ0123456789abc";
    for route in [
        format!("/admin/keys/{secret}"),
        format!("/admin/keys/{secret}/usage"),
        format!("/admin/keys/{secret}/nothing"),
        format!("POST /admin/keys/{secret}/disable"),
        format!("PUT /admin/keys/{secret}"),
        format!("/admin/usage/daily?key={secret}"),
        format!("/admin/usage/daily?{secret}=1"),
        format!("/admin/keys/%ff{secret}"),
        format!("/v1/models/{secret}"),
    ] {
        let reply = house.admin(&route).send().await;
        assert!(reply.status >= 400, "{route}");
        assert!(
            !reply.text.contains("0123456789abcdef"),
            "{route}: {}",
            reply.text
        );
    }
    // Somebody takes the secret for the name.
    house.key(secret, &[]);
    let name = format!("{{\"name\": \"{secret}\"}}");
    let taken = house.admin("POST /admin/keys").body(name).send().await;
    assert_eq!(taken.status, 409);
    assert!(!taken.text.contains("0123456789abcdef"), "{}", taken.text);
    let body = format!("{{\"model\": \"m\", \"key\": \"{secret}\"}}");
    let reply = house.admin("POST /admin/explain").body(body).send().await;
    assert_eq!(
        (reply.status, reply.error().as_str()),
        (404, "not_found_error")
    );
    assert!(!reply.text.contains("0123456789abcdef"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn any_request_gets_an_answer(path in "(/admin|/v1/models|/me|/health)?(/[a-z%0-9]{0,6}){0,4}", body in ".{0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new();
            for method in ["GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
                let line = format!("{method} {}", if path.is_empty() { "/" } else { &path });
                let Ok(uri) = line.split_once(' ').unwrap().1.parse::<http::Uri>() else { continue };
                let reply = house.admin(&format!("{method} {uri}")).body(body.clone()).send().await;
                assert!(reply.status < 500 || reply.status == 503, "{line} {body:?}: {}", reply.status);
            }
        });
    }
}
