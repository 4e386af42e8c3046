//! `usage/retired.json`: the sums of all days whose files retention has dropped, so that sums by model and key do not shrink.
//!
//! It is written before the files are removed, and names the last day it holds: a day file up to that day is a leftover of
//! a stop in between and is not counted again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::Deserialize;

use super::book::{Cells, Names};
use super::dayfile::{self, Refused, Sheet, VERSION};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: u32,
    until: Date,
    sum: Sheet,
}

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("retired.json")
}

/// The sums and the last day in them.
pub(super) fn read(dir: &Path, names: &mut Names) -> Result<Option<(Date, Cells)>, Refused> {
    let path = path(dir);
    let Some(bytes) = dayfile::read_bytes(&path)? else {
        return Ok(None);
    };
    let raw = dayfile::parse(&path, &bytes, |raw: &Raw| raw.version)?;
    Ok(Some((raw.until, dayfile::cells_of(&raw.sum, names))))
}

pub(super) fn render(until: Date, cells: &Cells, names: &Names) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "{{\n  \"version\": {VERSION},\n  \"until\": \"{until}\",\n  \"sum\": "
    );
    dayfile::render_cells(&mut out, cells, names, "  ");
    out.push_str("\n}\n");
    out
}
