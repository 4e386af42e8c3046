//! What pingora's parser forgives in the head of an HTTP/1 request, and another parser on the way may
//! read otherwise. Such a request is refused, whatever it asks for: it is how one request is made into
//! two (RFC 9112 section 11.2). Conflicting lengths, folded lines and spaces before a colon are
//! refused by pingora itself.

use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use memchr::memchr_iter;

/// What is wrong with a head as it came in `raw`, parsed into `headers`.
pub(super) fn flaw(raw: &[u8], headers: &HeaderMap) -> Option<&'static str> {
    let bare = |end: usize| end.checked_sub(1).and_then(|at| raw.get(at)) != Some(&b'\r');
    if memchr_iter(b'\n', raw).any(bare) {
        return Some("a line of the request header does not end in CR LF");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    if codings.next().is_some()
        || !coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    {
        return Some("the only transfer-encoding that is taken is chunked");
    }
    // pingora has dropped the length from the parsed header.
    has_length(raw).then_some("a request has a content-length or a transfer-encoding, not both")
}

/// Whether a request target is one that names a route. pingora reads what it cannot parse as `/`.
pub(super) fn is_target(target: &[u8]) -> bool {
    let scheme = |scheme: &[u8]| {
        target
            .get(..scheme.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(scheme))
    };
    target.first() == Some(&b'/') || target == b"*" || scheme(b"http://") || scheme(b"https://")
}

fn has_length(raw: &[u8]) -> bool {
    let name = b"content-length";
    raw.split(|b| *b == b'\n').any(|line| {
        line.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line.get(name.len()) == Some(&b':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(codings: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
        }
        headers
    }

    #[test]
    fn targets_are_paths_or_urls() {
        for good in ["/", "/v1/messages?x", "*", "http://a/b", "HTTPS://a/b"] {
            assert!(is_target(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "v1/messages",
            "\\admin",
            "a:443",
            "?x",
            "ftp://a/b",
            "**",
            "http:/a",
        ] {
            assert!(!is_target(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn only_what_every_parser_reads_alike_passes() {
        let none = headers(&[]);
        assert_eq!(
            flaw(
                b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
                &none
            ),
            None
        );
        for raw in [
            &b"GET / HTTP/1.1\nhost: a\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nhost: a\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n\n",
            b"\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert!(flaw(raw, &none).is_some(), "{raw:?}");
        }
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(flaw(chunked, &headers(&["Chunked "])), None);
        assert!(flaw(chunked, &headers(&["gzip, chunked"])).is_some());
        assert!(flaw(chunked, &headers(&["chunked", "chunked"])).is_some());
        let both = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-LENGTH: 3\r\n\r\n";
        assert!(flaw(both, &headers(&["chunked"])).is_some());
        let near = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nx-content-length: 3\r\n\r\n";
        assert_eq!(flaw(near, &headers(&["chunked"])), None);
    }
}
