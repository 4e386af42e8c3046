//! One object of keys.json, and the lines it stands on.

use std::path::Path;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::keys::KeyError;
use crate::keys::digest::Digest;
use crate::keys::file::MAX_PREVIOUS;
use crate::keys::input;
use crate::keys::record::{Previous, Totals, parse_time};

/// The text of a file, to tell lines.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn damaged(&self, line: Option<usize>, what: impl Into<String>) -> KeyError {
        KeyError::Damaged {
            path: self.path.to_owned(),
            line,
            what: what.into(),
        }
    }

    pub(super) fn bad_json(&self, e: &serde_json::Error) -> KeyError {
        // serde_json ends its messages with the position, which is said already, and never
        // quotes content in a syntax error.
        let text = e.to_string();
        let what = text.split(" at line ").next().unwrap_or("not JSON");
        self.damaged(
            Some(e.line()),
            format!(
                "is not valid JSON ({what}, column {}); mend this place or restore a backup",
                e.column()
            ),
        )
    }

    /// The line on which `part`, a slice of the text, begins. Counts from the top: for errors only.
    pub(super) fn line_of(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        1 + self
            .text
            .as_bytes()
            .iter()
            .take(offset)
            .filter(|b| **b == b'\n')
            .count()
    }
}

/// One object of the file, whose fields are taken out one by one.
pub(super) struct Fields<'a> {
    source: &'a Source<'a>,
    raw: &'a str,
    /// What is left: fields that nobody asked for.
    pub(super) map: Map<String, Value>,
    /// How errors call the object.
    pub(super) label: String,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        raw: &'a RawValue,
        label: String,
    ) -> Result<Self, KeyError> {
        let raw = raw.get();
        match serde_json::from_str(raw) {
            Ok(map) => Ok(Self {
                source,
                raw,
                map,
                label,
            }),
            Err(_) => Err(source.damaged(
                Some(source.line_of(raw)),
                format!("{label} must be an object"),
            )),
        }
    }

    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field).filter(|v| !v.is_null())
    }

    fn line(&self, field: Option<&str>) -> usize {
        let part = field
            .and_then(|f| self.raw.find(&format!("\"{f}\"")))
            .and_then(|at| self.raw.get(at..));
        self.source.line_of(part.unwrap_or(self.raw))
    }

    pub(super) fn error(&self, field: &str, what: &str) -> KeyError {
        self.source.damaged(
            Some(self.line(Some(field))),
            format!("{}: {field:?} {what}", self.label),
        )
    }

    pub(super) fn valid<T>(
        &self,
        field: &str,
        checked: Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        checked.map_err(|e| match e {
            KeyError::Invalid { what, .. } => self.error(field, &what),
            other => other,
        })
    }

    pub(super) fn short(
        &mut self,
        field: &str,
        max_chars: usize,
    ) -> Result<Option<String>, KeyError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        match value.as_str() {
            Some(text)
                if text.chars().count() <= max_chars && text.chars().all(input::printable) =>
            {
                Ok(Some(text.to_owned()))
            }
            _ => Err(self.error(
                field,
                &format!("must be a printable string of at most {max_chars} characters"),
            )),
        }
    }

    pub(super) fn flag(&mut self, field: &str, absent: bool) -> Result<bool, KeyError> {
        match self.take(field) {
            None => Ok(absent),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.error(field, "must be true or false")),
        }
    }

    pub(super) fn time(&mut self, field: &str) -> Result<Option<u64>, KeyError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let time = value.as_str().and_then(parse_time);
        time.map(Some).ok_or_else(|| {
            self.error(
                field,
                "must be a time such as \"2027-01-31T12:00:00Z\", or null",
            )
        })
    }

    pub(super) fn digest(&mut self, field: &str) -> Result<Option<Digest>, KeyError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let digest = value.as_str().and_then(Digest::from_hex);
        digest
            .map(Some)
            .ok_or_else(|| self.error(field, "must be a SHA-256 in hex (64 characters)"))
    }

    pub(super) fn strings(&mut self, field: &str) -> Result<Vec<String>, KeyError> {
        let Some(value) = self.take(field) else {
            return Ok(Vec::new());
        };
        self.valid(field, input::strings(field, &value))
    }

    pub(super) fn usage(&mut self) -> Result<Totals, KeyError> {
        let Some(value) = self.take("usage") else {
            return Ok(Totals::default());
        };
        serde_json::from_value(value).map_err(|_| {
            self.error(
                "usage",
                "must be an object of whole numbers that are not negative",
            )
        })
    }

    pub(super) fn previous(&mut self) -> Result<Vec<Previous>, KeyError> {
        let Some(value) = self.take("previous") else {
            return Ok(Vec::new());
        };
        let read = |item: &Value| {
            let hash = Digest::from_hex(item.get("hash")?.as_str()?)?;
            let until = parse_time(item.get("until")?.as_str()?)?;
            Some(Previous { hash, until })
        };
        let list: Option<Vec<_>> = value
            .as_array()
            .and_then(|items| items.iter().map(read).collect());
        list.filter(|l| l.len() <= MAX_PREVIOUS).ok_or_else(|| {
            self.error(
                "previous",
                &format!("must be a list of at most {MAX_PREVIOUS} {{\"hash\", \"until\"}}"),
            )
        })
    }
}
