//! `GET /health`, `/account-limits` and `/v1/models` as text, byte for byte
//! (antigravity.md sections 3 to 5).

use super::accounts::{Account, AccountStatus, Limit, Quota};
use super::{Generation, Sim, State, iso, js, js_number, js_opt, now_ms};

fn listed(model: &str) -> bool {
    model.contains("claude") || model.contains("gemini")
}

fn quota_json(quota: &Quota, generation: Generation) -> String {
    let fraction = match (quota.remaining_fraction, generation) {
        // 2.7.7 applies the null rule itself, 2.0.4 shows what Google left out.
        (None, Generation::V2_7) if quota.reset_time.is_some() => Some(0.0),
        (fraction, _) => fraction,
    };
    let remaining = fraction.map_or("N/A".to_owned(), |f| format!("{:.0}%", (f * 100.0).round()));
    format!(
        "{{\"remaining\":\"{remaining}\",\"remainingFraction\":{},\"resetTime\":{}}}",
        fraction.map_or("null".to_owned(), js_number),
        js_opt(quota.reset_time.as_deref()),
    )
}

fn quotas_json(account: &Account, generation: Generation) -> String {
    let quotas = account.quotas.iter().filter(|(model, _)| listed(model));
    let parts: Vec<String> = quotas
        .map(|(model, quota)| format!("{}:{}", js(model), quota_json(quota, generation)))
        .collect();
    format!("{{{}}}", parts.join(","))
}

fn limits_json(account: &Account, generation: Generation, now: u64) -> String {
    let one = |(model, limit): (&String, &Limit)| {
        let active = limit.until > now;
        let reset = if active {
            limit.until.to_string()
        } else {
            "null".to_owned()
        };
        let actual = match generation {
            Generation::V2_7 if active => format!(",\"actualResetMs\":{}", limit.actual_ms),
            _ => String::new(),
        };
        format!(
            "{}:{{\"isRateLimited\":{active},\"resetTime\":{reset}{actual}}}",
            js(model)
        )
    };
    let parts: Vec<String> = account.limits.iter().map(one).collect();
    format!("{{{}}}", parts.join(","))
}

fn last_used(account: &Account) -> String {
    js_opt(account.last_used.map(iso).as_deref())
}

impl State {
    /// The account part of `/health`, with its counts.
    fn account_details(&self, generation: Generation) -> (String, [usize; 4]) {
        let now = now_ms();
        let limited = |a: &Account| a.limits.values().any(|limit| limit.until > now);
        let details: Vec<String> = self
            .accounts
            .iter()
            .map(|account| {
                let active = account.limits.values().map(|limit| limit.until);
                let soonest = active.filter(|until| *until > now).min();
                let head = format!(
                    "{{\"email\":{},\"lastUsed\":{},\"modelRateLimits\":{},\"rateLimitCooldownRemaining\":{}",
                    js(&account.email),
                    last_used(account),
                    limits_json(account, generation, now),
                    soonest.map_or(0, |until| until - now),
                );
                let tail = match account.status {
                    AccountStatus::Invalid | AccountStatus::Error => {
                        let name = if account.status == AccountStatus::Error {
                            "error"
                        } else {
                            "invalid"
                        };
                        format!(
                            "\"status\":\"{name}\",\"error\":{},\"models\":{{}}}}",
                            js(&account.error_text())
                        )
                    }
                    _ => format!(
                        "\"status\":\"{}\",\"models\":{}}}",
                        if soonest.is_some() { "rate-limited" } else { "ok" },
                        quotas_json(account, generation)
                    ),
                };
                format!("{head},{tail}")
            })
            .collect();
        let invalid = |a: &&Account| a.status == AccountStatus::Invalid;
        let counts = [
            self.accounts.len(),
            self.accounts
                .iter()
                .filter(|a| a.enabled() && !invalid(a))
                .count(),
            self.accounts.iter().filter(|a| limited(a)).count(),
            self.accounts.iter().filter(invalid).count(),
        ];
        (details.join(","), counts)
    }
}

impl Sim {
    /// The body of `GET /health`; `began` is when the request came, in unix milliseconds.
    pub(super) fn health_json(&self, began: u64) -> String {
        let (accounts, [total, available, limited, invalid]) =
            self.state().account_details(self.config.generation);
        let now = now_ms();
        format!(
            "{{\"status\":\"ok\",\"timestamp\":\"{}\",\"latencyMs\":{},\
             \"summary\":\"{total} total, {available} available, {limited} rate-limited, {invalid} invalid\",\
             \"counts\":{{\"total\":{total},\"available\":{available},\"rateLimited\":{limited},\"invalid\":{invalid}}},\
             \"accounts\":[{accounts}]}}",
            iso(now),
            now.saturating_sub(began),
        )
    }

    /// The body of `GET /account-limits`.
    pub(super) fn account_limits_json(&self) -> String {
        let generation = self.config.generation;
        let state = self.state();
        let now = now_ms();
        let mut names: Vec<&String> = state
            .accounts
            .iter()
            .flat_map(|a| a.quotas.keys())
            .collect();
        names.retain(|model| listed(model));
        names.sort();
        names.dedup();
        let accounts: Vec<String> = state
            .accounts
            .iter()
            .map(|account| {
                let invalid = account.status == AccountStatus::Invalid;
                let failed = invalid || account.status == AccountStatus::Error;
                let (status, error) = match account.status {
                    AccountStatus::Invalid => ("invalid", Some(account.error_text())),
                    AccountStatus::Error => ("error", Some(account.error_text())),
                    _ => ("ok", None),
                };
                let limit = |model: &&String| {
                    let quota = account.quotas.get(*model);
                    let quota = quota.map_or("null".to_owned(), |q| quota_json(q, generation));
                    format!("{}:{quota}", js(model))
                };
                let limits: Vec<String> = match failed {
                    true => Vec::new(),
                    false => names.iter().map(limit).collect(),
                };
                format!(
                    "{{\"email\":{},\"status\":\"{status}\",\"error\":{},\"source\":\"oauth\",\
                     \"enabled\":{},\"projectId\":\"sim-project\",\"isInvalid\":{invalid},\
                     \"invalidReason\":{},\"lastUsed\":{},\"modelRateLimits\":{},\
                     \"subscription\":{{\"tier\":\"pro\",\"projectId\":\"sim-project\",\"detectedAt\":{now}}},\
                     \"limits\":{{{}}}}}",
                    js(&account.email),
                    js_opt(error.as_deref()),
                    account.enabled(),
                    js_opt(error.as_deref().filter(|_| invalid)),
                    last_used(account),
                    limits_json(account, generation, now),
                    limits.join(","),
                )
            })
            .collect();
        let models: Vec<String> = names.iter().map(|model| js(model)).collect();
        let stamp = jiff::Timestamp::now().strftime("%-m/%-d/%Y, %-I:%M:%S %p");
        format!(
            "{{\"timestamp\":\"{stamp}\",\"totalAccounts\":{},\"models\":[{}],\"modelConfig\":{{}},\"accounts\":[{}]}}",
            accounts.len(),
            models.join(","),
            accounts.join(",")
        )
    }

    /// The body of `GET /v1/models`, or none when no account can list them.
    pub(super) fn models_json(&self) -> Option<String> {
        let able = |a: &Account| matches!(a.status, AccountStatus::Ok | AccountStatus::RateLimited);
        if !self.state().accounts.iter().any(able) {
            return None;
        }
        let created = now_ms() / 1_000;
        let models = self.config.models.iter().filter(|model| listed(model));
        let data: Vec<String> = models
            .map(|model| {
                format!(
                    "{{\"id\":{id},\"object\":\"model\",\"created\":{created},\"owned_by\":\"anthropic\",\"description\":{id}}}",
                    id = js(model)
                )
            })
            .collect();
        Some(format!(
            "{{\"object\":\"list\",\"data\":[{}]}}",
            data.join(",")
        ))
    }
}
