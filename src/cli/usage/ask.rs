//! Getting the numbers, with the same question to a gateway or to the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Group, UsageArgs};
use crate::app::now;
use crate::cli::failure::Failure;
use crate::cli::http::{Answer, Api};
use crate::cli::keys::id_of_name;
use crate::cli::offline;
use crate::config::Settings;
use crate::keys::{ADMIN_ID, Totals};
use crate::store::read_file;
use crate::usage::{Counters, DayRange, HourRange, Known, Store, StoreParams};

/// How far back "from the beginning" goes: an answer holds ten years at most, and a day on either
/// side may be another in the gateway's time zone.
const ALL_DAYS: i64 = 3_650;
/// Largest keys.json that is read, in bytes; as `keys` has it.
const MAX_KEYS_FILE: u64 = 64 << 20;

/// Which of the admin API's usage routes answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Everything ever counted.
    Totals,
    /// The same of one key.
    OfKey,
    Daily,
    Hourly,
}

/// The route for a question, and the `from` that it needs.
fn route(args: &UsageArgs) -> (Route, Option<String>) {
    let from = args.from.clone();
    let ranged = from.is_some() || args.to.is_some() || args.model.is_some();
    match args.by {
        Group::Hour => (Route::Hourly, from),
        Group::Day => (Route::Daily, from),
        Group::Key | Group::Model if !ranged && args.key.is_none() => (Route::Totals, None),
        Group::Model if !ranged => (Route::OfKey, None),
        // Sums are of all times unless told otherwise; the route alone would take 30 days.
        Group::Key | Group::Model => (Route::Daily, from.or_else(|| beginning(args.to.as_deref()))),
    }
}

/// The first day that can be asked for together with `to`.
fn beginning(to: Option<&str>) -> Option<String> {
    let last = match to {
        // What is wrong with it is for the route to say.
        Some(to) => to.parse::<Date>().ok()?,
        None => Timestamp::now().to_zoned(TimeZone::UTC).date(),
    };
    let first = last.checked_sub(ALL_DAYS.days()).ok()?;
    Some(first.to_string()).filter(|_| first.year() >= 1970)
}

/// Asks a gateway. The second part are the names of keys by id, when they are `named`.
pub(super) async fn online(
    api: &Api,
    args: &UsageArgs,
    named: bool,
) -> Result<(Answer, BTreeMap<String, String>), Failure> {
    let mut answer = fetch(api, args, args.key.as_deref()).await;
    if let (Err(failure), Some(name)) = (&answer, &args.key)
        && failure.status == Some(404)
    {
        let id = id_of_name(api, name).await?;
        answer = fetch(api, args, Some(&id)).await;
    }
    let answer = answer?;
    let names = if named {
        names(&api.get(&["admin", "keys"], &[]).await?.json)
    } else {
        BTreeMap::new()
    };
    Ok((answer, names))
}

async fn fetch(api: &Api, args: &UsageArgs, key: Option<&str>) -> Result<Answer, Failure> {
    let (route, from) = route(args);
    let path = match (route, key) {
        (Route::OfKey, Some(key)) => return api.get(&["admin", "keys", key, "usage"], &[]).await,
        (Route::Totals | Route::OfKey, _) => return api.get(&["admin", "usage"], &[]).await,
        (Route::Daily, _) => "daily",
        (Route::Hourly, _) => "hourly",
    };
    let query = [
        ("from", from.as_deref()),
        ("to", args.to.as_deref()),
        ("key", key),
        ("model", args.model.as_deref()),
    ];
    let query: Vec<(&str, &str)> = query
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    api.get(&["admin", "usage", path], &query).await
}

fn names(list: &Value) -> BTreeMap<String, String> {
    let keys = list.get("keys").and_then(Value::as_array);
    keys.into_iter()
        .flatten()
        .filter_map(|key| {
            let text = |field| key.get(field).and_then(Value::as_str).map(str::to_owned);
            Some((text("id")?, text("name")?))
        })
        .collect()
}

/// keys.json as far as usage needs it. It is read without the lock, as a gateway replaces it whole.
#[derive(Default, Deserialize)]
struct KeysFile {
    #[serde(default)]
    admin: Owner,
    #[serde(default)]
    keys: Vec<Owner>,
    #[serde(default)]
    through: BTreeMap<String, u64>,
}

#[derive(Default, Deserialize)]
struct Owner {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    usage: Totals,
}

impl KeysFile {
    fn read(settings: &Settings) -> Result<Self, Failure> {
        let path = &settings.store.keys_file;
        if !offline::own_key_file(path)? {
            return Ok(Self::default());
        }
        let bytes = read_file(path, MAX_KEYS_FILE).map_err(|e| Failure::new(e.to_string()))?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Failure::new(format!("{}:{}: {e}", path.display(), e.line())))
    }

    /// Running totals by id.
    fn totals(&self) -> impl Iterator<Item = (&str, Counters)> {
        let keys = self.keys.iter().map(|key| (key.id.as_str(), key.usage));
        keys.filter(|(id, _)| !id.is_empty())
            .chain([(ADMIN_ID, self.admin.usage)])
            .map(|(id, totals)| (id, counters(totals)))
    }

    /// The id behind an id or a name; a deleted key is known by its id as long as its usage is kept.
    fn id_of(&self, key: &str, store: &Store) -> Result<String, Failure> {
        let known = |key: &&Owner| !key.id.is_empty();
        let own = self.keys.iter().filter(known);
        if key == ADMIN_ID
            || own.clone().any(|k| k.id == key)
            || store.totals().keys.contains_key(key)
        {
            return Ok(key.to_owned());
        }
        let mut named = own.filter(|k| k.name == key);
        named.next().map(|k| k.id.clone()).ok_or_else(|| {
            Failure::new("no key has this id or name; luna keys list shows them (a secret only works without --offline)")
        })
    }
}

fn counters(totals: Totals) -> Counters {
    Counters {
        requests: totals.requests,
        errors: totals.errors,
        fallbacks: totals.fallbacks,
        aborted: totals.aborted,
        input_tokens: totals.input_tokens,
        output_tokens: totals.output_tokens,
        cache_read_input_tokens: totals.cache_read_input_tokens,
        cache_creation_input_tokens: totals.cache_creation_input_tokens,
    }
}

/// Reads the files.
pub(super) fn offline(
    settings: &Settings,
    args: &UsageArgs,
) -> Result<(Answer, BTreeMap<String, String>), Failure> {
    let keys = KeysFile::read(settings)?;
    let params = StoreParams {
        dir: settings.store.data_dir.join("usage"),
        timezone: settings.usage.timezone_name.clone(),
        keep_hours_days: settings.usage.keep_hours_days,
        keep_days: settings.usage.keep_days,
    };
    let known = Known {
        totals: keys.totals().map(|(id, c)| (id.to_owned(), c)).collect(),
        through: keys.through.clone(),
    };
    let mut store = Store::open(params, known).map_err(failed)?;
    store.set_prices(Arc::clone(&settings.usage.prices));
    let key = args
        .key
        .as_deref()
        .map(|key| keys.id_of(key, &store))
        .transpose()?;
    let (route, from) = route(args);
    let (from, to, model) = (from.as_deref(), args.to.as_deref(), args.model.as_deref());
    let zone = store.zone().clone();
    let json = match (route, &key) {
        (Route::OfKey, Some(id)) => {
            let days = DayRange::parse(None, None, &zone, now()).map_err(failed)?;
            let hours = HourRange::parse(None, None, &zone, now()).map_err(failed)?;
            let name = keys
                .keys
                .iter()
                .find(|k| k.id == *id)
                .map_or(id.as_str(), |k| &k.name);
            json!(store.key(id, name, days, hours).map_err(failed)?)
        }
        (Route::Totals | Route::OfKey, _) => json!(store.totals()),
        (Route::Daily, _) => {
            let range = DayRange::parse(from, to, &zone, now()).map_err(failed)?;
            json!(store.days(range, key.as_deref(), model).daily())
        }
        (Route::Hourly, _) => {
            let range = HourRange::parse(from, to, &zone, now()).map_err(failed)?;
            json!(
                store
                    .hours(range, key.as_deref(), model)
                    .map_err(failed)?
                    .hourly()
            )
        }
    };
    let names = keys
        .keys
        .iter()
        .map(|key| (key.id.clone(), key.name.clone()));
    Ok((Answer::of(json), names.collect()))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
