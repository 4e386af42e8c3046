//! Where the upstreams are: names resolved ahead of time, addresses tried in turn.
//!
//! pingora resolves a host name while a request waits, and panics when it
//! cannot. So a background task looks each name up (at start, every
//! [`REFRESH`], and after a failed connection) and requests read the result.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderValue, Uri};
use pingora::protocols::ALPN;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::Notify;

use crate::config::{Http2, Profile, Settings, Upstream};

/// The route of the Messages API, below the upstream's prefix.
const MESSAGES: &str = "/v1/messages";
/// The route of the Chat Completions API; the prefix has its own `/v1`.
const CHAT_COMPLETIONS: &str = "/chat/completions";

/// How often every name is looked up again.
pub(super) const REFRESH: Duration = Duration::from_secs(30);

/// Floor of the write limit of a request body, and the rate that lengthens it.
const WRITE_FLOOR: Duration = Duration::from_secs(10);
const WRITE_BYTES_PER_S: u64 = 100_000;

/// Groups of connections that are not to be used again. From the top, away from other keys.
static ALONE: AtomicU64 = AtomicU64::new(1 << 63);

/// One upstream and what its name resolves to.
pub(super) struct Endpoint {
    pub(super) upstream: Arc<Upstream>,
    pub(super) name: Arc<str>,
    /// What its requests have as Host.
    pub(super) host: HeaderValue,
    /// Where requests go, without a query.
    target: Uri,
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// Index of the address that answered last.
    good: AtomicUsize,
    lookup: Arc<Notify>,
}

impl Endpoint {
    /// `wait`: look the name up at once, which blocks; else the background task does.
    fn new(name: &str, upstream: Arc<Upstream>, lookup: Arc<Notify>, wait: bool) -> Self {
        let fixed: Vec<SocketAddr> = upstream
            .url
            .host
            .parse()
            .map(|ip| vec![SocketAddr::new(ip, upstream.url.port)])
            .unwrap_or_default();
        let fixed = if fixed.is_empty() && wait {
            let url = &upstream.url;
            match (url.host.as_str(), url.port).to_socket_addrs() {
                Ok(found) => found.collect(),
                Err(e) => {
                    log::warn!("upstream {name}: cannot resolve {}: {e}", url.host);
                    fixed
                }
            }
        } else {
            fixed
        };
        let route = match upstream.profile {
            Profile::Antigravity | Profile::Anthropic => MESSAGES,
            Profile::Openai => CHAT_COMPLETIONS,
        };
        let target = format!("{}{route}", upstream.url.prefix);
        Self {
            // Both were looked at when the settings were read.
            host: HeaderValue::try_from(host_of(&upstream))
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            target: Uri::try_from(target).unwrap_or_else(|_| Uri::from_static(route)),
            upstream,
            name: name.into(),
            addresses: ArcSwap::from_pointee(fixed),
            good: AtomicUsize::new(0),
            lookup,
        }
    }

    /// The target of a request with the client's `query`, which begins with `?` or is empty.
    pub(super) fn target(&self, query: &str) -> Option<Uri> {
        if query.is_empty() {
            return Some(self.target.clone());
        }
        Uri::try_from(format!("{}{query}", self.target.path())).ok()
    }

    /// The `n`th address to try, the last good one first. None when all have been tried.
    pub(super) fn address(&self, n: usize) -> Option<SocketAddr> {
        let addresses = self.addresses.load();
        if n >= addresses.len() {
            return None;
        }
        addresses
            .get((self.good.load(Relaxed) + n) % addresses.len())
            .copied()
    }

    /// `address` took a connection.
    pub(super) fn note_good(&self, address: &SocketAddr) {
        let addresses = self.addresses.load();
        if let Some(index) = addresses.iter().position(|a| a == address)
            && self.good.load(Relaxed) != index
        {
            self.good.store(index, Relaxed);
        }
    }

    /// No address took a connection: the name may have moved.
    pub(super) fn note_unreachable(&self) {
        self.lookup.notify_one();
    }

    /// The peer for one attempt with a request body of `body` bytes.
    pub(super) fn peer(
        &self,
        address: SocketAddr,
        body: usize,
        left: Option<Duration>,
    ) -> HttpPeer {
        let upstream = &self.upstream;
        let mut peer = HttpPeer::new(address, upstream.url.tls, upstream.url.host.clone());
        let connect = left.map_or(upstream.limits.connect, |l| l.min(upstream.limits.connect));
        let extra = u64::try_from(body).unwrap_or(u64::MAX) / WRITE_BYTES_PER_S;
        peer.options.connection_timeout = Some(connect);
        peer.options.total_connection_timeout = Some(connect);
        peer.options.idle_timeout = Some(upstream.max_idle);
        if upstream.max_idle.is_zero() {
            // The pool would hand it out again at once; a group of its own keeps it for nobody.
            peer.group_key = ALONE.fetch_add(1, Relaxed);
        }
        peer.options.write_timeout = Some(WRITE_FLOOR + Duration::from_secs(extra));
        // First-event and idle limits are kept by the buffered session, which can tell them apart.
        peer.options.read_timeout = None;
        peer.options.alpn = match upstream.http2 {
            Http2::Always => ALPN::H2,
            Http2::Auto if upstream.url.tls => ALPN::H2H1,
            Http2::Auto | Http2::Never => ALPN::H1,
        };
        peer
    }

    async fn resolve(&self) {
        let url = &self.upstream.url;
        match tokio::net::lookup_host((url.host.as_str(), url.port)).await {
            Ok(found) => {
                let mut found: Vec<SocketAddr> = found.collect();
                found.sort_unstable();
                found.dedup();
                if !found.is_empty() && **self.addresses.load() != found {
                    log::info!("upstream {} is at {found:?}", self.name);
                    self.good.store(0, Relaxed);
                    self.addresses.store(Arc::new(found));
                }
            }
            Err(e) => log::warn!(
                "upstream {}: cannot resolve {}: {e}; the last known addresses stay in use",
                self.name,
                url.host
            ),
        }
    }
}

fn host_of(upstream: &Upstream) -> String {
    let url = &upstream.url;
    let host: Cow<'_, str> = if url.host.contains(':') {
        format!("[{}]", url.host).into()
    } else {
        url.host.as_str().into()
    };
    let default = if url.tls { 443 } else { 80 };
    if url.port == default {
        host.into_owned()
    } else {
        format!("{host}:{}", url.port)
    }
}

/// All upstreams by name; replaced whole when the settings change.
pub(super) struct Endpoints {
    current: ArcSwap<HashMap<Arc<str>, Arc<Endpoint>>>,
    lookup: Arc<Notify>,
}

impl Endpoints {
    pub(super) fn new(settings: &Settings) -> Self {
        let endpoints = Self {
            current: ArcSwap::from_pointee(HashMap::new()),
            lookup: Arc::new(Notify::new()),
        };
        endpoints.update(settings, false);
        endpoints
    }

    /// Takes over changed settings; an unchanged upstream keeps what is known of it. With `wait`
    /// (which blocks) a new name is resolved before requests see it.
    pub(super) fn update(&self, settings: &Settings, wait: bool) {
        let old = self.current.load();
        let new = settings
            .upstreams
            .iter()
            .map(|(name, upstream)| {
                let kept = old
                    .get(name.as_str())
                    .filter(|endpoint| *endpoint.upstream == **upstream)
                    .map(Arc::clone);
                let endpoint = kept.unwrap_or_else(|| {
                    Arc::new(Endpoint::new(
                        name,
                        Arc::clone(upstream),
                        Arc::clone(&self.lookup),
                        wait,
                    ))
                });
                (Arc::clone(&endpoint.name), endpoint)
            })
            .collect();
        self.current.store(Arc::new(new));
        self.lookup.notify_one();
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Endpoint>> {
        self.current.load().get(name).map(Arc::clone)
    }

    /// Looks every name up once.
    pub(super) async fn resolve_all(&self) {
        for endpoint in self.current.load_full().values() {
            endpoint.resolve().await;
        }
    }

    /// Looks names up until the runtime ends.
    pub(super) async fn keep_resolving(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(REFRESH) => {}
                () = self.lookup.notified() => {}
            }
            self.resolve_all().await;
            // A refused upstream asks for a look-up at every request; once a second is enough.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
