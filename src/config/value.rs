//! Values as they are given, the kinds of settings, and the check of the one against the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::problem::hint;
use super::secret::Secret;

/// What a setting takes, with its default and bounds.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    /// Text: default.
    Text(&'static str),
    /// An address with a port: default.
    Listen(&'static str),
    /// A path: default; `<data_dir>` at its beginning stands for `store.data_dir`.
    Path(&'static str),
    /// One of these; the first is the default.
    Choice(&'static [&'static str]),
    /// A switch: default.
    Flag(bool),
    /// A switch that is unset by default.
    MaybeFlag,
    /// A whole number: default, smallest, largest.
    Int(u64, u64, u64),
    /// Seconds, fractions allowed: default, shortest, longest.
    Secs(f64, f64, f64),
    /// Whole milliseconds: default, shortest, longest.
    Millis(u64, u64, u64),
    /// Seconds of an attempt: default of the profile antigravity, and of the others.
    Limit(f64, f64),
    /// A list of texts: default.
    List(&'static [&'static str]),
    /// A secret, given as `x`, `x_env` or `x_file`; unset by default.
    Secret,
    /// A table from name to text; empty by default.
    Map,
    /// A whole number, or a table from name to whole number; unset by default.
    NumberMap,
    /// A switch or a list of texts; unset by default.
    FlagOrList,
}

/// A value as it was written, before it is known what it should be.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Text(String),
    Number(f64),
    /// A whole number; its text, as it may be beyond every type.
    Whole(String),
    Flag(bool),
    List(Vec<Raw>),
    /// Another type; its name.
    Other(&'static str),
}

impl Raw {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Number(_) => "a number",
            Self::Whole(_) => "a whole number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Val {
    Text(String),
    /// Resolved; empty when the setting is empty.
    Path(PathBuf),
    Flag(bool),
    Int(u64),
    Time(Duration),
    List(Vec<String>),
    Secret(Secret),
}

/// Longest text of a setting, in bytes.
const MAX_TEXT: usize = 8192;
/// Longest list of a setting.
const MAX_LIST: usize = 1024;
/// Bounds of a time limit of an attempt, in seconds.
const LIMIT: (f64, f64) = (0.05, 86_400.0);

/// Checks `raw` against `kind`. The error says what is wrong and what is allowed; it never repeats a secret.
pub(super) fn check(kind: &Kind, raw: &Raw) -> Result<Val, String> {
    match (kind, raw) {
        (Kind::Listen(_), Raw::Text(text)) => address(text).map(|_| Val::Text(text.clone())),
        (Kind::Text(_) | Kind::Path(_), Raw::Text(text)) => bounded_text(text).map(Val::Text),
        // What is added to requests often is a key.
        (Kind::Secret | Kind::Map, Raw::Text(text)) => {
            bounded_text(text).map(|text| Val::Secret(Secret::new(text)))
        }
        (Kind::Choice(names), Raw::Text(text)) => choice(names, text),
        (Kind::Flag(_) | Kind::MaybeFlag | Kind::FlagOrList, Raw::Flag(flag)) => {
            Ok(Val::Flag(*flag))
        }
        (Kind::Int(_, low, high), Raw::Whole(text)) => whole(text, *low, *high).map(Val::Int),
        (Kind::NumberMap, Raw::Whole(text)) => whole(text, 1, 1 << 40).map(Val::Int),
        (Kind::Millis(_, low, high), Raw::Whole(text)) => {
            whole(text, *low, *high).map(|n| Val::Time(Duration::from_millis(n)))
        }
        (Kind::Secs(_, low, high), Raw::Whole(_) | Raw::Number(_)) => seconds(raw, *low, *high),
        (Kind::Limit(..), Raw::Whole(_) | Raw::Number(_)) => seconds(raw, LIMIT.0, LIMIT.1),
        (Kind::List(_) | Kind::FlagOrList, Raw::List(items)) => list(items),
        _ => Err(format!("must be {}, not {}", wanted(kind), raw.type_name())),
    }
}

/// The value of a setting that nobody gave; `None` when it is then unset. `antigravity` picks the default of a limit.
pub(super) fn default_of(kind: &Kind, antigravity: bool) -> Option<Val> {
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).ok().map(Val::Time);
    match kind {
        Kind::Text(text) | Kind::Listen(text) | Kind::Path(text) => {
            Some(Val::Text((*text).to_owned()))
        }
        Kind::Choice(names) => names.first().map(|name| Val::Text((*name).to_owned())),
        Kind::Flag(flag) => Some(Val::Flag(*flag)),
        Kind::Int(number, ..) => Some(Val::Int(*number)),
        Kind::Millis(number, ..) => Some(Val::Time(Duration::from_millis(*number))),
        Kind::Secs(seconds, ..) => time(*seconds),
        Kind::Limit(first, _) if antigravity => time(*first),
        Kind::Limit(_, second) => time(*second),
        Kind::List(items) => Some(Val::List(
            items.iter().map(|item| (*item).to_owned()).collect(),
        )),
        Kind::MaybeFlag | Kind::Secret | Kind::Map | Kind::NumberMap | Kind::FlagOrList => None,
    }
}

/// What a kind takes, in words.
pub(super) fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text(_) | Kind::Secret | Kind::Map | Kind::Choice(_) => "text",
        Kind::Listen(_) => "an address with a port",
        Kind::Path(_) => "a path",
        Kind::Flag(_) | Kind::MaybeFlag => "true or false",
        Kind::Int(..) => "a whole number",
        Kind::Millis(..) => "a whole number of milliseconds",
        Kind::Secs(..) | Kind::Limit(..) => "a number of seconds",
        Kind::List(_) => "a list of texts",
        Kind::NumberMap => "a whole number, or a table from model to whole number",
        Kind::FlagOrList => "true, false, or a list of texts",
    }
}

/// An address to listen on. `localhost` is 127.0.0.1; other names are not resolved, and port 0 could not be told to
/// clients.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let parsed = match text.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    match parsed {
        Some(address) => Ok(address),
        None => Err(format!(
            "must be an address and a port up to 65535 (0 takes a free one), such as 0.0.0.0:8180, not {}",
            short(text)
        )),
    }
}

fn bounded_text(text: &str) -> Result<String, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("is longer than {MAX_TEXT} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn choice(names: &[&'static str], text: &str) -> Result<Val, String> {
    if names.contains(&text) {
        return Ok(Val::Text(text.to_owned()));
    }
    let all: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    Err(format!(
        "must be {}{}",
        all.join(" or "),
        hint(text, names.iter().copied())
    ))
}

fn whole(text: &str, low: u64, high: u64) -> Result<u64, String> {
    // i128 holds every u64 and every negative number that anyone would write.
    match text
        .parse::<i128>()
        .ok()
        .and_then(|n| u64::try_from(n).ok())
    {
        Some(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(format!(
            "must be between {low} and {high}, not {}",
            short(text)
        )),
    }
}

fn seconds(raw: &Raw, low: f64, high: f64) -> Result<Val, String> {
    let (number, text) = match raw {
        Raw::Whole(text) => (text.parse::<f64>().unwrap_or(f64::NAN), short(text)),
        Raw::Number(number) => (*number, number.to_string()),
        _ => (f64::NAN, raw.type_name().to_owned()),
    };
    if !(low..=high).contains(&number) {
        return Err(format!(
            "must be between {low} and {high} seconds, not {text}"
        ));
    }
    Duration::try_from_secs_f64(number)
        .map(Val::Time)
        .map_err(|error| error.to_string())
}

fn list(items: &[Raw]) -> Result<Val, String> {
    if items.len() > MAX_LIST {
        return Err(format!("has more than {MAX_LIST} entries"));
    }
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Raw::Text(text) => texts.push(bounded_text(text)?),
            other => {
                return Err(format!(
                    "must be a list of texts, but holds {}",
                    other.type_name()
                ));
            }
        }
    }
    Ok(Val::List(texts))
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
