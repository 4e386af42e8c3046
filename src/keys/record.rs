//! What is kept of a key, and what is shown of it.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::digest::Digest;

/// Running totals of one key since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub requests: u64,
    pub errors: u64,
    pub fallbacks: u64,
    pub aborted: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_input_tokens: u64,
    pub cache_creation_input_tokens: u64,
}

/// An earlier secret of a rotated key, good until `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Previous {
    pub hash: Digest,
    /// Unix milliseconds.
    pub until: u64,
}

/// A key as it stands in keys.json. Times are unix milliseconds here, RFC 3339 in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyRecord {
    pub id: String,
    pub name: String,
    pub prefix: String,
    pub hash: Digest,
    pub previous: Vec<Previous>,
    pub enabled: bool,
    pub admin: bool,
    pub permissions: Vec<String>,
    pub models: Vec<String>,
    pub created_at: u64,
    pub expires_at: Option<u64>,
    pub last_used_at: Option<u64>,
    pub usage: Totals,
    /// Fields of a later version, kept as they are.
    pub extra: Map<String, Value>,
}

impl KeyRecord {
    /// Drops earlier secrets whose grace is over. True when there were any.
    pub(super) fn prune(&mut self, now: u64) -> bool {
        let before = self.previous.len();
        self.previous.retain(|p| p.until > now);
        self.previous.len() != before
    }

    /// Whether `hash` belongs to a secret that opens this key now.
    pub(super) fn answers_to(&self, hash: Digest, now: u64) -> bool {
        self.hash == hash
            || self
                .previous
                .iter()
                .any(|p| p.hash == hash && p.until > now)
    }
}

/// KEY of the admin API (gateway.md section 3): everything but the secret. Serializes to that
/// JSON, times as RFC 3339; `usage` holds the persisted totals, without `cost_usd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    pub id: String,
    pub name: String,
    pub prefix: String,
    pub enabled: bool,
    pub admin: bool,
    pub permissions: Vec<String>,
    pub models: Vec<String>,
    /// Always empty until limits are built.
    pub limits: Map<String, Value>,
    /// Unix milliseconds, like the other times.
    #[serde(serialize_with = "time")]
    pub created_at: u64,
    #[serde(serialize_with = "optional_time")]
    pub expires_at: Option<u64>,
    #[serde(serialize_with = "optional_time")]
    pub last_used_at: Option<u64>,
    pub usage: Totals,
}

impl From<&KeyRecord> for KeyInfo {
    fn from(record: &KeyRecord) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            prefix: record.prefix.clone(),
            enabled: record.enabled,
            admin: record.admin,
            permissions: record.permissions.clone(),
            models: record.models.clone(),
            limits: Map::new(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            last_used_at: record.last_used_at,
            usage: record.usage,
        }
    }
}

/// Latest time that is taken: the end of the year 9999, as far as RFC 3339 goes.
pub(super) const MAX_MILLIS: u64 = 253_402_207_200_000;

/// RFC 3339 in UTC. Times beyond [`MAX_MILLIS`] are shown as that.
pub(super) fn format_time(millis: u64) -> String {
    i64::try_from(millis.min(MAX_MILLIS))
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(String::new, |t| t.to_string())
}

/// RFC 3339 to unix milliseconds; `None` when it is not that, or before 1970.
pub(super) fn parse_time(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.trim().parse().ok()?;
    u64::try_from(time.as_millisecond())
        .ok()
        .filter(|ms| *ms <= MAX_MILLIS)
}

fn time<S: Serializer>(millis: &u64, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&format_time(*millis))
}

fn optional_time<S: Serializer>(millis: &Option<u64>, out: S) -> Result<S::Ok, S::Error> {
    match millis {
        Some(ms) => out.serialize_some(&format_time(*ms)),
        None => out.serialize_none(),
    }
}
