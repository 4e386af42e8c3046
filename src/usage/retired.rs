//! `usage/retired.json`: the sums of all days whose files retention has dropped, so that sums by model and key do not shrink.
//!
//! It is written before the files are removed, and names the last day it holds: a day file up to that day is a leftover of
//! a stop in between and is not counted again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::Deserialize;

use super::book::{Cells, Names};
use super::dayfile::{self, Refused, VERSION};
use super::journal::Marks;
use super::sheet::Sheet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    version: u32,
    until: Date,
    #[serde(default)]
    through: BTreeMap<String, u64>,
    #[serde(borrow)]
    sum: Sheet<'a>,
}

/// What the file holds.
pub(super) struct Retired {
    /// The last day in it.
    pub(super) until: Date,
    pub(super) cells: Cells,
    pub(super) through: BTreeMap<String, u64>,
}

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("retired.json")
}

pub(super) fn read(dir: &Path, names: &mut Names) -> Result<Option<Retired>, Refused> {
    let path = path(dir);
    let Some(bytes) = dayfile::read_bytes(&path)? else {
        return Ok(None);
    };
    let raw = dayfile::parse(&path, &bytes, |raw: &Raw<'_>| raw.version)?;
    Ok(Some(Retired {
        until: raw.until,
        cells: raw.sum.cells(names),
        through: raw.through,
    }))
}

pub(super) fn render(until: Date, through: &Marks, cells: &Cells, names: &Names) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "{{\n  \"version\": {VERSION},\n  \"until\": \"{until}\",\n  \"through\": {},\n  \"sum\": ",
        dayfile::marks(through)
    );
    dayfile::render_cells(&mut out, cells, names, "  ");
    out.push_str("\n}\n");
    out
}
