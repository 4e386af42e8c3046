//! Accounts, their quotas, and who serves a request (antigravity.md sections 3 and 9).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Generation, SimConfig, State, now_ms};

/// An account's state as `/health` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountStatus {
    /// Serves.
    #[default]
    Ok,
    /// Shown as limited for each of its models; still tried, as the real server does.
    RateLimited,
    /// Bad credentials.
    Invalid,
    /// Its quota call fails.
    Error,
    /// `enabled: false`: listed like an ok one, but never used.
    Disabled,
}

/// What is left of one model on one account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// 0 to 1; `None` is the field that Google left out.
    #[serde(default)]
    pub remaining_fraction: Option<f64>,
    /// ISO time, shown as it is given.
    #[serde(default)]
    pub reset_time: Option<String>,
}

impl Quota {
    /// Refuses what Google could not say.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(fraction) = self.remaining_fraction
            && !(0.0..=1.0).contains(&fraction)
        {
            return Err("remainingFraction must be 0 to 1 or null".to_owned());
        }
        match &self.reset_time {
            Some(text) if text.parse::<jiff::Timestamp>().is_err() => {
                Err("resetTime must be an ISO time with a zone, or null".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Nothing left? A missing fraction with a reset time means so (both generations' Google).
    fn is_out(&self) -> bool {
        match self.remaining_fraction {
            Some(fraction) => fraction <= 0.0,
            None => self.reset_time.is_some(),
        }
    }

    fn reset_ms(&self) -> Option<u64> {
        let stamp: jiff::Timestamp = self.reset_time.as_ref()?.parse().ok()?;
        u64::try_from(stamp.as_millisecond()).ok()
    }
}

/// An account to start with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimAccount {
    /// Names it everywhere.
    pub email: String,
    /// How it stands.
    #[serde(default)]
    pub status: AccountStatus,
    /// The text that goes with `invalid` and `error`.
    #[serde(default)]
    pub error: Option<String>,
    /// Quotas by model; empty: every configured model, full. A model that is not named while
    /// others are has no quota entry and is absent from `/health`, yet it serves.
    #[serde(default, rename = "models")]
    pub quotas: BTreeMap<String, Quota>,
}

impl SimAccount {
    /// A healthy account with every model at full quota.
    pub fn new(email: &str) -> Self {
        Self {
            email: email.to_owned(),
            status: AccountStatus::Ok,
            error: None,
            quotas: BTreeMap::new(),
        }
    }
}

/// A cooldown that the server itself remembers.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    pub(super) until: u64,
    pub(super) actual_ms: u64,
}

pub(super) struct Account {
    pub(super) email: String,
    pub(super) status: AccountStatus,
    pub(super) error: Option<String>,
    pub(super) quotas: BTreeMap<String, Quota>,
    pub(super) last_used: Option<u64>,
    pub(super) limits: BTreeMap<String, Limit>,
}

impl Account {
    pub(super) fn set_status(&mut self, status: AccountStatus, error: Option<String>) {
        self.status = status;
        self.error = error;
        self.limits.clear();
        if status == AccountStatus::RateLimited {
            let until = now_ms() + 60_000;
            let limit = Limit {
                until,
                actual_ms: 60_000,
            };
            let models = self.quotas.keys().cloned();
            self.limits = models.map(|model| (model, limit.clone())).collect();
        }
    }

    fn usable(&self) -> bool {
        matches!(self.status, AccountStatus::Ok | AccountStatus::RateLimited)
    }

    pub(super) fn enabled(&self) -> bool {
        self.status != AccountStatus::Disabled
    }

    pub(super) fn error_text(&self) -> String {
        self.error.clone().unwrap_or_else(|| match self.status {
            AccountStatus::Invalid => {
                "Token refresh failed: {\"error\":\"invalid_grant\"}".to_owned()
            }
            _ => "Failed to fetch available models from all endpoints".to_owned(),
        })
    }
}

pub(super) fn fresh(accounts: &[SimAccount], models: &[String]) -> Vec<Account> {
    let reset = super::iso(now_ms() + 5 * 3_600_000);
    // Google's times have whole seconds.
    let reset = format!("{}Z", reset.split('.').next().unwrap_or_default());
    let full = Quota {
        remaining_fraction: Some(1.0),
        reset_time: Some(reset),
    };
    let fresh_one = |given: &SimAccount| {
        let mut account = Account {
            email: given.email.clone(),
            status: AccountStatus::Ok,
            error: None,
            quotas: given.quotas.clone(),
            last_used: None,
            limits: BTreeMap::new(),
        };
        if account.quotas.is_empty() {
            let models = models.iter().cloned();
            account.quotas = models.map(|model| (model, full.clone())).collect();
        }
        account.set_status(given.status, given.error.clone());
        account
    };
    accounts.iter().map(fresh_one).collect()
}

/// What becomes of a request for one model.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// This account answers.
    Serve(String),
    /// Google does not know the model.
    UnknownModel,
    /// None is configured, or none is enabled and healthy.
    NoAccounts { configured: bool },
    /// All are invalid, with their reasons.
    AllInvalid(String),
    /// No usable account has any left.
    Exhausted {
        /// The soonest reset, in milliseconds from now, if one is known.
        reset_in: Option<u64>,
        /// How many accounts were tried.
        accounts: u64,
        /// 2.0.4 gives up at once when a disabled account stands by.
        at_once: bool,
    },
}

impl State {
    /// Decides, and takes the request's share from the quota when it is served.
    pub(super) fn choose(&mut self, model: &str, config: &SimConfig) -> Verdict {
        let known = config.models.iter().any(|name| name == model)
            || self.accounts.iter().any(|a| a.quotas.contains_key(model));
        if !known {
            return Verdict::UnknownModel;
        }
        let usable: Vec<&Account> = self.accounts.iter().filter(|a| a.usable()).collect();
        if usable.is_empty() {
            return self.nobody();
        }
        let out = |a: &&&Account| a.quotas.get(model).is_some_and(Quota::is_out);
        if usable.iter().filter(out).count() == usable.len() {
            let resets = usable.iter().filter_map(|a| a.quotas.get(model));
            let soonest = resets.filter_map(Quota::reset_ms).min();
            let verdict = Verdict::Exhausted {
                reset_in: soonest.map(|at| at.saturating_sub(now_ms())),
                accounts: usable.len() as u64,
                at_once: config.generation == Generation::V2_0
                    && self.accounts.iter().any(|a| !a.enabled()),
            };
            // Before asking Google again the server forgets all limits of all models.
            self.accounts.iter_mut().for_each(|a| a.limits.clear());
            return verdict;
        }
        let drain = self.drain;
        let serves =
            |a: &&mut Account| a.usable() && !a.quotas.get(model).is_some_and(Quota::is_out);
        let Some(account) = self.accounts.iter_mut().find(serves) else {
            return Verdict::NoAccounts { configured: true };
        };
        account.last_used = Some(now_ms());
        if let Some(fraction) = account
            .quotas
            .get_mut(model)
            .and_then(|quota| quota.remaining_fraction.as_mut())
        {
            *fraction = (*fraction - drain).clamp(0.0, 1.0);
        }
        Verdict::Serve(account.email.clone())
    }

    fn nobody(&self) -> Verdict {
        let invalid = |a: &Account| a.status == AccountStatus::Invalid;
        if self.accounts.is_empty() || !self.accounts.iter().all(invalid) {
            return Verdict::NoAccounts {
                configured: !self.accounts.is_empty(),
            };
        }
        let reasons: Vec<String> = self.accounts.iter().map(Account::error_text).collect();
        Verdict::AllInvalid(reasons.join(", "))
    }

    /// Remembers that `model` ran out: what `/health` then shows as `modelRateLimits`.
    pub(super) fn limit(&mut self, model: &str, ms: u64) {
        let limit = Limit {
            until: now_ms() + ms,
            actual_ms: ms,
        };
        for account in self.accounts.iter_mut().filter(|a| a.usable()) {
            account.limits.insert(model.to_owned(), limit.clone());
        }
    }
}
