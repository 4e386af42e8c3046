//! The snapshot that requests ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ADMIN_ID;
use super::digest::{Digest, DigestMap, MAX_SECRET_BYTES, tag_of};
use super::file::Doc;
use super::record::{KeyInfo, KeyRecord};

/// The time of last use is kept to the second, so that a busy key's requests do not all write to
/// the same cache line.
const TOUCH_STEP_MS: u64 = 1000;

/// What a request holds of its key, from admission to its end, whatever happens to the key.
#[derive(Debug)]
pub struct KeyEntry {
    pub id: Arc<str>,
    pub name: Arc<str>,
    /// The same number for the same key, another for another.
    pub tag: u64,
    /// Names and `*` patterns; empty means every model.
    pub models: Vec<String>,
    pub permissions: Vec<String>,
    pub enabled: bool,
    pub admin: bool,
    /// Unix milliseconds.
    pub expires_at: Option<u64>,
    last_used: Arc<AtomicU64>,
}

impl KeyEntry {
    /// Notes that the key was used. Takes no lock; survives every change of the key.
    pub fn touch(&self, now_ms: u64) {
        if now_ms
            >= self
                .last_used
                .load(Ordering::Relaxed)
                .saturating_add(TOUCH_STEP_MS)
        {
            self.last_used.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    /// Unix milliseconds of the last use, to the second; `None` before the first.
    pub fn last_used(&self) -> Option<u64> {
        Some(self.last_used.load(Ordering::Relaxed)).filter(|ms| *ms > 0)
    }

    /// True when the key has this permission; the admin key has each.
    pub fn may(&self, permission: &str) -> bool {
        self.admin || self.permissions.iter().any(|p| p == permission)
    }

    fn new(record: &KeyRecord, last_used: Arc<AtomicU64>) -> Self {
        Self {
            id: record.id.as_str().into(),
            name: record.name.as_str().into(),
            tag: tag_of(&record.id),
            models: record.models.clone(),
            permissions: record.permissions.clone(),
            enabled: record.enabled,
            admin: record.admin,
            expires_at: record.expires_at,
            last_used,
        }
    }
}

/// Whose secret it is.
#[derive(Clone, Debug)]
pub enum Auth {
    Client(Arc<KeyEntry>),
    Admin(Arc<KeyEntry>),
    Disabled(Arc<KeyEntry>),
    Expired(Arc<KeyEntry>),
    Unknown,
}

#[derive(Debug)]
struct Door {
    entry: Arc<KeyEntry>,
    /// End of grace, for the earlier secret of a rotated key.
    until: Option<u64>,
}

#[derive(Debug)]
struct Row {
    record: Arc<KeyRecord>,
    entry: Arc<KeyEntry>,
}

/// All keys at one moment. Immutable but for the times of last use.
#[derive(Debug, Default)]
pub struct KeyTable {
    doors: DigestMap<Door>,
    rows: Vec<Row>,
    by_id: HashMap<Arc<str>, usize>,
    by_name: HashMap<Arc<str>, usize>,
    admin: Option<Arc<KeyEntry>>,
}

impl KeyTable {
    /// `admin` is the hash of the admin key that counts; `before` gives the times of last use.
    pub(super) fn new(doc: &Doc, admin: Option<Digest>, before: Option<&Self>) -> Self {
        let last_used = |id: &str, stored: Option<u64>| {
            let shared = match before {
                Some(table) if id == ADMIN_ID => table.admin.as_ref().map(|e| e.last_used.clone()),
                Some(table) => table.entry(id).map(|e| e.last_used.clone()),
                None => None,
            };
            let shared = shared.unwrap_or_default();
            shared.fetch_max(stored.unwrap_or(0), Ordering::Relaxed);
            shared
        };
        let mut table = Self::default();
        for record in &doc.keys {
            let entry = Arc::new(KeyEntry::new(
                record,
                last_used(&record.id, record.last_used_at),
            ));
            table.doors.insert(
                record.hash,
                Door {
                    entry: entry.clone(),
                    until: None,
                },
            );
            for previous in &record.previous {
                let door = Door {
                    entry: entry.clone(),
                    until: Some(previous.until),
                };
                table.doors.entry(previous.hash).or_insert(door);
            }
            let row = table.rows.len();
            table.by_id.insert(entry.id.clone(), row);
            table.by_name.insert(entry.name.clone(), row);
            table.rows.push(Row {
                record: record.clone(),
                entry,
            });
        }
        if let Some(hash) = admin {
            let entry = Arc::new(KeyEntry {
                id: ADMIN_ID.into(),
                name: ADMIN_ID.into(),
                tag: tag_of(ADMIN_ID),
                models: Vec::new(),
                permissions: Vec::new(),
                enabled: true,
                admin: true,
                expires_at: None,
                last_used: last_used(ADMIN_ID, doc.admin.last_used_at),
            });
            // Last, so that it wins over a client key that has the same secret.
            table.doors.insert(
                hash,
                Door {
                    entry: entry.clone(),
                    until: None,
                },
            );
            table.admin = Some(entry);
        }
        table
    }

    /// Finds out whose secret this is. One SHA-256 and one look-up, whatever the number of keys;
    /// nothing is compared with a secret.
    pub fn authenticate(&self, secret: &[u8], now_ms: u64) -> Auth {
        if secret.is_empty() || secret.len() > MAX_SECRET_BYTES {
            return Auth::Unknown;
        }
        let Some(door) = self.doors.get(&Digest::of(secret)) else {
            return Auth::Unknown;
        };
        if door.until.is_some_and(|until| now_ms >= until) {
            return Auth::Unknown;
        }
        let entry = door.entry.clone();
        if !entry.enabled {
            Auth::Disabled(entry)
        } else if entry.expires_at.is_some_and(|end| now_ms >= end) {
            Auth::Expired(entry)
        } else if entry.admin {
            Auth::Admin(entry)
        } else {
            Auth::Client(entry)
        }
    }

    /// The key with this id or this secret (also an earlier one in its grace), enabled or not.
    /// The admin key is not among them.
    pub fn resolve(&self, key: &str, now_ms: u64) -> Option<&Arc<KeyEntry>> {
        if let Some(entry) = self.entry(key) {
            return Some(entry);
        }
        if key.len() > MAX_SECRET_BYTES {
            return None;
        }
        let door = self.doors.get(&Digest::of(key.as_bytes()))?;
        let open = door.until.is_none_or(|until| now_ms < until);
        (open && &*door.entry.id != ADMIN_ID).then_some(&door.entry)
    }

    /// The key with this id.
    pub fn entry(&self, id: &str) -> Option<&Arc<KeyEntry>> {
        self.by_id
            .get(id)
            .and_then(|row| self.rows.get(*row))
            .map(|row| &row.entry)
    }

    /// The key with this name.
    pub fn entry_by_name(&self, name: &str) -> Option<&Arc<KeyEntry>> {
        self.by_name
            .get(name)
            .and_then(|row| self.rows.get(*row))
            .map(|row| &row.entry)
    }

    /// The entry of the admin key, under which its own LLM calls count.
    pub fn admin(&self) -> Option<&Arc<KeyEntry>> {
        self.admin.as_ref()
    }

    /// What the admin API shows of the key with this id.
    pub fn info(&self, id: &str) -> Option<KeyInfo> {
        self.by_id
            .get(id)
            .and_then(|row| self.rows.get(*row))
            .map(Row::info)
    }

    /// What the admin API shows of every key, in the order of the file.
    pub fn infos(&self) -> impl Iterator<Item = KeyInfo> + '_ {
        self.rows.iter().map(Row::info)
    }

    /// Every client key, in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<KeyEntry>> + '_ {
        self.rows.iter().map(|row| &row.entry)
    }

    /// How many client keys there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Row {
    fn info(&self) -> KeyInfo {
        KeyInfo {
            last_used_at: self.entry.last_used(),
            ..KeyInfo::from(&*self.record)
        }
    }
}
