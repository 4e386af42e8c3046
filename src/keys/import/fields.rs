//! The fields of one key of the Python proxy, in their usual spellings.
//!
//! Where a field that restricts a key cannot be read, the key is taken over switched off: a
//! restriction is never lost silently.

use serde_json::{Map, Value};

use crate::keys::input;
use crate::keys::record::{MAX_MILLIS, Totals, parse_time};

pub(super) const CREATED: [&str; 4] = ["created_at", "created", "createdAt", "creation_time"];
pub(super) const LAST_USED: [&str; 5] = [
    "last_used_at",
    "last_used",
    "lastUsed",
    "last_seen",
    "last_request_at",
];
const EXPIRES: [&str; 6] = [
    "expires_at",
    "expires",
    "expiresAt",
    "expiry",
    "expiration",
    "valid_until",
];
const MODELS: [&str; 5] = [
    "models",
    "allowed_models",
    "allowedModels",
    "model_whitelist",
    "model",
];
const ON: [&str; 5] = ["enabled", "active", "is_active", "is_enabled", "isActive"];
const OFF: [&str; 7] = [
    "disabled",
    "is_disabled",
    "inactive",
    "revoked",
    "blocked",
    "banned",
    "deleted",
];
const OFF_SINCE: [&str; 3] = ["disabled_at", "revoked_at", "deleted_at"];
const STATE: [&str; 2] = ["status", "state"];
const ADMIN: [&str; 3] = ["admin", "is_admin", "isAdmin"];
const LIMIT_WORDS: [&str; 6] = ["limit", "quota", "rpm", "tpm", "budget", "concurren"];
const NESTED_USAGE: [&str; 8] = [
    "usage",
    "stats",
    "statistics",
    "totals",
    "total",
    "total_usage",
    "counters",
    "metrics",
];
/// Token counts beyond this are no counts: the largest whole number that JSON carries safely.
const MAX_COUNT: u64 = 1 << 53;
/// From here on a number of time is milliseconds: as seconds it would be the year 5138.
const MILLIS_FROM: f64 = 1e11;

const REQUESTS: [&str; 8] = [
    "requests",
    "total_requests",
    "request_count",
    "requests_count",
    "num_requests",
    "totalRequests",
    "requestCount",
    "calls",
];
const ERRORS: [&str; 5] = [
    "errors",
    "total_errors",
    "error_count",
    "failed_requests",
    "failures",
];
const FALLBACKS: [&str; 3] = ["fallbacks", "total_fallbacks", "fallback_count"];
const ABORTED: [&str; 2] = ["aborted", "aborted_requests"];
const INPUT: [&str; 8] = [
    "input_tokens",
    "total_input_tokens",
    "prompt_tokens",
    "total_prompt_tokens",
    "tokens_in",
    "inputTokens",
    "totalInputTokens",
    "input",
];
const OUTPUT: [&str; 8] = [
    "output_tokens",
    "total_output_tokens",
    "completion_tokens",
    "total_completion_tokens",
    "tokens_out",
    "outputTokens",
    "totalOutputTokens",
    "output",
];
const CACHE_READ: [&str; 5] = [
    "cache_read_input_tokens",
    "total_cache_read_input_tokens",
    "cache_read_tokens",
    "total_cache_read_tokens",
    "cached_tokens",
];
const CACHE_CREATION: [&str; 4] = [
    "cache_creation_input_tokens",
    "total_cache_creation_input_tokens",
    "cache_creation_tokens",
    "cache_write_tokens",
];

type Object = Map<String, Value>;

fn present<'a>(object: &'a Object, names: &'a [&str]) -> impl Iterator<Item = &'a Value> {
    names
        .iter()
        .filter_map(|n| object.get(*n))
        .filter(|v| !v.is_null())
}

/// How a flag was spelt: as the truth of its field, or as a state that stands for itself.
enum Flag {
    Truth(bool),
    State(bool),
}

fn flag(value: &Value) -> Option<Flag> {
    match value {
        Value::Bool(b) => Some(Flag::Truth(*b)),
        Value::Number(n) if n.as_f64() == Some(0.0) => Some(Flag::Truth(false)),
        Value::Number(n) if n.as_f64() == Some(1.0) => Some(Flag::Truth(true)),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" | "t" => Some(Flag::Truth(true)),
            "false" | "no" | "n" | "off" | "0" | "f" | "" => Some(Flag::Truth(false)),
            "active" | "enabled" | "enable" | "ok" | "valid" => Some(Flag::State(true)),
            "inactive" | "disabled" | "disable" | "revoked" | "blocked" | "banned" | "deleted"
            | "suspended" => Some(Flag::State(false)),
            _ => None,
        },
        _ => None,
    }
}

/// On unless one of the fields says, or might say, off.
pub(super) fn enabled(object: &Object, warn: &mut dyn FnMut(&str)) -> bool {
    let on = |value: &Value| match flag(value)? {
        Flag::Truth(b) | Flag::State(b) => Some(b),
    };
    let off = |value: &Value| match flag(value)? {
        Flag::Truth(b) => Some(!b),
        Flag::State(b) => Some(b),
    };
    let said: Vec<Option<bool>> = present(object, &ON)
        .chain(present(object, &STATE))
        .map(on)
        .chain(present(object, &OFF).map(off))
        .collect();
    if said.iter().any(Option::is_none) {
        warn(
            "it cannot be read whether the key is on, so it was taken over disabled; enable it if it should be on",
        );
        return false;
    }
    let since =
        present(object, &OFF_SINCE).any(|v| v.as_str() != Some("") && v.as_u64() != Some(0));
    !since && said.iter().all(|s| *s == Some(true))
}

/// The allow-list, empty for "all"; `None` when there is one that cannot be kept.
pub(super) fn models(object: &Object, warn: &mut dyn FnMut(&str)) -> Option<Vec<String>> {
    let Some(value) = present(object, &MODELS).next() else {
        return Some(Vec::new());
    };
    let list = match value {
        Value::String(text) => Some(
            text.split(',')
                .map(|m| m.trim().to_owned())
                .filter(|m| !m.is_empty())
                .collect(),
        ),
        other => input::strings("models", other).ok(),
    };
    let list = list.map(|mut list: Vec<String>| {
        if list
            .iter()
            .any(|m| m == "*" || m.eq_ignore_ascii_case("all"))
        {
            list.clear();
        }
        list
    });
    let kept = list.and_then(|list| input::models(list).ok());
    if kept.is_none() {
        warn(
            "its list of models cannot be read, so it was taken over disabled; set models and enable it",
        );
    }
    kept
}

/// The expiry; `None` when there is one that cannot be read.
pub(super) fn expires_at(object: &Object, warn: &mut dyn FnMut(&str)) -> Option<Option<u64>> {
    let Some(value) = present(object, &EXPIRES).next() else {
        return Some(None);
    };
    let never = match value {
        Value::String(text) => matches!(
            text.trim().to_ascii_lowercase().as_str(),
            "" | "never" | "none" | "0"
        ),
        Value::Number(n) => n.as_f64().is_some_and(|n| n <= 0.0),
        other => *other == Value::Bool(false),
    };
    if never {
        return Some(None);
    }
    let time = time(value);
    if time.is_none() {
        warn(
            "its expiry cannot be read, so it was taken over disabled; set expires_at and enable it",
        );
    }
    time.map(Some)
}

pub(super) fn time_of(object: &Object, names: &[&str]) -> Option<u64> {
    present(object, names).find_map(time)
}

/// Seconds or milliseconds since 1970, RFC 3339, or Python's isoformat without a zone, as UTC.
fn time(value: &Value) -> Option<u64> {
    match value {
        Value::Number(n) => time_number(n.as_f64()?),
        Value::String(text) => {
            let text = text.trim();
            let local = || {
                let civil: jiff::civil::DateTime = text.parse().ok()?;
                let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
                u64::try_from(zoned.timestamp().as_millisecond())
                    .ok()
                    .filter(|ms| *ms <= MAX_MILLIS)
            };
            parse_time(text)
                .or_else(|| time_number(text.parse().ok()?))
                .or_else(local)
        }
        _ => None,
    }
}

fn time_number(number: f64) -> Option<u64> {
    let millis = if number >= MILLIS_FROM {
        number
    } else {
        number * 1000.0
    };
    // Within these bounds the cast is exact to the millisecond.
    (millis > 0.0 && millis <= MAX_MILLIS as f64).then_some(millis as u64)
}

/// Names what the old key had and Luna does not carry over.
pub(super) fn say_what_is_lost(object: &Object, warn: &mut dyn FnMut(&str)) {
    let role = object
        .get("role")
        .and_then(Value::as_str)
        .is_some_and(|r| r.eq_ignore_ascii_case("admin"));
    if role || present(object, &ADMIN).any(|v| matches!(flag(v), Some(Flag::Truth(true)))) {
        warn("was an admin key; it was taken over as an ordinary one");
    }
    let plain =
        |name: &str| name.len() <= 32 && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    let limits: Vec<&str> = object
        .iter()
        .filter(|(name, value)| plain(name) && !matches!(value, Value::Null | Value::Bool(false)))
        .map(|(name, _)| name.as_str())
        .filter(|name| {
            LIMIT_WORDS
                .iter()
                .any(|w| name.to_ascii_lowercase().contains(w))
        })
        .take(5)
        .collect();
    if !limits.is_empty() {
        warn(&format!(
            "limits are not yet supported and were left out: {}",
            limits.join(", ")
        ));
    }
}

/// Any running totals that can be read: among the key's own fields, else nested under one of the
/// usual names, else summed over one more level (by model or by day).
pub(super) fn usage(object: &Object, warn: &mut dyn FnMut(&str)) -> Totals {
    let mut odd = false;
    let mut found = totals(object, &mut odd);
    if found.is_none() {
        let nested: Vec<&Object> = present(object, &NESTED_USAGE)
            .filter_map(Value::as_object)
            .collect();
        found = nested
            .iter()
            .find_map(|o| totals(o, &mut odd).or_else(|| summed(o, &mut odd)));
    }
    if odd {
        warn("a usage total is no count and was taken as 0");
    }
    found.unwrap_or_default()
}

fn summed(object: &Object, odd: &mut bool) -> Option<Totals> {
    // A total beside its parts would count everything twice.
    if let Some(total) = present(object, &NESTED_USAGE).find_map(Value::as_object) {
        return totals(total, odd);
    }
    let parts: Vec<Totals> = object
        .values()
        .filter_map(Value::as_object)
        .filter_map(|part| totals(part, odd))
        .collect();
    parts.into_iter().reduce(|a, b| Totals {
        requests: a.requests.saturating_add(b.requests),
        errors: a.errors.saturating_add(b.errors),
        fallbacks: a.fallbacks.saturating_add(b.fallbacks),
        aborted: a.aborted.saturating_add(b.aborted),
        input_tokens: a.input_tokens.saturating_add(b.input_tokens),
        output_tokens: a.output_tokens.saturating_add(b.output_tokens),
        cache_read_input_tokens: a
            .cache_read_input_tokens
            .saturating_add(b.cache_read_input_tokens),
        cache_creation_input_tokens: a
            .cache_creation_input_tokens
            .saturating_add(b.cache_creation_input_tokens),
    })
}

fn totals(object: &Object, odd: &mut bool) -> Option<Totals> {
    let mut any = false;
    let mut count = |names: &[&str]| {
        let scalar = present(object, names).find(|v| v.is_number() || v.is_string());
        let Some(value) = scalar else { return 0 };
        any = true;
        let number = whole(value);
        *odd |= number.is_none();
        number.unwrap_or(0)
    };
    let totals = Totals {
        requests: count(&REQUESTS),
        errors: count(&ERRORS),
        fallbacks: count(&FALLBACKS),
        aborted: count(&ABORTED),
        input_tokens: count(&INPUT),
        output_tokens: count(&OUTPUT),
        cache_read_input_tokens: count(&CACHE_READ),
        cache_creation_input_tokens: count(&CACHE_CREATION),
    };
    any.then_some(totals)
}

/// A count written as a number, also as 12.0 or "12".
fn whole(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(n) => n.as_u64().or_else(|| {
            let float = n
                .as_f64()
                .filter(|f| *f >= 0.0 && f.fract() == 0.0 && *f <= MAX_COUNT as f64)?;
            Some(float as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|n| *n <= MAX_COUNT)
}
