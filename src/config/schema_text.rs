//! The list of settings as text: conf/luna.toml.example and the tables of docs/configuration.md.

use std::fmt::Write as _;

use super::schema::{SECTIONS, Section, Setting};
use super::value::Kind;

/// conf/luna.toml.example: every setting with its default, commented out, so that a copy changes nothing.
pub fn example() -> String {
    let mut out = String::from(
        "# Every setting of Luna with its default. Lines that begin with #name are settings: take the # away and change\n\
         # the value. Copy this file to conf/luna.toml; as it is, it changes nothing.\n\
         #\n\
         # Durations are in seconds unless the name says otherwise, and may have fractions. Relative paths begin at the\n\
         # folder of this file; <data_dir> stands for store.data_dir. Each secret can be given as NAME, as NAME_env (the\n\
         # name of a variable that holds it) or as NAME_file (the path of a file that holds it).\n\
         # The environment wins over this file: LUNA__SERVER__GRACE_S=60 sets grace_s of [server].\n\
         # Everything is explained in docs/configuration.md. `luna check` says what is wrong with a file.\n",
    );
    for section in SECTIONS {
        let name = section.name.replace('*', "default");
        let _ = write!(out, "\n# {}\n[{name}]\n", section.why);
        for setting in section.settings {
            let _ = writeln!(out, "# {}", comment(setting));
            let _ = writeln!(out, "{}", line(setting));
        }
    }
    out
}

/// The tables of docs/configuration.md.
pub fn reference() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let name = section.name.replace('*', "NAME");
        let _ = write!(out, "### [{name}]\n\n{}\n\n", section.why);
        out.push_str("| name | default | allowed | reload | meaning |\n|---|---|---|---|---|\n");
        for setting in section.settings {
            let reload = if setting.needs_upgrade {
                "upgrade"
            } else {
                "yes"
            };
            let default = table_default(section, setting);
            let _ = writeln!(
                out,
                "| `{}` | {default} | {} | {reload} | {} |",
                setting.name,
                allowed(&setting.kind),
                setting.why
            );
        }
        out.push('\n');
    }
    out
}

fn comment(setting: &Setting) -> String {
    match &setting.kind {
        Kind::Choice(names) => format!("{} One of: {}.", setting.why, names.join(", ")),
        Kind::Limit(_, other) => {
            format!(
                "{} This is the default for the profile antigravity; for the others it is {other}.",
                setting.why
            )
        }
        Kind::MaybeFlag | Kind::NumberMap | Kind::FlagOrList => {
            format!("{} As the profile has it when left out.", setting.why)
        }
        _ => setting.why.to_owned(),
    }
}

/// A setting with its default as it stands in the example. Those that are unset by default have no value to show and
/// are written as prose.
fn line(setting: &Setting) -> String {
    let name = setting.name;
    match toml(&setting.kind) {
        Some(default) => format!("#{name} = {default}"),
        None => format!("#     {name} = {}", sample(&setting.kind)),
    }
}

fn sample(kind: &Kind) -> &'static str {
    match kind {
        Kind::NumberMap => "{\"claude-*\" = 64000}",
        Kind::FlagOrList => "[\"gpt-5*\"]",
        _ => "true",
    }
}

/// The default as TOML; `None` when the setting is unset by default.
fn toml(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Text(text) | Kind::Listen(text) | Kind::Path(text) => format!("\"{text}\""),
        Kind::Choice(names) => format!("\"{}\"", names.first()?),
        Kind::Flag(flag) => flag.to_string(),
        Kind::Int(number, ..) | Kind::Millis(number, ..) => number.to_string(),
        Kind::Secs(seconds, ..) | Kind::Limit(seconds, _) => seconds.to_string(),
        Kind::List(items) => {
            let items: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::Secret => "\"\"".to_owned(),
        Kind::Map => "{}".to_owned(),
        Kind::MaybeFlag | Kind::NumberMap | Kind::FlagOrList => return None,
    })
}

fn table_default(section: &Section, setting: &Setting) -> String {
    match &setting.kind {
        Kind::Limit(first, second) if first != second => {
            format!("`{first}`; `{second}` for anthropic and openai")
        }
        _ if section.name == "upstreams.*" && setting.name == "health" => {
            "`\"antigravity\"` with that profile, else `\"none\"`".to_owned()
        }
        kind => toml(kind).map_or_else(
            || "as the profile".to_owned(),
            |default| format!("`{default}`"),
        ),
    }
}

fn allowed(kind: &Kind) -> String {
    match kind {
        Kind::Choice(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("`\"{name}\"`")).collect();
            names.join(", ")
        }
        Kind::Int(_, low, high) => format!("{low} to {high}"),
        Kind::Secs(_, low, high) => format!("{low} to {high} s"),
        Kind::Millis(_, low, high) => format!("{low} to {high} ms"),
        Kind::Limit(..) => "0.05 to 86400 s".to_owned(),
        Kind::Secret => "a secret; also `_env`, `_file`".to_owned(),
        kind => super::value::wanted(kind).to_owned(),
    }
}
