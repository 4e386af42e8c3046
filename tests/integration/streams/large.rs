//! Answers beyond what is held: more than 1 MiB, in either form.

use std::time::Duration;

use luna::simulate::{Shape, filler};

use super::shaped;
use crate::support::world::{Answer, World};
use crate::support::{eventually, filling};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_arrive_byte_for_byte() {
    let world = World::start().await;
    let h2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for bytes in [1_000_000, 1_048_576, 3_000_000] {
        for stream in [false, true] {
            for client in [&world.client, &h2] {
                let shape = Shape {
                    answer_bytes: Some(bytes),
                    event_bytes: Some(20_000),
                    ..Shape::default()
                };
                let request = client
                    .post(world.url("/v1/messages"))
                    .header("x-api-key", &world.key)
                    .body(shaped(stream, &shape).to_string());
                let answer = Answer::read(request.send().await.unwrap()).await;
                let what = format!("{bytes} bytes, streaming {stream}");
                assert_eq!(answer.status, 200, "{what}");
                assert_eq!(answer.broken, None, "{what}");
                let whole = usize::try_from(bytes).unwrap();
                assert!(answer.content() == filler(0, whole), "{what}: a wrong text");
                let sent = world.handle().messages().pop().unwrap().progress;
                assert!(sent.finished, "{what}");
                let sent = sent.bytes_out + filling(&answer.text()).len() as u64;
                assert_eq!(answer.body.len() as u64, sent, "{what}");
            }
        }
    }
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
            == 12
    })
    .await;
    let counted = world.app.usage.totals().await.unwrap().total.counters;
    let sent = world.handle().totals().tokens;
    assert_eq!(
        (counted.requests, counted.errors, counted.aborted),
        (12, 0, 0)
    );
    assert_eq!(
        counted.output_tokens, sent.output,
        "usage at the end of a large answer"
    );
    assert_eq!(counted.input_tokens, sent.input);
    drop(h2);
    world.stop().await;
}
