//! Reading keys.json.
//!
//! A record is read field by field instead of by derive, so that an error names the record, the
//! field and its line, and so that what a later version wrote is kept.

mod fields;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::digest::{Digest, derived_id};
use fields::{Fields, Source};

use super::file::{AdminPart, Doc, MAX_FILE_BYTES, MAX_KEYS, VERSION};
use super::import::{OldFile, dry_run};
use super::input;
use super::record::KeyRecord;
use super::{ADMIN_ID, KeyError};
use crate::store::read_file;

const MAX_ID_CHARS: usize = 64;
const MAX_PREFIX_CHARS: usize = 16;

/// What a keys.json turned out to be.
pub(super) enum Parsed {
    Luna(Box<Doc>),
    Old(OldFile),
}

/// What [`check_file`] found.
#[derive(Debug)]
pub struct Checked {
    /// Client keys in the file.
    pub keys: usize,
    /// True when it is a file of the Python proxy, which the next start would take over.
    pub old_form: bool,
    pub warnings: Vec<String>,
}

/// Reads keys.json without using or changing it, for `luna check`. `None`: there is no file yet.
pub fn check_file(path: &Path, now: u64) -> Result<Option<Checked>, KeyError> {
    let bytes = match read_file(path, MAX_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    Ok(Some(match parse(path, &bytes, now)? {
        Parsed::Luna(doc) => Checked {
            keys: doc.keys.len(),
            old_form: false,
            warnings: Vec::new(),
        },
        Parsed::Old(old) => {
            let report = dry_run(old, path, now)?;
            Checked {
                keys: report.added.len(),
                old_form: true,
                warnings: report.warnings,
            }
        }
    }))
}

/// Understands `bytes`, or says in which line they cannot be understood. `now` stands in for a
/// missing time of creation.
pub(super) fn parse(path: &Path, bytes: &[u8], now: u64) -> Result<Parsed, KeyError> {
    let source = Source { path, text: "" };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes
            .iter()
            .take(e.valid_up_to())
            .filter(|b| **b == b'\n')
            .count();
        source.damaged(Some(line), "is not UTF-8; restore it from a backup")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source { path, text };
    if text.trim().is_empty() {
        return Err(source.damaged(
            None,
            "is empty; restore it from a backup, or delete it to begin without keys",
        ));
    }
    let top: Top<'_> = match serde_json::from_str(text) {
        Ok(top) => top,
        Err(e) if e.is_data() => return old_form(&source),
        Err(e) => return Err(source.bad_json(&e)),
    };
    let Some(list) = top.0.get("keys").filter(|k| k.get().starts_with('[')) else {
        return old_form(&source);
    };
    if !top.0.contains_key("version") {
        if list.get().contains("\"hash\"") {
            return Err(source.damaged(
                Some(1),
                format!("\"version\": {VERSION} is missing; put it back"),
            ));
        }
        return old_form(&source);
    }
    // The Python proxy may have numbered its versions too; its records hold secrets, not hashes.
    let luna = list.get().contains("\"hash\"")
        || ["admin", "through"].iter().any(|f| top.0.contains_key(*f));
    if !luna
        && let Ok(Some(old)) = OldFile::parse(text)
        && !old.keys.is_empty()
    {
        return Ok(Parsed::Old(old));
    }
    Ok(Parsed::Luna(Box::new(read_doc(&source, &top, now)?)))
}

/// Top-level members, unread.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Top<'a>(#[serde(borrow)] BTreeMap<String, &'a RawValue>);

fn old_form(source: &Source<'_>) -> Result<Parsed, KeyError> {
    match OldFile::parse(source.text) {
        Ok(Some(old)) => Ok(Parsed::Old(old)),
        Ok(None) => Err(source.damaged(
            None,
            "holds neither keys of Luna (an object with \"version\" and a list \"keys\") nor those of the Python proxy; is it the right file?",
        )),
        Err(e) => Err(source.bad_json(&e)),
    }
}

fn read_doc(source: &Source<'_>, top: &Top<'_>, now: u64) -> Result<Doc, KeyError> {
    let mut doc = Doc::default();
    let mut records: Vec<&RawValue> = Vec::new();
    for (field, raw) in &top.0 {
        let line = || Some(source.line_of(raw.get()));
        match field.as_str() {
            "version" => match serde_json::from_str::<u64>(raw.get()) {
                Ok(VERSION) => {}
                Ok(newer) if newer > VERSION => {
                    let what = format!(
                        "was written by a newer luna (version {newer}, this one reads {VERSION}); run that luna, or restore the file from before the upgrade"
                    );
                    return Err(source.damaged(line(), what));
                }
                _ => return Err(source.damaged(line(), format!("\"version\" must be {VERSION}"))),
            },
            "keys" => {
                records = serde_json::from_str(raw.get()).map_err(|e| source.bad_json(&e))?;
            }
            "admin" => doc.admin = read_admin(Fields::new(source, raw, "admin".to_owned())?)?,
            "through" => {
                let through = serde_json::from_str(raw.get());
                doc.through = Some(
                    through.map_err(|_| source.damaged(line(), "\"through\" must be an object"))?,
                );
            }
            _ => {
                let value = serde_json::from_str(raw.get());
                doc.extra.insert(
                    field.clone(),
                    value.map_err(|_| source.damaged(line(), "cannot be read"))?,
                );
            }
        }
    }
    if records.len() > MAX_KEYS {
        return Err(source.damaged(None, format!("holds more than {MAX_KEYS} keys")));
    }
    let mut seen = Seen::default();
    for (number, raw) in records.into_iter().enumerate() {
        let fields = Fields::new(source, raw, format!("key number {}", number + 1))?;
        let record = read_record(fields, now)?;
        seen.add(&record)
            .map_err(|what| source.damaged(Some(source.line_of(raw.get())), what))?;
        doc.keys.push(Arc::new(record));
    }
    Ok(doc)
}

/// Ids, names and hashes so far: each may come once.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    names: HashSet<String>,
    hashes: HashSet<Digest>,
}

impl Seen {
    fn add(&mut self, record: &KeyRecord) -> Result<(), String> {
        if record.id == ADMIN_ID || record.name == ADMIN_ID {
            return Err(format!(
                "{ADMIN_ID:?} is the admin key's own id and name; choose another"
            ));
        }
        if !self.ids.insert(record.id.clone()) {
            return Err(format!("the id {:?} is given to two keys", record.id));
        }
        if !self.names.insert(record.name.clone()) {
            return Err(format!("the name {:?} is given to two keys", record.name));
        }
        let hashes = record.previous.iter().map(|p| p.hash).chain([record.hash]);
        for hash in hashes {
            if !self.hashes.insert(hash) {
                return Err(format!(
                    "the key {:?} has the same secret (hash) as another",
                    record.name
                ));
            }
        }
        Ok(())
    }
}

fn read_admin(mut fields: Fields<'_>) -> Result<AdminPart, KeyError> {
    Ok(AdminPart {
        hash: fields.digest("hash")?,
        prefix: fields
            .short("prefix", MAX_PREFIX_CHARS)?
            .unwrap_or_default(),
        created_at: fields.time("created_at")?,
        last_used_at: fields.time("last_used_at")?,
        usage: fields.usage()?,
        extra: fields.map,
    })
}

fn read_record(mut fields: Fields<'_>, now: u64) -> Result<KeyRecord, KeyError> {
    let Some(name) = fields.take("name") else {
        return Err(fields.error("name", "is missing"));
    };
    let name = name
        .as_str()
        .ok_or_else(|| fields.error("name", "must be a string"))?
        .to_owned();
    let name = fields.valid("name", input::name(&name))?;
    fields.label = format!("key {name:?}");
    let Some(hash) = fields.digest("hash")? else {
        let what = "is missing: the SHA-256 of the secret in hex; `luna keys create` makes a key with all it needs";
        return Err(fields.error("hash", what));
    };
    let previous = fields.previous()?;
    if let Some(value) = fields.take("limits") {
        fields.valid("limits", input::limits(&value))?;
    }
    let permissions = fields.strings("permissions")?;
    let models = fields.strings("models")?;
    Ok(KeyRecord {
        id: fields
            .short("id", MAX_ID_CHARS)?
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| derived_id(hash)),
        prefix: fields
            .short("prefix", MAX_PREFIX_CHARS)?
            .unwrap_or_default(),
        hash,
        previous,
        enabled: fields.flag("enabled", true)?,
        admin: fields.flag("admin", false)?,
        permissions: fields.valid("permissions", input::permissions(permissions))?,
        models: fields.valid("models", input::models(models))?,
        created_at: fields.time("created_at")?.unwrap_or(now),
        expires_at: fields.time("expires_at")?,
        last_used_at: fields.time("last_used_at")?,
        usage: fields.usage()?,
        name,
        extra: fields.map,
    })
}
