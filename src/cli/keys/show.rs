//! Keys as a person reads them, from the admin API's JSON.

use serde::Deserialize;
use serde_json::Value;

use super::Action;
use crate::app::now;
use crate::cli::failure::Failure;
use crate::cli::out::printable;
use crate::cli::table::{fields, table};
use crate::routing::rfc3339;

/// KEY of the contract, as far as it is shown.
#[derive(Deserialize)]
struct Key {
    id: String,
    name: String,
    prefix: String,
    enabled: bool,
    permissions: Vec<String>,
    models: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    usage: Usage,
    /// The secret, where it was just made.
    key: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation_input_tokens: u64,
}

#[derive(Deserialize)]
struct List {
    keys: Vec<Key>,
}

impl Usage {
    fn tokens(&self) -> u64 {
        [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

impl Key {
    fn state(&self, now: u64) -> &'static str {
        // Both are RFC 3339 in UTC, but the fraction of a second may be left out: compare as times.
        let end = self
            .expires_at
            .as_deref()
            .and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let over =
            end.is_some_and(|end| u64::try_from(end.as_millisecond()).is_ok_and(|end| end <= now));
        match (self.enabled, over) {
            (false, _) => "disabled",
            (true, true) => "expired",
            (true, false) => "enabled",
        }
    }

    fn who(&self) -> String {
        format!("{} ({})", printable(&self.name), printable(&self.id))
    }
}

/// What to print after `action`; `url` is where clients ask.
pub(super) fn render(action: &Action, json: &Value, url: &str) -> Result<String, Failure> {
    render_at(action, json, url, now())
}

/// The same at a given time, unix milliseconds.
pub(super) fn render_at(
    action: &Action,
    json: &Value,
    url: &str,
    now: u64,
) -> Result<String, Failure> {
    if matches!(action, Action::List) {
        return Ok(list(&read::<List>(json)?.keys, now));
    }
    let key: Key = read(json)?;
    Ok(match action {
        Action::List | Action::Show { .. } => detail(&key, now),
        Action::Create(_) => format!("made key {}\n{}", key.who(), secret(&key, url)?),
        Action::Rotate { grace, .. } => {
            let old = if grace.is_zero() {
                "its old secret is refused from now on".to_owned()
            } else {
                let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                format!(
                    "its old secret works until {}",
                    rfc3339(now.saturating_add(millis))
                )
            };
            format!(
                "key {} has a new secret; {old}\n{}",
                key.who(),
                secret(&key, url)?
            )
        }
        Action::Disable { .. } => format!(
            "key {} is disabled: its next request is refused\n",
            key.who()
        ),
        Action::Enable { .. } if key.state(now) == "expired" => {
            format!(
                "key {} is enabled, but it has expired and is refused\n",
                key.who()
            )
        }
        Action::Enable { .. } => format!("key {} is enabled\n", key.who()),
        Action::Delete { .. } => format!("key {} is deleted\n", key.who()),
    })
}

fn read<'a, T: Deserialize<'a>>(json: &'a Value) -> Result<T, Failure> {
    T::deserialize(json).map_err(|e| {
        Failure::new(format!(
            "the answer is not as expected ({e}); is the gateway of another version?"
        ))
    })
}

fn list(keys: &[Key], now: u64) -> String {
    if keys.is_empty() {
        return "no keys yet; make one with: luna keys create NAME\n".to_owned();
    }
    let row = |key: &Key| {
        vec![
            key.id.clone(),
            key.name.clone(),
            format!("{}...", key.prefix),
            key.state(now).to_owned(),
            models(key),
            key.last_used_at
                .clone()
                .unwrap_or_else(|| "never".to_owned()),
            key.usage.requests.to_string(),
            key.usage.tokens().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    table(
        &[
            "ID",
            "NAME",
            "SECRET",
            "STATE",
            "MODELS",
            "LAST USED",
            "REQUESTS",
            "TOKENS",
        ],
        &rows,
    )
}

fn models(key: &Key) -> String {
    if key.models.is_empty() {
        "all".to_owned()
    } else {
        key.models.join(",")
    }
}

fn detail(key: &Key, now: u64) -> String {
    let permissions = if key.permissions.is_empty() {
        "none besides".to_owned()
    } else {
        key.permissions.join(",")
    };
    fields(&[
        ("id", key.id.clone()),
        ("name", key.name.clone()),
        (
            "secret",
            format!("{}... (only its hash is kept)", key.prefix),
        ),
        ("state", key.state(now).to_owned()),
        ("models", models(key)),
        ("permissions", permissions),
        ("created", key.created_at.clone()),
        (
            "expires",
            key.expires_at.clone().unwrap_or_else(|| "never".to_owned()),
        ),
        (
            "last used",
            key.last_used_at
                .clone()
                .unwrap_or_else(|| "never".to_owned()),
        ),
        ("requests", key.usage.requests.to_string()),
        ("tokens", key.usage.tokens().to_string()),
    ])
}

/// The secret, and how to use it.
fn secret(key: &Key, url: &str) -> Result<String, Failure> {
    let Some(secret) = &key.key else {
        return Err(Failure::new(
            "the answer has no secret; rotate the key for a new one",
        ));
    };
    let (secret, url) = (printable(secret), printable(url));
    Ok(format!(
        "\nkey    {secret}\nurl    {url}\n\nThe key is shown this once: only its hash is kept. To use it, for instance:\n\n\
         export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={secret}\n\
         curl -s {url}/v1/models -H 'x-api-key: {secret}'\n"
    ))
}
