//! Who may ask from where: the list of addresses for the admin API, its own listener, and CORS.

use crate::support::raw::{self, RawAnswer};
use crate::support::world::{Setup, World};

fn world_with(server: &str, more: &str) -> impl Future<Output = World> {
    let mut setup = Setup::default();
    setup.server = server.into();
    setup.toml = more.into();
    World::with(setup)
}

async fn get(world: &World, path: &str, lines: &str) -> RawAnswer {
    raw::ask(
        world.app.address,
        format!("GET {path} HTTP/1.1\r\nhost: luna\r\n{lines}\r\n").as_bytes(),
    )
    .await
}

/// The admin API as seen with the right key and these lines.
async fn admin(world: &World, lines: &str) -> RawAnswer {
    get(
        world,
        "/admin/keys",
        &format!("x-api-key: {}\r\n{lines}", world.admin),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_on_this_host_passes_on_is_not_from_this_host() {
    let world = World::start().await;
    assert_eq!(admin(&world, "").await.status, 200);
    for line in [
        "x-forwarded-for: 127.0.0.1\r\n",
        "X-Forwarded-For: 9.9.9.9\r\n",
        "x-forwarded-for:\r\n",
        "x-real-ip: 127.0.0.1\r\n",
        "forwarded: for=127.0.0.1\r\n",
    ] {
        let told = admin(&world, line).await;
        assert_eq!(told.status, 404, "{line}{}", told.text());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_addresses_find_the_admin_api() {
    let world = world_with(
        "trusted_proxies = [\"127.0.0.0/8\", \"10.255.0.0/16\"]",
        "[admin]\nallow_ips = [\"10.1.0.0/16\", \"2001:db8::/32\"]",
    )
    .await;
    for (line, status) in [
        ("x-forwarded-for: 10.1.2.3\r\n", 200),
        ("x-forwarded-for: 9.9.9.9, 10.1.2.3\r\n", 200),
        ("x-forwarded-for: 10.1.2.3, 10.255.0.1\r\n", 200),
        (
            "x-forwarded-for: 9.9.9.9\r\nx-forwarded-for: 10.1.2.3\r\n",
            200,
        ),
        ("x-forwarded-for: 2001:db8::1\r\n", 200),
        ("x-forwarded-for: ::ffff:10.1.2.3\r\n", 200),
        // The proxy itself is not listed.
        ("", 404),
        ("x-forwarded-for: 10.2.0.1\r\n", 404),
        ("x-forwarded-for: 10.1.2.3, 9.9.9.9\r\n", 404),
        ("x-forwarded-for: 10.1.2.3, 9.9.9.9, 10.255.0.1\r\n", 404),
        (
            "x-forwarded-for: 10.1.2.3\r\nx-forwarded-for: 9.9.9.9\r\n",
            404,
        ),
        ("x-forwarded-for: 10.1.2.3, garbage\r\n", 404),
        ("x-forwarded-for: 10.1.2.3:80\r\n", 404),
        ("x-forwarded-for: 10.1.2.3,\r\n", 404),
        ("x-forwarded-for: 10.1.0.0/16\r\n", 404),
        ("x-real-ip: 10.1.2.3\r\n", 404),
        ("forwarded: for=10.1.2.3\r\n", 404),
        ("x-forwarded-for: 127.0.0.1\r\n", 404),
    ] {
        let told = admin(&world, line).await;
        assert_eq!(told.status, status, "{line}{}", told.text());
    }
    // From elsewhere the routes do not exist: the key decides nothing, and no guess is counted.
    let hidden = |answer: RawAnswer| {
        let (id, date) = (
            answer.header("x-request-id").unwrap().to_owned(),
            answer.header("date").unwrap().to_owned(),
        );
        (
            answer.status,
            format!("{}{}", answer.head, answer.text())
                .replace(&id, "ID")
                .replace(&date, "DATE"),
        )
    };
    let outside = "x-forwarded-for: 9.9.9.9\r\n";
    let right = hidden(admin(&world, outside).await);
    assert_eq!(right.0, 404);
    for key in [
        "",
        "x-api-key: luna-wrong\r\n",
        &format!("x-api-key: {}\r\n", world.key),
    ] {
        assert_eq!(
            hidden(get(&world, "/admin/keys", &format!("{outside}{key}")).await),
            right,
            "{key}"
        );
    }
    for path in [
        "/admin",
        "/admin/usage",
        "/admin/keys/x",
        "/admin/reload",
        "/dashboard",
    ] {
        let told = get(
            &world,
            path,
            &format!("{outside}x-api-key: {}\r\n", world.admin),
        )
        .await;
        assert_eq!(told.status, 404, "{path}: {}", told.text());
    }
    assert_eq!(
        world
            .metric("luna_auth_failures_total{reason=\"unknown\"}")
            .await,
        0.0
    );
    // Clients are not concerned.
    let told = get(
        &world,
        "/v1/models",
        &format!("{outside}x-api-key: {}\r\n", world.key),
    )
    .await;
    assert_eq!(told.status, 200);
    // Nor is /health, which names upstreams only to those who have a key or are here.
    let told = get(&world, "/health", outside).await;
    assert!(
        told.status == 200 && !told.text().contains("default"),
        "{}",
        told.text()
    );
    let told = get(
        &world,
        "/health",
        &format!("{outside}x-api-key: {}\r\n", world.key),
    )
    .await;
    assert!(told.text().contains("\"default\""), "{}", told.text());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_listener_of_its_own_takes_the_routes_with_it() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let world = world_with("", &format!("[admin]\nlisten = \"{free}\"")).await;
    let there = world.app.admin_address.unwrap();
    assert_ne!(there, world.app.address);
    for path in [
        "/admin/keys",
        "/admin",
        "/admin/usage",
        "/admin/reload",
        "/dashboard",
    ] {
        let told = get(&world, path, &format!("x-api-key: {}\r\n", world.admin)).await;
        assert_eq!(told.status, 404, "{path}: {}", told.text());
    }
    let ask = |path: &str, key: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\n\r\n");
        async move { raw::ask(there, request.as_bytes()).await }
    };
    assert_eq!(ask("/admin/keys", &world.admin).await.status, 200);
    assert_eq!(ask("/admin/keys", &world.key).await.status, 403);
    assert_eq!(ask("/admin/keys", "").await.status, 401);
    assert_eq!(ask("/health", "").await.status, 200);
    // Clients are not served there.
    for path in ["/v1/models", "/v1/messages", "/me"] {
        assert_eq!(ask(path, &world.key).await.status, 404, "{path}");
    }
    assert!(world.handle().messages().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_have_no_other_route() {
    let world = World::start().await;
    let there = world.app.metrics_address.unwrap();
    for (path, status) in [
        ("/metrics", 200),
        ("/admin/keys", 404),
        ("/v1/models", 404),
        ("/health", 404),
        ("/metrics/../admin/keys", 404),
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: luna\r\nx-api-key: {}\r\n\r\n",
            world.admin
        );
        assert_eq!(
            raw::ask(there, request.as_bytes()).await.status,
            status,
            "{path}"
        );
    }
    let told = get(&world, "/metrics", &format!("x-api-key: {}\r\n", world.key)).await;
    assert_eq!(told.status, 404);
    world.stop().await;
}

const APP: &str = "https://app.example";

async fn preflight(world: &World, path: &str, origin: &str) -> RawAnswer {
    let request = format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: luna\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: x-api-key, content-type, anthropic-version\r\n\r\n"
    );
    raw::ask(world.app.address, request.as_bytes()).await
}

fn cross(answer: &RawAnswer) -> Vec<&str> {
    let names = answer.headers.iter().map(|(name, _)| name.as_str());
    names
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_origins_and_no_others_may_read() {
    let world = world_with(
        &format!("cors_origins = [\"{APP}\", \"http://localhost:3000\"]"),
        "",
    )
    .await;
    for path in [
        "/v1/messages",
        "/v1/models",
        "/v1/models/x",
        "/v1/chat/completions",
        "/messages",
    ] {
        for origin in [APP, "http://localhost:3000"] {
            let told = preflight(&world, path, origin).await;
            assert_eq!(told.status, 204, "{path}: {}", told.text());
            assert_eq!(
                told.header("access-control-allow-origin"),
                Some(origin),
                "{path}"
            );
            assert!(
                told.header("access-control-allow-methods")
                    .unwrap()
                    .contains("POST"),
                "{path}"
            );
            assert_eq!(
                told.header("access-control-allow-headers"),
                Some("x-api-key, content-type, anthropic-version")
            );
            assert_eq!(told.header("access-control-max-age"), Some("600"));
            assert_eq!(told.header("access-control-allow-credentials"), None);
            assert!(
                told.header("vary")
                    .unwrap()
                    .to_ascii_lowercase()
                    .contains("origin"),
                "{path}"
            );
        }
    }
    let others = [
        "https://evil.example",
        "https://app.example.evil",
        "https://evil.example/https://app.example",
        "https://sub.app.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.exampl",
        "null",
        "",
        "*",
        "http://localhost:30000",
    ];
    for origin in others {
        let told = preflight(&world, "/v1/messages", origin).await;
        assert!(
            told.status != 204 && cross(&told).is_empty(),
            "{origin}: {}",
            told.head
        );
        let lines = format!("x-api-key: {}\r\norigin: {origin}\r\n", world.key);
        let told = get(&world, "/v1/models", &lines).await;
        assert!(
            told.status == 200 && cross(&told).is_empty(),
            "{origin}: {}",
            told.head
        );
    }
    // Never for the admin API, /me and what else has no business in a web page.
    for path in [
        "/admin/keys",
        "/admin/fallback",
        "/me",
        "/me/usage",
        "/dashboard",
    ] {
        let told = preflight(&world, path, APP).await;
        assert!(
            told.status != 204 && cross(&told).is_empty(),
            "{path}: {}",
            told.head
        );
        let lines = format!("x-api-key: {}\r\norigin: {APP}\r\n", world.admin);
        assert!(cross(&get(&world, path, &lines).await).is_empty(), "{path}");
    }
    // The answers themselves, errors too.
    let body = r#"{"model":"claude-sonnet-4-6","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}"#;
    for (key, status) in [(world.key.as_str(), 200), ("luna-wrong", 401)] {
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\norigin: {APP}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let told = raw::ask(world.app.address, request.as_bytes()).await;
        assert_eq!(told.status, status, "{}", told.text());
        assert_eq!(told.header("access-control-allow-origin"), Some(APP));
        let exposed = told.header("access-control-expose-headers").unwrap();
        for name in [
            "request-id",
            "x-request-id",
            "retry-after",
            "x-luna-served-model",
            "x-luna-fallback",
            "x-luna-requested-model",
            "x-luna-tier",
            "x-luna-upstream",
        ] {
            assert!(exposed.split(", ").any(|e| e == name), "{name}: {exposed}");
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_origins_there_is_no_cors_and_with_a_star_no_credentials() {
    let none = World::start().await;
    let told = preflight(&none, "/v1/messages", APP).await;
    assert!(
        told.status != 204 && cross(&told).is_empty(),
        "{}",
        told.head
    );
    none.stop().await;

    let star = world_with("cors_origins = [\"*\"]", "").await;
    let told = preflight(&star, "/v1/messages", "https://anything.example").await;
    assert_eq!(
        (told.status, told.header("access-control-allow-origin")),
        (204, Some("*"))
    );
    assert_eq!(told.header("access-control-allow-credentials"), None);
    let told = preflight(&star, "/admin/keys", "https://anything.example").await;
    assert!(
        told.status != 204 && cross(&told).is_empty(),
        "{}",
        told.head
    );
    star.stop().await;
}
