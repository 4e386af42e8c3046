//! Paths that another parser might take for a route of the upstream or of the admin API. Whoever sends
//! them gets a refusal, and neither of the two hears of it.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::support::raw::{self, RawAnswer};
use crate::support::world::World;

const BODY: &str = r#"{"model":"claude-sonnet-4-6","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}"#;

async fn ask(world: &World, method: &str, target: &str, key: &str, more: &str) -> RawAnswer {
    let key = if key.is_empty() {
        String::new()
    } else {
        format!("x-api-key: {key}\r\n")
    };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: luna\r\n{key}{more}content-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let said = raw::send(
        world.app.address,
        request.as_bytes(),
        Duration::from_secs(20),
    )
    .await;
    let head_only = method == "HEAD";
    let answers = said
        .answers(|_| head_only)
        .unwrap_or_else(|e| panic!("{method} {target}: {e}"));
    assert_eq!(
        answers.len(),
        1,
        "{method} {target}: {}",
        String::from_utf8_lossy(&said.bytes)
    );
    answers.into_iter().next().unwrap()
}

/// Nothing but polls came to the upstream.
fn untouched(world: &World, what: &str) {
    let entries = world.handle().ledger().entries;
    let other: Vec<String> = entries
        .iter()
        .filter(|entry| entry.path != "/health")
        .map(|entry| format!("{} {}", entry.method, entry.path))
        .collect();
    assert!(other.is_empty(), "{what}: {other:?}");
}

const TRICKS: &[&str] = &[
    "//v1/messages",
    "/v1//messages",
    "/v1/messages/",
    "/v1/messages//",
    "/v1/./messages",
    "/./v1/messages",
    "/v1/../v1/messages",
    "/x/../v1/messages",
    "/v1/messages/.",
    "/v1/messages/..",
    "/v1/messages;x=1",
    "/v1;/messages",
    "/v1/%6dessages",
    "/%76%31/messages",
    "/v1%2fmessages",
    "/v1%2Fmessages",
    "/v1%5cmessages",
    "\\v1\\messages",
    "/v1\\messages",
    "/v1/messages%00",
    "/v1/messages%20",
    "/v1/messages%0d%0a",
    "/v1/messages.",
    "/v1/messages%2e",
    "/V1/messages",
    "/v1/Messages",
    "/V1/MESSAGES",
    "/v1/messages/count_tokens/",
    "/v1/messages:batch",
    "/v1/messages/batches",
    "/v1/complete",
    "/v1/files",
    "/v2/messages",
    "/api/v1/messages",
    "/api/config",
    "/api/accounts",
    "/api/accounts/refresh",
    "/account-limits",
    "/api/auth/url",
    "/refresh-token",
    "/__sim/ledger",
    "/__sim/reset",
    "/__sim/faults",
    "/.well-known/x",
    "/favicon.ico",
    "/index.html",
    "/metrics",
    "/server-status",
    "/debug/pprof",
    "/.env",
    "/.git/config",
    "/etc/passwd",
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/models/../../admin/keys",
    "/health/../admin/keys",
    "/dashboard/../admin/keys",
    "/health/",
    "/ready/..",
    "/me/../admin/keys",
];

const ADMIN_TRICKS: &[&str] = &[
    "//admin/keys",
    "/admin//keys",
    "/admin/./keys",
    "/admin/../admin/keys",
    "/v1/../admin/keys",
    "/v1/models/../../admin/keys",
    "/%61dmin/keys",
    "/admin%2fkeys",
    "/admin%2Fkeys",
    "/%2e%2e/admin/keys",
    "/v1/%2e%2e/admin/keys",
    "/./admin/keys",
    "/Admin/keys",
    "/ADMIN/keys",
    "/admin/Keys",
    "/admin/keys/",
    "/admin;/keys",
    "/admin/keys;x",
    "/admin\\keys",
    "\\admin\\keys",
    "/admin/keys%00",
    "/admin/keys%20",
    "/admin/keys.json",
    "/x/../admin/usage",
    "/admin/usage/",
    "/admin/events/",
    "/admin/reload/",
    "/admin/fallback/../keys",
    "/v1/admin/keys",
    "/api/admin/keys",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_misses_reach_nobody() {
    let world = World::start().await;
    let (key, admin) = (world.key.clone(), world.admin.clone());
    for target in TRICKS {
        for method in ["POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"] {
            for key in [&key, &admin, ""] {
                let answer = ask(&world, method, target, key, "").await;
                let what = format!(
                    "{method} {target} with {}",
                    if key.is_empty() { "no key" } else { "a key" }
                );
                // The dashboard asks for the key itself, so without one it is no 401.
                let open = !key.is_empty() || target.starts_with("/dashboard/");
                let wanted: &[u16] = if open { &[400, 404, 405] } else { &[400, 401] };
                assert!(
                    wanted.contains(&answer.status),
                    "{what}: {} {}",
                    answer.head,
                    answer.text()
                );
                assert!(
                    !answer.text().contains("prefix"),
                    "{what}: {}",
                    answer.text()
                );
            }
        }
        untouched(&world, target);
    }
    world.stop().await;
}

/// With a client key or none the admin API is closed under every spelling; with the admin key only its
/// exact spelling opens it, so that a rule of a proxy in front can be trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_has_one_spelling() {
    let world = World::start().await;
    let (key, admin) = (world.key.clone(), world.admin.clone());
    for target in ADMIN_TRICKS {
        for method in ["GET", "POST"] {
            for key in ["", &key, &admin] {
                let answer = ask(&world, method, target, key, "").await;
                let what = format!("{method} {target}");
                assert!(
                    matches!(answer.status, 400 | 401 | 403 | 404 | 405),
                    "{what}: {}",
                    answer.head
                );
                assert!(
                    !answer.text().contains("prefix"),
                    "{what}: {}",
                    answer.text()
                );
            }
        }
    }
    for (key, status) in [("", 401), (key.as_str(), 403), (admin.as_str(), 200)] {
        assert_eq!(
            ask(&world, "GET", "/admin/keys", key, "").await.status,
            status
        );
        // Another method, tunnelled or not.
        for more in [
            "x-http-method-override: DELETE\r\n",
            "x-original-url: /admin/keys\r\nx-rewrite-url: /admin/keys\r\n",
        ] {
            let answer = ask(&world, "GET", "/admin/usage", key, more).await;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert!(!answer.text().contains("prefix"), "{}", answer.text());
        }
        let answer = ask(
            &world,
            "GET",
            "/v1/nothing",
            key,
            "x-original-url: /admin/keys\r\n",
        )
        .await;
        assert_eq!(answer.status, if key.is_empty() { 401 } else { 404 });
    }
    assert_eq!(
        world.admin_get("/admin/keys").await["keys"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|k| k["admin"] == false)
            .count(),
        1
    );
    untouched(&world, "the admin API");
    world.stop().await;
}

/// A target with a host of its own is a route of this gateway or none: never a way to another host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_target_names_where_to_go() {
    let world = World::start().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = elsewhere.local_addr().unwrap();
    let upstream = world.sim.url();
    let (key, admin) = (world.key.clone(), world.admin.clone());
    for (target, key, allowed) in [
        (format!("http://{there}/v1/messages"), "", &[400, 401][..]),
        (format!("http://{there}/api/config"), &key, &[400, 404]),
        (format!("{upstream}/api/config"), &key, &[400, 404]),
        (format!("{upstream}/__sim/reset"), &admin, &[400, 404]),
        (format!("http://{there}/admin/keys"), &key, &[400, 403, 404]),
        (format!("http://{there}/admin/keys"), "", &[400, 401]),
        (
            format!("http://user:pass@{there}/v1/nothing"),
            &key,
            &[400, 404],
        ),
        (format!("https://{there}/v1/nothing"), &key, &[400, 404]),
        (format!("ftp://{there}/v1/nothing"), &key, &[400, 404]),
        ("file:///etc/passwd".to_owned(), &key, &[400, 404]),
        (format!("{there}"), &key, &[400, 404, 405]),
        ("*".to_owned(), &key, &[400, 404]),
        ("messages".to_owned(), &key, &[400, 404]),
        ("@elsewhere/v1/messages".to_owned(), &key, &[400, 404]),
        ("?/v1/messages".to_owned(), &key, &[400, 404, 405]),
        ("#/v1/messages".to_owned(), &key, &[400, 404, 405]),
    ] {
        for method in ["POST", "GET", "CONNECT"] {
            let answer = ask(&world, method, &target, key, "").await;
            let root = method == "GET" && answer.status == 200 && answer.body.is_empty();
            // pingora itself refuses to open tunnels.
            let tunnel = method == "CONNECT" && answer.status == 405;
            assert!(
                root || tunnel || allowed.contains(&answer.status),
                "{method} {target}: {} {}",
                answer.head,
                answer.text()
            );
        }
    }
    untouched(&world, "absolute targets");
    // RFC 9112 section 3.2.2: the absolute form of a route is that route, here and nowhere else.
    let answer = ask(
        &world,
        "POST",
        &format!("http://{there}/v1/messages"),
        &key,
        "",
    )
    .await;
    if answer.status == 200 {
        assert_eq!(answer.header("x-luna-upstream"), Some("default"));
        assert_eq!(world.handle().messages().len(), 1);
    } else {
        assert!(matches!(answer.status, 400 | 404), "{}", answer.head);
    }
    let came = tokio::time::timeout(Duration::from_millis(200), elsewhere.accept()).await;
    assert!(came.is_err(), "the gateway went where a request told it to");
    world.stop().await;
}

/// A query is passed on without what may be a secret, and changes no route.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_change_no_route_and_carry_no_secret() {
    let world = World::start().await;
    let key = world.key.clone();
    let query = format!(
        "/v1/messages?beta=true&api_key={key}&x=/../admin&KEY=a&token=b&p%61ssword=c&a=%2e%2e&y"
    );
    let answer = ask(&world, "POST", &query, &key, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entry = world.handle().messages().pop().unwrap();
    assert_eq!(
        (entry.path.as_str(), entry.query.trim_start_matches('?')),
        ("/v1/messages", "beta=true&x=/../admin&a=%2e%2e&y")
    );
    for query in [
        "/v1/messages?api_key=",
        "/v1/messages?x-api-key=",
        "/admin/keys?key=",
    ] {
        let answer = ask(&world, "POST", &format!("{query}{key}"), "", "").await;
        assert_eq!(answer.status, 401, "a key in a query is none");
    }
    assert_eq!(world.handle().messages().len(), 1);
    world.stop().await;
}
