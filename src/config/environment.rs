//! Settings from the environment, laid over those of the file.

use std::collections::BTreeMap;

use super::problem::{Origin, Problem, hint};
use super::schema::{SECTIONS, Section, Setting, find, section};
use super::source::{
    Given, Givens, SECRET_FORMS, parse_value, setting_of, shown, unknown, valid_name,
};
use super::value::{Kind, Raw, address};

/// The beginning of the variables that can hold any setting.
const PREFIX: &str = "LUNA__";

/// Variables with a name of their own, mostly from the system that Luna replaces. An empty one counts as not set, as
/// compose files write `ADMIN_KEY=${ADMIN_KEY}`.
pub(super) const NAMED: [(&str, &str); 5] = [
    ("UPSTREAM_URL", "upstreams.default.url"),
    ("KEYS_FILE", "store.keys_file"),
    ("FALLBACK_CONFIG", "fallback.file"),
    ("ADMIN_KEY", "admin.key"),
    ("LUNA_DATA_DIR", "store.data_dir"),
];

/// Lays `env` over `givens`; `upstreams` are the names that have a table, and grows by those that only the
/// environment names.
pub(super) fn overlay(
    env: &BTreeMap<String, String>,
    givens: &mut Givens,
    upstreams: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) {
    let mut found: BTreeMap<String, (String, Given)> = BTreeMap::new();
    let mut give = |name: &str, path: String, raw: Raw, problems: &mut Vec<Problem>| {
        // The two forms of one secret, or the two variables of one setting, must not both speak.
        let clash = found.iter().find(|(other, (_, given))| {
            (**other == path && !same_text(&given.raw, &raw))
                || (**other != path && same_secret(other, &path))
        });
        if let Some((_, (other, _))) = clash {
            let what = format!("{other} sets `{}` too; unset one of them", stem(&path));
            problems.push(Origin::Variable(name.to_owned()).problem(what));
            return;
        }
        let given = Given {
            raw,
            origin: Origin::Variable(name.to_owned()),
        };
        found.insert(path, (name.to_owned(), given));
    };
    for (name, path) in NAMED {
        if let Some(text) = env.get(name).filter(|text| !text.is_empty()) {
            give(name, path.to_owned(), Raw::Text(text.clone()), problems);
        }
    }
    for (name, text) in env {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        match resolve(rest, givens, upstreams) {
            Ok((path, setting)) => {
                let raw = parse(&setting.kind, text);
                give(name, path, raw, problems);
            }
            Err(what) => problems.push(Origin::Variable(name.clone()).problem(what)),
        }
    }
    for (path, (_, given)) in found {
        if let Some(stem) = secret_stem(&path) {
            for form in SECRET_FORMS {
                givens.remove(&format!("{stem}{form}"));
            }
        }
        givens.insert(path, given);
    }
}

/// Lets PROXY_PORT replace the port of `server.listen`, whoever set that.
pub(super) fn proxy_port(
    env: &BTreeMap<String, String>,
    givens: &mut Givens,
    problems: &mut Vec<Problem>,
) {
    const NAME: &str = "PROXY_PORT";
    const LISTEN: &str = "server.listen";
    let Some(text) = env.get(NAME).filter(|text| !text.is_empty()) else {
        return;
    };
    let origin = Origin::Variable(NAME.to_owned());
    let Some(port) = text.trim().parse::<u16>().ok().filter(|port| *port > 0) else {
        problems.push(origin.problem("must be a port from 1 to 65535"));
        return;
    };
    let default = find(LISTEN).and_then(|setting| match setting.kind {
        Kind::Listen(text) => Some(text),
        _ => None,
    });
    let listen = match givens.get(LISTEN).map(|given| &given.raw) {
        Some(Raw::Text(text)) => Some(text.as_str()),
        Some(_) => None,
        None => default,
    };
    // What cannot be read as an address stays, so that its own error is told.
    if let Some(mut address) = listen.and_then(|text| address(text).ok()) {
        address.set_port(port);
        givens.insert(
            LISTEN.to_owned(),
            Given {
                raw: Raw::Text(address.to_string()),
                origin,
            },
        );
    }
}

/// The full name and the setting that a variable means, from its name after the prefix.
fn resolve(
    rest: &str,
    givens: &Givens,
    upstreams: &mut Vec<String>,
) -> Result<(String, &'static Setting), String> {
    let parts: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (known, path, names): (&Section, String, &[&str]) = match parts.as_slice() {
        ["upstreams", name, names @ ..] if !names.is_empty() => {
            let path = format!("upstreams.{}", upstream(name, upstreams)?);
            match names {
                ["limits", names @ ..] if !names.is_empty() => {
                    (need("upstreams.*.limits")?, format!("{path}.limits"), names)
                }
                _ => (need("upstreams.*")?, path, names),
            }
        }
        ["upstreams", ..] => {
            return Err("is not of the form LUNA__UPSTREAMS__NAME__SETTING".to_owned());
        }
        ["lark", inner @ ("oauth" | "card"), names @ ..] if !names.is_empty() => {
            let path = format!("lark.{inner}");
            (need(&path)?, path, names)
        }
        [table, names @ ..] if !names.is_empty() => (need(table)?, (*table).to_owned(), names),
        _ => return Err("is not of the form LUNA__SECTION__SETTING".to_owned()),
    };
    match names {
        [name] => match setting_of(known, name) {
            Some(setting) if setting.kind == Kind::Map => Err(format!(
                "`{path}.{name}` is a table: add __ and a name to set one of its entries"
            )),
            Some(setting) if setting.kind == Kind::NumberMap => {
                Ok((format!("{path}.{name}.*"), setting))
            }
            Some(setting) => Ok((format!("{path}.{name}"), setting)),
            None => Err(unknown(known, &path, name)),
        },
        [name, key] => match known.setting(name) {
            Some(setting) if matches!(setting.kind, Kind::Map | Kind::NumberMap) => {
                let prefix = format!("{path}.{name}.");
                let same = |full: &&String| {
                    full.strip_prefix(&prefix)
                        .is_some_and(|k| plain(k) == plain(key))
                };
                let key = givens
                    .keys()
                    .find(same)
                    .cloned()
                    .unwrap_or_else(|| format!("{prefix}{}", key.replace('_', "-")));
                Ok((key, setting))
            }
            _ => Err(unknown(known, &path, name)),
        },
        _ => Err("has more parts than any setting".to_owned()),
    }
}

fn need(name: &str) -> Result<&'static Section, String> {
    section(name)
        .filter(|section| !section.name.contains('*') || name.contains('*'))
        .ok_or_else(|| {
            let known = SECTIONS
                .iter()
                .filter_map(|section| section.name.split('.').next());
            format!("unknown section `{}`{}", shown(name), hint(name, known))
        })
}

/// The upstream that a part of a variable's name means: one that the file names, else a new one.
fn upstream(part: &str, upstreams: &mut Vec<String>) -> Result<String, String> {
    let same: Vec<&String> = upstreams
        .iter()
        .filter(|name| plain(name) == plain(part))
        .collect();
    match same.as_slice() {
        [one] => Ok((*one).clone()),
        [] if valid_name(part) => {
            upstreams.push(part.to_owned());
            Ok(part.to_owned())
        }
        [] => Err(format!(
            "`{}` cannot name an upstream: 1 to 64 letters, digits, - and _",
            shown(part)
        )),
        [one, other, ..] => Err(format!(
            "may mean the upstream `{one}` or `{other}`; set it in the file"
        )),
    }
}

/// A name as a variable can spell it.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

/// The text of a variable as a value of this kind. What does not fit stays text, and the check says so.
fn parse(kind: &Kind, text: &str) -> Raw {
    let as_text = Raw::Text(text.to_owned());
    match kind {
        Kind::Text(_)
        | Kind::Listen(_)
        | Kind::Path(_)
        | Kind::Choice(_)
        | Kind::Secret
        | Kind::Map => as_text,
        Kind::List(_) => list(text),
        Kind::FlagOrList => match text {
            "true" => Raw::Flag(true),
            "false" => Raw::Flag(false),
            _ => list(text),
        },
        _ => match parse_value(text.trim()) {
            Some(Raw::Text(_)) | None => as_text,
            Some(value) => value,
        },
    }
}

/// A list as TOML writes it, or simply separated by commas.
fn list(text: &str) -> Raw {
    let text = text.trim();
    if text.starts_with('[') {
        return parse_value(text).unwrap_or(Raw::Other("a list that cannot be read"));
    }
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    Raw::List(items.map(|item| Raw::Text(item.to_owned())).collect())
}

fn same_text(one: &Raw, other: &Raw) -> bool {
    matches!((one, other), (Raw::Text(one), Raw::Text(other)) if one == other)
}

/// Whether two full names are forms of one secret.
fn same_secret(one: &str, other: &str) -> bool {
    secret_stem(one).is_some_and(|stem| secret_stem(other) == Some(stem))
}

/// The full name of the secret that `path` gives in one of its forms.
pub(super) fn secret_stem(path: &str) -> Option<&str> {
    let setting = |path: &str| find(path).is_some_and(|setting| setting.kind == Kind::Secret);
    if setting(path) {
        return Some(path);
    }
    let stem = path
        .strip_suffix("_env")
        .or_else(|| path.strip_suffix("_file"))?;
    setting(stem).then_some(stem)
}

fn stem(path: &str) -> &str {
    secret_stem(path).unwrap_or(path)
}
