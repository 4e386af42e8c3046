//! The client goes away: the upstream is dropped at once, and it is counted as aborted, once.

use std::time::Duration;

use luna::simulate::{Fault, FaultKind, Shape};

use super::{all_is_given_back, shaped};
use crate::support::eventually;
use crate::support::world::{Setup, World, ask};

/// The upstream is dropped within this.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Where in its life the request is when its client leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The upstream has said nothing.
    BeforeAnything,
    /// Some events are held, none is committed.
    BeforeCommit,
    /// Content has come, and then silence.
    InSilence,
    /// Events come all the time.
    InFullFlow,
    /// An answer that does not stream is being waited for.
    NotStreaming,
}

const MOMENTS: [Moment; 5] = [
    Moment::BeforeAnything,
    Moment::BeforeCommit,
    Moment::InSilence,
    Moment::InFullFlow,
    Moment::NotStreaming,
];

async fn leave(moment: Moment, h2: bool) {
    let what = format!("{moment:?}, h2 {h2}");
    let mut setup = Setup::default();
    setup.sim.time_scale = 1.0;
    let world = World::with(setup).await;
    let fault = match moment {
        Moment::BeforeAnything | Moment::NotStreaming => Some(FaultKind::Hang),
        Moment::BeforeCommit | Moment::InSilence => Some(FaultKind::Stall),
        Moment::InFullFlow => None,
    };
    let at = if moment == Moment::BeforeCommit { 1 } else { 6 };
    let faults = fault.map(|kind| Fault::new("*", kind).at_event(at).times(1));
    world
        .handle()
        .set_faults(faults.into_iter().collect())
        .unwrap();
    let shape = Shape {
        events: Some(2_000),
        event_bytes: Some(200),
        interval_ms: Some(5),
        ..Shape::default()
    };
    let mut client = reqwest::Client::builder().no_proxy();
    if h2 {
        client = client.http2_prior_knowledge();
    }
    let client = client.build().unwrap();
    let request = client
        .post(world.url("/v1/messages"))
        .header("x-api-key", &world.key)
        .body(shaped(moment != Moment::NotStreaming, &shape).to_string());
    let committed = matches!(moment, Moment::InSilence | Moment::InFullFlow);
    if committed {
        let mut response = request.send().await.unwrap();
        let mut seen = 0;
        while seen < 600 {
            seen += response.chunk().await.unwrap().unwrap().len();
        }
        drop(response);
    } else {
        let waiting = tokio::spawn(request.send());
        let sent = async || match moment {
            Moment::BeforeCommit => world.handle().totals().events > 0,
            _ => !world.handle().messages().is_empty(),
        };
        eventually(&what, Duration::from_secs(5), sent).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
    }
    let gone = world.handle().wait(AT_ONCE, |t| t.client_gone == 1).await;
    assert!(
        gone,
        "{what}: the upstream was not dropped within {AT_ONCE:?}"
    );

    // The next request is counted too, and the first one still once.
    let answer = world.post(&ask("claude-sonnet-4-6", true)).await;
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    assert_eq!(answer.header("x-luna-fallback"), "", "{what}: no mark");
    eventually(&what, Duration::from_secs(5), async || {
        world
            .app
            .usage
            .totals()
            .await
            .unwrap()
            .total
            .counters
            .requests
            >= 2
    })
    .await;
    let counted = world.app.usage.totals().await.unwrap().total.counters;
    let told = (
        counted.requests,
        counted.aborted,
        counted.errors,
        counted.fallbacks,
    );
    assert_eq!(
        told,
        (2, 1, 0, 0),
        "{what}: requests, aborted, errors, fallbacks"
    );
    if committed {
        let sent = world.handle().totals().tokens;
        assert_eq!(
            counted.input_tokens, sent.input,
            "{what}: what was seen is counted"
        );
    }
    let asked = world.handle().messages();
    assert_eq!(asked.len(), 2, "{what}: nobody else was asked");
    all_is_given_back(&world).await;
    drop(client);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_noticed() {
    for moment in MOMENTS {
        leave(moment, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_that_leaves_is_noticed() {
    for moment in MOMENTS {
        leave(moment, true).await;
    }
}

/// A client that leaves in the midst of its own body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_it_sends_is_counted_once() {
    use crate::support::h1::Raw;
    let world = World::start().await;
    let mut raw = Raw::connect(world.app.address).await;
    raw.send(format!(
        "POST /v1/messages HTTP/1.1\r\nhost: luna\r\nx-api-key: {}\r\ncontent-length: 1000\r\n\r\n{{",
        world.key
    ))
    .await;
    eventually("it has come in", Duration::from_secs(5), async || {
        world.metric("luna_in_flight").await == 1.0
    })
    .await;
    drop(raw);
    eventually("it is counted", Duration::from_secs(5), async || {
        let counted = world.app.usage.totals().await.unwrap().total.counters;
        (counted.requests, counted.aborted, counted.errors) == (1, 1, 0)
    })
    .await;
    assert_eq!(world.handle().messages().len(), 0);
    all_is_given_back(&world).await;
    world.stop().await;
}

/// With `on_disconnect = "drain"` the upstream is read to its end, and all its tokens are counted, as aborted, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_a_client_that_left_is_read_to_its_end() {
    for h2 in [false, true] {
        for (stream, committed, openai) in [
            (true, true, false),
            (true, false, false),
            (false, false, false),
            (true, true, true),
        ] {
            let what = format!("h2 {h2}, stream {stream}, committed {committed}, openai {openai}");
            let mut setup = Setup::default();
            setup.sim.time_scale = 1.0;
            setup.toml = "[streams]\non_disconnect = \"drain\"".to_owned();
            let world = World::with(setup).await;
            if !stream {
                let mut slow = Fault::new("*", FaultKind::Slow);
                slow.delay_ms = Some(1_000);
                world.handle().set_faults(vec![slow]).unwrap();
            }
            let shape = Shape {
                events: Some(60),
                event_bytes: Some(200),
                interval_ms: Some(20),
                ..Shape::default()
            };
            let mut client = reqwest::Client::builder().no_proxy();
            if h2 {
                client = client.http2_prior_knowledge();
            }
            let client = client.build().unwrap();
            let path = if openai {
                "/v1/chat/completions"
            } else {
                "/v1/messages"
            };
            let mut body = shaped(stream, &shape);
            if openai {
                let order = body["metadata"]["sim"].to_string();
                body = serde_json::json!({"model": body["model"], "stream": true,
                    "messages": [{"role": "user", "content": format!("[[sim {order}]]")}]});
            }
            let request = client
                .post(world.url(path))
                .header("x-api-key", &world.key)
                .body(body.to_string());
            if committed {
                let mut response = request.send().await.unwrap();
                assert_eq!(response.status(), 200, "{what}");
                assert!(response.chunk().await.unwrap().is_some(), "{what}");
                drop(response);
            } else {
                let waiting = tokio::spawn(request.send());
                let sent = async || !world.handle().messages().is_empty();
                eventually(&what, Duration::from_secs(5), sent).await;
                waiting.abort();
            }
            eventually(&what, Duration::from_secs(20), async || {
                world
                    .app
                    .usage
                    .totals()
                    .await
                    .unwrap()
                    .total
                    .counters
                    .requests
                    >= 1
            })
            .await;
            let counted = world.app.usage.totals().await.unwrap().total.counters;
            let told = (counted.requests, counted.aborted, counted.errors);
            assert_eq!(told, (1, 1, 0), "{what}");
            let totals = world.handle().totals();
            assert_eq!(totals.client_gone, 0, "{what}: the upstream was left");
            let sent = world.handle().messages().pop().unwrap().progress;
            assert!(sent.finished, "{what}: read to its end");
            assert_eq!(counted.output_tokens, totals.tokens.output, "{what}");
            assert!(counted.output_tokens > 100, "{what}");
            drop(client);
            all_is_given_back(&world).await;
            world.stop().await;
        }
    }
}
