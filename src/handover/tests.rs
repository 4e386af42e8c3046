#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn lock_file(folder: &Path) -> OwnedFd {
    std::fs::write(folder.join("lock"), "held").unwrap();
    std::fs::File::open(folder.join("lock")).unwrap().into()
}

fn socket(role: Role) -> Socket {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Socket {
        role,
        configured: "127.0.0.1:0".parse().unwrap(),
        address: listener.local_addr().unwrap(),
        listener,
    }
}

/// Finds who waits at the path, and gives.
async fn give(sock: &Path, lock: OwnedFd, sockets: Vec<Socket>) -> Result<Ready, String> {
    let waiting = find(sock).await.map_err(|e| e.to_string())?;
    let given = tokio::task::spawn_blocking(move || waiting.give(&lock, &sockets));
    given.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_and_lock_arrive_as_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let sock = dir.path().join("upgrade.sock");
    let door = Door::open(&sock).unwrap();
    let mode = std::fs::metadata(&sock).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let sockets = vec![socket(Role::Client), socket(Role::Metrics)];
    let addresses: Vec<_> = sockets.iter().map(|s| s.address).collect();
    // A connection that waits to be accepted.
    let mut early = std::net::TcpStream::connect(addresses[0]).unwrap();
    early.write_all(b"hello\n").unwrap();
    let lock = lock_file(dir.path());
    let old = tokio::spawn({
        let sock = sock.clone();
        async move { give(&sock, lock, sockets).await.unwrap().go() }
    });
    let received = tokio::time::timeout(LIMIT, door.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(received.pid, std::process::id());
    let turn = received.turn;
    tokio::task::spawn_blocking(move || turn.ready())
        .await
        .unwrap()
        .unwrap();
    old.await.unwrap().unwrap();
    let file = std::fs::File::from(received.lock);
    assert_eq!(file.metadata().unwrap().len(), 4);
    let got: Vec<_> = received
        .sockets
        .iter()
        .map(|s| (s.role, s.address))
        .collect();
    assert_eq!(
        got,
        [(Role::Client, addresses[0]), (Role::Metrics, addresses[1])]
    );
    // The old process has closed its own: what waited is still there.
    let listener = &received.sockets[0].listener;
    listener.set_nonblocking(false).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(accepted).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    drop(door);
    assert!(!sock.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_with_nothing_is_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let sock = dir.path().join("upgrade.sock");
    let door = Door::open(&sock).unwrap();
    let waiting = tokio::spawn(async move { door.wait().await.unwrap() });
    // Says nothing; says nonsense; is of another form; sends no descriptors; thinks better of it.
    drop(UnixStream::connect(&sock).unwrap());
    for line in [
        "nonsense\n",
        "{\"luna_upgrade\":9,\"version\":\"9\",\"pid\":1,\"fds\":[]}\n",
        "{\"luna_upgrade\":1,\"version\":\"0\",\"pid\":1,\"fds\":[{\"is\":\"lock\"}]}\n",
        "{\"luna_upgrade\":1,\"version\":\"0\",\"pid\":1,\"fds\":[]}\n",
    ] {
        let mut stream = UnixStream::connect(&sock).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut hello = String::new();
        reader.read_line(&mut hello).unwrap();
        assert!(hello.contains("\"luna_upgrade\":1"), "{hello}");
        hello.clear();
        // It has closed, and said nothing more. A reset says the same.
        assert_eq!(reader.read_line(&mut hello).unwrap_or(0), 0, "{hello}");
    }
    find(&sock).await.unwrap().cancel("the disk is full");
    assert!(!waiting.is_finished());
    let lock = lock_file(dir.path());
    let old = tokio::spawn(async move { give(&sock, lock, vec![socket(Role::Client)]).await });
    let received = tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
    received.turn.fail("no such port");
    let told = old.await.unwrap().unwrap_err();
    assert!(told.contains("no such port"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_goes_on_whoever_ends() {
    let dir = tempfile::tempdir().unwrap();
    let sock = dir.path().join("upgrade.sock");
    let door = Door::open(&sock).unwrap();
    for (go, cancelled) in [(true, false), (false, true)] {
        let lock = lock_file(dir.path());
        let sock = sock.clone();
        let old = tokio::spawn(async move {
            let ready = give(&sock, lock, vec![socket(Role::Client)]).await.unwrap();
            match go {
                true => ready.go().unwrap(),
                // Without a word it would look dead.
                false => drop(ready),
            }
        });
        let turn = door.wait().await.unwrap().turn;
        let word = tokio::task::spawn_blocking(move || turn.ready());
        assert_eq!(word.await.unwrap().is_err(), cancelled);
        old.await.unwrap();
    }
    // The new one ends before it is ready.
    let lock = lock_file(dir.path());
    let path = sock.clone();
    let old = tokio::spawn(async move { give(&path, lock, vec![socket(Role::Client)]).await });
    drop(door.wait().await.unwrap());
    assert_eq!(old.await.unwrap().unwrap_err(), "it ended");
    // The old one ends without a word: killed.
    let mut stream = UnixStream::connect(&sock).unwrap();
    let received = tokio::spawn(async move { door.wait().await.unwrap() });
    let lock = lock_file(dir.path());
    let mut link = link::Link::new(stream.try_clone().unwrap()).unwrap();
    let _: Hello = link.receive(LIMIT).unwrap();
    let offer = Offer {
        hello: Hello::ours(),
        fds: vec![Item {
            is: Role::Lock,
            configured: None,
        }],
    };
    link.send(&offer, &[lock.as_fd()]).unwrap();
    let turn = received.await.unwrap().turn;
    let word = tokio::task::spawn_blocking(move || turn.ready());
    let _: Word = link.receive(LIMIT).unwrap();
    stream.flush().unwrap();
    drop((link, stream));
    assert_eq!(word.await.unwrap(), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_where_nobody_waits_is_told_from_one_with_a_stranger() {
    let dir = tempfile::tempdir().unwrap();
    let sock = dir.path().join("upgrade.sock");
    assert_eq!(find(&sock).await.unwrap_err(), Absent::Nobody);
    // Left behind by one that was killed: nobody, and the next one takes its place.
    drop(UnixListener::bind(&sock).unwrap());
    assert_eq!(find(&sock).await.unwrap_err(), Absent::Nobody);
    let door = Door::open(&sock).unwrap();
    let second = Door::open(&sock).unwrap_err();
    assert!(second.to_string().contains("another successor"), "{second}");
    drop(door);
    // A later version.
    let listener = UnixListener::bind(&sock).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"{\"luna_upgrade\":2,\"version\":\"7.1\",\"pid\":5}\n")
            .unwrap();
        let mut rest = String::new();
        BufReader::new(stream).read_line(&mut rest).unwrap();
        rest
    });
    let told = find(&sock).await.unwrap_err().to_string();
    assert!(told.contains("7.1"), "{told}");
    assert_eq!(other.join().unwrap(), "");
    // A file that is none of ours stays.
    std::fs::remove_file(&sock).unwrap();
    std::fs::write(&sock, "mine").unwrap();
    assert!(Door::open(&sock).is_err());
    assert_eq!(std::fs::read_to_string(&sock).unwrap(), "mine");
}
