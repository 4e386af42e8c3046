//! Who is at the other end, and how far that is to be believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{ConnectInfo, Request};
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// Entries of `X-Forwarded-For` that are looked at, from the right.
const MAX_HOPS: usize = 32;
/// Headers by which a proxy says that it passes on somebody else's request.
const FORWARDING: [&str; 3] = ["x-forwarded-for", "forwarded", "x-real-ip"];

/// Who calls. `gateway` puts it into a request's extensions; on a listener of its own the router
/// makes it from axum's `ConnectInfo<SocketAddr>`.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client, behind trusted proxies.
    pub address: IpAddr,
    /// The other end of the socket.
    pub direct: IpAddr,
    /// The request carries a forwarding header, whatever it says.
    pub forwarded: bool,
    /// Ours, for the answer and the log.
    pub request_id: String,
}

impl Peer {
    /// The peer of a request that no gateway brought. Without a known socket it is nobody: neither
    /// loopback nor in any list.
    pub(super) fn of(request: &Request, trusted: &[IpNet]) -> Self {
        let socket = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let direct = socket.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |s| {
            s.0.ip().to_canonical()
        });
        let headers = request.headers();
        Self {
            address: client_address(direct, headers, trusted).unwrap_or(direct),
            direct,
            forwarded: FORWARDING.iter().any(|name| headers.contains_key(*name)),
            request_id: request_id(),
        }
    }

    /// The address that may be held against a list of allowed ones; None when it cannot be known.
    ///
    /// A proxy on this host that is not listed as trusted speaks for anybody: what it passes on
    /// does not come from loopback.
    pub(super) fn known_address(&self, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
        let direct = self.direct.to_canonical();
        if !self.forwarded {
            return Some(self.address.to_canonical());
        }
        if trusted.iter().any(|net| net.contains(&direct)) {
            return client_address(direct, headers, trusted);
        }
        (!direct.is_loopback()).then_some(direct)
    }
}

/// The address at the far side of all trusted proxies: the socket's own, or, when that is a trusted
/// proxy, the rightmost one in `X-Forwarded-For` that is not. None when a trusted proxy passes
/// something on without saying for whom.
#[must_use]
pub fn client_address(direct: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut last = direct.to_canonical();
    if !is_trusted(&last) {
        return Some(last);
    }
    let lines = headers.get_all("x-forwarded-for");
    let forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
    if lines.iter().next().is_none() {
        return (!forwarded).then_some(last);
    }
    let mut hops = 0;
    let lines: Vec<_> = lines.iter().collect();
    for line in lines.into_iter().rev() {
        for hop in line.to_str().ok()?.rsplit(',') {
            hops += 1;
            last = hop.trim().parse::<IpAddr>().ok()?.to_canonical();
            if !is_trusted(&last) {
                return Some(last);
            }
            if hops >= MAX_HOPS {
                return None;
            }
        }
    }
    Some(last)
}

/// The caller, as the stack has left it in a request.
pub(super) fn peer_of(extensions: &Extensions) -> Peer {
    extensions.get::<Peer>().cloned().unwrap_or_else(|| Peer {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        direct: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        forwarded: true,
        request_id: request_id(),
    })
}

/// `req_` and 32 hexadecimal digits, as the gateway's own.
fn request_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Not secret, only unique: within the process this will do.
        let count = u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
        bytes = (u128::from(std::process::id()) << 64 | count).to_be_bytes();
    }
    format!("req_{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use http::HeaderValue;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn known(
        direct: &str,
        lines: &[(&'static str, &'static str)],
        trusted: &[&str],
    ) -> Option<String> {
        let trusted: Vec<IpNet> = trusted.iter().map(|t| t.parse().unwrap()).collect();
        let headers = headers(lines);
        let peer = Peer {
            address: client_address(ip(direct), &headers, &trusted).unwrap_or(ip(direct)),
            direct: ip(direct),
            forwarded: !lines.is_empty(),
            request_id: String::new(),
        };
        peer.known_address(&headers, &trusted)
            .map(|a| a.to_string())
    }

    #[test]
    fn what_a_proxy_on_this_host_passes_on_is_not_loopback() {
        assert_eq!(known("127.0.0.1", &[], &[]).as_deref(), Some("127.0.0.1"));
        assert_eq!(
            known("::ffff:127.0.0.1", &[], &[]).as_deref(),
            Some("127.0.0.1")
        );
        for header in FORWARDING {
            assert_eq!(
                known("127.0.0.1", &[(header, "127.0.0.1")], &[]),
                None,
                "{header}"
            );
            assert_eq!(
                known("::1", &[(header, "::1")], &["127.0.0.0/8"]),
                None,
                "{header}"
            );
        }
        assert_eq!(
            known("9.9.9.9", &[("x-forwarded-for", "127.0.0.1")], &[]).as_deref(),
            Some("9.9.9.9")
        );
    }

    #[test]
    fn a_trusted_proxy_is_believed_only_where_it_speaks() {
        let trusted = &["127.0.0.0/8"];
        let xff = |v| known("127.0.0.1", &[("x-forwarded-for", v)], trusted);
        assert_eq!(xff("1.2.3.4").as_deref(), Some("1.2.3.4"));
        assert_eq!(xff("127.0.0.1, 1.2.3.4").as_deref(), Some("1.2.3.4"));
        assert_eq!(
            xff("unknown, 1.2.3.4, 127.0.0.9").as_deref(),
            Some("1.2.3.4")
        );
        assert_eq!(xff("127.0.0.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(xff("unknown"), None);
        assert_eq!(xff(""), None);
        assert_eq!(xff("unknown, 127.0.0.1"), None);
        let other = [("x-real-ip", "127.0.0.1")];
        assert_eq!(known("127.0.0.1", &other, trusted), None);
        let two = [
            ("x-forwarded-for", "8.8.8.8"),
            ("x-forwarded-for", "127.0.0.5"),
        ];
        assert_eq!(
            known("127.0.0.1", &two, trusted).as_deref(),
            Some("8.8.8.8")
        );
    }

    #[test]
    fn an_endless_list_of_hops_ends() {
        let mut map = HeaderMap::new();
        let long = vec!["127.0.0.1"; 5000].join(",");
        map.insert("x-forwarded-for", HeaderValue::from_str(&long).unwrap());
        assert_eq!(
            client_address(ip("127.0.0.1"), &map, &["127.0.0.0/8".parse().unwrap()]),
            None
        );
    }

    #[test]
    fn a_request_from_nowhere_is_nobody() {
        let peer = Peer::of(&Request::default(), &[]);
        assert!(!peer.direct.is_loopback());
        assert!(peer.request_id.len() == 36 && peer.request_id.starts_with("req_"));
    }
}
