//! A request as it came, whichever HTTP it came by.

use bytes::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
    Http2,
}

impl Version {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

#[derive(Debug)]
pub(super) enum Body {
    Whole(Bytes),
    /// Larger than the limit; the length if it was declared.
    TooLarge(Option<u64>),
    /// The client left before the body's end; what came.
    Broken(Bytes),
}

/// A request whose head and body have been read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query as sent.
    pub(super) target: String,
    pub(super) version: Version,
    /// Names in lower case, in the order sent.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    pub(super) connection: u64,
}

impl Request {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub(super) fn query_value(&self, name: &str) -> Option<String> {
        let mut pairs = self.query().split('&');
        pairs.find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decode(value))
        })
    }

    pub(super) fn is_json(&self) -> bool {
        is_json(&self.headers)
    }

    pub(super) fn bytes(&self) -> Bytes {
        match &self.body {
            Body::Whole(bytes) | Body::Broken(bytes) => bytes.clone(),
            Body::TooLarge(_) => Bytes::new(),
        }
    }
}

pub(super) fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut hits = headers.iter().filter(|(key, _)| key == name);
    hits.next().map(|(_, value)| value.as_str())
}

/// Only JSON bodies are read by the real server.
pub(super) fn is_json(headers: &[(String, String)]) -> bool {
    find(headers, "content-type").is_some_and(|value| {
        let mime = value.split(';').next().unwrap_or_default().trim();
        mime.eq_ignore_ascii_case("application/json")
    })
}

pub(super) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let code = match (first, tail) {
            (b'%', [high, low, ..]) => char::from(*high)
                .to_digit(16)
                .zip(char::from(*low).to_digit(16)),
            _ => None,
        };
        if let Some((high, low)) = code {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            rest = tail.get(2..).unwrap_or_default();
        } else {
            out.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
