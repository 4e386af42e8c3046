//! Headers: what goes up, what comes down, and that neither can be written by somebody else's text.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::raw;
use crate::support::world::{Setup, World};

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"Hi"}],"model":"odd","stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#;
const UPSTREAM_KEY: &str = "sk-upstream-0123456789";

/// An upstream that answers every request with the same bytes and keeps the heads that it got.
struct Odd {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Odd {
    async fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (answer, kept) = (answer.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    let mut buffer = [0; 4096];
                    // The bodies here end in the only `]}` of their request.
                    while !bytes.ends_with(b"]}") {
                        match socket.read(&mut buffer).await {
                            Ok(0) | Err(_) => return,
                            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                        }
                    }
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    kept.lock()
                        .unwrap()
                        .push(text.split("\r\n\r\n").next().unwrap().to_owned());
                    // The gateway may hang up on what it does not like.
                    let _ = socket.write_all(&answer).await;
                    let _ = socket.shutdown().await;
                });
            }
        });
        Self { address, heads }
    }

    /// A gateway in front of it; the model is `odd`.
    async fn world(&self) -> World {
        let mut setup = Setup::default();
        setup.toml = format!(
            "[upstreams.odd]\nurl = \"http://{}\"\nprofile = \"anthropic\"\nhealth = \"none\"\napi_key = \"{UPSTREAM_KEY}\"\n\
             headers = {{ x-team = \"blue\" }}\nlimits.total_s = 2.0\nlimits.last_first_event_s = 2.0",
            self.address
        );
        setup.fallback = r#"{"chains": {"odd": [{"model": "odd", "upstream": "odd"}]}}"#.into();
        World::with(setup).await
    }
}

fn answer(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{MESSAGE}", MESSAGE.len()).into_bytes()
}

fn request(key: &str, headers: &str) -> Vec<u8> {
    let body = r#"{"model":"odd","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}"#;
    format!(
        "POST /v1/messages?beta=true HTTP/1.1\r\nhost: luna.example\r\nx-api-key: {key}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_headers_go_up() {
    let odd = Odd::start(answer("")).await;
    let world = odd.world().await;
    let headers = format!(
        "Authorization: Bearer {}\r\ncookie: session=1\r\naccept: application/json\r\naccept-encoding: gzip, br\r\n\
         user-agent: a test/1\r\ncontent-type: text/plain; x=y\r\nanthropic-version: 2026-10-21\r\nanthropic-beta: one\r\n\
         Anthropic-Beta: two,three\r\nconnection: keep-alive, x-hop, anthropic-version\r\nx-hop: 1\r\nkeep-alive: timeout=99\r\n\
         proxy-authorization: Basic eDp5\r\nproxy-connection: keep-alive\r\nte: trailers\r\ntrailer: x-late\r\nupgrade: h2c\r\n\
         x-forwarded-for: 1.2.3.4\r\nx-forwarded-host: evil\r\nx-forwarded-proto: https\r\nforwarded: for=1.2.3.4\r\nx-real-ip: 1.2.3.4\r\n\
         via: 1.1 evil\r\norigin: https://evil\r\nreferer: https://evil\r\nx-request-id: theirs\r\nx-luna-tier: 9\r\n\
         x-stainless-lang: python\r\nanthropic-dangerous-direct-browser-access: true\r\nx-http-method-override: GET\r\n\
         range: bytes=0-1\r\nif-none-match: \"x\"\r\npriority: u=1\r\nx-team: red\r\n",
        world.key
    );
    let told = raw::ask(world.app.address, &request(&world.key, &headers)).await;
    assert_eq!(told.status, 200, "{}", told.text());
    let heads = odd.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 1);
    let mut lines: Vec<String> = heads[0]
        .lines()
        .skip(1)
        .map(str::to_ascii_lowercase)
        .collect();
    lines.sort_unstable();
    let up_length =
        r#"{"model":"odd","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}"#.len();
    assert_eq!(
        lines,
        [
            "accept: application/json".to_owned(),
            "anthropic-beta: one,two,three".to_owned(),
            "anthropic-version: 2026-10-21".to_owned(),
            format!("content-length: {up_length}"),
            "content-type: application/json".to_owned(),
            format!("host: {}", odd.address),
            "user-agent: a test/1".to_owned(),
            format!("x-api-key: {UPSTREAM_KEY}"),
            "x-team: blue".to_owned(),
        ]
    );
    assert_eq!(
        heads[0].lines().next(),
        Some("POST /v1/messages?beta=true HTTP/1.1")
    );
    world.stop().await;
}

/// The simulator has no key: nothing that names one goes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_a_client_goes_up() {
    let world = World::start().await;
    for bearer in [false, true] {
        let body = json!({"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let key = if bearer {
            format!("authorization: bearer {}", world.key)
        } else {
            format!("X-API-Key: {}", world.key)
        };
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: luna\r\n{key}\r\naccept-encoding: gzip\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(
            raw::ask(world.app.address, request.as_bytes()).await.status,
            200
        );
    }
    for entry in world.handle().ledger().entries {
        assert!(
            !entry.has_authorization && !entry.has_x_api_key,
            "{entry:?}"
        );
        for name in [
            "accept-encoding",
            "authorization",
            "x-api-key",
            "cookie",
            "expect",
            "transfer-encoding",
        ] {
            assert!(
                !entry.header_names.iter().any(|n| n == name),
                "{name}: {entry:?}"
            );
        }
    }
    assert_eq!(world.handle().messages().len(), 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_headers_come_down() {
    let odd = Odd::start(answer(
        "Set-Cookie: a=b\r\nserver: odd/1\r\nx-powered-by: odd\r\naccess-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n\
         connection: x-hop, anthropic-ratelimit-tokens-limit\r\nx-hop: 1\r\nkeep-alive: timeout=9\r\nx-luna-served-model: a-lie\r\nx-luna-upstream: a-lie\r\n\
         x-luna-tier: 9\r\nx-luna-fallback: quota\r\nx-request-id: theirs\r\nrequest-id: theirs\r\nlocation: https://evil\r\nrefresh: 0\r\n\
         strict-transport-security: max-age=1\r\nwww-authenticate: Basic\r\nalt-svc: h3=\":443\"\r\nlink: <x>\r\ncontent-disposition: attachment\r\n\
         etag: \"1\"\r\ncache-control: private\r\nretry-after: 3\r\nx-should-retry: true\r\nanthropic-ratelimit-requests-remaining: 7\r\n\
         x-ratelimit-remaining-tokens: 8\r\nopenai-processing-ms: 9\r\nanthropic-organization-id: org_1\r\ncf-ray: 1\r\n",
    ))
    .await;
    let world = odd.world().await;
    let told = raw::ask(world.app.address, &request(&world.key, "")).await;
    assert_eq!((told.status, told.text().as_str()), (200, MESSAGE));
    let id = told.header("x-request-id").unwrap().to_owned();
    assert!(id.starts_with("req_"), "{id}");
    let date = told.header("date").unwrap().to_owned();
    let mut lines: Vec<String> = told
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "anthropic-ratelimit-requests-remaining: 7".to_owned(),
            "cache-control: private".to_owned(),
            "connection: keep-alive".to_owned(),
            format!("content-length: {}", MESSAGE.len()),
            "content-type: application/json".to_owned(),
            format!("date: {date}"),
            "openai-processing-ms: 9".to_owned(),
            format!("request-id: {id}"),
            "retry-after: 3".to_owned(),
            "x-luna-requested-model: odd".to_owned(),
            "x-luna-served-model: odd".to_owned(),
            "x-luna-tier: 1".to_owned(),
            "x-luna-upstream: odd".to_owned(),
            "x-ratelimit-remaining-tokens: 8".to_owned(),
            format!("x-request-id: {id}"),
            "x-should-retry: true".to_owned(),
        ]
    );
    world.stop().await;
}

/// Whatever an upstream writes, the client gets one well-formed answer, and no line of it is the upstream's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_cannot_write_the_head() {
    let ok = String::from_utf8(answer("")).unwrap();
    let with = |headers: &str| String::from_utf8(answer(headers)).unwrap();
    for (what, answer) in [
        ("a bare CR in a value", with("x-ratelimit-a: b\rset-cookie: evil=1\r\n")),
        ("a bare LF in a value", with("x-ratelimit-a: b\nset-cookie: evil=1\r\n")),
        ("a folded line", with("x-ratelimit-a: b\r\n set-cookie: evil=1\r\n")),
        ("a NUL in a value", with("x-ratelimit-a: b\0set-cookie: evil=1\r\n")),
        ("a space before the colon", with("x-ratelimit-a : set-cookie: evil=1\r\n")),
        ("bytes above ASCII", with("x-ratelimit-a: \u{ff}\u{e9}\r\n")),
        ("two lengths", with("content-length: 3\r\n")),
        ("a length and a coding", with("transfer-encoding: chunked\r\n")),
        ("an unknown coding", with("transfer-encoding: gzip\r\n")),
        ("early hints", format!("HTTP/1.1 103 Early Hints\r\nset-cookie: evil=1\r\n\r\n{ok}")),
        ("a continue", format!("HTTP/1.1 100 Continue\r\nset-cookie: evil=1\r\n\r\n{ok}")),
        ("an upgrade", "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\nset-cookie: evil=1\r\n\r\nevil".to_owned()),
        ("no content", "HTTP/1.1 204 No Content\r\nset-cookie: evil=1\r\n\r\n".to_owned()),
        ("a redirect", "HTTP/1.1 302 Found\r\nlocation: https://evil\r\nset-cookie: evil=1\r\ncontent-length: 0\r\n\r\n".to_owned()),
        ("a second answer", format!("{ok}HTTP/1.1 200 OK\r\nset-cookie: evil=1\r\ncontent-length: 4\r\n\r\nevil")),
        ("an odd status", "HTTP/1.1 999 Evil\r\nset-cookie: evil=1\r\ncontent-length: 4\r\n\r\nevil".to_owned()),
        ("a status of two digits", "HTTP/1.1 20 OK\r\nset-cookie: evil=1\r\n\r\nevil".to_owned()),
        ("not HTTP", "SSH-2.0-OpenSSH_9.9\r\nset-cookie: evil=1\r\n\r\n".to_owned()),
        ("nothing", String::new()),
        ("half a head", "HTTP/1.1 200 OK\r\nset-cookie: evil=1\r\ncontent-".to_owned()),
        ("half a body", ok[..ok.len() - 9].to_owned()),
        ("HTML", "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>".to_owned()),
        ("an endless head", format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-ratelimit-a: set-cookie evil\r\n".repeat(20_000))),
        ("a name as a key", with("x-ratelimit-luna-0123456789012345678901234567890123456789012: set-cookie\r\n")),
    ] {
        let odd = Odd::start(answer.into_bytes()).await;
        let world = odd.world().await;
        let said = raw::send(world.app.address, &request(&world.key, "connection: close\r\n"), Duration::from_secs(20)).await;
        assert!(said.closed, "{what}");
        let told = said.one();
        let shown = format!("{what}: {}{}", told.head, told.text());
        assert!(matches!(told.status, 200 | 400 | 429 | 500 | 502 | 504 | 529), "{shown}");
        assert!(told.header("set-cookie").is_none() && told.header("location").is_none(), "{shown}");
        assert!(!told.text().contains("evil") && !told.text().contains("<html>"), "{shown}");
        if told.status == 200 {
            assert_eq!(told.text(), MESSAGE, "{shown}");
        } else {
            assert_eq!(told.json()["type"], "error", "{shown}");
        }
        // The gateway goes on, and so does its upstream pool.
        assert_eq!(raw::ask(world.app.address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200, "{what}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_name_cannot_write_the_head() {
    let world = World::start().await;
    let long = "m".repeat(400);
    for name in [
        "a\r\nx-evil: 1",
        "a\nx-evil: 1",
        "a\rx-evil: 1",
        "a\u{0}b",
        "a\u{1b}[31mb",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{2028}x-evil: 1",
        "caf\u{e9}",
        "\u{1f600}",
        " ",
        "\t",
        "a b",
        "a\"b",
        "a\\b",
        "../../etc/passwd",
        "<script>alert(1)</script>",
        "a,b",
        "a;b=c",
        "${jndi:ldap://evil}",
        "%0d%0ax-evil:1",
        "*",
        "claude-*",
        "claude-sonnet-4-6\u{0}",
        "claude-sonnet-4-6 ",
        "Claude-Sonnet-4-6",
        "claude-sonnet-4-6[1m]x",
        "[1m]",
        &long,
    ] {
        for stream in [false, true] {
            let body = json!({"model": name, "stream": stream, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
            let request = format!(
                "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                world.key,
                body.len()
            );
            let said = raw::send(
                world.app.address,
                request.as_bytes(),
                Duration::from_secs(20),
            )
            .await;
            let told = said.one();
            let shown = format!("{name:?}: {}{}", told.head, told.text());
            assert!(matches!(told.status, 400 | 404), "{shown}");
            assert!(told.header("x-evil").is_none(), "{shown}");
            assert_eq!(told.json()["type"], "error", "{shown}");
            if let Some(header) = told.header("x-luna-requested-model") {
                assert_eq!(header, name.trim(), "{shown}");
            }
        }
        // As a label of a metric it is `other`, and as a path segment no other route.
        let metrics = world.metrics().await;
        let leaked: Vec<&str> = metrics
            .lines()
            .filter(|line| {
                ["x-evil", "<script", "mmmm", "jndi"]
                    .iter()
                    .any(|text| line.contains(text))
            })
            .collect();
        assert!(leaked.is_empty(), "{name:?}: {leaked:#?}");
    }
    world.stop().await;
}
