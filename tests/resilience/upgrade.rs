//! The hand-over of a running gateway to its successor, with the real binary.

use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::stop::{equals_the_ledger, rest, streaming};
use super::*;
use crate::support::{binary, scale};

#[path = "upgrade/failed.rs"]
mod failed;

/// A request by `client`; what is wrong with it, if so.
async fn one(client: &reqwest::Client, url: &str, key: &str, body: &Value) -> Result<(), String> {
    let began = Instant::now();
    let answer = ask_at(client, url, key, body)
        .await
        .map_err(|e| format!("not answered after {:?}: {e:?}", began.elapsed()))?;
    let answer = Answer::read(answer).await;
    let whole = match body["stream"] == true {
        true => answer.events().last().map(String::as_str) == Some("message_stop"),
        false => answer.content().starts_with("Hello from"),
    };
    if (answer.status, &answer.broken) == (200, &None) && whole {
        return Ok(());
    }
    let text = answer.text();
    let end = text.char_indices().rev().nth(300).map_or(0, |(at, _)| at);
    Err(format!(
        "status {}, broken {:?} after {:?}, ended with {}",
        answer.status,
        answer.broken,
        began.elapsed(),
        &text[end..]
    ))
}

/// Clients that go on while gateways come and go.
struct Crowd {
    stop: Arc<AtomicBool>,
    made: Arc<Mutex<Vec<Result<(), String>>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Crowd {
    /// `askers` ask every `pause`, half of them on a new connection each time; `streams` read long streams.
    fn start(site: &Site, askers: usize, pause: Duration, streams: usize, seconds: u64) -> Self {
        let mut crowd = Self {
            stop: Arc::default(),
            made: Arc::default(),
            tasks: Vec::new(),
        };
        for n in 0..askers {
            let client = match n.is_multiple_of(2) {
                true => client(),
                false => reqwest::Client::builder()
                    .no_proxy()
                    .pool_max_idle_per_host(0)
                    .build()
                    .unwrap(),
            };
            crowd.ask_on(site, client, ask(MODEL, n % 4 < 2), pause);
        }
        let mut slow = ask(MODEL, true);
        slow["metadata"] = json!({"sim": {"events": seconds * 2, "interval_ms": 25_000}});
        for _ in 0..streams {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            crowd.ask_on(site, client, slow.clone(), Duration::ZERO);
        }
        crowd
    }

    fn ask_on(&mut self, site: &Site, client: reqwest::Client, body: Value, pause: Duration) {
        let (stop, made) = (Arc::clone(&self.stop), Arc::clone(&self.made));
        let (url, key) = (site.luna.url("/v1/messages"), site.key.clone());
        self.tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let outcome = one(&client, &url, &key, &body).await;
                made.lock().unwrap().push(outcome);
                tokio::time::sleep(pause).await;
            }
        }));
    }

    fn made(&self) -> usize {
        self.made.lock().unwrap().len()
    }

    /// Waits until this many more requests have been made.
    async fn go_on(&self, more: usize) {
        let until = self.made() + more;
        eventually("requests are made", Duration::from_secs(60), || async {
            self.made() >= until
        })
        .await;
    }

    /// Lets every request end; how many there were. One that failed fails the test.
    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let made = self.made.lock().unwrap();
        let failed: Vec<&String> = made.iter().filter_map(|o| o.as_ref().err()).collect();
        assert!(
            failed.is_empty(),
            "{} of {} failed: {:#?}",
            failed.len(),
            made.len(),
            failed.iter().take(5).collect::<Vec<_>>()
        );
        made.len() as u64
    }
}

/// Starts a successor and has the running gateway hand over to it; returns the old one.
async fn upgrade(site: &mut Site) -> Luna {
    let folder = site.folder.path().to_owned();
    let old = site.luna.pid().to_string();
    let next = tokio::task::spawn_blocking(move || {
        let mut next = Luna::successor(&folder);
        let quit = Command::new("kill").args(["-QUIT", &old]).status().unwrap();
        assert!(quit.success());
        next.await_serving();
        next.wait_for_line("metrics on http://", PATIENCE);
        next.await_serving();
        next
    });
    let next = next.await.unwrap();
    assert_eq!(next.address, site.luna.address);
    assert_eq!(next.metrics, site.luna.metrics);
    // Its idle connections keep the old one from ending.
    site.client = client();
    let old = std::mem::replace(&mut site.luna, next);
    let told = || old.log().iter().any(|line| line.contains("handed over"));
    eventually("the old one has stopped accepting", PATIENCE, || async {
        told()
    })
    .await;
    old
}

async fn ended(mut luna: Luna, limit: Duration) -> Luna {
    tokio::task::spawn_blocking(move || {
        let status = luna.wait(limit);
        assert_eq!(status.code(), Some(0), "{:?}", luna.log().last());
        luna
    })
    .await
    .unwrap()
}

/// `luna check` finds the files sound.
fn sound(site: &Site) {
    let checked = Command::new(binary::path())
        .args(["check", "--config", "luna.toml"])
        .current_dir(site.folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
}

fn journals(site: &Site) -> Vec<String> {
    let names = std::fs::read_dir(site.folder.path().join("data/usage")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("journal-")).collect()
}

/// Ends the gateway and compares the files with what the upstream has sent.
async fn everything_is_counted(site: &mut Site, requests: u64) {
    site.luna.signal("TERM");
    let luna = &mut site.luna;
    assert_eq!(luna.wait(PATIENCE).code(), Some(0));
    equals_the_ledger(site, requests);
    assert_eq!(journals(site), Vec::<String>::new());
    sound(site);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_upgrades_under_load_lose_nothing() {
    let seconds = scale(3, 60) as u64;
    let mut site = Site::start("grace_s = 200").await;
    let pause = Duration::from_millis(scale(400, 100) as u64);
    let crowd = Crowd::start(&site, scale(8, 20), pause, scale(20, 500), seconds);
    crowd.go_on(20).await;
    let mut old = Vec::new();
    for round in 0..2 {
        site.luna.signal("HUP");
        old.push(upgrade(&mut site).await);
        crowd.go_on(scale(20, 2_000)).await;
        for hang_up in 0..scale(1, 5) {
            let to = if hang_up.is_multiple_of(2) {
                OTHER
            } else {
                MODEL
            };
            // Another chain, which the crowd's model does not use.
            site.write(
                "fallback.json",
                &json!({"chains": {MODEL: [MODEL], OTHER: [to]}}).to_string(),
            );
            site.reload("ok").await;
            crowd.go_on(10).await;
        }
        let fresh = client().get(site.luna.url("/ready")).send().await.unwrap();
        assert_eq!(fresh.status(), 200, "round {round}");
    }
    let requests = crowd.stop().await;
    for luna in old {
        ended(luna, Duration::from_secs(20)).await;
    }
    println!("{requests} requests through two upgrades");
    site.counted(requests).await;
    everything_is_counted(&mut site, requests).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_through_an_upgrade_is_whole_and_counted_by_the_successor() {
    let mut site = Site::start("").await;
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
    let (stream, seen) = streaming(&site, 3).await;
    // The stream has a connection of its own; this one waits for its next request.
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
    // Accepted, and silent until after the hand-over.
    let mut late = tokio::net::TcpStream::connect(&site.luna.address)
        .await
        .unwrap();
    let kept = site.client.clone();
    let old = upgrade(&mut site).await;
    // A connection of the old process that is used once more gets its answer, and ends with it.
    let url = site.luna.url("/v1/messages");
    let answer = ask_at(&kept, &url, &site.key, &ask(MODEL, false)).await;
    let answer = Answer::read(answer.unwrap()).await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        late.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut told = String::new();
        late.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        assert!(
            told.to_ascii_lowercase().contains("connection: close"),
            "{told}"
        );
    }
    let whole = rest(stream, seen).await.expect("the stream is not cut");
    assert!(whole.contains("message_stop"), "{whole}");
    drop(kept);
    ended(old, PATIENCE).await;
    site.counted(4).await;
    everything_is_counted(&mut site, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upgrade_leaves_keys_and_changes_to_the_successor() {
    let mut site = Site::start("").await;
    let (stream, seen) = streaming(&site, 60).await;
    // A connection that the old process keeps.
    let admin = client();
    let list = admin
        .get(site.luna.url("/admin/keys"))
        .header("x-api-key", &site.admin);
    assert_eq!(list.send().await.unwrap().status(), 200);
    let old = upgrade(&mut site).await;
    let make = admin
        .post(site.luna.url("/admin/keys"))
        .header("x-api-key", &site.admin)
        .body(json!({"name": "late"}).to_string());
    let answer = Answer::read(make.send().await.unwrap()).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, "6"),
        "{}",
        answer.text()
    );
    // The connection has ended with that; the next one is the successor's.
    let made = site
        .admin("POST", "/admin/keys", Some(json!({"name": "late"})))
        .await;
    assert!(made["key"].as_str().is_some());
    let third = Command::new(binary::path())
        .args(["serve", "--config", "luna.toml"])
        .current_dir(site.folder.path())
        .env_clear()
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&third.stderr).into_owned();
    assert_eq!(third.status.code(), Some(1), "{told}");
    assert!(told.contains(&site.luna.pid().to_string()), "{told}");
    // SIGTERM to both: the old one goes on with its stream, the second ends it.
    old.signal("TERM");
    let told = |luna: &Luna| {
        luna.log()
            .iter()
            .any(|line| line.contains("draining already"))
    };
    eventually("it is told", PATIENCE, || async { told(&old) }).await;
    old.signal("TERM");
    ended(old, PATIENCE).await;
    assert!(rest(stream, seen).await.is_err());
    // Its journal stays behind and is taken in.
    site.luna.signal("TERM");
    assert_eq!(site.luna.wait(PATIENCE).code(), Some(0));
    assert_eq!(journals(&site), Vec::<String>::new());
    sound(&site);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listener_that_is_new_is_bound_and_one_that_is_not_is_taken_over() {
    let mut site = Site::start("").await;
    let good = site.read("luna.toml");
    site.write(
        "luna.toml",
        &format!("[admin]\nlisten = \"127.0.0.1:0\"\n{good}"),
    );
    let old = upgrade(&mut site).await;
    ended(old, PATIENCE).await;
    let line = site.luna.wait_for_line("(admin on http://", PATIENCE);
    let (_, rest) = line.split_once("(admin on ").unwrap();
    let admin = rest.trim_end_matches(')').replace("/admin", "");
    assert_ne!(admin, site.luna.url(""));
    let keys = |url: String| {
        let request = client().get(url).header("x-api-key", &site.admin);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(keys(format!("{admin}/admin/keys")).await, 200);
    assert_eq!(keys(site.luna.url("/admin/keys")).await, 404);
    // And back: the admin listener is closed with the old process.
    site.write("luna.toml", &good);
    let old = upgrade(&mut site).await;
    ended(old, PATIENCE).await;
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
    let gone = admin.trim_start_matches("http://");
    assert!(tokio::net::TcpStream::connect(gone).await.is_err());
    everything_is_counted(&mut site, 1).await;
}
