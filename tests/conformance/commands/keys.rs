//! `luna keys`, with a running gateway and without one.

use std::process::Command;
use std::time::Duration;

use super::{Gateway, luna};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_key() {
    let gateway = Gateway::start().await;
    let made = gateway.cli(&["keys", "create", "alice"]).await.expect(0);
    let secret = made
        .out
        .lines()
        .find_map(|line| line.strip_prefix("key    "))
        .unwrap()
        .to_owned();
    assert!(
        secret.starts_with("luna-") && secret.len() == 48,
        "{secret}"
    );
    assert!(
        made.out
            .contains(&format!("url    {}", gateway.luna.url(""))),
        "{}",
        made.out
    );
    // The line that it says to paste works.
    let curl = made
        .out
        .lines()
        .find(|line| line.starts_with("curl "))
        .unwrap()
        .to_owned();
    let pasted = Command::new("sh").args(["-c", &curl]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&pasted.stdout).contains("claude-sonnet-4-6"),
        "{curl}"
    );
    assert_eq!(gateway.status(&secret).await, 200);

    let again = gateway.cli(&["keys", "create", "alice"]).await.expect(1);
    assert!(
        again.err.contains("alice") && again.out.is_empty(),
        "{again:?}"
    );

    let list = gateway.cli(&["keys", "list"]).await.expect(0);
    assert!(
        list.out.contains("alice") && list.out.contains("enabled") && !list.out.contains(&secret),
        "{}",
        list.out
    );
    let list = gateway
        .cli(&["keys", "list", "--format", "json"])
        .await
        .expect(0)
        .json();
    let key = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "alice")
        .unwrap()
        .clone();
    let id = key["id"].as_str().unwrap();
    assert_eq!(key["usage"]["requests"], 1, "{key}");

    // By name, by id and by secret.
    for (by, verb, status) in [
        ("alice", "disable", 403),
        (id, "enable", 200),
        (secret.as_str(), "disable", 403),
        ("alice", "enable", 200),
    ] {
        let done = gateway.cli(&["keys", verb, by]).await.expect(0);
        assert!(
            done.out.contains("alice") && !done.out.contains(&secret),
            "{}",
            done.out
        );
        assert_eq!(gateway.status(&secret).await, status, "{verb} by {by}");
    }
    let shown = gateway.cli(&["keys", "show", "alice"]).await.expect(0);
    assert!(
        shown.out.contains(id) && !shown.out.contains(&secret),
        "{}",
        shown.out
    );

    let turned = gateway
        .cli(&["keys", "rotate", "alice", "--grace", "1h"])
        .await
        .expect(0);
    let second = turned
        .out
        .lines()
        .find_map(|line| line.strip_prefix("key    "))
        .unwrap()
        .to_owned();
    assert_ne!(second, secret);
    assert_eq!(
        (gateway.status(&secret).await, gateway.status(&second).await),
        (200, 200)
    );
    let turned = gateway
        .cli(&["keys", "rotate", "alice", "--format", "json"])
        .await
        .expect(0)
        .json();
    let third = turned["key"].as_str().unwrap();
    assert_eq!(gateway.status(third).await, 200);
    assert_eq!(gateway.status(&second).await, 401);

    gateway.cli(&["keys", "delete", "alice"]).await.expect(0);
    assert_eq!(gateway.status(third).await, 401);
    for arguments in [["keys", "show", "alice"], ["keys", "delete", third]] {
        let gone = gateway.cli(&arguments).await.expect(1);
        assert!(
            !gone.err.contains(third) && !gone.err.is_empty(),
            "{gone:?}"
        );
    }

    // Wrong usage, a wrong admin key, nobody there.
    gateway.cli(&["keys", "paint", "alice"]).await.expect(2);
    gateway
        .cli(&["keys", "rotate", "alice", "--grace", "soon"])
        .await
        .expect(2);
    let url = gateway.luna.url("");
    let wrong = [(
        "ADMIN_KEY",
        "luna-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    )];
    let refused = luna(
        gateway.folder.path(),
        &["keys", "list", "--url", &url],
        &wrong,
    )
    .await
    .expect(1);
    assert!(!refused.err.contains("luna-AAAA"), "{refused:?}");
    let none = luna(gateway.folder.path(), &["keys", "list", "--url", &url], &[])
        .await
        .expect(1);
    assert!(none.err.contains("ADMIN_KEY"), "{none:?}");
    let closed = [("ADMIN_KEY", gateway.admin.as_str())];
    luna(
        gateway.folder.path(),
        &["keys", "list", "--url", "http://127.0.0.1:1"],
        &closed,
    )
    .await
    .expect(1);

    // The file belongs to the gateway while it runs, and to whoever asks afterwards.
    let config = ["--offline", "--config", "luna.toml"];
    let offline = |verb: &[&str]| {
        verb.iter()
            .chain(&config)
            .map(|s| (*s).to_owned())
            .collect::<Vec<_>>()
    };
    let list = offline(&["keys", "list"]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    luna(gateway.folder.path(), &list, &[]).await.expect(1);
    gateway.cli(&["keys", "create", "bob"]).await.expect(0);
    let folder = gateway.folder.path().to_owned();
    let Gateway {
        luna: mut server,
        sim,
        folder: kept,
        ..
    } = gateway;
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(20)).success());
    let offline_list = luna(&folder, &list, &[]).await.expect(0);
    assert!(
        offline_list.out.contains("bob") && !offline_list.out.contains("alice"),
        "{offline_list:?}"
    );
    sim.stop().await;
    drop(kept);
}
