//! Who the client is: its address behind trusted proxies, and the format that it speaks.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use crate::admin::client_address;
use crate::wire::error::ClientFormat;

/// The client's address behind trusted proxies; the peer's own where a proxy does not say for whom it speaks.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    client_address(peer, headers, trusted).unwrap_or_else(|| peer.to_canonical())
}

/// The format that errors on `path` are written in.
pub(super) fn format_of(path: &str, headers: &HeaderMap) -> ClientFormat {
    let openai = matches!(
        path,
        "/v1/chat/completions" | "/chat/completions" | "/v1/responses" | "/responses"
    );
    let models = path == "/v1/models" || path == "/models" || path.starts_with("/v1/models/");
    if openai || (models && !headers.contains_key("anthropic-version")) {
        ClientFormat::OpenAi
    } else {
        ClientFormat::Anthropic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn forwarded_for_counts_only_from_trusted_peers() {
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let headers = forwarded("6.6.6.6, 1.2.3.4, 127.0.0.1");
        assert_eq!(address(peer, &headers, &[]), peer);
        let trusted = ["127.0.0.0/8".parse().unwrap()];
        assert_eq!(address(peer, &headers, &trusted).to_string(), "1.2.3.4");
        let garbage = forwarded("6.6.6.6, garbage");
        assert_eq!(address(peer, &garbage, &trusted), peer);
    }

    #[test]
    fn a_mapped_address_is_its_v4_self() {
        let peer: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(
            address(peer, &HeaderMap::new(), &[]).to_string(),
            "10.0.0.1"
        );
    }
}
