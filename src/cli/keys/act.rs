//! Doing what was asked, through the admin API or on the key file.

use reqwest::Method;
use serde_json::{Value, json};

use super::Action;
use crate::app::now;
use crate::cli::failure::Failure;
use crate::cli::http::{Answer, Api};
use crate::cli::offline;
use crate::config::Settings;
use crate::keys::{KeyError, KeyInfo, KeyStore, NewKey, Secret};

/// Asks the gateway.
pub(super) async fn online(api: &Api, action: &Action) -> Result<Answer, Failure> {
    let Some(key) = action.key() else {
        return send(api, action, None).await;
    };
    let answer = send(api, action, Some(key)).await;
    if let Err(failure) = &answer
        && failure.status == Some(404)
    {
        let id = id_of_name(api, key).await?;
        return send(api, action, Some(&id)).await;
    }
    answer
}

async fn send(api: &Api, action: &Action, key: Option<&str>) -> Result<Answer, Failure> {
    let (method, verb, body) = match action {
        Action::Create(new) => (Method::POST, None, Some(new.body())),
        Action::List | Action::Show { .. } => (Method::GET, None, None),
        Action::Disable { .. } => (Method::POST, Some("disable"), None),
        Action::Enable { .. } => (Method::POST, Some("enable"), None),
        Action::Rotate { grace, .. } => (
            Method::POST,
            Some("rotate"),
            Some(json!({"grace_s": grace.as_secs()})),
        ),
        Action::Delete { .. } => (Method::DELETE, None, None),
    };
    let mut path = vec!["admin", "keys"];
    path.extend(key);
    path.extend(verb);
    api.call(method, &path, &[], body.as_ref()).await
}

/// The id of the key with this name, for when no key has it for an id or a secret: the admin API
/// knows nothing else.
pub(in crate::cli) async fn id_of_name(api: &Api, name: &str) -> Result<String, Failure> {
    let list = api.get(&["admin", "keys"], &[]).await?;
    let keys = list.json.get("keys").and_then(Value::as_array);
    let found = keys
        .into_iter()
        .flatten()
        .find(|key| key.get("name").and_then(Value::as_str) == Some(name));
    let id = found.and_then(|key| key.get("id")).and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(unknown)
}

/// What was asked for is not repeated: it may be a secret.
fn unknown() -> Failure {
    Failure::refused(
        404,
        "no key has this id, name or secret; luna keys list shows them",
    )
}

/// A change of the key file.
pub(super) struct Done {
    pub answer: Answer,
    /// The first admin key as it is to be shown, when the key file was made by the way.
    pub admin_key: Option<String>,
}

/// Works on the key file.
pub(super) fn offline(settings: &Settings, action: &Action) -> Result<Done, Failure> {
    let path = &settings.store.keys_file;
    let making = matches!(action, Action::Create(_));
    // Looking must not make a data folder and an admin key.
    if !offline::own_key_file(path)? && !making {
        return Err(Failure::new(format!(
            "there are no keys yet: {} is missing; make one with: luna keys create NAME --offline",
            path.display()
        )));
    }
    let opened = offline::open(settings, "leave out --offline to ask it")?;
    offline::tell(&opened.opened);
    let admin_key = offline::first_admin_key(&opened.opened);
    let json = on_file(&opened.store, action).map_err(|error| match error {
        KeyError::NotFound => unknown(),
        other => Failure::new(other.to_string()),
    });
    match json {
        Ok(json) => Ok(Done {
            answer: Answer::of(json),
            admin_key,
        }),
        Err(failure) => {
            // The admin key was made all the same.
            if let Some(admin) = admin_key {
                crate::cli::out::note(admin.trim_end());
            }
            Err(failure)
        }
    }
}

fn on_file(store: &KeyStore, action: &Action) -> Result<Value, KeyError> {
    let now = now();
    let key = match action.key() {
        Some(key) => named(store, key, now)?,
        None => String::new(),
    };
    let (info, secret) = match action {
        Action::List => {
            let keys: Vec<Value> = store.list().iter().map(|info| view(info, None)).collect();
            return Ok(json!({ "keys": keys }));
        }
        Action::Create(new) => {
            let (info, secret) = store.create(NewKey::from_json(&new.body())?, now)?;
            (info, Some(secret))
        }
        Action::Rotate { grace, .. } => {
            let (info, secret) = store.rotate(&key, *grace, now)?;
            (info, Some(secret))
        }
        Action::Show { .. } => (store.get(&key, now)?, None),
        Action::Disable { .. } => (store.disable(&key, now)?, None),
        Action::Enable { .. } => (store.enable(&key, now)?, None),
        Action::Delete { .. } => (store.delete(&key, now)?, None),
    };
    Ok(view(&info, secret.as_ref()))
}

/// The id behind an id, a secret or a name.
fn named(store: &KeyStore, key: &str, now: u64) -> Result<String, KeyError> {
    match store.resolve(key, now) {
        Ok(id) => Ok(id.to_string()),
        Err(unknown) => {
            let found = store.list().into_iter().find(|info| info.name == key);
            found.map(|info| info.id).ok_or(unknown)
        }
    }
}

/// KEY as the admin API gives it.
fn view(info: &KeyInfo, secret: Option<&Secret>) -> Value {
    let mut json = json!(info);
    if let Some(usage) = json.get_mut("usage").and_then(Value::as_object_mut) {
        usage.insert("cost_usd".to_owned(), Value::Null);
    }
    if let (Some(secret), Some(fields)) = (secret, json.as_object_mut()) {
        fields.insert("key".to_owned(), secret.reveal().into());
    }
    json
}
