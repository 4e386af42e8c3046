//! Keys: one answer for whatever is no key, one key per request, and guessing is slow.

use serde_json::json;

use crate::support::raw::{self, RawAnswer};
use crate::support::world::{Setup, World};

async fn with(world: &World, lines: &str) -> RawAnswer {
    let body = r#"{"model":"claude-sonnet-4-6","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}"#;
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: luna\r\n{lines}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    raw::ask(world.app.address, request.as_bytes()).await
}

/// Everything that a client sees, without what is different in every answer.
fn seen(answer: &RawAnswer) -> String {
    let id = answer.header("x-request-id").unwrap();
    let date = answer.header("date").unwrap();
    format!("{}\n{}", answer.head, answer.text())
        .replace(id, "ID")
        .replace(date, "DATE")
}

/// Every client gets its own address, so that no attempt is slowed down by the ones before.
fn from_anywhere() -> Setup {
    let mut setup = Setup::default();
    setup.server = "trusted_proxies = [\"127.0.0.0/8\"]".into();
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_no_key_gets_the_same_answer() {
    let world = World::with(from_anywhere()).await;
    let key = world.key.clone();
    let list = world.admin_get("/admin/keys").await;
    let id = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|k| k["name"] == "tester")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let stored = std::fs::read_to_string(world.folder.path().join("data/keys.json")).unwrap();
    let hash = stored
        .split('"')
        .find(|text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(str::to_owned);
    let unknown = "luna-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
    let wanted = seen(&with(&world, "").await);
    assert!(wanted.starts_with("HTTP/1.1 401 "), "{wanted}");
    let mut guesses = vec![
        unknown,
        "luna-".into(),
        "luna-short".into(),
        "x".into(),
        "sk-ant-api03-xyz".into(),
        "null".into(),
        "undefined".into(),
        key.to_uppercase(),
        key.to_lowercase(),
        key[..47].to_owned(),
        format!("{key}x"),
        format!("{key}{key}"),
        format!("x{key}"),
        key.replacen("luna-", "luna_", 1),
        key["luna-".len()..].to_owned(),
        format!("{key},{key}"),
        format!("\"{key}\""),
        format!("{key};"),
        format!("Bearer {key}"),
        id,
        "tester".into(),
        "../keys.json".into(),
        "' OR 1=1 --".into(),
        "*".into(),
        "%00".into(),
        "\u{e9}".into(),
        "x".repeat(30_000),
    ];
    guesses.extend(hash);
    for (n, guess) in guesses.iter().enumerate() {
        let from = format!("x-forwarded-for: 10.0.{}.{}\r\n", n / 200, n % 200 + 1);
        for line in [
            format!("x-api-key: {guess}\r\n"),
            format!("authorization: Bearer {guess}\r\n"),
            format!("authorization: {guess}\r\n"),
        ] {
            if line == format!("authorization: Bearer {key}\r\n") {
                continue;
            }
            let told = seen(&with(&world, &format!("{from}{line}")).await);
            assert_eq!(told, wanted, "{line:.80}");
        }
    }
    for line in [
        "authorization: Basic eDp5\r\n",
        "authorization: Bearer\r\n",
        "authorization:\r\n",
        "x-api-key:\r\n",
        "x-api-key: \t \r\n",
        "proxy-authorization: x\r\n",
    ] {
        assert_eq!(seen(&with(&world, line).await), wanted, "{line}");
    }
    let cookie = format!("cookie: x-api-key={key}\r\n");
    assert_eq!(seen(&with(&world, &cookie).await), wanted);
    assert!(world.handle().messages().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_has_one_key() {
    let world = World::with(from_anywhere()).await;
    let key = world.key.clone();
    let made = world
        .admin_post("/admin/keys", &json!({"name": "other"}))
        .await
        .json();
    let other = made["key"].as_str().unwrap();
    let wrong = "luna-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (n, (lines, status)) in [
        (format!("x-api-key: {key}\r\n"), 200),
        (format!("X-Api-Key:{key}\r\n"), 200),
        (format!("x-api-key: \t {key} \t\r\n"), 200),
        (format!("authorization: Bearer {key}\r\n"), 200),
        (format!("AUTHORIZATION: bEARER \t {key}\r\n"), 200),
        (format!("x-api-key: {key}\r\nx-api-key: {key}\r\n"), 200),
        (
            format!("x-api-key: {key}\r\nauthorization: Bearer {wrong}\r\n"),
            200,
        ),
        (
            format!("x-api-key: \r\nauthorization: Bearer {key}\r\n"),
            200,
        ),
        (format!("x-api-key: {key}\r\nx-api-key: \r\n"), 200),
        // Two that differ: nobody knows which one another hop has checked, good or not.
        (format!("x-api-key: {key}\r\nx-api-key: {wrong}\r\n"), 401),
        (format!("x-api-key: {wrong}\r\nx-api-key: {key}\r\n"), 401),
        (format!("x-api-key: {key}\r\nx-api-key: {other}\r\n"), 401),
        (
            format!("x-api-key: {key}\r\nX-API-KEY: {other}\r\nx-api-key: {key}\r\n"),
            401,
        ),
        (
            format!("authorization: Bearer {key}\r\nauthorization: Bearer {other}\r\n"),
            401,
        ),
        (
            format!("x-api-key: {wrong}\r\nauthorization: Bearer {key}\r\n"),
            401,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let told = with(
            &world,
            &format!("x-forwarded-for: 10.9.0.{}\r\n{lines}", n + 1),
        )
        .await;
        assert_eq!(told.status, status, "{lines}{}", told.text());
    }
    assert_eq!(world.handle().messages().len(), 9);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_slowed_down_and_a_right_key_never_is() {
    let world = World::with(from_anywhere()).await;
    let from =
        |address: &str, key: &str| format!("x-forwarded-for: {address}\r\nx-api-key: {key}\r\n");
    for n in 0..10 {
        assert_eq!(
            with(&world, &from("10.0.0.1", &format!("luna-guess-{n}")))
                .await
                .status,
            401,
            "{n}"
        );
    }
    let eleventh = with(&world, &from("10.0.0.1", "luna-guess")).await;
    assert_eq!(eleventh.status, 429, "{}", eleventh.text());
    let wait: u64 = eleventh.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(eleventh.json()["error"]["type"], "rate_limit_error");
    // On other routes too, and for the admin API.
    for path in ["/v1/models", "/me", "/admin/keys", "/nothing"] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: luna\r\n{}\r\n",
            from("10.0.0.1", "luna-guess")
        );
        let told = raw::ask(world.app.address, request.as_bytes()).await;
        // /admin is not there at all for this address.
        assert_eq!(
            told.status,
            if path == "/admin/keys" { 404 } else { 429 },
            "{path}"
        );
    }
    // A right key passes, from this address as well; another address has its own count.
    assert_eq!(
        with(&world, &from("10.0.0.1", &world.key)).await.status,
        200
    );
    assert_eq!(
        with(&world, &from("10.0.0.2", "luna-guess")).await.status,
        401
    );
    assert_eq!(
        with(&world, &from("10.0.0.1", "luna-guess")).await.status,
        429,
        "a success forgives nothing"
    );
    // No key at all is no guess.
    assert_eq!(
        with(&world, "x-forwarded-for: 10.0.0.1\r\n").await.status,
        401
    );
    assert_eq!(
        world
            .metric("luna_limited_total{limit=\"auth_failures\"}")
            .await,
        5.0
    );
    assert_eq!(world.handle().messages().len(), 1);
    world.stop().await;
}

/// A disabled key is told so, which its owner may know; it opens nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_or_deleted_key_opens_nothing() {
    let world = World::start().await;
    let made = world
        .admin_post("/admin/keys", &json!({"name": "gone"}))
        .await
        .json();
    let (key, id) = (
        made["key"].as_str().unwrap().to_owned(),
        made["id"].as_str().unwrap().to_owned(),
    );
    assert_eq!(
        world
            .admin_post(&format!("/admin/keys/{id}/disable"), &json!({}))
            .await
            .status,
        200
    );
    for path in ["/v1/models", "/me", "/me/usage", "/admin/keys", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\n\r\n");
        assert_eq!(
            raw::ask(world.app.address, request.as_bytes()).await.status,
            403,
            "{path}"
        );
    }
    assert_eq!(
        with(&world, &format!("x-api-key: {key}\r\n")).await.status,
        403
    );
    let gone = world
        .client
        .delete(world.url(&format!("/admin/keys/{id}")))
        .header("x-api-key", &world.admin)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 200);
    assert_eq!(
        with(&world, &format!("x-api-key: {key}\r\n")).await.status,
        401
    );
    // Deleted and unknown keys are one to the admin API as well, and its answer does not repeat them.
    let shown = world
        .client
        .get(world.url(&format!("/admin/keys/{key}")))
        .header("x-api-key", &world.admin)
        .send()
        .await
        .unwrap();
    assert_eq!(shown.status(), 404);
    assert!(!shown.text().await.unwrap().contains(&key));
    assert!(world.handle().messages().is_empty());
    world.stop().await;
}
