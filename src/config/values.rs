//! All effective values: what was given, checked, and the defaults of the rest, under their full names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::secret_stem;
use super::load::read_bounded;
use super::problem::{Origin, Problem};
use super::schema::{SECTIONS, find};
use super::secret::Secret;
use super::source::{Given, Givens, SECRET_FORMS};
use super::value::{Kind, Raw, Val, check, default_of};

/// Largest file that holds a secret, in bytes.
const MAX_SECRET: u64 = 16 * 1024;

/// Where relative paths begin, and the environment that secrets are taken from.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The folder of luna.toml; for what nobody gave too, so that leaving a default out changes nothing.
    pub(super) base: &'a Path,
    pub(super) cwd: &'a Path,
    pub(super) env: &'a BTreeMap<String, String>,
}

/// Effective values by full name.
#[derive(Debug, Default)]
pub(super) struct Values {
    all: BTreeMap<String, (Val, Origin)>,
    /// Files that secrets were read from.
    pub(super) secret_files: Vec<PathBuf>,
}

impl Values {
    /// Checks what was given and completes it. `upstreams` are the names that get defaults.
    pub(super) fn new(
        givens: &Givens,
        upstreams: &[String],
        around: &Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut values = Self::default();
        for (name, given) in givens {
            if secret_stem(name).is_some() {
                continue;
            }
            let Some(setting) = find(name) else { continue };
            match check(&setting.kind, &given.raw) {
                Ok(value) => {
                    values
                        .all
                        .insert(name.clone(), (value, given.origin.clone()));
                }
                Err(what) => problems.push(given.origin.problem(format!("{name} {what}"))),
            }
        }
        let stems: std::collections::BTreeSet<&str> =
            givens.keys().filter_map(|name| secret_stem(name)).collect();
        for stem in stems {
            if let Some((secret, origin)) = values.secret(stem, givens, around, problems) {
                values
                    .all
                    .insert(stem.to_owned(), (Val::Secret(secret), origin));
            }
        }
        values.complete(upstreams);
        values.resolve_paths(around, problems);
        values
    }

    /// The secret that one of the forms under `stem` gives.
    fn secret(
        &mut self,
        stem: &str,
        givens: &Givens,
        around: &Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<(Secret, Origin)> {
        let mut found: Vec<(&str, String, &Given)> = Vec::new();
        for form in SECRET_FORMS {
            let Some(given) = givens.get(&format!("{stem}{form}")) else {
                continue;
            };
            match &given.raw {
                // Empty text is the same as leaving it out, so that an example can show the setting.
                Raw::Text(text) if text.is_empty() => {}
                Raw::Text(text) => found.push((form, text.clone(), given)),
                other => {
                    if let Err(what) = check(&Kind::Secret, other) {
                        problems.push(given.origin.problem(format!("{stem}{form} {what}")));
                    }
                }
            }
        }
        if let [(first, ..), (second, _, given), ..] = found.as_slice() {
            let what = format!("{stem}{first} and {stem}{second} are both given; keep one");
            problems.push(given.origin.problem(what));
            return None;
        }
        let (form, text, given) = found.pop()?;
        let outcome = match form {
            "_env" => match around.env.get(&text).filter(|value| !value.is_empty()) {
                Some(value) => Ok(value.clone()),
                // Some put the secret itself here, so only what looks like a variable is shown.
                None if variable_like(&text) => Err(format!(
                    "{stem}_env names a variable that is not set: {text}"
                )),
                None => Err(format!("{stem}_env names a variable that is not set")),
            },
            "_file" => {
                let path = absolute(&text, &given.origin, around);
                let read = read_bounded(&path, MAX_SECRET);
                self.secret_files.push(path);
                match read {
                    Ok(content) if content.trim().is_empty() => {
                        Err(format!("{stem}_file names an empty file"))
                    }
                    Ok(content) => Ok(content.trim_end_matches(['\r', '\n']).to_owned()),
                    Err(what) => Err(format!("{stem}_file: the file {what}")),
                }
            }
            _ => Ok(text),
        };
        match outcome.and_then(|text| {
            check(&Kind::Secret, &Raw::Text(text)).map_err(|what| format!("{stem} {what}"))
        }) {
            Ok(Val::Secret(secret)) => Some((secret, given.origin.clone())),
            Ok(_) => None,
            Err(what) => {
                problems.push(given.origin.problem(what));
                None
            }
        }
    }

    fn complete(&mut self, upstreams: &[String]) {
        for section in SECTIONS {
            let tables: Vec<String> = if section.name.contains('*') {
                upstreams
                    .iter()
                    .map(|name| section.name.replace('*', name))
                    .collect()
            } else {
                vec![section.name.to_owned()]
            };
            for table in tables {
                let upstream: Vec<&str> = table.splitn(3, '.').take(2).collect();
                let antigravity = self
                    .text(&format!("{}.profile", upstream.join(".")))
                    .is_none_or(|p| p == "antigravity");
                for setting in section.settings {
                    let Some(mut value) = default_of(&setting.kind, antigravity) else {
                        continue;
                    };
                    if section.name == "upstreams.*" && setting.name == "health" && !antigravity {
                        value = Val::Text("none".to_owned());
                    }
                    self.all
                        .entry(format!("{table}.{}", setting.name))
                        .or_insert((value, Origin::Default));
                }
            }
        }
    }

    fn resolve_paths(&mut self, around: &Surroundings<'_>, problems: &mut Vec<Problem>) {
        const DATA_DIR: &str = "<data_dir>";
        let resolved = |text: &str, origin: &Origin| absolute(text, origin, around);
        let data_dir = match self.all.get("store.data_dir") {
            Some((Val::Text(text), origin)) if text.is_empty() || text.starts_with(DATA_DIR) => {
                problems.push(origin.problem("store.data_dir must be a folder's path"));
                PathBuf::new()
            }
            Some((Val::Text(text), origin)) => resolved(text, origin),
            _ => PathBuf::new(),
        };
        for (name, (value, origin)) in &mut self.all {
            let is_path = find(name).is_some_and(|setting| matches!(setting.kind, Kind::Path(_)));
            let Val::Text(text) = value else { continue };
            if !is_path {
                continue;
            }
            let path = match text.strip_prefix(DATA_DIR) {
                _ if name == "store.data_dir" => data_dir.clone(),
                Some(rest) => data_dir
                    .join(rest.trim_start_matches('/'))
                    .components()
                    .collect(),
                None if text.is_empty() => PathBuf::new(),
                None => resolved(text, origin),
            };
            *value = Val::Path(path);
        }
    }

    /// Value and origin of a setting; `None` when it is unset.
    pub(super) fn get(&self, name: &str) -> Option<&(Val, Origin)> {
        self.all.get(name)
    }

    /// Where a setting was given.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.all
            .get(name)
            .map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// All values with names and origins.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Val, &Origin)> {
        self.all
            .iter()
            .map(|(name, (value, origin))| (name.as_str(), value, origin))
    }

    /// The entries of a map, by the name within it.
    pub(super) fn entries<'v>(
        &'v self,
        map: &str,
    ) -> impl Iterator<Item = (&'v str, &'v Val, &'v Origin)> {
        let prefix = format!("{map}.");
        self.iter().filter_map(move |(name, value, origin)| {
            Some((name.strip_prefix(&prefix)?, value, origin))
        })
    }

    /// Gives up everything but the values.
    pub(super) fn into_plain(self) -> BTreeMap<String, Val> {
        self.all
            .into_iter()
            .map(|(name, (value, _))| (name, value))
            .collect()
    }

    // A getter of another type than the setting's kind yields the neutral value; a test reads every setting.

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.all.get(name) {
            Some((Val::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self.all.get(name) {
            Some((Val::Path(path), _)) => path.clone(),
            _ => PathBuf::new(),
        }
    }

    pub(super) fn int(&self, name: &str) -> u64 {
        match self.all.get(name) {
            Some((Val::Int(number), _)) => *number,
            _ => 0,
        }
    }

    pub(super) fn time(&self, name: &str) -> Duration {
        match self.all.get(name) {
            Some((Val::Time(time), _)) => *time,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.all.get(name) {
            Some((Val::Flag(flag), _)) => Some(*flag),
            _ => None,
        }
    }

    pub(super) fn list(&self, name: &str) -> &[String] {
        match self.all.get(name) {
            Some((Val::List(items), _)) => items,
            _ => &[],
        }
    }

    pub(super) fn secret_of(&self, name: &str) -> Option<Secret> {
        match self.all.get(name) {
            Some((Val::Secret(secret), _)) => Some(secret.clone()),
            _ => None,
        }
    }
}

/// Whether a text looks like the name of a variable.
fn variable_like(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// A path as an absolute one: relative to the file that gave it, or to the working folder when a variable did.
fn absolute(text: &str, origin: &Origin, around: &Surroundings<'_>) -> PathBuf {
    let base = match origin {
        Origin::Variable(_) => around.cwd,
        Origin::File(..) | Origin::Default => around.base,
    };
    base.join(text).components().collect()
}
