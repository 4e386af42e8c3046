//! The client side's sockets: accept, count, tell HTTP/1.1 from h2c, feed pingora.
//!
//! Luna accepts connections itself instead of handing the port to pingora's
//! service: only so can it bound connections by number and address, know the
//! port that the system chose, close the listener the moment it drains, and
//! end as soon as the last stream has. Everything above the socket is pingora's.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora::apps::{HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream, UniqueID};
use pingora_proxy::HttpProxy;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Gateway;
use super::connection::Connection;
use super::socket::ClientSocket;

/// The first bytes of HTTP/2 with prior knowledge (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection gets that finds the house full. No body: nobody has been asked for a format yet.
const FULL_HOUSE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How long the accept loop rests after an error such as "too many open files".
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Open client connections, in total and by address.
#[derive(Default)]
pub(super) struct Connections {
    open: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
}

/// A place in the house; leaving frees it.
struct Place {
    house: Arc<Connections>,
    ip: Option<IpAddr>,
    gauge: prometheus::IntGauge,
}

impl Connections {
    /// Connections open now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        total: Option<usize>,
        per_ip: Option<usize>,
        gauge: &prometheus::IntGauge,
    ) -> Option<Place> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        gauge.inc();
        let mut place = Place {
            house: Arc::clone(self),
            ip: None,
            gauge: gauge.clone(),
        };
        if total.is_some_and(|limit| before >= limit) {
            return None;
        }
        if let Some(limit) = per_ip {
            let mut by_ip = self.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_ip.entry(ip).or_insert(0);
            if *count >= limit {
                return None;
            }
            *count += 1;
            place.ip = Some(ip);
        }
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.house.open.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
        if let Some(ip) = self.ip {
            let mut by_ip = self
                .house
                .by_ip
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = by_ip.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    by_ip.remove(&ip);
                }
            }
        }
    }
}

/// When to begin and when to end; each turns true once.
#[derive(Clone)]
pub(super) struct Signs {
    /// Connections are accepted from now on.
    pub(super) gate: watch::Receiver<bool>,
    /// None is accepted any more.
    pub(super) shutdown: watch::Receiver<bool>,
    /// Those that have not said anything yet are closed.
    pub(super) leaving: watch::Receiver<bool>,
}

/// Accepts until `shutdown` turns true, then closes the listener and returns.
/// Connections that are open go on by themselves.
pub(super) async fn accept_loop(
    listener: TcpListener,
    proxy: Arc<HttpProxy<Gateway>>,
    gateway: Gateway,
    house: Arc<Connections>,
    signs: Signs,
) {
    let Signs {
        mut gate,
        mut shutdown,
        leaving,
    } = signs;
    tokio::select! {
        opened = gate.wait_for(|open| *open) => {
            if opened.is_err() {
                return;
            }
        }
        _ = shutdown.wait_for(|stop| *stop) => return,
    }
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = shutdown.changed() => {
                if changed.is_err() || *shutdown.borrow() {
                    return;
                }
                continue;
            }
        };
        match accepted {
            Ok((tcp, peer)) => {
                let server = &gateway.settings().server;
                let gauge = &gateway.metrics.connections;
                let place = house.enter(
                    peer.ip(),
                    server.max_connections,
                    server.max_connections_per_ip,
                    gauge,
                );
                let Some(place) = place else {
                    gateway
                        .metrics
                        .limited
                        .with_label_values(&["connections"])
                        .inc();
                    tokio::spawn(turn_away(tcp));
                    continue;
                };
                let patience = Patience {
                    head: server.client_header_timeout,
                    idle: server.client_idle,
                };
                let proxy = Arc::clone(&proxy);
                let (shutdown, leaving) = (shutdown.clone(), leaving.clone());
                tokio::spawn(async move {
                    serve(tcp, peer, proxy, patience, shutdown, leaving).await;
                    drop(place);
                });
            }
            Err(e) => {
                log::error!("accepting a connection failed: {e}; trying again");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn turn_away(mut tcp: TcpStream) {
    let told = tokio::time::timeout(Duration::from_secs(1), async {
        tcp.write_all(FULL_HOUSE).await?;
        tcp.shutdown().await
    });
    if let Ok(Err(e)) = told.await {
        log::debug!("a connection over the limit left before it was told: {e}");
    }
}

async fn serve(
    tcp: TcpStream,
    peer: SocketAddr,
    proxy: Arc<HttpProxy<Gateway>>,
    patience: Patience,
    shutdown: watch::Receiver<bool>,
    mut leaving: watch::Receiver<bool>,
) {
    let first = tokio::select! {
        biased;
        first = tokio::time::timeout(patience.head, speaks_h2(&tcp)) => first,
        // Who has said nothing yet must not hold up the drain.
        _ = leaving.wait_for(|leave| *leave) => return,
    };
    let is_h2 = match first {
        Ok(Ok(is_h2)) => is_h2,
        // Gone, or silent for too long: nobody is there to be told.
        Ok(Err(_)) | Err(_) => return,
    };
    if let Err(e) = tcp.set_nodelay(true) {
        log::debug!("TCP_NODELAY: {e}");
    }
    let fd = tcp.as_raw_fd();
    let mut stream = L4Stream::from(tcp);
    let digest = SocketDigest::from_raw_fd(fd);
    if digest.peer_addr.set(Some(peer.into())).is_err() {
        log::debug!("the peer's address was known before");
    }
    stream.set_socket_digest(digest);
    debug_assert_eq!(stream.id(), fd);
    if is_h2 {
        let stream: Stream = Box::new(stream);
        let mut next = proxy.process_new(stream, &shutdown).await;
        while let Some(stream) = next {
            next = proxy.process_new(stream, &shutdown).await;
        }
        return;
    }
    let mut session = ServerSession::new_http1(Box::new(ClientSocket::new(stream)));
    session.set_keepalive(Some(patience.head.as_secs().max(1)));
    let connection = Arc::new(Connection::default());
    let serving = serve_http1(&connection, session, &proxy, patience, &shutdown);
    connection.scope(serving).await;
}

/// How long a connection waits for its client.
#[derive(Clone, Copy)]
struct Patience {
    /// For a whole request head.
    head: Duration,
    /// For the first byte of a further one.
    idle: Duration,
}

/// One request after the other, until the client or an answer ends the connection.
async fn serve_http1(
    connection: &Connection,
    mut session: ServerSession,
    proxy: &Arc<HttpProxy<Gateway>>,
    patience: Patience,
    shutdown: &watch::Receiver<bool>,
) {
    let mut limit = patience.head;
    loop {
        let result = tokio::select! {
            biased;
            result = proxy.process_new_http(session, shutdown) => result,
            // Whoever sends its head byte by byte is not told: there is no request yet to answer.
            () = connection.head_overdue(limit) => return,
        };
        let reused = match result {
            None => connection.go_on().await,
            reused => reused,
        };
        let Some((stream, settings)) = reused.map(ReusedHttpStream::consume) else {
            return;
        };
        session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
        limit = patience.idle + patience.head;
    }
}

/// Looks at the first bytes without taking them. HTTP/1.1 is decided at the
/// first byte that differs from the preface, so that the shortest request is
/// not held back.
async fn speaks_h2(tcp: &TcpStream) -> std::io::Result<bool> {
    let mut seen = [0_u8; 24];
    let mut last = 0;
    loop {
        let n = tcp.peek(&mut seen).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let same = seen.iter().zip(H2_PREFACE).take(n).all(|(a, b)| a == b);
        if !same {
            return Ok(false);
        }
        if n == H2_PREFACE.len() {
            return Ok(true);
        }
        if n == last {
            // A part of the preface is there and peek returns at once: wait a little for more.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        last = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_freed_once_and_limits_hold() {
        let house = Arc::new(Connections::default());
        let gauge = prometheus::IntGauge::new("g", "h").unwrap();
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        let other: IpAddr = "10.0.0.2".parse().unwrap();
        let first = house.enter(ip, Some(2), Some(1), &gauge).unwrap();
        assert!(house.enter(ip, Some(2), Some(1), &gauge).is_none());
        let second = house.enter(other, Some(2), Some(1), &gauge).unwrap();
        assert!(house.enter(other, Some(2), None, &gauge).is_none());
        drop(first);
        assert!(house.enter(ip, Some(2), Some(1), &gauge).is_some());
        drop(second);
        assert_eq!(house.open(), 0);
        assert_eq!(gauge.get(), 0);
        assert!(house.by_ip.lock().unwrap().is_empty());
    }
}
