//! Noise at the front door: requests that are nearly right, at random from a fixed seed. Whatever comes
//! back is HTTP, whoever hangs up does so cleanly, and afterwards the gateway is as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::eventually;
use crate::support::raw::{self, Said};
use crate::support::world::{Setup, World};

const SEED: u64 = 0x5eed_1e55_f00d_cafe;
const REQUESTS: usize = 2_000;
const AT_ONCE: usize = 200;
const H2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % n.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// A request that is right, or is none at all, to begin with.
fn template(random: &mut Random, key: &str, admin: &str) -> Vec<u8> {
    let body = r#"{"model":"claude-sonnet-4-6","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let length = body.len();
    let key = random.pick(&[key, key, admin, "luna-wrong", ""]);
    let path = random.pick(&[
        "/v1/messages",
        "/v1/messages",
        "/v1/messages?beta=true",
        "/v1/models",
        "/me",
        "/health",
        "/",
        "/admin/keys",
        "/admin/usage/daily",
        "/admin/explain",
        "/admin/events",
        "/v1/chat/completions",
        "//",
        "*",
        "http://luna/v1/messages",
    ]);
    let method = random.pick(&[
        "POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT",
        "TRACE",
    ]);
    let text = match random.below(9) {
        0..3 => format!(
            "{method} {path} HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
        3..5 => format!(
            "{method} {path} HTTP/1.1\r\nHost: luna\r\nAuthorization: Bearer {key}\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        ),
        5 => format!(
            "{method} {path} HTTP/1.0\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
        6 => format!(
            "{method} {path} HTTP/1.1\r\nhost: luna\r\nexpect: 100-continue\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
        7 => {
            let one = format!("GET /health HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\n\r\n");
            one.repeat(random.below(5) + 1)
        }
        _ => return none(random),
    };
    text.into_bytes()
}

/// Other protocols, and nothing in particular.
fn none(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n".to_vec(),
        1 => [
            H2,
            b"\0\0\0\x04\0\0\0\0\0\0\0\x05\x01\x25\0\0\0\x01\x82\x86\x84\x41",
        ]
        .concat(),
        2 => [
            H2,
            &(0..200).map(|_| random.next() as u8).collect::<Vec<u8>>(),
        ]
        .concat(),
        3 => b"\0\r\n\r\n".repeat(random.below(50)),
        4 => format!(
            "GET /{} HTTP/1.1\r\n\r\n",
            "a".repeat(random.below(100_000))
        )
        .into_bytes(),
        _ => (0..random.below(3_000))
            .map(|_| random.next() as u8)
            .collect(),
    }
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    const WORDS: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b"content-length: 5\r\n",
        b"content-length: 99999999\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip\r\n",
        b"HTTP/1.0",
        b"HTTP/3.0",
        b"\xff\xfe",
        b"{",
        b"}",
        b"\"",
        b"\\u",
        b"[[[[[[",
        b"x: y\r\n z\r\n",
        b"connection: close\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"expect: 100-continue\r\n",
        b"0\r\n\r\n",
        b"ffffffff\r\n",
        b"host: a\r\nhost: b\r\n",
        b"%00",
        b"../",
        b"//",
        b"\x1b[2J",
        b"\xe2\x80\xa8",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HEAD /health HTTP/1.1\r\n\r\n",
        b"content-encoding: gzip\r\n",
        b"x-api-key: luna-other\r\n",
        b"x-luna-fallback: off\r\n",
        b"x-forwarded-for: 1.2.3.4\r\n",
    ];
    let at = random.below(bytes.len() + 1);
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 => bytes.insert(at, random.next() as u8),
        2 | 3 => {
            let word = random.pick(WORDS);
            bytes.splice(at..at, word.iter().copied());
        }
        4 => {
            let end = (at + random.below(20)).min(bytes.len());
            bytes.drain(at..end);
        }
        5 => {
            let end = (at + random.below(200)).min(bytes.len());
            let again = bytes[at..end].repeat(random.below(30));
            bytes.splice(at..at, again);
        }
        _ => bytes.truncate(at),
    }
}

/// Reads the answers strictly. Which of them are to HEAD is not known of a broken request, so each may
/// be. A client that has `left` (closed its half) may be answered in part: the gateway stops for it.
fn well_formed(said: &Said, left: bool) -> Result<Vec<u16>, String> {
    let mut rest = said.bytes.as_slice();
    let mut statuses = Vec::new();
    let whole = |after: &[u8]| after.is_empty() || after.starts_with(b"HTTP/1.");
    while !rest.is_empty() {
        if let Ok(Some((answer, after))) = raw::parse(rest, false, said.closed)
            && whole(after)
        {
            statuses.push(answer.status);
            rest = after;
            continue;
        }
        let Some((answer, after)) = raw::parse(rest, true, said.closed)? else {
            return Err("half a head".to_owned());
        };
        statuses.push(answer.status);
        if whole(after) {
            rest = after;
        } else if answer.status == 200 && (left || !said.closed) {
            break;
        } else {
            return Err("half an answer".to_owned());
        }
    }
    Ok(statuses)
}

async fn one(
    address: std::net::SocketAddr,
    seed: u64,
    key: &str,
    admin: &str,
) -> (Vec<u8>, Said, bool) {
    let mut random = Random::of(seed);
    let mut request = template(&mut random, key, admin);
    for _ in 0..random.below(6) {
        mutate(&mut random, &mut request);
    }
    let mut socket = TcpStream::connect(address).await.unwrap();
    let cut = random.below(request.len() + 1);
    let pieces = if random.below(3) == 0 {
        vec![&request[..cut], &request[cut..]]
    } else {
        vec![&request[..]]
    };
    for piece in pieces {
        // The gateway may have hung up on the first half.
        if socket.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let leaves = random.below(4) != 0;
    if leaves {
        // As above.
        let _ = socket.shutdown().await;
    }
    let said = raw::read_all(&mut socket, Duration::from_secs(3)).await;
    (request, said, leaves)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_get_http_or_a_clean_end() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let mut setup = Setup::default();
    setup.server = "client_header_timeout_s = 1\nclient_body_timeout_s = 1\nclient_idle_s = 1\nmax_body_bytes = 100000".into();
    let world = World::with(setup).await;
    let address = world.app.address;
    let (key, admin): (Arc<str>, Arc<str>) =
        (world.key.as_str().into(), world.admin.as_str().into());
    let mut answered = 0;
    let mut seen = std::collections::BTreeMap::new();
    for group in 0..REQUESTS / AT_ONCE {
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                let seed = SEED.wrapping_add((group * AT_ONCE + n) as u64);
                let (key, admin) = (Arc::clone(&key), Arc::clone(&admin));
                tokio::spawn(async move { (seed, one(address, seed, &key, &admin).await) })
            })
            .collect();
        for task in tasks {
            let (seed, (request, said, left)) = task.await.unwrap();
            if request.starts_with(H2) {
                // A SETTINGS or GOAWAY frame, or silence.
                assert!(
                    said.bytes.is_empty() || matches!(said.bytes.get(3), Some(4 | 7)),
                    "seed {seed:#x}: {said:?}"
                );
                continue;
            }
            let shown = || {
                format!(
                    "seed {seed:#x}: {:?}\n-> {:?}",
                    String::from_utf8_lossy(&request),
                    String::from_utf8_lossy(&said.bytes)
                )
            };
            let statuses = well_formed(&said, left).unwrap_or_else(|e| panic!("{e}: {}", shown()));
            answered += usize::from(!statuses.is_empty());
            for status in statuses {
                *seen.entry(status).or_insert(0) += 1;
                let known = [
                    100, 200, 201, 204, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431,
                ]
                .contains(&status);
                assert!(known, "{status}: {}", shown());
            }
        }
    }
    // Noise that is all refused at the first byte would test little.
    let varied = [200, 400, 401, 404, 405]
        .iter()
        .all(|status| seen.contains_key(status));
    assert!(
        answered > REQUESTS / 2 && varied,
        "{answered} were answered: {seen:?}"
    );
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);

    // Nothing is left of it.
    eventually(
        "all connections are gone",
        Duration::from_secs(20),
        || async { world.app.connections() == 0 },
    )
    .await;
    assert_eq!(
        (
            world.app.gateway.in_flight(),
            world.app.gateway.body_bytes()
        ),
        (0, 0)
    );
    assert_eq!(world.metric("luna_in_flight").await, 0.0);
    let gone = world
        .handle()
        .wait(Duration::from_secs(10), |totals| {
            totals.ended == totals.requests
        })
        .await;
    assert!(gone, "{:?}", world.handle().totals());
    // What came to the upstream was a request like any other.
    for entry in world.handle().messages() {
        assert_eq!(
            (entry.method.as_str(), entry.path.as_str()),
            ("POST", "/v1/messages"),
            "{entry:?}"
        );
        assert!(
            !entry.has_x_api_key && !entry.has_authorization,
            "{entry:?}"
        );
        let body = world.handle().body(entry.seq).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&body)));
        assert!(json["model"].is_string(), "{json}");
    }
    let health = raw::ask(address, b"GET /health HTTP/1.1\r\nhost: luna\r\n\r\n").await;
    assert_eq!(
        (health.status, health.json()["status"].as_str()),
        (200, Some("ok")),
        "{}",
        health.text()
    );
    let answer = world
        .post(&crate::support::world::ask("claude-sonnet-4-6", true))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.stop().await;
}
