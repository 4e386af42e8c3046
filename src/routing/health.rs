//! Reads the body of a 200 answer to GET /health (antigravity.md section 3).
//!
//! Null rule: `remainingFraction` null or missing with a resetTime counts as 0, without as
//! unknown. Every account that answered is kept, never only the first; accounts in error say
//! nothing about quotas. Without an `accounts` array the quotas are unknown, which is no error.
//! The body is hostile: accounts, models and name lengths are bounded.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Millis, text};

/// More accounts than anyone has.
const MAX_ACCOUNTS: usize = 1000;
/// More models than any upstream lists, over all accounts.
pub(super) const MAX_MODELS: usize = 1000;
/// The longest model name or e-mail, in bytes.
const MAX_NAME: usize = 256;

/// What a successful poll showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Health {
    /// No `accounts` array: this upstream does not tell quotas.
    Unknown,
    /// Quotas per account.
    Known(Report),
}

/// The accounts, and for each model what each account that answered said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// All accounts, in the upstream's order.
    pub accounts: Vec<Account>,
    /// Readings by model, one per account that answered and lists the model.
    pub models: HashMap<Arc<str>, Vec<Reading>>,
}

/// One account, for the admin view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Account {
    /// Masked: `a***@example.com`.
    pub email: String,
    /// `ok`, `rate-limited`, `invalid`, `error`, `banned`, or what a later version says.
    pub status: String,
    /// Models that the upstream itself holds back for this account, and until when.
    #[serde(skip)]
    pub limited: Vec<(String, Option<Millis>)>,
}

impl Account {
    /// Whether a request could be served by it.
    #[must_use]
    pub fn works(&self) -> bool {
        self.status == "ok" || self.status == "rate-limited"
    }
}

/// What one account has left of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// 0 to 1; `None` when unknown.
    pub fraction: Option<f64>,
    /// When it is full again.
    pub reset: Option<Millis>,
}

/// Reads the body of a 200. `received` is when it came: limits that ended before are left out.
///
/// # Errors
/// When it is not a JSON object: what is wrong, without quoting the body.
pub fn parse(body: &[u8], received: Millis) -> Result<Health, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("/health is not JSON: {error}"))?;
    let Value::Object(top) = value else {
        return Err("/health is JSON, but not an object".to_owned());
    };
    let Some(Value::Array(accounts)) = top.get("accounts") else {
        return Ok(Health::Unknown);
    };
    let mut report = Report::default();
    for account in accounts.iter().take(MAX_ACCOUNTS) {
        if let Value::Object(account) = account {
            read_account(account, received, &mut report);
        }
    }
    Ok(Health::Known(report))
}

fn read_account(account: &Map<String, Value>, received: Millis, report: &mut Report) {
    let string = |key: &str| account.get(key).and_then(Value::as_str).unwrap_or("");
    let status = short(string("status")).unwrap_or("unknown");
    report.accounts.push(Account {
        email: mask_email(string("email")),
        status: if status.is_empty() { "unknown" } else { status }.to_owned(),
        limited: limits(account, received),
    });
    if matches!(status, "error" | "invalid" | "banned") {
        return;
    }
    let Some(Value::Object(models)) = account.get("models") else {
        return;
    };
    for (name, quota) in models.iter().take(MAX_MODELS) {
        let (Some(name), Value::Object(quota)) = (short(name), quota) else {
            continue;
        };
        if let Some(readings) = report.models.get_mut(name) {
            readings.push(read_quota(quota));
        } else if report.models.len() < MAX_MODELS {
            report
                .models
                .insert(Arc::from(name), vec![read_quota(quota)]);
        }
    }
}

fn read_quota(quota: &Map<String, Value>) -> Reading {
    let reset = quota.get("resetTime").and_then(read_time);
    let fraction = match quota.get("remainingFraction") {
        None | Some(Value::Null) => reset.map(|_| 0.0),
        Some(value) => value.as_f64().map(|f| f.clamp(0.0, 1.0)),
    };
    Reading { fraction, reset }
}

/// ISO text, or epoch milliseconds as in `modelRateLimits`.
fn read_time(value: &Value) -> Option<Millis> {
    match value {
        Value::String(text) => text::parse_iso(text),
        Value::Number(ms) => ms.as_u64(),
        _ => None,
    }
}

fn limits(account: &Map<String, Value>, received: Millis) -> Vec<(String, Option<Millis>)> {
    let Some(Value::Object(limits)) = account.get("modelRateLimits") else {
        return Vec::new();
    };
    let active = limits.iter().filter_map(|(model, limit)| {
        // An expired entry stays as `{"isRateLimited":false,"resetTime":null}`.
        let until = limit.get("resetTime").and_then(read_time);
        let active = limit.get("isRateLimited").and_then(Value::as_bool)?
            && until.is_none_or(|until| until > received);
        active.then_some((short(model)?.to_owned(), until))
    });
    active.take(64).collect()
}

fn short(name: &str) -> Option<&str> {
    (name.len() <= MAX_NAME).then_some(name)
}

/// `alice@example.com` as `a***@example.com`; what is no address keeps its first letter.
#[must_use]
pub fn mask_email(email: &str) -> String {
    let clean = |c: &char| !c.is_control();
    let first: String = email.chars().filter(clean).take(1).collect();
    match email.rsplit_once('@') {
        Some((name, domain)) if !name.is_empty() => {
            let domain: String = domain.chars().filter(clean).take(100).collect();
            format!("{first}***@{domain}")
        }
        _ => format!("{first}***"),
    }
}
