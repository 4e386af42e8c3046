//! What the admin API takes: bodies checked field by field, with bounds.

use serde_json::{Map, Value};

use super::KeyError;
use super::record::parse_time;

pub(super) const MAX_NAME_CHARS: usize = 64;
const MAX_MODELS: usize = 200;
const MAX_MODEL_CHARS: usize = 200;
/// Longest grace of a rotation: 30 days.
const MAX_GRACE_S: u64 = 30 * 24 * 3600;
const PERMISSIONS: [&str; 1] = ["lark"];
/// Limits of a later version, known by name so that the answer is "not yet", not "unknown".
const LATER_LIMITS: [&str; 7] = [
    "rpm",
    "tpm",
    "concurrency",
    "daily_tokens",
    "monthly_tokens",
    "daily_usd",
    "monthly_usd",
];

/// Body of `POST /admin/keys`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewKey {
    pub name: String,
    pub models: Vec<String>,
    pub permissions: Vec<String>,
    /// Unix milliseconds.
    pub expires_at: Option<u64>,
}

impl NewKey {
    /// A key that may use every model and never expires.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Reads the body. A field that is `null` counts as absent; an unknown one is refused.
    pub fn from_json(body: &Value) -> Result<Self, KeyError> {
        let mut key = Self::default();
        let mut named = false;
        for (field, value) in object(body)? {
            match field.as_str() {
                "name" => {
                    named = true;
                    key.name = string("name", value)?;
                }
                _ if value.is_null() && NEW_FIELDS.contains(&field.as_str()) => {}
                "models" => key.models = strings("models", value)?,
                "permissions" => key.permissions = strings("permissions", value)?,
                "limits" => limits(value)?,
                "expires_at" => key.expires_at = Some(time("expires_at", value)?),
                other => {
                    return Err(unknown(
                        other,
                        "name, models, permissions, limits, expires_at",
                    ));
                }
            }
        }
        if !named {
            return Err(KeyError::invalid(
                "name",
                "is missing; send {\"name\": \"...\"}",
            ));
        }
        key.checked()
    }

    /// The same with its values in order, or what is wrong with them.
    pub(super) fn checked(mut self) -> Result<Self, KeyError> {
        self.name = name(&self.name)?;
        self.models = models(self.models)?;
        self.permissions = permissions(self.permissions)?;
        Ok(self)
    }
}

const NEW_FIELDS: [&str; 5] = ["name", "models", "permissions", "limits", "expires_at"];

/// Body of `PATCH /admin/keys/{key}`: what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPatch {
    pub name: Option<String>,
    pub models: Option<Vec<String>>,
    pub permissions: Option<Vec<String>>,
    /// `Some(None)` (JSON `null`) takes the expiry away. Unix milliseconds.
    pub expires_at: Option<Option<u64>>,
    pub enabled: Option<bool>,
}

impl KeyPatch {
    /// Reads the body. `null` empties `models`, `permissions`, `limits` and `expires_at`; an
    /// unknown field is refused.
    pub fn from_json(body: &Value) -> Result<Self, KeyError> {
        let mut patch = Self::default();
        for (field, value) in object(body)? {
            let empty = value.is_null();
            match field.as_str() {
                "name" => patch.name = Some(string("name", value)?),
                "models" if empty => patch.models = Some(Vec::new()),
                "models" => patch.models = Some(strings("models", value)?),
                "permissions" if empty => patch.permissions = Some(Vec::new()),
                "permissions" => patch.permissions = Some(strings("permissions", value)?),
                "limits" if empty => {}
                "limits" => limits(value)?,
                "expires_at" if empty => patch.expires_at = Some(None),
                "expires_at" => patch.expires_at = Some(Some(time("expires_at", value)?)),
                "enabled" => {
                    let flag = value.as_bool();
                    patch.enabled =
                        Some(flag.ok_or_else(|| {
                            KeyError::invalid("enabled", "must be true or false")
                        })?);
                }
                other => {
                    return Err(unknown(
                        other,
                        "name, models, permissions, limits, expires_at, enabled",
                    ));
                }
            }
        }
        patch.checked()
    }

    /// The same with its values in order, or what is wrong with them.
    pub(super) fn checked(mut self) -> Result<Self, KeyError> {
        self.name = self.name.map(|n| name(&n)).transpose()?;
        self.models = self.models.map(models).transpose()?;
        self.permissions = self.permissions.map(permissions).transpose()?;
        Ok(self)
    }
}

/// Body of `POST /admin/keys/{key}/rotate`: `{"grace_s"}`, a number of seconds, 0 when absent.
pub fn grace_from_json(body: &Value) -> Result<std::time::Duration, KeyError> {
    let mut grace = std::time::Duration::ZERO;
    for (field, value) in object(body)? {
        match field.as_str() {
            "grace_s" if value.is_null() => {}
            "grace_s" => {
                let seconds = value
                    .as_f64()
                    .filter(|s| (0.0..=MAX_GRACE_S as f64).contains(s));
                grace = seconds
                    .map(std::time::Duration::from_secs_f64)
                    .ok_or_else(grace_bounds)?;
            }
            other => return Err(unknown(other, "grace_s")),
        }
    }
    Ok(grace)
}

pub(super) fn grace(grace: std::time::Duration) -> Result<u64, KeyError> {
    if grace.as_secs_f64() > MAX_GRACE_S as f64 {
        return Err(grace_bounds());
    }
    u64::try_from(grace.as_millis()).map_err(|_| grace_bounds())
}

fn grace_bounds() -> KeyError {
    KeyError::invalid(
        "grace_s",
        format!("must be a number of seconds from 0 to {MAX_GRACE_S}"),
    )
}

/// A name: 1 to 64 characters that can be seen, no space around them.
pub(super) fn name(text: &str) -> Result<String, KeyError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_NAME_CHARS {
        return Err(KeyError::invalid(
            "name",
            format!("must have 1 to {MAX_NAME_CHARS} characters"),
        ));
    }
    if !text.chars().all(printable) {
        return Err(KeyError::invalid(
            "name",
            "must consist of printable characters",
        ));
    }
    Ok(text.to_owned())
}

/// Neither a control character nor one that is invisible or turns the text around it.
pub(super) fn printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

pub(super) fn models(list: Vec<String>) -> Result<Vec<String>, KeyError> {
    if list.len() > MAX_MODELS {
        return Err(KeyError::invalid(
            "models",
            format!("at most {MAX_MODELS} names or patterns"),
        ));
    }
    for model in &list {
        let length = model.chars().count();
        if length == 0
            || length > MAX_MODEL_CHARS
            || !model.chars().all(|c| printable(c) && !c.is_whitespace())
        {
            return Err(KeyError::invalid(
                "models",
                format!(
                    "each must be a name or `*` pattern of 1 to {MAX_MODEL_CHARS} printable characters without spaces"
                ),
            ));
        }
    }
    Ok(without_repeats(list))
}

pub(super) fn permissions(list: Vec<String>) -> Result<Vec<String>, KeyError> {
    match list.iter().find(|p| !PERMISSIONS.contains(&p.as_str())) {
        Some(other) => Err(KeyError::invalid(
            "permissions",
            format!("{} is unknown; there is only \"lark\"", quoted(other)),
        )),
        None => Ok(without_repeats(list)),
    }
}

pub(super) fn limits(value: &Value) -> Result<(), KeyError> {
    let Some(map) = value.as_object() else {
        return Err(KeyError::invalid("limits", "must be an object"));
    };
    match map.keys().next() {
        None => Ok(()),
        Some(limit) if LATER_LIMITS.contains(&limit.as_str()) => Err(KeyError::invalid(
            "limits",
            format!("{limit} is not yet supported; leave limits empty: {{}}"),
        )),
        Some(other) => Err(KeyError::invalid(
            "limits",
            format!("{} is unknown", quoted(other)),
        )),
    }
}

fn without_repeats(list: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(list.len());
    for item in list {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn object(body: &Value) -> Result<&Map<String, Value>, KeyError> {
    body.as_object()
        .ok_or_else(|| KeyError::invalid("body", "must be a JSON object"))
}

fn string(field: &str, value: &Value) -> Result<String, KeyError> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| KeyError::invalid(field, "must be a string"))
}

pub(super) fn strings(field: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let list: Option<Vec<String>> = value.as_array().and_then(|items| {
        items
            .iter()
            .map(|i| i.as_str().map(str::to_owned))
            .collect()
    });
    list.ok_or_else(|| KeyError::invalid(field, "must be a list of strings"))
}

fn time(field: &str, value: &Value) -> Result<u64, KeyError> {
    let parsed = value.as_str().and_then(parse_time);
    parsed.ok_or_else(|| {
        KeyError::invalid(
            field,
            "must be a time as in RFC 3339, such as \"2027-01-31T12:00:00Z\", or null",
        )
    })
}

fn unknown(field: &str, known: &str) -> KeyError {
    KeyError::invalid(
        quoted(field),
        format!("is not a field here; there are: {known}"),
    )
}

/// Foreign text in a message: short, and without control characters.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}
