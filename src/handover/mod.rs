//! How one process gives its listening sockets and the lock of its data folder to the next.
//!
//! The successor waits at a Unix socket ([`Door`]); the old process comes to it ([`find`]). Each message is one JSON line;
//! the file descriptors travel with the offer (SCM_RIGHTS).
//!
//! ```text
//! new -> old   {"luna_upgrade":1,"version":"0.2.0","pid":42}
//! old -> new   {"luna_upgrade":1,"version":"0.1.0","pid":7,"fds":[{"is":"lock"},{"is":"client",...}]}  + descriptors
//! new -> old   {"word":"ready"}      or  {"word":"failed","why":"..."}
//! old -> new   {"word":"go"}         or  {"word":"cancel","why":"..."}
//! ```
//!
//! Invariants: until `go` the old process serves and can take everything back, and the new one has written nothing; from
//! `go` on the new one serves. Exactly one of them does, whoever dies when: a successor that hears neither word because the
//! old process is gone goes on as after `go`.
//!
//! Neighbours: `app` does what the words stand for; nothing here knows what a gateway is.

mod link;
mod new;
mod old;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

pub use new::{Door, Received, Turn};
pub use old::{Absent, Ready, Waiting, find};

/// The form of these messages. Another one is refused before anything is given up.
const FORM: u32 = 1;

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The open lock file of the data folder.
    Lock,
    /// `server.listen`
    Client,
    /// `admin.listen`
    Admin,
    /// `metrics.listen`
    Metrics,
    /// Of a later version; left alone.
    #[serde(other)]
    Other,
}

/// A listening socket and what it is for.
#[derive(Debug)]
pub struct Socket {
    /// What it was for in the process before.
    pub role: Role,
    /// The address in that one's configuration; its port may be 0.
    pub configured: SocketAddr,
    /// The address it listens on.
    pub address: SocketAddr,
    /// The socket; both processes have the same one.
    pub listener: TcpListener,
}

/// The successor's first words.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    luna_upgrade: u32,
    version: String,
    pid: u32,
}

impl Hello {
    fn ours() -> Self {
        Self {
            luna_upgrade: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        }
    }
}

/// What the descriptors are that come with it, in their order.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    #[serde(flatten)]
    hello: Hello,
    fds: Vec<Item>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    is: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    configured: Option<SocketAddr>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
enum Word {
    Ready,
    Failed { why: String },
    Go,
    Cancel { why: String },
}

/// Whether the one at the other end may have our sockets: it is us, or could be us anyway.
fn trusted(peer: u32) -> bool {
    let own = rustix::process::geteuid();
    own.is_root() || peer == own.as_raw() || peer == 0
}
