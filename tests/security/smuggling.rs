//! Requests whose end two parsers may see at different places. Each carries a second, complete request
//! with a good key, for a model that nothing else here asks for: it must never be taken for one.

use std::time::Duration;

use crate::support::raw::{self, Said};
use crate::support::world::World;

const OUTER: &str = "claude-sonnet-4-6";
const INNER: &str = "gemini-3-flash";
const LIMIT: Duration = Duration::from_secs(10);

fn body(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","max_tokens":9,"messages":[{{"role":"user","content":"Hello"}}]}}"#
    )
}

/// The request that must stay a body.
fn inner(key: &str) -> String {
    let body = body(INNER);
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request head with `lines` as they are.
fn head(request_line: &str, key: &str, lines: &str) -> String {
    format!("{request_line}\r\nhost: luna\r\nx-api-key: {key}\r\n{lines}\r\n")
}

const LINE: &str = "POST /v1/messages HTTP/1.1";

async fn send(world: &World, request: &[u8]) -> Said {
    raw::send(world.app.address, request, LIMIT).await
}

fn asked(world: &World, model: &str) -> usize {
    let entries = world.handle().messages();
    entries
        .iter()
        .filter(|entry| entry.model.as_deref() == Some(model))
        .count()
}

/// Refused: one 400, the connection closed, nothing upstream.
async fn refused(world: &World, what: &str, request: &[u8]) {
    let said = send(world, request).await;
    let shown = String::from_utf8_lossy(&said.bytes).into_owned();
    let answers = said
        .answers(|_| false)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(answers.len(), 1, "{what}: {shown}");
    assert_eq!(answers[0].status, 400, "{what}: {shown}");
    assert!(said.closed, "{what}: the connection stays open\n{shown}");
    assert!(
        world.handle().messages().is_empty(),
        "{what}: it reached the upstream"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_readings_of_the_length_are_refused() {
    let world = World::start().await;
    let (key, outer) = (&world.key, body(OUTER));
    let inner = inner(key);
    let (short, long) = (outer.len(), outer.len() + inner.len());
    let chunked = format!("{short:x}\r\n{outer}\r\n0\r\n\r\n");
    for lines in [
        format!("content-length: {short}\r\ncontent-length: {long}\r\n"),
        format!("content-length: {long}\r\ncontent-length: {short}\r\n"),
        format!("content-length: {short}\r\nContent-Length: 0\r\n"),
        format!("content-length: {short}, {long}\r\n"),
        format!("content-length: +{short}\r\n"),
        format!("content-length: -{short}\r\n"),
        format!("content-length: 0x{short:x}\r\n"),
        format!("content-length: {short} {long}\r\n"),
        format!("content-length: {short};\r\n"),
        format!("content-length: {short}.0\r\n"),
        "content-length: 99999999999999999999999\r\n".to_owned(),
        "content-length: 18446744073709551616\r\n".to_owned(),
        "content-length: \r\n".to_owned(),
        "content-length: abc\r\n".to_owned(),
        format!("content-length : {short}\r\n"),
        format!("content-length\t: {short}\r\n"),
        format!("content-length: {short}\r\n content-length: {long}\r\n"),
        format!("x: y\r\n z\r\ncontent-length: {short}\r\n"),
        format!("content-length:\r\n {short}\r\n"),
        format!("content-length: {short}\r\nx: a\0b\r\n"),
        format!("content-length: {short}\r\nx: a\rb\r\n"),
        format!("content-length: {short}\rcontent-length: {long}\r\n"),
        format!("content-length: {short}\r\nno colon here\r\n"),
        format!("content-length: {short}\r\n: no name\r\n"),
        format!("content-length: {short}\r\na b: c\r\n"),
        format!("content-length: {short}\r\nx\u{7f}: c\r\n"),
        format!("content-length: {short}\r\nx(y): c\r\n"),
    ] {
        let request = format!("{}{outer}{inner}", head(LINE, key, &lines));
        refused(&world, &format!("{lines:?}"), request.as_bytes()).await;
    }
    for lines in [
        format!("content-length: {short}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {short}\r\n"),
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
        "transfer-encoding: identity\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n".to_owned(),
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".to_owned(),
        "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n".to_owned(),
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".to_owned(),
        "transfer-encoding: chunked, chunked\r\n".to_owned(),
        "transfer-encoding: gzip, chunked\r\n".to_owned(),
        "transfer-encoding: chunked;q=1\r\n".to_owned(),
        "transfer-encoding: \"chunked\"\r\n".to_owned(),
        "transfer-encoding: \u{b}chunked\r\n".to_owned(),
        "transfer-encoding:\r\n chunked\r\n".to_owned(),
        "transfer-encoding : chunked\r\n".to_owned(),
        "transfer-encoding: \r\n".to_owned(),
        " transfer-encoding: chunked\r\n".to_owned(),
        "x: y\r\n transfer-encoding: chunked\r\n".to_owned(),
    ] {
        let request = format!("{}{chunked}{inner}", head(LINE, key, &lines));
        refused(&world, &format!("{lines:?}"), request.as_bytes()).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_line_feeds_are_refused() {
    let world = World::start().await;
    let (key, outer) = (&world.key, body(OUTER));
    let length = outer.len();
    for request in [
        format!(
            "{LINE}\nhost: luna\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n{outer}"
        ),
        format!(
            "{LINE}\r\nhost: luna\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n{outer}"
        ),
        format!(
            "{LINE}\r\nhost: luna\r\nx-api-key: {key}\r\ncontent-length: {length}\n\r\n{outer}"
        ),
        format!(
            "{LINE}\r\nhost: luna\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\n{outer}"
        ),
        format!("{LINE}\nhost: luna\nx-api-key: {key}\ncontent-length: {length}\n\n{outer}"),
        format!(
            "{LINE}\r\nhost: luna\r\nx-api-key: {key}\r\nx: y\ncontent-length: {length}\r\n\r\n{outer}"
        ),
        "GET /health HTTP/1.1\nhost: luna\n\n".to_owned(),
    ] {
        refused(&world, &format!("{request:?}"), request.as_bytes()).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_request_lines_are_refused() {
    let world = World::start().await;
    let (key, outer) = (&world.key, body(OUTER));
    let lines = format!("content-length: {}\r\n", outer.len());
    for line in [
        "POST /v1/messages",
        "POST /v1/messages HTTP/1.2",
        "POST /v1/messages HTTP/2.0",
        "POST /v1/messages HTTP/0.9",
        "POST /v1/messages http/1.1",
        "POST /v1/messages HTTP/1.1 ",
        "POST /v1/messages HTTP/1.1 HTTP/1.1",
        "POST  /v1/messages HTTP/1.1",
        "POST\t/v1/messages\tHTTP/1.1",
        " POST /v1/messages HTTP/1.1",
        "POST /v1/mess ages HTTP/1.1",
        "POST /v1/messages\0 HTTP/1.1",
        "PO ST /v1/messages HTTP/1.1",
        "POST{} /v1/messages HTTP/1.1",
        "\u{1}POST /v1/messages HTTP/1.1",
        "POST HTTP/1.1",
        "/v1/messages HTTP/1.1",
    ] {
        let request = format!(
            "{}{outer}",
            head(line, key, &format!("{lines}connection: close\r\n"))
        );
        let said = send(&world, request.as_bytes()).await;
        let answer = said.one();
        // pingora escapes what it can: then it is a path that nobody has.
        assert!(matches!(answer.status, 400 | 404), "{line}: {answer:?}");
        assert!(said.closed, "{line}: {answer:?}");
        assert!(
            world.handle().messages().is_empty(),
            "{line}: it reached the upstream"
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_chunks_are_refused() {
    let world = World::start().await;
    let (key, outer) = (&world.key, body(OUTER));
    let n = outer.len();
    let inner = inner(key);
    for chunks in [
        format!("{n:x}\n{outer}\r\n0\r\n\r\n"),
        format!("{n:x}\r\n{outer}\n0\r\n\r\n"),
        format!("{n:x}\r\n{outer}0\r\n\r\n"),
        format!("{n:x}\r\n{outer}xx0\r\n\r\n"),
        format!("0x{n:x}\r\n{outer}\r\n0\r\n\r\n"),
        format!("+{n:x}\r\n{outer}\r\n0\r\n\r\n"),
        format!("-{n:x}\r\n{outer}\r\n0\r\n\r\n"),
        format!(" {n:x}\r\n{outer}\r\n0\r\n\r\n"),
        format!("zz\r\n{outer}\r\n0\r\n\r\n"),
        format!("ffffffffffffffff\r\n{outer}\r\n0\r\n\r\n"),
        format!("fffffffffffffffff\r\n{outer}\r\n0\r\n\r\n"),
        format!("10000000000000000{n:x}\r\n{outer}\r\n0\r\n\r\n"),
        format!("{n:x};a\rb\r\n{outer}\r\n0\r\n\r\n"),
        format!("{n:x}\r\n{outer}\r\n0\n\n"),
    ] {
        let request = format!(
            "{}{chunks}{inner}",
            head(LINE, key, "transfer-encoding: chunked\r\n")
        );
        let said = send(&world, request.as_bytes()).await;
        let shown = String::from_utf8_lossy(&said.bytes).into_owned();
        let answers = said
            .answers(|_| false)
            .unwrap_or_else(|e| panic!("{chunks:?}: {e}"));
        assert!(answers.len() <= 1, "{chunks:?}: {shown}");
        // A client that breaks off its own body may be left without a word.
        assert!(
            answers.iter().all(|answer| answer.status == 400),
            "{chunks:?}: {shown}"
        );
        assert!(said.closed, "{chunks:?}: {shown}");
        assert!(
            world.handle().messages().is_empty(),
            "{chunks:?}: it reached the upstream"
        );
    }
    world.stop().await;
}

/// A body stays a body, whatever is answered and whether or not anybody wanted it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_within_a_body_is_never_asked() {
    let world = World::start().await;
    let (key, admin) = (world.key.clone(), world.admin.clone());
    let inner = inner(&key);
    let framed = [
        (
            format!("content-length: {}\r\n", inner.len()),
            inner.clone(),
        ),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
        ),
    ];
    let wrong = "luna-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (line, key) in [
        ("GET / HTTP/1.1", ""),
        ("HEAD / HTTP/1.1", ""),
        ("GET /health HTTP/1.1", ""),
        ("GET /ready HTTP/1.1", ""),
        ("GET /v1/models HTTP/1.1", &key),
        ("GET /me HTTP/1.1", &key),
        ("GET /admin/keys HTTP/1.1", &admin),
        ("GET /admin/keys HTTP/1.1", &key),
        ("POST /admin/keys HTTP/1.1", &admin),
        ("POST /admin/fallback/poll HTTP/1.1", &admin),
        ("DELETE /admin/keys/nobody HTTP/1.1", &admin),
        ("OPTIONS /v1/messages HTTP/1.1", &key),
        ("OPTIONS * HTTP/1.1", &key),
        ("GET /v1/messages HTTP/1.1", &key),
        ("POST /v1/messages HTTP/1.1", wrong),
        ("POST /v1/messages HTTP/1.1", ""),
        ("POST /v1/messages HTTP/1.1", &key),
        ("POST /v1/nothing HTTP/1.1", &key),
        ("POST /v1/messages HTTP/1.0", &key),
        ("PROPFIND /v1/messages HTTP/1.1", &key),
        ("CONNECT luna:443 HTTP/1.1", &key),
        ("TRACE / HTTP/1.1", &key),
    ] {
        for (lines, body) in &framed {
            for more in [
                "",
                "expect: 100-continue\r\n",
                "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
                "connection: upgrade\r\nupgrade: websocket\r\n",
                "connection: keep-alive, content-length, transfer-encoding\r\n",
            ] {
                let what = format!("{line} {lines:?} {more:?}");
                let request = format!("{}{body}", head(line, key, &format!("{lines}{more}")));
                // A request that ends the connection: whoever is left in it is behind the body.
                let last = "GET /nothing-left HTTP/1.1\r\nhost: luna\r\nconnection: close\r\n\r\n";
                let said = send(&world, format!("{request}{last}").as_bytes()).await;
                let shown = String::from_utf8_lossy(&said.bytes).into_owned();
                assert!(said.closed, "{what}: {shown}");
                let answers = said.answers(|index| index == 0 && line.starts_with("HEAD"));
                let answers = answers.unwrap_or_else(|e| panic!("{what}: {e}\n{shown}"));
                let finals: Vec<u16> = answers
                    .iter()
                    .map(|a| a.status)
                    .filter(|s| *s >= 200)
                    .collect();
                assert!(finals.len() <= 2 && !finals.is_empty(), "{what}: {shown}");
                assert!(answers.iter().all(|a| a.status != 101), "{what}: {shown}");
                assert!(
                    finals.get(1).is_none_or(|status| *status == 401),
                    "{what}: {shown}"
                );
                assert_eq!(
                    asked(&world, INNER),
                    0,
                    "{what}: the request in the body was asked"
                );
            }
        }
    }
    assert!(world.handle().messages().is_empty());
    world.stop().await;
}

/// The control: what is well-formed is served, so the tests above do not pass for want of a gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_whole_requests_in_one_packet_are_two() {
    let world = World::start().await;
    let outer = body(OUTER);
    let first = format!(
        "{}{outer}",
        head(
            LINE,
            &world.key,
            &format!("Content-Length:\t {}\t \r\n", outer.len())
        )
    );
    let second = format!(
        "{}{:X};x=\"y\"\r\n{outer}\r\n0\r\ntrailer: z\r\n\r\n",
        head(
            LINE,
            &world.key,
            "Transfer-Encoding: CHUNKED\r\nconnection: close\r\n"
        ),
        outer.len()
    );
    let said = send(&world, format!("{first}{second}").as_bytes()).await;
    let answers = said.answers(|_| false).unwrap();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(
        statuses,
        [200, 200],
        "{}",
        String::from_utf8_lossy(&said.bytes)
    );
    assert_eq!(asked(&world, OUTER), 2);
    world.stop().await;
}

/// What follows a request is a request of its own: the answer before it is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_behind_a_request_does_not_cut_its_answer() {
    let world = World::start().await;
    for stream in [false, true] {
        let outer = body(OUTER).replace(
            "\"max_tokens\"",
            &format!("\"stream\":{stream},\"max_tokens\""),
        );
        for rubbish in [
            "x",
            "ax_tokens\":5}",
            "\r\n\r\n\0",
            "GET",
            "{}\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            for round in 0..5 {
                let lines = format!("content-length: {}\r\n", outer.len());
                let request = format!("{}{outer}{rubbish}", head(LINE, &world.key, &lines));
                let mut socket = tokio::net::TcpStream::connect(world.app.address)
                    .await
                    .unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes())
                    .await
                    .unwrap();
                let answer = raw::next(&mut socket, &mut Vec::new()).await;
                let what = format!(
                    "{rubbish:?} stream={stream} round {round}: {}",
                    answer.text()
                );
                assert_eq!(answer.status, 200, "{what}");
                let end = if stream {
                    "event: message_stop"
                } else {
                    "\"usage\""
                };
                assert!(answer.text().contains(end), "{what}");
            }
        }
    }
    world.stop().await;
}
