//! Clients that leave, again and again: nothing of them stays in the process.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Clients at once.
const WAVE: usize = 50;

/// What the process holds: open files, and resident memory in pages.
fn held(site: &Site) -> (usize, u64) {
    let process = format!("/proc/{}", site.luna.pid());
    let files = std::fs::read_dir(format!("{process}/fd")).unwrap().count();
    let statm = std::fs::read_to_string(format!("{process}/statm")).unwrap();
    let pages = statm.split_ascii_whitespace().nth(1).unwrap().parse();
    (files, pages.unwrap())
}

/// Asks and leaves: before the answer's head, or after some bytes of its stream, over one of the two routes.
async fn leave(site: &Site, n: usize) {
    let path = ["/v1/messages", "/v1/chat/completions"][n % 2];
    // Longer than any client stays.
    let body = json!({"model": MODEL, "max_tokens": 100, "stream": !n.is_multiple_of(3),
        "messages": [{"role": "user", "content": "[[sim {\"events\":500,\"interval_ms\":40}]]"}]})
    .to_string();
    let mut client = TcpStream::connect(&site.luna.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: luna\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        site.key,
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    if n % 3 == 1 {
        let mut some = [0; 512];
        assert!(client.read(&mut some).await.unwrap() > 0);
    }
}

async fn wave(site: &Site, first: usize) {
    let all = (first..first + WAVE).map(|n| leave(site, n));
    futures_util::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborts_leave_nothing_behind() {
    let site = Site::start("").await;
    let waves = scale(8, 200);
    let mut seen = Vec::new();
    for n in 0..waves {
        wave(&site, n * WAVE).await;
        if n + 1 == waves / 2 || n + 1 == waves {
            settled(&site).await;
            seen.push(held(&site));
        }
    }
    let [(files, pages), (files_after, pages_after)] = seen[..] else {
        panic!("{seen:?}");
    };
    assert!(
        files_after <= files + 2,
        "open files grow: {files}, then {files_after}"
    );
    assert!(
        pages_after * 10 <= pages * 13,
        "memory grows: {pages} pages, then {pages_after}"
    );
    let requests = (waves * WAVE) as u64;
    let total = site.counted(requests).await;
    assert_eq!(total["aborted"], requests, "{total}");
    assert_eq!(total["errors"], 0, "{total}");
}

/// No request and no connection is left, but the one that asks.
async fn settled(site: &Site) {
    eventually("all have left", Duration::from_secs(20), || async {
        let metrics = site.metrics().await;
        let value = |name: &str| {
            metrics
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
        };
        value("luna_in_flight ") == Some(0.0)
            && value("luna_connections ").is_some_and(|n| n <= 2.0)
    })
    .await;
}
