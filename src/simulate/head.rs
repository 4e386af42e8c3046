//! Parsing an HTTP/1 request head, as strictly as Node does: what a gateway must never send is
//! refused, not mended.

use super::request::Version;

/// Node's `--max-http-header-size`.
pub(super) const MAX_HEAD: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
}

#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) headers: Vec<(String, String)>,
    pub(super) length: Length,
    pub(super) keep_alive: bool,
    pub(super) expect_continue: bool,
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reads a head that ends before its empty line; none if it is malformed.
pub(super) fn parse(head: &[u8]) -> Option<RequestHead> {
    let text: String = head.iter().map(|&byte| char::from(byte)).collect();
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target, version) = (first.next()?, first.next()?, first.next()?);
    let version = match version {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ => return None,
    };
    let method_ok = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let target_ok = target.bytes().all(|byte| byte > 0x20 && byte != 0x7f) && !target.is_empty();
    if first.next().is_some() || !method_ok || !target_ok {
        return None;
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let value = value.trim_matches([' ', '\t']);
        if value
            .chars()
            .any(|c| (c < ' ' && c != '\t') || c == '\u{7f}')
        {
            return None;
        }
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = framing(&headers)?;
    let values = |name: &str| -> Vec<&str> {
        let named = headers.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str()).collect()
    };
    let hosts = values("host").len();
    if hosts > 1 || (hosts == 0 && version == Version::Http11) {
        return None;
    }
    let connection = values("connection").join(",").to_ascii_lowercase();
    let has = |word: &str| connection.split(',').any(|part| part.trim() == word);
    let keep_alive = match version {
        Version::Http10 => has("keep-alive"),
        _ => !has("close"),
    };
    let mut expect = values("expect").into_iter();
    let expect_continue = expect.any(|value| value.eq_ignore_ascii_case("100-continue"));
    Some(RequestHead {
        method: method.to_owned(),
        target: target.to_owned(),
        version,
        length,
        keep_alive,
        expect_continue: expect_continue && version == Version::Http11,
        headers,
    })
}

/// The body's length. Two lengths, or a length beside a transfer coding, are refused.
fn framing(headers: &[(String, String)]) -> Option<Length> {
    let mut length = None;
    let mut chunked = false;
    for (name, value) in headers {
        match name.as_str() {
            "content-length" => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                if length.is_some() || !digits {
                    return None;
                }
                length = Some(value.parse().ok()?);
            }
            "transfer-encoding" => {
                if chunked || !value.eq_ignore_ascii_case("chunked") {
                    return None;
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match (chunked, length) {
        (true, Some(_)) => None,
        (true, None) => Some(Length::Chunked),
        (false, length) => Some(Length::Known(length.unwrap_or(0))),
    }
}

/// The reason phrase, as Node has it.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        413 => "Payload Too Large",
        422 => "Unprocessable Entity",
        _ => http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("unknown"),
    }
}
