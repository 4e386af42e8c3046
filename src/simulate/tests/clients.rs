//! A client that is not ours, and many at once.

use std::sync::Arc;

use futures_util::StreamExt;

use super::super::{Generation, predict};
use super::{MODEL, body, config, start};

fn client() -> reqwest::Client {
    // A second test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn post(client: &reqwest::Client, url: &str, body: String) -> reqwest::Response {
    let request = client.post(format!("{url}/v1/messages"));
    let request = request
        .header("content-type", "application/json")
        .body(body);
    request.send().await.unwrap()
}

#[tokio::test]
async fn reqwest_reads_both_forms_on_one_connection() {
    let sim = start(Generation::V2_0).await;
    let client = client();
    for stream in [false, true, false, true] {
        let answer = post(&client, &sim.url(), body(MODEL, stream)).await;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        assert_eq!(text.contains("message_stop"), stream);
    }
    let entries = sim.handle().messages();
    assert!(
        entries
            .iter()
            .all(|entry| entry.connection == entries[0].connection)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_streams_at_once() {
    let sim = Arc::new(start(Generation::V2_7).await);
    let client = client();
    let sent = body(MODEL, true).replace(
        "\"stream\"",
        "\"metadata\":{\"sim\":{\"events\":20,\"event_bytes\":50,\"interval_ms\":5000}},\"stream\"",
    );
    let predicted = predict(&config(Generation::V2_7), sent.as_bytes()).unwrap();
    let asks = (0..500).map(|_| {
        let (client, url, sent) = (client.clone(), sim.url(), sent.clone());
        tokio::spawn(async move {
            let answer = post(&client, &url, sent).await;
            let mut stream = answer.bytes_stream();
            let mut bytes = 0;
            while let Some(part) = stream.next().await {
                bytes += part.unwrap().len();
            }
            bytes
        })
    });
    let mut bytes = 0;
    for ask in asks.collect::<Vec<_>>() {
        bytes += ask.await.unwrap();
    }
    let totals = sim.handle().totals();
    assert_eq!((totals.finished, totals.client_gone), (500, 0));
    assert_eq!(totals.events, 500 * predicted.events);
    assert_eq!(totals.bytes_out, bytes as u64);
    assert_eq!(totals.tokens.output, 500 * predicted.tokens.output);
}
