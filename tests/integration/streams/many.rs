//! Many streams at once.

use std::time::Duration;

use luna::simulate::{Shape, filler};

use super::{all_is_given_back, shaped};
use crate::support::world::{Answer, Setup, World};
use crate::support::{eventually, scale};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_at_once_are_all_intact() {
    let count = scale(50, 500);
    if let Some(warning) = luna::app::raise_file_limit(4 * count as u64 + 100) {
        panic!("{warning}");
    }
    let mut setup = Setup::default();
    setup.sim.time_scale = 1.0;
    let world = World::with(setup).await;
    let h2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let one = async |n: usize| {
        let bytes = 100 + u32::try_from(n).unwrap();
        let shape = Shape {
            events: Some(40),
            event_bytes: Some(bytes),
            interval_ms: Some(25),
            ..Shape::default()
        };
        let client = if n.is_multiple_of(3) {
            &h2
        } else {
            &world.client
        };
        let request = client
            .post(world.url("/v1/messages"))
            .header("x-api-key", &world.key)
            .body(shaped(true, &shape).to_string());
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
        assert_eq!(answer.broken, None, "{n}");
        assert!(
            answer.content() == filler(0, 40 * bytes as usize),
            "{n}: a wrong text"
        );
        let events = answer.events();
        assert_eq!(events.len(), 45, "{n}");
        assert_eq!(events.last().unwrap(), "message_stop", "{n}");
        assert_eq!(answer.header("x-luna-fallback"), "", "{n}");
    };
    futures_util::future::join_all((0..count).map(one)).await;
    let made = count as u64;
    eventually("all are counted", Duration::from_secs(5), async || {
        world
            .app
            .usage
            .totals()
            .await
            .unwrap()
            .total
            .counters
            .requests
            == made
    })
    .await;
    let counted = world.app.usage.totals().await.unwrap().total.counters;
    let sent = world.handle().totals();
    assert_eq!(
        (counted.errors, counted.aborted, counted.fallbacks),
        (0, 0, 0)
    );
    assert_eq!(counted.output_tokens, sent.tokens.output);
    all_is_given_back(&world).await;
    world.stop().await;
}
