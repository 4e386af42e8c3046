//! Successors that come to nothing, before the hand-over, in it and right after it.

use super::super::stop::on_disk;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_with_a_broken_configuration_takes_nothing() {
    let site = Site::start("").await;
    let good = site.read("luna.toml");
    site.write("luna.toml", &format!("{good}\n[nonsense]\nx = 1\n"));
    let mut next = Luna::spawn(site.folder.path(), &["--upgrade"], &[]);
    assert_eq!(next.wait(PATIENCE).code(), Some(1), "{:?}", next.log());
    assert!(!site.folder.path().join("data/upgrade.sock").exists());
    site.luna.signal("QUIT");
    site.logged("none waits", 1).await;
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_successor_that_cannot_serve_leaves_everything_to_the_old_one() {
    let mut site = Site::start("").await;
    let good = site.read("luna.toml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("[admin]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    site.write("luna.toml", &format!("{listen}{good}"));
    let crowd = Crowd::start(&site, 4, Duration::from_millis(20), 2, 1);
    let mut next = Luna::successor(site.folder.path());
    site.luna.signal("QUIT");
    assert_eq!(next.wait(PATIENCE).code(), Some(1), "{:?}", next.log());
    let told = site.logged("the upgrade failed", 1).await;
    assert!(told[0].contains("admin.listen"), "{told:?}");
    crowd.go_on(10).await;
    // It changes and counts as before.
    site.admin("POST", "/admin/keys", Some(json!({"name": "after"})))
        .await;
    site.write("luna.toml", &good);
    let old = upgrade(&mut site).await;
    crowd.go_on(10).await;
    let requests = crowd.stop().await;
    ended(old, PATIENCE).await;
    everything_is_counted(&mut site, requests).await;
}

/// What stands for an upstream that takes a connection and says nothing: a successor waits for its first poll then.
fn silent_upstream() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_successor_that_is_killed_while_it_takes_over_is_not_missed() {
    let mut site = Site::start("").await;
    let good = site.read("luna.toml");
    let (_silent, url) = silent_upstream();
    site.write("luna.toml", &good.replacen(&site.sim.url(), &url, 1));
    let crowd = Crowd::start(&site, 4, Duration::from_millis(20), 2, 1);
    for round in 0..2 {
        let folder = site.folder.path().to_owned();
        let mut next = tokio::task::spawn_blocking(move || Luna::successor(&folder))
            .await
            .unwrap();
        site.luna.signal("QUIT");
        next.wait_for_line("taking over", PATIENCE);
        // Changes are put off, and nothing else.
        let make = site
            .client
            .post(site.luna.url("/admin/keys"))
            .header("x-api-key", &site.admin)
            .body(json!({"name": "meanwhile"}).to_string());
        let answer = Answer::read(make.send().await.unwrap()).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "6"));
        let explained = site
            .admin("POST", "/admin/explain", Some(json!({"model": MODEL})))
            .await;
        assert_eq!(explained["resolved"], MODEL);
        crowd.go_on(4).await;
        next.signal("KILL");
        next.wait(PATIENCE);
        site.logged("the upgrade failed", round + 1).await;
        assert!(next.log().iter().all(|line| !line.contains("serves on")));
        let name = json!({"name": format!("after {round}")});
        site.admin("POST", "/admin/keys", Some(name)).await;
        crowd.go_on(4).await;
        let offline = Command::new(binary::path())
            .args(["keys", "list", "--offline", "--config", "luna.toml"])
            .current_dir(site.folder.path())
            .env_clear()
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&offline.stderr).into_owned();
        assert!(told.contains(&site.luna.pid().to_string()), "{told}");
    }
    site.write("luna.toml", &good);
    let requests = crowd.stop().await;
    everything_is_counted(&mut site, requests).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_successor_that_is_killed_while_it_waits_is_not_missed() {
    let mut site = Site::start("").await;
    let mut next = Luna::successor(site.folder.path());
    next.signal("KILL");
    next.wait(PATIENCE);
    // Its socket is still there.
    assert!(site.folder.path().join("data/upgrade.sock").exists());
    site.luna.signal("QUIT");
    site.logged("none waits", 1).await;
    assert_eq!(site.post(&ask(MODEL, true)).await.status, 200);
    // A second one while the first waits is refused, one after it is not.
    let waits = Luna::successor(site.folder.path());
    let mut second = Luna::spawn(site.folder.path(), &["--upgrade"], &[]);
    assert_eq!(second.wait(PATIENCE).code(), Some(1), "{:?}", second.log());
    waits.signal("TERM");
    ended(waits, PATIENCE).await;
    let old = upgrade(&mut site).await;
    ended(old, PATIENCE).await;
    assert_eq!(site.post(&ask(MODEL, false)).await.status, 200);
    everything_is_counted(&mut site, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_9_of_the_successor_right_after_the_hand_over_leaves_the_files_sound() {
    for round in 0..scale(2, 10) {
        let mut site = Site::start("").await;
        for stream in [true, false] {
            assert_eq!(site.post(&ask(MODEL, stream)).await.status, 200);
        }
        let (stream, seen) = streaming(&site, 2).await;
        let keep = site.read("luna.toml");
        let address = site.luna.address.clone();
        let old = upgrade(&mut site).await;
        site.luna.signal("KILL");
        site.luna.wait(PATIENCE);
        let whole = rest(stream, seen).await.expect("the stream is not cut");
        assert!(whole.contains("message_stop"), "{whole}");
        // The old one still has its journal to write, the next one reads on.
        site.write("luna.toml", &keep.replacen("127.0.0.1:0", &address, 1));
        site.luna = Luna::again(site.folder.path());
        assert_eq!(
            site.post(&ask(MODEL, true)).await.status,
            200,
            "round {round}"
        );
        ended(old, PATIENCE).await;
        site.counted(4).await;
        everything_is_counted(&mut site, 4).await;
        assert_eq!(on_disk(&site)[0]["errors"], 0);
    }
}
