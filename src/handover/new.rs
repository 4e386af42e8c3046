//! The side of the process that takes.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::socket_acceptconn;
use tokio::net::UnixListener;

use super::link::Link;
use super::{FORM, Hello, Offer, Role, Socket, Word, trusted};

/// The old process writes its files before it sends the sockets.
const OFFER_LIMIT: Duration = Duration::from_secs(30);

/// It has nothing to do before the last word.
const GO_LIMIT: Duration = Duration::from_secs(10);

/// Where the old process finds us. Dropped, the socket's file is removed.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        // Left behind it would only be taken for that of a process that ended.
        let _ = fs::remove_file(&self.path);
    }
}

/// What came.
#[derive(Debug)]
pub struct Received {
    /// The open lock file.
    pub lock: OwnedFd,
    pub sockets: Vec<Socket>,
    /// The process id of who sent it.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// To be answered.
    pub turn: Turn,
}

/// The answer that the old process waits for.
#[derive(Debug)]
pub struct Turn(Link);

impl Door {
    /// Waits at `path` from now on, mode 0600. The file of a process that has ended is replaced.
    ///
    /// # Errors
    /// When another successor waits there, or the file cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(e) if e.kind() == ErrorKind::AddrInUse => {
                if !fs::symlink_metadata(path)?.file_type().is_socket() {
                    return Err(io::Error::other("another file is there"));
                }
                if UnixStream::connect(path).is_ok() {
                    return Err(io::Error::other("another successor waits there"));
                }
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let door = Self {
            listener,
            path: path.to_owned(),
        };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(door)
    }

    /// Waits for the sockets. Who comes without any is sent away, and the waiting goes on.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn wait(&self) -> io::Result<Received> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?.uid();
            if !trusted(peer) {
                log::warn!("user {peer} came to the upgrade socket and was sent away");
                continue;
            }
            let stream = stream.into_std()?;
            let came = tokio::task::spawn_blocking(move || receive(stream));
            match came.await {
                Ok(Ok(received)) => return Ok(received),
                Ok(Err(e)) => log::warn!("no sockets came: {e}; waiting on"),
                Err(e) => log::error!("no sockets came: {e}; waiting on"),
            }
        }
    }
}

fn receive(stream: UnixStream) -> io::Result<Received> {
    let mut link = Link::new(stream)?;
    link.send(&Hello::ours(), &[])?;
    let line: serde_json::Value = link.receive(OFFER_LIMIT)?;
    if let Some(why) = line.get("why").and_then(serde_json::Value::as_str) {
        return Err(io::Error::other(format!("the old gateway goes on: {why}")));
    }
    let offer: Offer =
        serde_json::from_value(line).map_err(|e| io::Error::new(ErrorKind::InvalidData, e))?;
    if offer.hello.luna_upgrade != FORM {
        return Err(io::Error::other(
            "the old gateway hands over in another way",
        ));
    }
    let fds = link.take_fds();
    if fds.len() != offer.fds.len() {
        return Err(io::Error::other(format!(
            "{} descriptors were said and {} came",
            offer.fds.len(),
            fds.len()
        )));
    }
    let mut lock = None;
    let mut sockets = Vec::new();
    for (item, fd) in offer.fds.iter().zip(fds) {
        match (item.is, item.configured) {
            (Role::Lock, _) => lock = Some(fd),
            (Role::Other, _) | (_, None) => {}
            (role, Some(configured)) => {
                if !socket_acceptconn(&fd)? {
                    return Err(io::Error::other("a socket came that does not listen"));
                }
                let listener = TcpListener::from(fd);
                sockets.push(Socket {
                    role,
                    configured,
                    address: listener.local_addr()?,
                    listener,
                });
            }
        }
    }
    let lock = lock.ok_or_else(|| io::Error::other("the lock of the data folder did not come"))?;
    Ok(Received {
        lock,
        sockets,
        pid: offer.hello.pid,
        version: offer.hello.version,
        turn: Turn(link),
    })
}

impl Turn {
    /// Everything is there. Returns when this process is to serve, also because the old one is gone. Blocks.
    ///
    /// # Errors
    /// When the old process goes on instead.
    pub fn ready(mut self) -> Result<(), String> {
        let said = self.0.send(&Word::Ready, &[]);
        let word = said.and_then(|()| self.0.receive(GO_LIMIT));
        match word {
            Ok(Word::Go) => Ok(()),
            Ok(Word::Cancel { why }) => Err(format!("the old gateway goes on: {why}")),
            Ok(word) => Err(format!("the old gateway said {word:?}")),
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => {
                log::warn!("the old gateway has ended before the last word");
                Ok(())
            }
            Err(e) => Err(format!("no word came from the old gateway: {e}")),
        }
    }

    /// This process ends; the old one goes on.
    pub fn fail(mut self, why: &str) {
        let why = why.to_owned();
        // It may be gone, and then there is nobody to go on.
        let _ = self.0.send(&Word::Failed { why }, &[]);
    }
}
