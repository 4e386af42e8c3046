//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One error of a configuration, shown as `file:line: what`. Where the environment is at fault there is no file and
/// `what` begins with the variable's name. `what` never holds a secret's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file at fault; `None` for the environment.
    pub file: Option<PathBuf>,
    /// The line in it, from 1; `None` when the file as a whole is at fault.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

/// Where a value was given, so that what is wrong with it can be said there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// Nobody gave it.
    Default,
}

impl Origin {
    /// The problem `what` with the value that was given here.
    pub(super) fn problem(&self, what: impl Into<String>) -> Problem {
        let what = what.into();
        match self {
            Self::File(file, line) => Problem {
                file: Some(file.clone()),
                line: Some(*line),
                what,
            },
            Self::Variable(name) => Problem {
                file: None,
                line: None,
                what: format!("{name}: {what}"),
            },
            Self::Default => Problem {
                file: None,
                line: None,
                what,
            },
        }
    }
}

/// A problem with a file as a whole.
pub(super) fn whole_file(file: &Path, what: impl Into<String>) -> Problem {
    Problem {
        file: Some(file.to_path_buf()),
        line: None,
        what: what.into(),
    }
}

/// From a byte offset to its line.
#[derive(Debug)]
pub(super) struct LineIndex {
    /// Where each line begins.
    starts: Vec<usize>,
}

impl LineIndex {
    pub(super) fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at.saturating_add(1)))
            .collect();
        Self { starts }
    }

    /// The line, from 1, of a byte offset.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The text of a line.
    pub(super) fn text<'t>(&self, text: &'t str, line: usize) -> &'t str {
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index));
        let end = self.starts.get(line).copied().unwrap_or(text.len());
        let line = start.and_then(|start| text.get(*start..end));
        line.unwrap_or_default()
    }
}

/// `, did you mean NAME?` for the known name nearest to `given`, or nothing when none is near.
pub(super) fn hint<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, known)
        .map(|name| format!(", did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The known name nearest to `given`, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Names come from outside and the comparison is quadratic: what is this long was not mistyped.
    if given.len() > 100 {
        return None;
    }
    let given = given.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| {
            (
                strsim::jaro_winkler(&given, &name.to_ascii_lowercase().replace('-', "_")),
                name,
            )
        })
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Text from a file as it may stand in an error: control characters as spaces, shortened.
pub(super) fn quoted(text: &str) -> String {
    let mut out: String = text
        .trim()
        .chars()
        .take(121)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if out.chars().count() > 120 {
        out.pop();
        out.push('…');
    }
    out
}
