//! Scripting the simulator from within the process; `orders` does the same over HTTP.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::accounts::{self, AccountStatus, Quota, SimAccount};
use super::faults::{self, Fault, FaultState};
use super::ledger::{Entry, LedgerView, Totals};
use super::shape::Shape;
use super::{Sim, State};

/// Most accounts and models that may be set.
const MAX_NAMES: usize = 10_000;

/// What is wrong with an order; written for whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlError(pub String);

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ControlError {}

/// In-process control.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Sim>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

fn no_account(email: &str) -> ControlError {
    ControlError(format!("no account {email:?}"))
}

impl Handle {
    pub(super) fn new(sim: Arc<Sim>) -> Self {
        Self(sim)
    }

    /// Sets what is left of `model` on the account with this e-mail.
    ///
    /// # Errors
    /// An unknown account, a fraction outside 0 to 1, a time that is none.
    pub fn set_quota(
        &self,
        account: &str,
        model: &str,
        remaining_fraction: Option<f64>,
        reset_time: Option<&str>,
    ) -> Result<(), ControlError> {
        let quota = Quota {
            remaining_fraction,
            reset_time: reset_time.map(str::to_owned),
        };
        quota.check().map_err(ControlError)?;
        self.account(account, |account| {
            if account.quotas.len() >= MAX_NAMES && !account.quotas.contains_key(model) {
                return Err(ControlError(format!("at most {MAX_NAMES} models")));
            }
            account.quotas.insert(model.to_owned(), quota);
            Ok(())
        })
    }

    /// Takes the quota entry away: the model is then absent from the account's `models`.
    ///
    /// # Errors
    /// An unknown account.
    pub fn remove_quota(&self, account: &str, model: &str) -> Result<(), ControlError> {
        self.account(account, |account| {
            account.quotas.remove(model);
            Ok(())
        })
    }

    fn account(
        &self,
        email: &str,
        change: impl FnOnce(&mut accounts::Account) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let mut state = self.0.state();
        let mut found = state.accounts.iter_mut().filter(|a| a.email == email);
        let account = found.next().ok_or_else(|| no_account(email))?;
        change(account)
    }

    /// Replaces all accounts; none is allowed.
    ///
    /// # Errors
    /// An e-mail twice, a bad quota.
    pub fn set_accounts(&self, accounts: &[SimAccount]) -> Result<(), ControlError> {
        if accounts.len() > MAX_NAMES {
            return Err(ControlError(format!("at most {MAX_NAMES} accounts")));
        }
        let mut emails = std::collections::BTreeSet::new();
        for account in accounts {
            if account.email.is_empty() || !emails.insert(&account.email) {
                let email = &account.email;
                return Err(ControlError(format!(
                    "account {email:?} is empty or there twice"
                )));
            }
            for (model, quota) in &account.quotas {
                let named = |error| ControlError(format!("{}, {model}: {error}", account.email));
                quota.check().map_err(named)?;
            }
        }
        self.0.state().accounts = accounts::fresh(accounts, &self.0.config.models);
        Ok(())
    }

    /// Changes the status of one account.
    ///
    /// # Errors
    /// An unknown account.
    pub fn set_account_status(
        &self,
        email: &str,
        status: AccountStatus,
        error: Option<&str>,
    ) -> Result<(), ControlError> {
        self.account(email, |account| {
            account.set_status(status, error.map(str::to_owned));
            Ok(())
        })
    }

    /// The accounts as they now are.
    pub fn accounts(&self) -> Vec<SimAccount> {
        let state = self.0.state();
        let shown = state.accounts.iter().map(|account| SimAccount {
            email: account.email.clone(),
            status: account.status,
            error: account.error.clone(),
            quotas: account.quotas.clone(),
        });
        shown.collect()
    }

    /// Replaces the whole script of faults and its counters.
    ///
    /// # Errors
    /// Names the fault that is wrong.
    pub fn set_faults(&self, faults: Vec<Fault>) -> Result<(), ControlError> {
        let script = faults::script(faults).map_err(ControlError)?;
        self.0.state().faults = script;
        Ok(())
    }

    /// The script and how far it has come.
    pub fn faults(&self) -> Vec<FaultState> {
        self.0.state().faults.clone()
    }

    /// Replaces the shapes of answers by model, `*` being every other model.
    ///
    /// # Errors
    /// A shape beyond its bounds.
    pub fn set_answers(&self, answers: BTreeMap<String, Shape>) -> Result<(), ControlError> {
        for (model, shape) in &answers {
            let named = |error| ControlError(format!("{model}: {error}"));
            shape.check().map_err(named)?;
        }
        self.0.state().answers = answers;
        Ok(())
    }

    /// What each served request takes from its quota.
    ///
    /// # Errors
    /// Not 0 to 1.
    pub fn set_drain(&self, drain: f64) -> Result<(), ControlError> {
        if !(0.0..=1.0).contains(&drain) {
            return Err(ControlError("drain must be 0 to 1".to_owned()));
        }
        self.0.state().drain = drain;
        Ok(())
    }

    /// Totals and kept entries.
    pub fn ledger(&self) -> LedgerView {
        self.0.ledger().view(0, usize::MAX)
    }

    /// The kept entries of the messages route, oldest first.
    pub fn messages(&self) -> Vec<Entry> {
        let mut entries = self.ledger().entries;
        entries.retain(|entry| entry.model.is_some());
        entries
    }

    /// Sums over all requests.
    pub fn totals(&self) -> Totals {
        self.0.ledger().totals().clone()
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> u64 {
        self.0.open_connections.load(Ordering::Relaxed)
    }

    /// The request body of entry `seq`, if `keep_bodies` has kept it.
    pub fn body(&self, seq: u64) -> Option<Bytes> {
        self.0.ledger().body(seq)
    }

    /// Accounts, quotas, faults, answers and drain as configured; the ledger empty, its count at
    /// 1 again. Requests in flight go on and are in no ledger.
    pub fn reset(&self) {
        *self.0.state() = State::fresh(&self.0.config);
        self.0.ledger().reset();
        self.0.changed.send_modify(|count| *count += 1);
    }

    /// Waits until the totals satisfy `condition`, which is asked anew whenever the ledger changes
    /// or a connection ends; false when `limit` was over first.
    pub async fn wait(&self, limit: Duration, mut condition: impl FnMut(&Totals) -> bool) -> bool {
        let mut changed = self.0.changed.subscribe();
        let wait = changed.wait_for(|_| condition(self.0.ledger().totals()));
        matches!(tokio::time::timeout(limit, wait).await, Ok(Ok(_)))
    }
}
