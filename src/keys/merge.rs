//! Bringing together what is in memory and what somebody wrote into keys.json.
//!
//! The file decides on keys: which there are, and every field that a person may edit. Memory
//! decides on totals, on times of last use and on the watermark that belongs to them, as the
//! file's are only as new as the last compaction.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::file::{AdminPart, Doc};
use super::record::{KeyRecord, Totals};

/// Keys that are named one by one in a line of the log.
const NAMED: usize = 5;

/// A key by what may be shown of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    pub id: String,
    pub name: String,
}

impl From<&KeyRecord> for KeyRef {
    fn from(record: &KeyRecord) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
        }
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.name, self.id)
    }
}

/// What a foreign change of keys.json did. Never a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadReport {
    pub added: Vec<KeyRef>,
    pub removed: Vec<KeyRef>,
    pub changed: Vec<KeyRef>,
    /// The admin key is another than before.
    pub admin_changed: bool,
}

impl ReloadReport {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("keys: no change");
        }
        f.write_str("keys:")?;
        let mut between = " ";
        for (what, keys) in [
            ("added", &self.added),
            ("removed", &self.removed),
            ("changed", &self.changed),
        ] {
            if keys.is_empty() {
                continue;
            }
            let named: Vec<String> = keys.iter().take(NAMED).map(KeyRef::to_string).collect();
            write!(f, "{between}{} {what}: {}", keys.len(), named.join(", "))?;
            if keys.len() > NAMED {
                f.write_str(", ...")?;
            }
            between = "; ";
        }
        if self.admin_changed {
            write!(f, "{between}admin key changed")?;
        }
        Ok(())
    }
}

/// `disk`, with the totals of `memory`.
pub(super) fn merge(memory: &Doc, mut disk: Doc) -> (Doc, ReloadReport) {
    let mut report = ReloadReport::default();
    let known: HashMap<&str, &Arc<KeyRecord>> =
        memory.keys.iter().map(|k| (k.id.as_str(), k)).collect();
    for slot in &mut disk.keys {
        let record = Arc::make_mut(slot);
        match known.get(record.id.as_str()) {
            Some(before) => {
                record.usage = before.usage;
                record.last_used_at = before.last_used_at;
                if *record == ***before {
                    *slot = Arc::clone(before);
                } else {
                    report.changed.push(KeyRef::from(&*record));
                }
            }
            None => {
                record.usage = Totals::default();
                record.last_used_at = None;
                report.added.push(KeyRef::from(&*record));
            }
        }
    }
    let left: HashSet<&str> = disk.keys.iter().map(|k| k.id.as_str()).collect();
    let removed = memory.keys.iter().filter(|k| !left.contains(k.id.as_str()));
    report.removed = removed.map(|k| KeyRef::from(&**k)).collect();

    // A file without an admin key would lock everybody out: the one in memory stays.
    let admin = if disk.admin.hash.is_some() {
        disk.admin
    } else {
        memory.admin.clone()
    };
    report.admin_changed = admin.hash != memory.admin.hash;
    let (usage, last_used_at) = (memory.admin.usage, memory.admin.last_used_at);
    let admin = AdminPart {
        usage,
        last_used_at,
        ..admin
    };
    let merged = Doc {
        admin,
        keys: disk.keys,
        through: memory.through.clone(),
        extra: disk.extra,
    };
    (merged, report)
}
