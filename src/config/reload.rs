//! What a reload changes, by names alone.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::find;
use super::settings::Settings;

/// The difference between two settings. Names only, never values, so it can be logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// What differs and takes effect at once: `quota.poll_interval_s`, `upstreams.backup.api_key`, `chains.NAME`.
    pub changed: Vec<String>,
    /// What differs and takes effect only in a new process (`luna serve --upgrade`).
    pub needs_upgrade: Vec<String>,
}

impl Reload {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.needs_upgrade.is_empty()
    }
}

impl Settings {
    /// What differs between the running settings and new ones.
    pub fn diff(old: &Self, new: &Self) -> Reload {
        let mut reload = Reload::default();
        let names: BTreeSet<&String> = old.values.keys().chain(new.values.keys()).collect();
        for name in names {
            if old.values.get(name) == new.values.get(name) {
                continue;
            }
            let fixed = find(name).is_some_and(|setting| setting.needs_upgrade);
            let list = if fixed {
                &mut reload.needs_upgrade
            } else {
                &mut reload.changed
            };
            list.push(name.clone());
        }
        routes(old, new, &mut reload.changed);
        if old.usage.prices != new.usage.prices
            && !reload.changed.iter().any(|n| n == "usage.prices")
        {
            reload.changed.push("usage.prices".to_owned());
        }
        reload
    }
}

fn routes(old: &Settings, new: &Settings, changed: &mut Vec<String>) {
    let (old, new) = (&old.routes, &new.routes);
    if old.threshold != new.threshold {
        changed.push("threshold".to_owned());
    }
    if old.recover != new.recover {
        changed.push("recover".to_owned());
    }
    changed.extend(differing("chains", &old.chains, &new.chains));
    changed.extend(differing("aliases", &old.aliases, &new.aliases));
}

fn differing<T: PartialEq>(what: &str, old: &[(String, T)], new: &[(String, T)]) -> Vec<String> {
    let old: BTreeMap<&String, &T> = old.iter().map(|(name, value)| (name, value)).collect();
    let new: BTreeMap<&String, &T> = new.iter().map(|(name, value)| (name, value)).collect();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).copied().collect();
    let differ = |name: &&String| old.get(*name) != new.get(*name);
    names
        .into_iter()
        .filter(differ)
        .map(|name| format!("{what}.{name}"))
        .collect()
}
