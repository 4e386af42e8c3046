//! The content of keys.json as one value, and how it is written. Reading is in `parse`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::KeyError;
use super::digest::Digest;
use super::record::{KeyRecord, Totals, format_time};

pub(super) const VERSION: u64 = 1;
/// Far more than [`MAX_KEYS`] ordinary records need.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 20;
pub(super) const MAX_KEYS: usize = 100_000;
pub(super) const MAX_PREVIOUS: usize = 8;

/// The admin key as the file keeps it. `hash` is absent while the configuration names the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AdminPart {
    pub hash: Option<Digest>,
    pub prefix: String,
    pub created_at: Option<u64>,
    pub last_used_at: Option<u64>,
    pub usage: Totals,
    pub extra: Map<String, Value>,
}

/// The whole file. Records are shared with the snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Doc {
    pub admin: AdminPart,
    pub keys: Vec<Arc<KeyRecord>>,
    /// Watermark of the usage compaction, which alone knows its meaning.
    pub through: Option<Map<String, Value>>,
    /// Top-level fields of a later version, kept as they are.
    pub extra: Map<String, Value>,
}

impl Doc {
    pub(super) fn position(&self, id: &str) -> Option<usize> {
        self.keys.iter().position(|k| k.id == id)
    }

    pub(super) fn record_mut(&mut self, at: usize) -> Option<&mut KeyRecord> {
        self.keys.get_mut(at).map(Arc::make_mut)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, KeyError> {
        if self.keys.len() > MAX_KEYS {
            return Err(KeyError::Full {
                what: format!("there is room for {MAX_KEYS} keys; delete some first"),
            });
        }
        let out = FileOut {
            version: VERSION,
            admin: (self.admin != AdminPart::default()).then(|| AdminOut::from(&self.admin)),
            keys: self.keys.iter().map(|k| RecordOut::from(&**k)).collect(),
            through: self.through.as_ref(),
            extra: &self.extra,
        };
        let mut bytes = serde_json::to_vec_pretty(&out).map_err(|e| KeyError::Full {
            what: format!("the keys cannot be written as JSON: {e}"),
        })?;
        bytes.push(b'\n');
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(KeyError::Full {
                what: format!(
                    "the key file would exceed {MAX_FILE_BYTES} bytes; delete keys or shorten model lists"
                ),
            });
        }
        Ok(bytes)
    }
}

#[derive(Serialize)]
struct FileOut<'a> {
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<AdminOut<'a>>,
    keys: Vec<RecordOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<&'a Map<String, Value>>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct AdminOut<'a> {
    hash: Option<String>,
    prefix: &'a str,
    created_at: Option<String>,
    last_used_at: Option<String>,
    usage: Totals,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

impl<'a> From<&'a AdminPart> for AdminOut<'a> {
    fn from(admin: &'a AdminPart) -> Self {
        Self {
            hash: admin.hash.map(Digest::to_hex),
            prefix: &admin.prefix,
            created_at: admin.created_at.map(format_time),
            last_used_at: admin.last_used_at.map(format_time),
            usage: admin.usage,
            extra: &admin.extra,
        }
    }
}

#[derive(Serialize)]
struct PreviousOut {
    hash: String,
    until: String,
}

#[derive(Serialize)]
struct RecordOut<'a> {
    id: &'a str,
    name: &'a str,
    prefix: &'a str,
    hash: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    previous: Vec<PreviousOut>,
    enabled: bool,
    admin: bool,
    permissions: &'a [String],
    models: &'a [String],
    limits: Map<String, Value>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    usage: Totals,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

impl<'a> From<&'a KeyRecord> for RecordOut<'a> {
    fn from(record: &'a KeyRecord) -> Self {
        let previous = record.previous.iter().map(|p| PreviousOut {
            hash: p.hash.to_hex(),
            until: format_time(p.until),
        });
        Self {
            id: &record.id,
            name: &record.name,
            prefix: &record.prefix,
            hash: record.hash.to_hex(),
            previous: previous.collect(),
            enabled: record.enabled,
            admin: record.admin,
            permissions: &record.permissions,
            models: &record.models,
            limits: Map::new(),
            created_at: format_time(record.created_at),
            expires_at: record.expires_at.map(format_time),
            last_used_at: record.last_used_at.map(format_time),
            usage: record.usage,
            extra: &record.extra,
        }
    }
}
