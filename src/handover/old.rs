//! The side of the process that gives.

use std::fmt;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::link::Link;
use super::{FORM, Hello, Item, Offer, Role, Socket, Word, trusted};

/// A successor that waits says so within this time.
const HELLO_LIMIT: Duration = Duration::from_secs(5);

/// A successor that has the sockets has read its files within this time.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Why nobody takes over.
#[derive(Debug, PartialEq, Eq)]
pub enum Absent {
    /// No process is at the socket.
    Nobody,
    /// There is one, and it will not do.
    Unfit(String),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("no successor waits"),
            Self::Unfit(why) => write!(f, "the successor will not do: {why}"),
        }
    }
}

/// A successor that waits for the sockets.
#[derive(Debug)]
pub struct Waiting {
    call: Call,
    /// Its process id, as it says.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

/// A conversation that ends with a word, whatever ends it: a successor that hears nothing takes this process for dead.
#[derive(Debug)]
struct Call {
    link: Link,
    why: String,
    said: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.said {
            let why = std::mem::take(&mut self.why);
            // It may be gone.
            let _ = self.link.send(&Word::Cancel { why }, &[]);
        }
    }
}

/// Goes to the successor that waits at `sock`.
///
/// # Errors
/// When there is none that could take over.
pub async fn find(sock: &Path) -> Result<Waiting, Absent> {
    let unfit = |e: std::io::Error| Absent::Unfit(e.to_string());
    let stream = match tokio::net::UnixStream::connect(sock).await {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Err(Absent::Nobody);
        }
        Err(e) => return Err(unfit(e)),
    };
    let peer = stream.peer_cred().map_err(unfit)?.uid();
    if !trusted(peer) {
        return Err(Absent::Unfit(format!("it runs as user {peer}")));
    }
    let stream = stream.into_std().map_err(unfit)?;
    let greeted = tokio::task::spawn_blocking(move || -> std::io::Result<Waiting> {
        let mut link = Link::new(stream)?;
        let hello: Hello = link.receive(HELLO_LIMIT)?;
        if hello.luna_upgrade != FORM {
            let what = format!(
                "version {} hands over in another way: stop this gateway and start that one",
                hello.version
            );
            return Err(std::io::Error::other(what));
        }
        let call = Call {
            link,
            why: String::new(),
            said: false,
        };
        Ok(Waiting {
            call,
            pid: hello.pid,
            version: hello.version,
        })
    });
    match greeted.await {
        Ok(greeted) => greeted.map_err(unfit),
        Err(e) => Err(Absent::Unfit(e.to_string())),
    }
}

impl Waiting {
    /// Gives the lock and the sockets, and waits until the successor could serve. Blocks.
    ///
    /// # Errors
    /// When it came to nothing; the successor does not serve then.
    pub fn give(mut self, lock: &OwnedFd, sockets: &[Socket]) -> Result<Ready, String> {
        let lock_item = Item {
            is: Role::Lock,
            configured: None,
        };
        let items = sockets.iter().map(|socket| Item {
            is: socket.role,
            configured: Some(socket.configured),
        });
        let offer = Offer {
            hello: Hello::ours(),
            fds: std::iter::once(lock_item).chain(items).collect(),
        };
        let mut fds = vec![lock.as_fd()];
        fds.extend(sockets.iter().map(|socket| socket.listener.as_fd()));
        let call = &mut self.call;
        let sent = call.link.send(&offer, &fds);
        let answered = sent.and_then(|()| call.link.receive(READY_LIMIT));
        let why = match answered {
            Ok(Word::Ready) => return Ok(Ready(self.call)),
            Ok(Word::Failed { why }) => why,
            Ok(word) => format!("it said {word:?}"),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => "it ended".to_owned(),
            Err(e) if e.kind() == ErrorKind::TimedOut => {
                format!("it was not ready within {} s", READY_LIMIT.as_secs())
            }
            Err(e) => e.to_string(),
        };
        call.why.clone_from(&why);
        Err(why)
    }

    /// Goes on as before; the successor is told why and waits on.
    pub fn cancel(mut self, why: &str) {
        self.call.why = why.to_owned();
    }
}

/// A successor that only waits for the word. Dropped, it is told to end.
#[derive(Debug)]
pub struct Ready(Call);

impl Ready {
    /// The successor serves from now on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn go(mut self) -> Result<(), String> {
        self.0.said = true;
        self.0
            .link
            .send(&Word::Go, &[])
            .map_err(|e| format!("it ended: {e}"))
    }
}
