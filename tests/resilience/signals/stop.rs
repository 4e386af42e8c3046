//! SIGTERM, SIGINT, SIGQUIT.

use tokio::net::TcpStream;

use super::*;

/// A stream of about so many seconds, as far as its first delta.
pub(super) async fn streaming(site: &Site, seconds: u64) -> (reqwest::Response, String) {
    let mut body = ask(MODEL, true);
    body["metadata"] = json!({"sim": {"events": seconds * 10, "interval_ms": 5_000}});
    let mut stream = site.ask(&body).await.unwrap();
    assert_eq!(stream.status(), 200);
    let mut seen = String::new();
    while !seen.contains("content_block_delta") {
        seen.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    (stream, seen)
}

/// The rest of a stream; an error when it broke off.
pub(super) async fn rest(
    mut stream: reqwest::Response,
    mut seen: String,
) -> Result<String, String> {
    while let Some(chunk) = stream.chunk().await.map_err(|e| e.to_string())? {
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    Ok(seen)
}

async fn refused(site: &Site) -> bool {
    TcpStream::connect(&site.luna.address).await.is_err()
}

/// What keys.json and the day's file say about the one client key.
pub(super) fn on_disk(site: &Site) -> [Value; 2] {
    let keys: Value = serde_json::from_str(&site.read("data/keys.json")).unwrap();
    let found = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "tester")
        .unwrap();
    let id = found["id"].as_str().unwrap();
    let mut day = json!({});
    for entry in std::fs::read_dir(site.folder.path().join("data/usage")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            let file: Value =
                serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            for counters in file["day"][id]
                .as_object()
                .into_iter()
                .flat_map(|models| models.values())
            {
                for (name, count) in counters.as_object().unwrap() {
                    day[name] =
                        json!(day[name].as_u64().unwrap_or(0) + count.as_u64().unwrap_or(0));
                }
            }
        }
    }
    [found["usage"].clone(), day]
}

/// Both files hold exactly what the upstream has sent.
pub(super) fn equals_the_ledger(site: &Site, requests: u64) {
    let sent = site.sim.handle().totals().models[MODEL].clone();
    assert_eq!(sent.requests, requests);
    for usage in on_disk(site) {
        assert_eq!(usage["requests"], requests, "{usage}");
        assert_eq!(usage["input_tokens"], sent.tokens.input, "{usage}");
        assert_eq!(usage["output_tokens"], sent.tokens.output, "{usage}");
        assert_eq!(
            usage["cache_read_input_tokens"], sent.tokens.cache_read,
            "{usage}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_a_stream_end_and_everything_is_written() {
    let mut site = Site::start("ready_delay_s = 0.7\ngrace_s = 30").await;
    for stream in [true, false, true] {
        assert_eq!(site.post(&ask(MODEL, stream)).await.status, 200);
    }
    let ready = site
        .client
        .get(site.luna.url("/ready"))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 200);
    let (stream, seen) = streaming(&site, 3).await;
    let reading = tokio::spawn(rest(stream, seen));
    let began = Instant::now();
    site.luna.signal("TERM");
    // The delay: not ready, and still serving.
    eventually("it is not ready", PATIENCE, || async {
        let fresh = client();
        match fresh.get(site.luna.url("/ready")).send().await {
            Ok(answer) => answer.status() == 503,
            Err(e) => panic!("the listener closed before /ready said 503: {e}"),
        }
    })
    .await;
    assert_eq!(site.post(&ask(MODEL, false)).await.status, 200);
    // Then nobody new comes in, and the stream goes on.
    eventually("the listener is closed", PATIENCE, || refused(&site)).await;
    assert!(
        began.elapsed() >= Duration::from_millis(700),
        "{:?}",
        began.elapsed()
    );
    assert!(
        !reading.is_finished(),
        "the stream ended before the listener closed"
    );
    let whole = reading
        .await
        .unwrap()
        .expect("the stream ends as it should");
    let names: Vec<String> = check::frames(&whole)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names.last().map(String::as_str),
        Some("message_stop"),
        "{names:?}"
    );
    let ended = Instant::now();
    let status = site.luna.wait(PATIENCE);
    assert!(
        ended.elapsed() < Duration::from_secs(3),
        "it ends as soon as the last stream has"
    );
    assert_eq!(status.code(), Some(0));
    equals_the_ledger(&site, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_waits_no_longer_than_its_grace() {
    let mut site = Site::start("grace_s = 1").await;
    let (stream, seen) = streaming(&site, 60).await;
    let began = Instant::now();
    site.luna.signal("TERM");
    let status = site.luna.wait(PATIENCE);
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0));
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(4),
        "{took:?}"
    );
    let cut = rest(stream, seen).await;
    assert!(cut.is_err(), "a cut stream looks whole: {cut:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_ends_at_once_with_usage_written() {
    let mut site = Site::start("grace_s = 30\nready_delay_s = 5").await;
    for stream in [true, false] {
        assert_eq!(site.post(&ask(MODEL, stream)).await.status, 200);
    }
    let before = site.sim.handle().totals().models[MODEL].clone();
    let (stream, seen) = streaming(&site, 60).await;
    let began = Instant::now();
    site.luna.signal("INT");
    let status = site.luna.wait(PATIENCE);
    assert_eq!(status.code(), Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let cut = rest(stream, seen).await;
    assert!(cut.is_err(), "a cut stream looks whole: {cut:?}");
    for usage in on_disk(&site) {
        let requests = usage["requests"].as_u64().unwrap();
        assert!((2..=3).contains(&requests), "{usage}");
        assert!(
            usage["output_tokens"].as_u64().unwrap() >= before.tokens.output,
            "{usage}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_drain_at_once() {
    for (second, code) in [("TERM", 0), ("INT", 130)] {
        let mut site = Site::start("grace_s = 60").await;
        assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
        let (_stream, _) = streaming(&site, 60).await;
        site.luna.signal("TERM");
        eventually("the listener is closed", PATIENCE, || refused(&site)).await;
        let began = Instant::now();
        site.luna.signal(second);
        let status = site.luna.wait(PATIENCE);
        assert_eq!(status.code(), Some(code), "{second}");
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        assert!(on_disk(&site)[0]["requests"].as_u64() >= Some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut site = Site::start("grace_s = 30\nclient_idle_s = 60").await;
    // One that has asked and is kept, one that never asked.
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
    let _silent = TcpStream::connect(&site.luna.address).await.unwrap();
    let began = Instant::now();
    site.luna.signal("TERM");
    assert_eq!(site.luna.wait(PATIENCE).code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigquit_without_a_successor_is_ignored_and_says_so() {
    let mut site = Site::start("").await;
    let load = Load::start(&site, 3);
    for _ in 0..3 {
        site.luna.signal("QUIT");
    }
    let line = site.luna.wait_for_line("SIGQUIT", PATIENCE);
    assert!(line.contains("ERROR"), "{line}");
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
    load.stop().await;
    site.luna.signal("TERM");
    assert_eq!(site.luna.wait(PATIENCE).code(), Some(0));
}
