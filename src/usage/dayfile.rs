//! A day's file: `usage/2026-11-24.json`, for people, jq and Luna.
//!
//! ```json
//! {
//!   "version": 1,
//!   "date": "2026-11-24",
//!   "timezone": "UTC",
//!   "through": {JOURNAL_ID: SEQ},
//!   "day": {KEY_ID: {MODEL: COUNTERS}},
//!   "hours": {"2026-11-24T08:00:00Z": {KEY_ID: {MODEL: COUNTERS}}}
//! }
//! ```
//!
//! `day` is the sum of the day and stays when `hours` is null because the day is too old for hours. One line for each key
//! and model, so that an error's line number points at it and a diff is short. Days are cut in `timezone`, hours are UTC:
//! in zones with half hours one hour may stand in two files, each with its part. `through`
//! says up to which line of each journal that was there the file holds all that belongs to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::store::{StoreError, read_stamped};

use super::Counters;
use super::book::{Cells, HourCells, Names};
use super::calendar::{format_hour, parse_hour};
use super::journal::Marks;
use super::sheet::{Entries, Sheet};

/// The version written, and the newest that is read.
pub(super) const VERSION: u32 = 1;

/// More than this is not a day file.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a, H> {
    version: u32,
    date: String,
    #[serde(rename = "timezone")]
    _timezone: String,
    #[serde(default)]
    through: BTreeMap<String, u64>,
    #[serde(borrow)]
    day: Sheet<'a>,
    hours: Option<H>,
}

/// Why a file was refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// The disk said no; it may say yes later.
    Io(StoreError),
    /// What is in the file is not what Luna writes. Says file, line and what to do.
    Damaged(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Damaged(message) => f.write_str(message),
        }
    }
}

/// A day as its file has it. `hours` is `None` when they were dropped.
pub(super) struct DayFile<H> {
    pub(super) through: BTreeMap<String, u64>,
    pub(super) cells: Cells,
    pub(super) hours: Option<H>,
}

pub(super) fn path(dir: &Path, date: Date) -> PathBuf {
    dir.join(format!("{date}.json"))
}

/// The date that a file's name stands for, if it is a day file's name.
pub(super) fn date_of_name(name: &str) -> Option<Date> {
    let date: Date = name.strip_suffix(".json")?.parse().ok()?;
    (format!("{date}.json") == name).then_some(date)
}

/// Reads the sums of a day; its hours are only checked for being JSON.
pub(super) fn read_day(
    dir: &Path,
    date: Date,
    names: &mut Names,
) -> Result<Option<DayFile<()>>, Refused> {
    let path = path(dir, date);
    let Some(bytes) = read_bytes(&path)? else {
        return Ok(None);
    };
    let raw = raw::<IgnoredAny>(&path, &bytes, date)?;
    Ok(Some(DayFile {
        through: raw.through,
        cells: raw.day.cells(names),
        hours: raw.hours.map(|_| ()),
    }))
}

/// Reads a day with its hours. `None` when there is no such file.
pub(super) fn read_hours(
    dir: &Path,
    date: Date,
    names: &mut Names,
) -> Result<Option<DayFile<HourCells>>, Refused> {
    let path = path(dir, date);
    let Some(bytes) = read_bytes(&path)? else {
        return Ok(None);
    };
    let raw = raw::<Entries<'_, Sheet<'_>>>(&path, &bytes, date)?;
    let hours = match raw.hours {
        None => None,
        Some(sheets) => {
            let mut hours = HourCells::new();
            for (name, sheet) in &sheets.0 {
                let Some(hour) = parse_hour(name) else {
                    let what = format!("{name:?} is not an hour such as \"{date}T08:00:00Z\"");
                    return Err(damaged(&path, 0, &what));
                };
                hours.insert(hour, sheet.cells(names));
            }
            Some(hours)
        }
    };
    Ok(Some(DayFile {
        through: raw.through,
        cells: raw.day.cells(names),
        hours,
    }))
}

fn raw<'a, H: Deserialize<'a>>(
    path: &Path,
    bytes: &'a [u8],
    date: Date,
) -> Result<Raw<'a, H>, Refused> {
    let raw: Raw<'a, H> = parse(path, bytes, |raw: &Raw<'a, H>| raw.version)?;
    if raw.date != date.to_string() {
        let what = format!("it says date {:?}, its name says {date}", raw.date);
        return Err(damaged(path, 0, &what));
    }
    Ok(raw)
}

/// The bytes of a file, `None` when there is none.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Refused> {
    let found = read_stamped(path, MAX_BYTES).map_err(Refused::Io)?;
    Ok(found.map(|(bytes, _)| bytes))
}

/// Parses one of our files, telling a newer version from damage.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    path: &Path,
    bytes: &'a [u8],
    version: impl Fn(&T) -> u32,
) -> Result<T, Refused> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let parsed = serde_json::from_slice::<T>(bytes);
    let found = match &parsed {
        Ok(file) => version(file),
        Err(_) => serde_json::from_slice::<Head>(bytes).map_or(VERSION, |head| head.version),
    };
    if found != VERSION {
        return Err(Refused::Damaged(format!(
            "{}: written by another version of Luna (file version {found}, this one reads {VERSION}): \
             start that version, or move the file away to start without its counts; it is left as it is",
            path.display()
        )));
    }
    parsed.map_err(|error| damaged(path, error.line(), &error.to_string()))
}

fn damaged(path: &Path, line: usize, what: &str) -> Refused {
    let line = match line {
        0 => String::new(),
        line => format!("{line}:"),
    };
    Refused::Damaged(format!(
        "{}:{line} damaged usage file: {what}: restore it from a backup, mend it, or move it away to start without \
         its counts; it is left as it is",
        path.display()
    ))
}

/// Watermarks as JSON.
pub(super) fn marks(through: &Marks) -> Value {
    through
        .iter()
        .map(|(id, seq)| (id.to_string(), Value::from(*seq)))
        .collect()
}

/// The text of a day's file.
pub(super) fn render(
    date: Date,
    timezone: &str,
    through: &Marks,
    cells: &Cells,
    hours: Option<&HourCells>,
    names: &Names,
) -> String {
    let mut out = String::with_capacity(4096);
    let marks = marks(through);
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "{{\n  \"version\": {VERSION},\n  \"date\": \"{date}\",\n  \"timezone\": {},\n  \"through\": {marks},\n  \"day\": ",
        Value::from(timezone)
    );
    render_cells(&mut out, cells, names, "  ");
    out.push_str(",\n  \"hours\": ");
    match hours {
        None => out.push_str("null"),
        Some(hours) if hours.is_empty() => out.push_str("{}"),
        Some(hours) => {
            let mut open = "{";
            for (hour, cells) in hours {
                let _ = write!(out, "{open}\n    \"{}\": ", format_hour(*hour));
                render_cells(&mut out, cells, names, "    ");
                open = ",";
            }
            out.push_str("\n  }");
        }
    }
    out.push_str("\n}\n");
    out
}

/// `{KEY_ID: {MODEL: COUNTERS}}`, sorted by name.
pub(super) fn render_cells(out: &mut String, cells: &Cells, names: &Names, indent: &str) {
    let mut keys: BTreeMap<_, BTreeMap<_, &Counters>> = BTreeMap::new();
    for ((key, model), counters) in cells {
        let models = keys.entry(names.name(*key)).or_default();
        models.insert(names.name(*model), counters);
    }
    if keys.is_empty() {
        out.push_str("{}");
        return;
    }
    let mut open = "{";
    for (key, models) in &keys {
        let _ = write!(out, "{open}\n{indent}  {}: ", Value::from(&**key));
        open = "{";
        for (model, counters) in models {
            let _ = write!(out, "{open}\n{indent}    {}: ", Value::from(&**model));
            render_counters(out, counters);
            open = ",";
        }
        let _ = write!(out, "\n{indent}  }}");
        open = ",";
    }
    let _ = write!(out, "\n{indent}}}");
}

fn render_counters(out: &mut String, counters: &Counters) {
    let mut open = "{";
    for (name, value) in super::counters::NAMES.iter().zip(counters.values()) {
        let _ = write!(out, "{open}\"{name}\": {value}");
        open = ", ";
    }
    out.push('}');
}
