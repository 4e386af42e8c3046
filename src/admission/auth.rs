//! Key auth, shared by the client routes and the admin routes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use prometheus::IntCounterVec;

use super::refusal::Refusal;
use crate::keys::{Auth, KeyEntry, KeyStore};
use crate::wire::error::ErrorKind;

/// Wrong keys from one address within [`WINDOW_MS`] before its wrong keys get 429.
const MAX_FAILURES: u32 = 10;
/// One minute, in milliseconds.
const WINDOW_MS: u64 = 60_000;
/// Addresses remembered; a flood from more forgets the oldest window first.
const MAX_ADDRESSES: usize = 10_000;

/// Whose key a request carries.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A person's key.
    Client(Arc<KeyEntry>),
    /// The admin key.
    Admin(Arc<KeyEntry>),
}

impl Identity {
    /// The key that usage is counted on.
    pub fn key(&self) -> &Arc<KeyEntry> {
        match self {
            Self::Client(key) | Self::Admin(key) => key,
        }
    }
}

/// Decides on the key of a request.
pub struct Authenticator {
    keys: Arc<KeyStore>,
    failures: Mutex<HashMap<IpAddr, Window>>,
    counter: IntCounterVec,
}

struct Window {
    since: u64,
    failed: u32,
}

impl Authenticator {
    /// `counter` is `auth_failures_total{reason}`.
    pub fn new(keys: Arc<KeyStore>, counter: IntCounterVec) -> Self {
        Self {
            keys,
            failures: Mutex::new(HashMap::new()),
            counter,
        }
    }

    /// The identity behind the headers' key.
    ///
    /// # Errors
    /// 401 without a known key (one text for absent, malformed and unknown),
    /// 403 for a disabled or expired one, 429 after many wrong ones from `ip`.
    pub fn check(&self, headers: &HeaderMap, ip: IpAddr, now_ms: u64) -> Result<Identity, Refusal> {
        let secret = match secret_of(headers) {
            Presented::One(secret) => secret,
            Presented::None => return Err(self.refuse("missing", ip, now_ms, false)),
            Presented::Conflict => return Err(self.refuse("conflict", ip, now_ms, true)),
        };
        match self.keys.table().authenticate(secret, now_ms) {
            Auth::Client(key) => {
                key.touch(now_ms);
                Ok(Identity::Client(key))
            }
            Auth::Admin(key) => {
                key.touch(now_ms);
                Ok(Identity::Admin(key))
            }
            Auth::Disabled(_) => {
                self.counter.with_label_values(&["disabled"]).inc();
                Err(Refusal::new(
                    403,
                    ErrorKind::Permission,
                    "this API key is disabled; ask the operator of this gateway to enable it",
                ))
            }
            Auth::Expired(_) => {
                self.counter.with_label_values(&["expired"]).inc();
                Err(Refusal::new(
                    403,
                    ErrorKind::Permission,
                    "this API key has expired; ask the operator of this gateway for a new one",
                ))
            }
            Auth::Unknown => Err(self.refuse("unknown", ip, now_ms, true)),
        }
    }

    /// True when the headers carry a key that is valid now; counts nothing.
    pub fn is_valid(&self, headers: &HeaderMap, now_ms: u64) -> bool {
        match secret_of(headers) {
            Presented::One(secret) => matches!(
                self.keys.table().authenticate(secret, now_ms),
                Auth::Client(_) | Auth::Admin(_)
            ),
            _ => false,
        }
    }

    fn refuse(&self, reason: &'static str, ip: IpAddr, now_ms: u64, wrong_key: bool) -> Refusal {
        self.counter.with_label_values(&[reason]).inc();
        if wrong_key && let Some(wait_s) = self.note_failure(ip, now_ms) {
            let mut refusal = Refusal::new(
                429,
                ErrorKind::RateLimit,
                "too many wrong API keys from this address; wait a minute and check the key",
            );
            refusal.error.retry_after_s = Some(wait_s);
            refusal.limit = Some("auth_failures");
            return refusal;
        }
        Refusal::new(
            401,
            ErrorKind::Authentication,
            "invalid or missing API key; send it in x-api-key or as Authorization: Bearer",
        )
    }

    /// Seconds until the address may try again, when it has failed too often.
    fn note_failure(&self, ip: IpAddr, now_ms: u64) -> Option<u64> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_ADDRESSES && !failures.contains_key(&ip) {
            failures.retain(|_, w| now_ms.saturating_sub(w.since) < WINDOW_MS);
            if failures.len() >= MAX_ADDRESSES {
                let oldest = failures
                    .iter()
                    .min_by_key(|(_, w)| w.since)
                    .map(|(ip, _)| *ip);
                if let Some(oldest) = oldest {
                    failures.remove(&oldest);
                }
            }
        }
        let window = failures.entry(ip).or_insert(Window {
            since: now_ms,
            failed: 0,
        });
        if now_ms.saturating_sub(window.since) >= WINDOW_MS {
            *window = Window {
                since: now_ms,
                failed: 0,
            };
        }
        if window.failed >= MAX_FAILURES {
            let left = WINDOW_MS - now_ms.saturating_sub(window.since);
            return Some(left.div_ceil(1000).max(1));
        }
        window.failed += 1;
        None
    }
}

/// What the headers say about a key.
#[derive(Debug, PartialEq)]
enum Presented<'a> {
    None,
    One(&'a [u8]),
    /// Two `x-api-key` lines that differ: nobody knows which one another hop would take.
    Conflict,
}

/// `x-api-key` decides over Bearer; an empty header counts as absent.
fn secret_of(headers: &HeaderMap) -> Presented<'_> {
    let mut found: Option<&[u8]> = None;
    for value in headers.get_all("x-api-key") {
        let value = value.as_bytes().trim_ascii();
        if value.is_empty() {
            continue;
        }
        match found {
            Some(first) if first != value => return Presented::Conflict,
            _ => found = Some(value),
        }
    }
    if let Some(secret) = found {
        return Presented::One(secret);
    }
    let mut bearer: Option<&[u8]> = None;
    for value in headers.get_all(AUTHORIZATION) {
        let Some(token) = bearer_token(value.as_bytes()) else {
            continue;
        };
        match bearer {
            Some(first) if first != token => return Presented::Conflict,
            _ => bearer = Some(token),
        }
    }
    bearer.map_or(Presented::None, Presented::One)
}

fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, token) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || !token.first()?.is_ascii_whitespace() {
        return None;
    }
    let token = token.trim_ascii();
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn x_api_key_decides_and_empty_is_absent() {
        let both = headers(&[("authorization", "Bearer b"), ("x-api-key", "a")]);
        assert_eq!(secret_of(&both), Presented::One(b"a"));
        let empty = headers(&[("authorization", "bEaReR  b "), ("x-api-key", "  ")]);
        assert_eq!(secret_of(&empty), Presented::One(b"b"));
        assert_eq!(
            secret_of(&headers(&[("authorization", "Basic eDp5")])),
            Presented::None
        );
        assert_eq!(
            secret_of(&headers(&[("authorization", "Bearer")])),
            Presented::None
        );
        assert_eq!(
            secret_of(&headers(&[("authorization", "Bearerx y")])),
            Presented::None
        );
    }

    #[test]
    fn two_keys_that_differ_are_a_conflict_and_equal_ones_are_not() {
        let differ = headers(&[("x-api-key", "a"), ("x-api-key", "b")]);
        assert_eq!(secret_of(&differ), Presented::Conflict);
        let same = headers(&[("x-api-key", "a"), ("x-api-key", "a")]);
        assert_eq!(secret_of(&same), Presented::One(b"a"));
    }
}
