//! What no simulated Antigravity says: garbage within a stream, answers that are none, and
//! connections that end otherwise than HTTP has it.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;

use crate::canned::{Act, Canned, event, events, head, whole};
use crate::check;
use crate::late::without_pool;
use crate::support::world::{Answer, Setup, World, ask};

/// A stream of `model` in which `put` stands before event `at` instead of the rest.
fn spoilt(model: &str, at: usize, put: &str) -> Vec<Act> {
    let before: String = events(model).into_iter().take(at).collect();
    let after: String = events(model).into_iter().skip(at).collect();
    vec![
        Act::Send(head(200, "text/event-stream")),
        Act::Send(before.into_bytes()),
        Act::Send(put.as_bytes().to_vec()),
        Act::Send(after.into_bytes()),
    ]
}

/// What an upstream may say in the midst of a stream that is no event of a message.
fn garbage() -> Vec<(&'static str, String)> {
    vec![
        (
            "no JSON",
            "event: content_block_delta\ndata: {\"type\":\"content_block_\n\n".to_owned(),
        ),
        ("HTML", "<html><body>502</body></html>\n\n".to_owned()),
        ("HTML as data", "event: ping\ndata: <p>\n\n".to_owned()),
        (
            "an error event",
            event(r#"{"type":"error","error":{"type":"api_error","message":"a@example.com"}}"#),
        ),
        (
            "an error by name alone",
            "event: error\ndata: {\"message\":\"http://127.0.0.1/x?key=sk-ant-1234567890\"}\n\n"
                .to_owned(),
        ),
        ("a second start", events("other").concat()),
        ("bytes", "data: \u{0}\u{1}\u{fffd}\n\n".to_owned()),
        ("no type", "data: {}\n\n".to_owned()),
    ]
}

/// A gateway whose first two tiers are at `bad` and whose third is at the simulated Antigravity.
async fn before(bad: &Canned) -> World {
    let mut setup = Setup::default();
    setup.toml = format!(
        "[upstreams.bad]\nurl = \"{}\"\nhealth = \"none\"\n[upstreams.bad.limits]\nfirst_event_s = 2\n\
         first_answer_s = 2\nidle_s = 1\n[fallback]\ncooldown_s = 0.05",
        bad.url()
    );
    let bad = |model: &str| json!({"model": model, "upstream": "bad"});
    let chain = |name: &str| json!([bad(name), "gemini-2.5-flash"]);
    let names = (0..32).map(|n| format!("m{n}"));
    let mut chains: serde_json::Map<_, _> =
        names.map(|name| (name.clone(), chain(&name))).collect();
    chains.insert("alone".to_owned(), json!([bad("m0")]));
    setup.fallback = json!({"chains": chains}).to_string();
    let mut world = World::with(setup).await;
    world.client = without_pool();
    world
}

fn number(model: &str) -> usize {
    model.trim_start_matches('m').parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_within_a_stream_moves_on_before_the_commit_and_ends_it_after() {
    let kinds = garbage();
    let count = kinds.len();
    for (at, committed) in [
        (0, false),
        (1, false),
        (2, false),
        (3, true),
        (5, true),
        (6, true),
    ] {
        let kinds = kinds.clone();
        let bad = Canned::start(move |model| spoilt(model, at, &kinds[number(model)].1)).await;
        let world = before(&bad).await;
        let asked = futures_util::stream::iter(0..count)
            .map(|n| {
                let world = &world;
                async move { (n, world.post(&ask(&format!("m{n}"), true)).await) }
            })
            .buffer_unordered(4);
        let answers: Vec<(usize, Answer)> = asked.collect().await;
        for (n, answer) in answers {
            let name = garbage()[n].0;
            let model = format!("m{n}");
            if committed {
                let names = check::broken_stream(&answer);
                assert_eq!(names.len(), at, "{name} before event {at}: {names:?}");
                assert_eq!(answer.header("x-luna-served-model"), model, "{name}");
            } else if name == "a second start" {
                // It replaces the first; what comes after its end is nobody's.
                let text = check::whole_stream(&answer);
                assert_eq!(
                    answer.header("x-luna-fallback"),
                    "",
                    "{name} before event {at}"
                );
                assert_eq!(text, "Hello from other", "{name} before event {at}");
            } else {
                let text = check::whole_stream(&answer);
                assert_eq!(
                    answer.header("x-luna-served-model"),
                    "gemini-2.5-flash",
                    "{name} at {at}"
                );
                assert_eq!(
                    answer.header("x-luna-fallback"),
                    "stream_error",
                    "{name} before event {at}"
                );
                assert!(text.starts_with("Hello from gemini-2.5-flash"), "{text}");
            }
            assert!(
                !answer.text().contains("sk-ant-"),
                "{name}: {}",
                answer.text()
            );
            assert!(!answer.text().contains('<'), "{name}: {}", answer.text());
        }
        world.stop().await;
    }
}

/// Answers that are none, whether a stream was asked for or not: what is sent, and the labels that
/// it may get.
fn no_answers() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    const WRONG: &[&str] = &["upstream_error", "stream_error"];
    let long = "x".repeat(2 << 20);
    vec![
        ("a page", whole(200, "text/html", "<html><body>Sign in</body></html>"), WRONG),
        ("text", whole(200, "text/plain", "OK"), WRONG),
        ("no JSON", whole(200, "application/json", "{\"id\":"), WRONG),
        ("another shape", whole(200, "application/json", "{\"status\":\"ok\"}"), WRONG),
        ("an array", whole(200, "application/json", "[]"), WRONG),
        (
            "an error in a 200",
            whole(200, "application/json", r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#),
            &["overloaded"],
        ),
        ("no body", whole(200, "application/json", ""), WRONG),
        ("a redirect", whole(302, "text/html", "<a href=\"/login\">"), WRONG),
        ("nothing for a status", whole(204, "application/json", ""), WRONG),
        ("a 500 that is cut", [head(500, "application/json"), b"{\"type\":\"err".to_vec()].concat(), WRONG),
        (
            "a length that is not kept",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"id\"".to_vec(),
            WRONG,
        ),
        ("no HTTP", b"220 mail.example.com ESMTP\r\n".to_vec(), WRONG),
        ("nothing", Vec::new(), WRONG),
        ("a long page", whole(503, "text/html", &format!("<html>{long}")), &["overloaded"]),
        (
            "a broken chunk",
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
            WRONG,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_goes_to_the_next_tier_or_becomes_one_error() {
    let answers = no_answers();
    let script = answers.clone();
    let bad =
        Canned::start(move |model| vec![Act::Send(script[number(model) / 2].1.clone())]).await;
    let world = before(&bad).await;
    for (n, (name, _, reasons)) in answers.iter().enumerate() {
        for stream in [false, true] {
            let model = format!("m{}", 2 * n + usize::from(stream));
            let answer = world.post(&ask(&model, stream)).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            assert_eq!(answer.header("x-luna-tier"), "2", "{name}");
            let reason = answer.header("x-luna-fallback");
            assert!(
                reasons.contains(&reason),
                "{name}, stream {stream}: {reason}"
            );
            if stream {
                check::whole_stream(&answer);
            } else {
                assert!(
                    answer.content().starts_with("Hello from gemini"),
                    "{}",
                    answer.text()
                );
            }
            // The same with no other tier; it is asked whatever its mark.
            let off = [("x-luna-fallback", "off")];
            let alone = world.post_with(&ask(&model, stream), &off).await;
            check::error(&alone, &[500, 502, 529]);
            assert!(!alone.text().contains("<"), "{name}: {}", alone.text());
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_answer_is_whole_whatever_its_connection_does_then() {
    // After message_stop: a cut without the last chunk, silence, more events.
    let bad = Canned::start(|model| {
        let all: String = events(model).concat();
        let chunk = format!("{:x}\r\n{all}\r\n", all.len());
        let start = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let mut acts = vec![Act::Send(start), Act::Send(chunk.into_bytes())];
        match number(model) {
            0 => {}
            1 => acts.push(Act::Hang),
            _ => {
                let more = event(r#"{"type":"error","error":{"type":"api_error","message":"late"}}"#);
                acts.push(Act::Send(format!("{:x}\r\n{more}\r\n0\r\n\r\n", more.len()).into_bytes()));
            }
        }
        acts
    })
    .await;
    let world = before(&bad).await;
    for n in 0..3 {
        let began = std::time::Instant::now();
        let answer = world.post(&ask(&format!("m{n}"), true)).await;
        let text = check::whole_stream(&answer);
        assert_eq!(text, format!("Hello from m{n}"));
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
    }
    let total = check::usage(&world, 3).await;
    assert_eq!(
        (&total["errors"], &total["output_tokens"]),
        (&json!(0), &json!(9)),
        "{total}"
    );
    world.stop().await;
}
