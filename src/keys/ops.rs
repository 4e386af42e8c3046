//! What can be done with keys, each in terms of [`KeyStore::change`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::digest::{Digest, MAX_SECRET_BYTES, Secret, random_id, shown_prefix};
use super::file::{Doc, MAX_PREVIOUS};
use super::input::{self, KeyPatch, NewKey};
use super::record::{KeyInfo, KeyRecord, Previous, Totals};
use super::{ADMIN_ID, KeyError, KeyStore};

impl KeyStore {
    /// Makes a key. The secret is known only to the caller from here on.
    pub fn create(&self, new: NewKey, now: u64) -> Result<(KeyInfo, Secret), KeyError> {
        let new = new.checked()?;
        let secret = Secret::generate()?;
        let id = random_id()?;
        self.change(now, |doc| {
            free_name(doc, &new.name, None)?;
            doc.keys.push(Arc::new(KeyRecord {
                id: id.clone(),
                name: new.name.clone(),
                prefix: shown_prefix(secret.reveal()),
                hash: secret.digest(),
                previous: Vec::new(),
                enabled: true,
                admin: false,
                permissions: new.permissions.clone(),
                models: new.models.clone(),
                created_at: now,
                expires_at: new.expires_at,
                last_used_at: None,
                usage: Totals::default(),
                extra: Map::new(),
            }));
            Ok(())
        })?;
        Ok((self.info(&id)?, secret))
    }

    /// The key with this id or secret.
    pub fn get(&self, key: &str, now: u64) -> Result<KeyInfo, KeyError> {
        let table = self.table();
        let entry = table.resolve(key, now).ok_or(KeyError::NotFound)?;
        table.info(&entry.id).ok_or(KeyError::NotFound)
    }

    /// The id of the key with this id or secret.
    pub fn resolve(&self, key: &str, now: u64) -> Result<Arc<str>, KeyError> {
        self.table()
            .resolve(key, now)
            .map(|e| e.id.clone())
            .ok_or(KeyError::NotFound)
    }

    /// Every key, in the order of the file.
    pub fn list(&self) -> Vec<KeyInfo> {
        self.table().infos().collect()
    }

    /// Changes what the patch names.
    pub fn patch(&self, key: &str, patch: KeyPatch, now: u64) -> Result<KeyInfo, KeyError> {
        let patch = patch.checked()?;
        self.edit(key, now, |record| {
            let patch = patch.clone();
            if let Some(name) = patch.name {
                record.name = name;
            }
            if let Some(models) = patch.models {
                record.models = models;
            }
            if let Some(permissions) = patch.permissions {
                record.permissions = permissions;
            }
            if let Some(expires_at) = patch.expires_at {
                record.expires_at = expires_at;
            }
            if let Some(enabled) = patch.enabled {
                record.enabled = enabled;
            }
            Ok(())
        })
    }

    /// Switches a key off: the next request with it is refused, those in flight go on.
    pub fn disable(&self, key: &str, now: u64) -> Result<KeyInfo, KeyError> {
        self.set_enabled(key, false, now)
    }

    /// Switches a key on again.
    pub fn enable(&self, key: &str, now: u64) -> Result<KeyInfo, KeyError> {
        self.set_enabled(key, true, now)
    }

    fn set_enabled(&self, key: &str, enabled: bool, now: u64) -> Result<KeyInfo, KeyError> {
        self.edit(key, now, |record| {
            record.enabled = enabled;
            Ok(())
        })
    }

    /// Gives a key a new secret. Its earlier secrets work for `grace` more, or as long as an
    /// earlier rotation said if that is shorter: after `grace` only the new one works.
    pub fn rotate(
        &self,
        key: &str,
        grace: Duration,
        now: u64,
    ) -> Result<(KeyInfo, Secret), KeyError> {
        let until = now.saturating_add(input::grace(grace)?);
        let secret = Secret::generate()?;
        let info = self.edit(key, now, |record| {
            let old = Previous { hash: record.hash, until };
            record.previous.push(old);
            for previous in &mut record.previous {
                previous.until = previous.until.min(until);
            }
            record.prune(now);
            if record.previous.len() > MAX_PREVIOUS {
                let what = format!("{MAX_PREVIOUS} earlier secrets of this key still work; rotate with grace_s 0 to end them");
                return Err(KeyError::invalid("grace_s", what));
            }
            record.hash = secret.digest();
            record.prefix = shown_prefix(secret.reveal());
            Ok(())
        })?;
        Ok((info, secret))
    }

    /// Removes a key for good, its totals with it. Answers what it was.
    pub fn delete(&self, key: &str, now: u64) -> Result<KeyInfo, KeyError> {
        self.change(now, |doc| {
            let at = find(doc, key, now)?;
            let record = doc.keys.remove(at);
            let last_used_at = self.table().entry(&record.id).and_then(|e| e.last_used());
            Ok(KeyInfo {
                last_used_at,
                ..KeyInfo::from(&*record)
            })
        })
    }

    /// Running totals by id, the admin key's under [`ADMIN_ID`]: what `usage` goes on from at the
    /// start.
    pub fn totals(&self) -> Vec<(String, Totals)> {
        let state = self.lock();
        let keys = state.doc.keys.iter().map(|k| (k.id.clone(), k.usage));
        keys.chain([(ADMIN_ID.to_owned(), state.doc.admin.usage)])
            .collect()
    }

    /// The watermark that was written with the totals.
    pub fn through(&self) -> Option<Map<String, Value>> {
        self.lock().doc.through.clone()
    }

    /// Persists running totals (absolute, not increments) and the times of last use. Ids that are
    /// not known (a deleted key) are passed over. Writes nothing when nothing has changed.
    pub fn set_totals<I, S>(&self, totals: I, now: u64) -> Result<(), KeyError>
    where
        I: IntoIterator<Item = (S, Totals)>,
        S: AsRef<str>,
    {
        self.persist_totals(totals, None, now)
    }

    /// The same, with the watermark up to which the totals count, in the same rename.
    pub fn set_totals_through<I, S>(
        &self,
        totals: I,
        through: Map<String, Value>,
        now: u64,
    ) -> Result<(), KeyError>
    where
        I: IntoIterator<Item = (S, Totals)>,
        S: AsRef<str>,
    {
        self.persist_totals(totals, Some(through), now)
    }

    fn persist_totals<I, S>(
        &self,
        totals: I,
        through: Option<Map<String, Value>>,
        now: u64,
    ) -> Result<(), KeyError>
    where
        I: IntoIterator<Item = (S, Totals)>,
        S: AsRef<str>,
    {
        let totals: HashMap<String, Totals> = totals
            .into_iter()
            .map(|(id, t)| (id.as_ref().to_owned(), t))
            .collect();
        self.change(now, |doc| {
            let table = self.table();
            for slot in &mut doc.keys {
                let usage = totals.get(&slot.id).copied().unwrap_or(slot.usage);
                let last_used_at = table
                    .entry(&slot.id)
                    .and_then(|e| e.last_used())
                    .max(slot.last_used_at);
                let over = slot.previous.iter().any(|p| p.until <= now);
                if over || usage != slot.usage || last_used_at != slot.last_used_at {
                    let record = Arc::make_mut(slot);
                    record.prune(now);
                    record.usage = usage;
                    record.last_used_at = last_used_at;
                }
            }
            if let Some(usage) = totals.get(ADMIN_ID) {
                doc.admin.usage = *usage;
            }
            doc.admin.last_used_at = table
                .admin()
                .and_then(|e| e.last_used())
                .max(doc.admin.last_used_at);
            if through.is_some() {
                doc.through.clone_from(&through);
            }
            Ok(())
        })
    }

    fn info(&self, id: &str) -> Result<KeyInfo, KeyError> {
        // Another change may have deleted it since.
        self.table().info(id).ok_or(KeyError::NotFound)
    }

    fn edit(
        &self,
        key: &str,
        now: u64,
        mut f: impl FnMut(&mut KeyRecord) -> Result<(), KeyError>,
    ) -> Result<KeyInfo, KeyError> {
        let id = self.change(now, |doc| {
            let at = find(doc, key, now)?;
            let record = doc.record_mut(at).ok_or(KeyError::NotFound)?;
            f(record)?;
            let (id, name) = (record.id.clone(), record.name.clone());
            free_name(doc, &name, Some(&id))?;
            Ok(id)
        })?;
        self.info(&id)
    }
}

/// Where the key with this id or secret is; nothing of what was asked for goes into the error.
fn find(doc: &Doc, key: &str, now: u64) -> Result<usize, KeyError> {
    if let Some(at) = doc.position(key) {
        return Ok(at);
    }
    if key.len() > MAX_SECRET_BYTES {
        return Err(KeyError::NotFound);
    }
    let hash = Digest::of(key.as_bytes());
    doc.keys
        .iter()
        .position(|k| k.answers_to(hash, now))
        .ok_or(KeyError::NotFound)
}

/// Refuses a name that the admin key or a key other than `own` has.
fn free_name(doc: &Doc, name: &str, own: Option<&str>) -> Result<(), KeyError> {
    let taken = name == ADMIN_ID
        || doc
            .keys
            .iter()
            .any(|k| k.name == name && Some(k.id.as_str()) != own);
    if taken {
        Err(KeyError::Conflict {
            name: name.to_owned(),
        })
    } else {
        Ok(())
    }
}
