//! Reading the client's request body: bounded in size, in time and in what all bodies hold together.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use tokio::time::{Instant, timeout_at};

use crate::admission::Refusal;
use crate::admission::door::too_large;
use crate::config::Settings;
use crate::wire::error::ErrorKind;
use crate::wire::scan::{Head, ModelField, ScanError, Scanner, join, json_string};

/// A body that keeps coming may take `client_body_timeout_s` and a second more
/// for each of these many bytes, so that size alone never times out.
const BYTES_PER_EXTRA_S: u64 = 32 * 1024;

/// What is read of an unwanted body, so that the client gets to read its answer: closing while it still sends would reset
/// the connection under it. The time is the bound that counts; nothing is kept of what is read.
const DRAIN_BYTES: usize = 256 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// What all request bodies hold at this moment, against `server.body_memory_bytes`.
#[derive(Default)]
pub(super) struct BodyMemory(AtomicUsize);

/// One body's part of it; dropping it frees it.
pub(super) struct Held {
    memory: Arc<BodyMemory>,
    bytes: usize,
}

impl BodyMemory {
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held {
            memory: Arc::clone(self),
            bytes: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Held {
    /// False when the limit is reached; the bytes are counted all the same, until this is dropped.
    pub(super) fn grow(&mut self, by: usize, limit: usize) -> bool {
        let before = self.memory.0.fetch_add(by, Ordering::Relaxed);
        self.bytes += by;
        before.saturating_add(by) <= limit
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body as it came, scanned on the way.
pub(super) struct Collected {
    pub(super) chunks: Vec<Bytes>,
    pub(super) bytes: usize,
    pub(super) head: Head,
}

/// Why no body came of it.
pub(super) enum NoBody {
    /// The client is told.
    Refused(Refusal),
    /// The client has gone.
    Gone,
}

/// Reads and scans the whole body.
pub(super) async fn collect(
    session: &mut ServerSession,
    settings: &Settings,
    held: &mut Held,
) -> Result<Collected, NoBody> {
    let limit = settings.server.max_body_bytes;
    let mut scanner = Scanner::new();
    let mut broken: Option<ScanError> = None;
    let mut chunks = Vec::new();
    let mut bytes = 0_usize;
    let start = Instant::now();
    loop {
        let extra = u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES_PER_EXTRA_S;
        let until = start + settings.server.client_body_timeout + Duration::from_secs(extra);
        let chunk = match timeout_at(until, session.read_request_body()).await {
            Err(_) => return Err(NoBody::Refused(too_slow(bytes, start))),
            // pingora has the same limit for each read, and may be the first to notice.
            Ok(Err(e)) if *e.etype() == pingora::ErrorType::ReadTimedout => {
                return Err(NoBody::Refused(too_slow(bytes, start)));
            }
            Ok(Err(e)) if *e.etype() == pingora::ErrorType::InvalidHTTPHeader => {
                let text = "the request body is not framed as its header says";
                return Err(NoBody::Refused(Refusal::invalid(None, text)));
            }
            Ok(Err(_)) => return Err(NoBody::Gone),
            Ok(Ok(None)) => break,
            Ok(Ok(Some(chunk))) => chunk,
        };
        if chunk.is_empty() {
            continue;
        }
        bytes += chunk.len();
        if bytes > limit {
            return Err(NoBody::Refused(too_large(limit)));
        }
        if !held.grow(chunk.len(), settings.server.body_memory_bytes) {
            return Err(NoBody::Refused(memory_full()));
        }
        if broken.is_none() {
            broken = scanner.feed(&chunk).err();
        }
        chunks.push(chunk);
    }
    let scanned = match broken {
        Some(e) => Err(e),
        None => scanner.finish(),
    };
    match scanned {
        Ok(head) => Ok(Collected {
            chunks,
            bytes,
            head,
        }),
        Err(e) => Err(NoBody::Refused(scan_refusal(&e))),
    }
}

/// 408, with what has come so far.
fn too_slow(bytes: usize, start: Instant) -> Refusal {
    let mut refusal = Refusal::new(
        408,
        ErrorKind::InvalidRequest,
        format!(
            "the request body came too slowly: {bytes} bytes in {} s (server.client_body_timeout_s)",
            start.elapsed().as_secs()
        ),
    );
    refusal.limit = Some("body_time");
    refusal
}

/// 503: `server.body_memory_bytes` is used up.
pub(super) fn memory_full() -> Refusal {
    Refusal::full_house(
        "body_memory",
        "the gateway holds too many request bodies at this moment; try again in a second",
    )
}

fn scan_refusal(e: &ScanError) -> Refusal {
    let param = match e {
        ScanError::Duplicate { field } | ScanError::Type { field, .. } => Some(*field),
        ScanError::Json { .. } => None,
    };
    Refusal::invalid(param, e.to_string())
}

/// Reads on after a refusal, within bounds, so that the connection is not reset
/// under the answer. False when the body is longer: then the connection must close.
pub(super) async fn drain(session: &mut ServerSession) -> bool {
    let read_on = async {
        let mut seen = 0;
        loop {
            match session.read_request_body().await {
                Ok(Some(chunk)) => {
                    seen += chunk.len();
                    if seen > DRAIN_BYTES {
                        return false;
                    }
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    };
    tokio::time::timeout(DRAIN_TIME, read_on)
        .await
        .unwrap_or(false)
}

/// The request body as the present tier gets it.
pub(super) struct TierBody {
    bytes: Bytes,
    /// The model's JSON string within `bytes`.
    range: Range<usize>,
    model: String,
}

impl TierBody {
    /// Stands in until the first tier is chosen and its body joined.
    pub(super) fn placeholder() -> Self {
        Self {
            bytes: Bytes::new(),
            range: 0..0,
            model: String::new(),
        }
    }

    /// Joins the chunks with the first tier's model in place: the one copy that a body costs.
    pub(super) fn join(chunks: Vec<Bytes>, field: &ModelField, model: &str) -> Self {
        let range = field.start..field.end;
        if field.name == model {
            return Self {
                bytes: join(chunks, None),
                range,
                model: model.to_owned(),
            };
        }
        let literal = json_string(model);
        let end = field.start + literal.len();
        Self {
            bytes: join(chunks, Some((range, literal.as_bytes()))),
            range: field.start..end,
            model: model.to_owned(),
        }
    }

    /// The body that names `model`; a copy only when it names another now.
    pub(super) fn for_model(&mut self, model: &str) -> Bytes {
        if self.model != model {
            let literal = json_string(model);
            let end = self.range.start + literal.len();
            let replace = (self.range.clone(), literal.as_bytes());
            self.bytes = join(vec![self.bytes.clone()], Some(replace));
            self.range = self.range.start..end;
            self.model = model.to_owned();
        }
        self.bytes.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tier_gets_its_own_model_and_every_other_byte_untouched() {
        let raw = br#"{"a":1e400,"model":"one","b":[1, 2 ]}"#;
        let mut scanner = Scanner::new();
        scanner.feed(raw).unwrap();
        let field = scanner.finish().unwrap().model.unwrap();
        let chunks = vec![
            Bytes::copy_from_slice(&raw[..9]),
            Bytes::copy_from_slice(&raw[9..]),
        ];
        let mut body = TierBody::join(chunks, &field, "a-much-longer-name");
        assert_eq!(
            body.for_model("a-much-longer-name"),
            &br#"{"a":1e400,"model":"a-much-longer-name","b":[1, 2 ]}"#[..]
        );
        assert_eq!(
            body.for_model("x"),
            &br#"{"a":1e400,"model":"x","b":[1, 2 ]}"#[..]
        );
        assert_eq!(body.for_model("one"), &raw[..]);
    }

    #[test]
    fn memory_is_given_back() {
        let memory = Arc::new(BodyMemory::default());
        let mut held = memory.hold();
        assert!(held.grow(10, 10));
        assert!(!held.grow(1, 10));
        drop(held);
        assert_eq!(memory.bytes(), 0);
    }
}
