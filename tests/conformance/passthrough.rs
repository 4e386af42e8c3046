//! What the gateway lets through, it lets through byte for byte: the SSE stream and the JSON answer of
//! the simulator, and the request body but for the model's name.

use std::net::SocketAddr;

use luna::simulate::{Generation, Running, spawn};
use serde_json::{Value, json};

use crate::support::filled;
use crate::support::raw::{self, RawAnswer};
use crate::support::world::{Setup, World};

fn request(key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn ask(address: SocketAddr, key: &str, body: &str) -> RawAnswer {
    raw::ask(address, &request(key, body)).await
}

fn address(sim: &Running) -> SocketAddr {
    sim.url().strip_prefix("http://").unwrap().parse().unwrap()
}

/// A second simulator that will give its next request the same number, and so the same ids, as `seq`.
async fn twin(setup: &Setup, seq: u64) -> Running {
    let twin = spawn(setup.sim.clone()).await.unwrap();
    for _ in 1..seq {
        let answer = raw::ask(
            address(&twin),
            b"GET /health HTTP/1.1\r\nhost: twin\r\n\r\n",
        )
        .await;
        assert_eq!(answer.status, 200);
    }
    twin
}

fn bodies() -> Vec<Value> {
    let tool = json!({"name": "look_up", "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}}});
    let ask = |model: &str, text: &str| json!({"model": model, "max_tokens": 300, "messages": [{"role": "user", "content": text}]});
    let mut tools = ask("claude-sonnet-4-6", "use the tool look_up");
    tools["tools"] = json!([tool]);
    let mut long = ask("claude-sonnet-4-6", "long");
    long["metadata"] = json!({"sim": {"events": 300, "event_bytes": 700}});
    let mut slow = ask("gemini-3-flash", "slow");
    slow["metadata"] = json!({"sim": {"text": "a\u{2028}b \u{1f600} \"c\" \\d\r\n\te", "events": 6, "interval_ms": 400}});
    let mut refusal = ask("claude-sonnet-4-6", "no");
    refusal["metadata"] = json!({"sim": {"text": "I would rather not.", "stop_reason": "refusal"}});
    vec![
        ask("claude-sonnet-4-6", "Hello"),
        ask("claude-opus-4-6-thinking", "Think. Grüße, 世界"),
        tools,
        long,
        slow,
        refusal,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_the_upstreams_bytes() {
    for generation in [Generation::V2_0, Generation::V2_7] {
        let mut setup = Setup::default().generation(generation);
        let mut models = setup.sim.models.clone();
        models.extend(["claude-sonnet-4-6", "claude-opus-4-6-thinking"].map(str::to_owned));
        setup.sim.models = models;
        let config = Setup {
            sim: setup.sim.clone(),
            ..Setup::default()
        };
        let world = World::with(setup).await;
        for stream in [true, false] {
            for mut body in bodies() {
                body["stream"] = stream.into();
                let body = body.to_string();
                let through = ask(world.app.address, &world.key, &body).await;
                assert_eq!(through.status, 200, "{}", through.text());
                let seq = world.handle().messages().last().unwrap().seq;
                let twin = twin(&config, seq).await;
                let direct = ask(address(&twin), "", &body).await;
                assert_eq!(direct.status, 200, "{}", direct.text());
                assert!(direct.text().contains("msg_"), "{}", direct.text());
                assert_eq!(
                    through.text(),
                    filled(&direct.text()),
                    "{generation:?} stream={stream} {body}"
                );
                assert_eq!(
                    through.header("content-type"),
                    direct.header("content-type")
                );
                assert_eq!(through.header("transfer-encoding").is_some(), stream);
                twin.stop().await;
            }
        }
        world.stop().await;
    }
}

/// What the gateway adds to a stream stands in its head only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_of_a_stream_is_exactly_this() {
    let world = World::start().await;
    let body = json!({"model": "claude-3-5-sonnet-latest", "max_tokens": 9, "stream": true,
                      "messages": [{"role": "user", "content": "Hello"}]});
    world.set_quota("claude-sonnet-4-6", 0.01, None).await;
    let answer = ask(world.app.address, &world.key, &body.to_string()).await;
    let mut head: Vec<&str> = answer.head.lines().collect();
    head[1..].sort_unstable();
    let (id, date) = (
        answer.header("request-id").unwrap(),
        answer.header("date").unwrap(),
    );
    assert_eq!(
        head,
        [
            "HTTP/1.1 200 OK".to_owned(),
            "Cache-Control: no-cache".to_owned(),
            "Connection: keep-alive".to_owned(),
            "Content-Type: text/event-stream".to_owned(),
            format!("Date: {date}"),
            "Transfer-Encoding: chunked".to_owned(),
            format!("request-id: {id}"),
            "x-accel-buffering: no".to_owned(),
            "x-luna-fallback: quota".to_owned(),
            "x-luna-requested-model: claude-3-5-sonnet-latest".to_owned(),
            "x-luna-served-model: gemini-3-flash".to_owned(),
            "x-luna-tier: 2".to_owned(),
            "x-luna-upstream: default".to_owned(),
            format!("x-request-id: {id}"),
        ]
    );
    world.stop().await;
}

/// Whitespace, order, escapes, odd numbers and unknown fields go up as they came; the model alone is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_bodies_go_up_byte_for_byte_but_for_the_model() {
    let world = World::start().await;
    let head = "{ \"messages\" : [ {\"role\":\"user\",\"content\":\"caf\\u00e9 \\ud83d\\ude00 \\/\"} ],\n\t\"x\": 1e400, \"y\":-0.0,\
                \"big\": 123456789012345678901234567890, \"model\" : ";
    let tail = " ,\r\n \"max_tokens\":50, \"z\": {\"model\":\"not this one\"} }\n";
    for name in ["\"fast\"", "\"\\u0066ast\"", "\"gemini-3-flash\""] {
        let answer = ask(
            world.app.address,
            &world.key,
            &format!("{head}{name}{tail}"),
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seq = world.handle().messages().last().unwrap().seq;
        let up = world.handle().body(seq).unwrap();
        assert_eq!(
            String::from_utf8(up.to_vec()).unwrap(),
            format!("{head}\"gemini-3-flash\"{tail}")
        );
    }
    world.stop().await;
}
