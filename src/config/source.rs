//! luna.toml with line numbers: every known setting becomes a `Given`, everything else a problem.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::problem::{LineIndex, Origin, Problem, hint};
use super::schema::{SECTIONS, Section, Setting, section};
use super::value::{Kind, Raw, wanted};

/// A value that somebody gave for a setting.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// Given values by full name (`server.listen`, `admin.key_file`, `upstreams.default.headers.x-team`).
pub(super) type Givens = BTreeMap<String, Given>;

/// Largest luna.toml that is read, in bytes.
pub(super) const MAX_FILE: u64 = 1 << 20;
/// Most syntax errors that are reported for one file.
const MAX_SYNTAX_ERRORS: usize = 20;
/// Most upstreams.
const MAX_UPSTREAMS: usize = 256;

/// The endings under which a secret can be given.
pub(super) const SECRET_FORMS: [&str; 3] = ["", "_env", "_file"];

/// The setting that `key` of a section names; for secrets with their endings too.
pub(super) fn setting_of(section: &Section, key: &str) -> Option<&'static Setting> {
    section.setting(key).or_else(|| {
        let stem = key
            .strip_suffix("_env")
            .or_else(|| key.strip_suffix("_file"))?;
        section
            .setting(stem)
            .filter(|setting| setting.kind == Kind::Secret)
    })
}

/// Reads the text of luna.toml. Returns what was given, the names of the upstreams that have a table, and whether the
/// syntax was sound; problems are added to `problems`.
pub(super) fn read(
    file: &Path,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<(Givens, Vec<String>)> {
    let lines = LineIndex::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
            let line = error.span().map_or(1, |span| lines.line(span.start));
            problems.push(Origin::File(file.to_path_buf(), line).problem(error.message()));
        }
        return None;
    }
    let mut reader = Reader {
        file,
        lines,
        problems,
        givens: Givens::new(),
        upstreams: Vec::new(),
    };
    reader.root(document.get_ref());
    Some((reader.givens, reader.upstreams))
}

/// `text` as one TOML value, for a variable of the environment.
pub(super) fn parse_value(text: &str) -> Option<Raw> {
    let value = DeValue::parse(text).ok()?;
    Some(raw(value.get_ref()))
}

struct Reader<'a> {
    file: &'a Path,
    lines: LineIndex,
    problems: &'a mut Vec<Problem>,
    givens: Givens,
    upstreams: Vec<String>,
}

impl Reader<'_> {
    fn origin(&self, offset: usize) -> Origin {
        Origin::File(self.file.to_path_buf(), self.lines.line(offset))
    }

    fn problem(&mut self, offset: usize, what: String) {
        let problem = self.origin(offset).problem(what);
        self.problems.push(problem);
    }

    fn root(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            match (name, value.get_ref()) {
                ("upstreams", DeValue::Table(all)) => self.upstreams(all),
                (_, DeValue::Table(table)) => match section(name) {
                    Some(known) => self.section(known, name, table),
                    None => {
                        let known = SECTIONS
                            .iter()
                            .filter_map(|section| section.name.split('.').next());
                        self.problem(
                            at,
                            format!("unknown section [{}]{}", shown(name), hint(name, known)),
                        );
                    }
                },
                _ if name == "upstreams" || section(name).is_some() => {
                    self.problem(at, format!("{name} must be a section, written as [{name}]"));
                }
                _ => {
                    let home = SECTIONS
                        .iter()
                        .find(|section| setting_of(section, name).is_some());
                    let hint = match home {
                        Some(home) => {
                            format!(": it belongs into [{}]", home.name.replace('*', "NAME"))
                        }
                        None => hint(name, all_names()),
                    };
                    self.problem(at, format!("unknown setting `{}`{hint}", shown(name)));
                }
            }
        }
    }

    fn upstreams(&mut self, all: &DeTable<'_>) {
        let (Some(main), true) = (section("upstreams.*"), all.len() <= MAX_UPSTREAMS) else {
            let at = all.keys().next().map_or(0, |key| key.span().start);
            self.problem(at, format!("more than {MAX_UPSTREAMS} upstreams"));
            return;
        };
        for (key, value) in all {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let DeValue::Table(table) = value.get_ref() else {
                let what = if main.setting(name).is_some() {
                    format!(
                        "unknown setting `upstreams.{name}`: it belongs into [upstreams.default]"
                    )
                } else {
                    format!(
                        "upstreams.{} must be a section with at least a url",
                        shown(name)
                    )
                };
                self.problem(at, what);
                continue;
            };
            if !valid_name(name) {
                self.problem(
                    at,
                    format!(
                        "`{}` cannot name an upstream: 1 to 64 letters, digits, - and _",
                        shown(name)
                    ),
                );
                continue;
            }
            self.upstreams.push(name.to_owned());
            self.section(main, &format!("upstreams.{name}"), table);
        }
    }

    /// Takes a table whose settings `known` lists; `path` is its full name.
    fn section(&mut self, known: &'static Section, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            if let Some(setting) = setting_of(known, name) {
                self.setting(setting, &format!("{path}.{name}"), at, value.get_ref());
                continue;
            }
            match (section(&format!("{}.{name}", known.name)), value.get_ref()) {
                (Some(inner), DeValue::Table(table)) => {
                    self.section(inner, &format!("{path}.{name}"), table)
                }
                (Some(_), _) => self.problem(
                    at,
                    format!("{path}.{name} must be a section, written as [{path}.{name}]"),
                ),
                (None, _) => {
                    let what = unknown(known, path, name);
                    self.problem(at, what);
                }
            }
        }
    }

    fn setting(&mut self, setting: &'static Setting, path: &str, at: usize, value: &DeValue<'_>) {
        match (&setting.kind, value) {
            (Kind::Map | Kind::NumberMap, DeValue::Table(map)) => {
                for (key, value) in map {
                    let given = Given {
                        raw: raw(value.get_ref()),
                        origin: self.origin(key.span().start),
                    };
                    self.givens
                        .insert(format!("{path}.{}", key.get_ref()), given);
                }
            }
            (Kind::Map, _) => self.problem(at, format!("{path} must be a table from name to text")),
            (kind, DeValue::Table(_)) => self.problem(
                at,
                format!("{path} must be {}, not a section", wanted(kind)),
            ),
            // A bare number counts for every model.
            (Kind::NumberMap, _) => self.give(&format!("{path}.*"), at, value),
            _ => self.give(path, at, value),
        }
    }

    fn give(&mut self, path: &str, at: usize, value: &DeValue<'_>) {
        let given = Given {
            raw: raw(value),
            origin: self.origin(at),
        };
        self.givens.insert(path.to_owned(), given);
    }
}

/// The message for a name that `known` does not list.
pub(super) fn unknown(known: &Section, path: &str, name: &str) -> String {
    let inner = SECTIONS
        .iter()
        .filter_map(|section| section.name.strip_prefix(known.name)?.strip_prefix('.'));
    let names = known
        .settings
        .iter()
        .map(|setting| setting.name)
        .chain(inner);
    let mut hint = hint(name, names);
    if hint.is_empty()
        && let Some(home) = SECTIONS
            .iter()
            .find(|section| setting_of(section, name).is_some())
    {
        hint = format!(": it belongs into [{}]", home.name.replace('*', "NAME"));
    }
    format!("unknown setting `{path}.{}`{hint}", shown(name))
}

/// Whether `name` can name an upstream; without dots, as full names are split at them.
pub(super) fn valid_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A name from outside, as it may stand in an error.
pub(super) fn shown(name: &str) -> String {
    super::problem::quoted(name)
}

fn all_names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().flat_map(|section| {
        let names = section.settings.iter().map(|setting| setting.name);
        section.name.split('.').take(1).chain(names)
    })
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.as_ref().to_owned()),
        DeValue::Integer(n) if n.radix() == 10 => Raw::Whole(n.as_str().to_owned()),
        DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
            Ok(number) => Raw::Whole(number.to_string()),
            Err(_) => Raw::Whole(n.as_str().to_owned()),
        },
        DeValue::Float(n) => Raw::Number(n.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Table(_) => Raw::Other("a table"),
        DeValue::Datetime(_) => Raw::Other("a date"),
    }
}
