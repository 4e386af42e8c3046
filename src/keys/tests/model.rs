//! Random sequences of operations, restarts, edits and reloads against a plain model of what each
//! secret may do.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Create { name: u8, expires_in: Option<u64> },
    Disable(u8),
    Enable(u8),
    Rename(u8, u8),
    Rotate { key: u8, grace_s: u64 },
    Delete(u8),
    Totals(u8, u64),
    Later(u64),
    Reopen,
    EditEnabled(u8, bool),
    EditRemove(u8),
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0u8..6;
    prop_oneof![
        4 => (key.clone(), proptest::option::of(1u64..40)).prop_map(|(name, expires_in)| Op::Create { name, expires_in }),
        1 => key.clone().prop_map(Op::Disable),
        1 => key.clone().prop_map(Op::Enable),
        1 => (key.clone(), key.clone()).prop_map(|(a, b)| Op::Rename(a, b)),
        2 => (key.clone(), 0u64..30).prop_map(|(key, grace_s)| Op::Rotate { key, grace_s }),
        1 => key.clone().prop_map(Op::Delete),
        1 => (key.clone(), 0u64..100).prop_map(|(k, n)| Op::Totals(k, n)),
        1 => (1u64..20).prop_map(Op::Later),
        1 => Just(Op::Reopen),
        1 => (key.clone(), any::<bool>()).prop_map(|(k, e)| Op::EditEnabled(k, e)),
        1 => key.prop_map(Op::EditRemove),
        1 => Just(Op::Reload),
    ]
}

#[derive(Clone, Debug)]
struct Key {
    id: String,
    name: String,
    secret: String,
    old: Vec<(String, u64)>,
    enabled: bool,
    expires_at: Option<u64>,
    requests: u64,
}

#[derive(Default)]
struct Model {
    keys: Vec<Key>,
    /// Edits of the file that the store has not been told of.
    edits: Vec<(String, Option<bool>)>,
    secrets: Vec<String>,
}

impl Model {
    fn pick(&self, n: u8) -> Option<usize> {
        (!self.keys.is_empty()).then(|| usize::from(n) % self.keys.len())
    }

    fn merge_edits(&mut self) {
        for (id, edit) in std::mem::take(&mut self.edits) {
            match edit {
                None => self.keys.retain(|k| k.id != id),
                Some(enabled) => {
                    if let Some(key) = self.keys.iter_mut().find(|k| k.id == id) {
                        key.enabled = enabled;
                    }
                }
            }
        }
    }

    fn expected(&self, secret: &str, now: u64) -> &'static str {
        let open = |k: &&Key| {
            k.secret == secret || k.old.iter().any(|(s, until)| s == secret && now < *until)
        };
        match self.keys.iter().find(open) {
            None => "unknown",
            Some(k) if !k.enabled => "disabled",
            Some(k) if k.expires_at.is_some_and(|e| now >= e) => "expired",
            Some(_) => "client",
        }
    }
}

fn run(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let home = Home::new();
    let mut store = home.open();
    let mut model = Model::default();
    let mut now = NOW;
    for op in ops {
        match op {
            Op::Create { name, expires_in } => {
                let name = format!("n{name}");
                let expires_at = expires_in.map(|s| now + s * 1000);
                let made = store.create(
                    NewKey {
                        expires_at,
                        ..NewKey::named(&name)
                    },
                    now,
                );
                // A refused change is not written, so that what it merged is not in force yet.
                let mut merged = Model {
                    keys: model.keys.clone(),
                    edits: model.edits.clone(),
                    secrets: vec![],
                };
                merged.merge_edits();
                prop_assert_eq!(made.is_err(), merged.keys.iter().any(|k| k.name == name));
                if let Ok((info, secret)) = made {
                    model.merge_edits();
                    let secret = secret.reveal().to_owned();
                    model.secrets.push(secret.clone());
                    let id = info.id;
                    model.keys.push(Key {
                        id,
                        name,
                        secret,
                        old: vec![],
                        enabled: true,
                        expires_at,
                        requests: 0,
                    });
                }
            }
            Op::Disable(n) | Op::Enable(n) => {
                let on = matches!(op, Op::Enable(_));
                if let Some(at) = model.pick(n) {
                    let (id, secret) = (model.keys[at].id.clone(), model.keys[at].secret.clone());
                    let done = if on {
                        store.enable(&id, now)
                    } else {
                        store.disable(&secret, now)
                    };
                    if done.is_ok() {
                        model.merge_edits();
                    }
                    let there = model.keys.iter_mut().find(|k| k.id == id);
                    if let (Ok(info), Some(key)) = (&done, there) {
                        key.enabled = on;
                        prop_assert_eq!(info.enabled, on);
                    } else {
                        prop_assert!(model.edits.contains(&(id, None)), "refused without need");
                    }
                }
            }
            Op::Rename(n, to) => {
                if let Some(at) = model.pick(n) {
                    let (id, name) = (model.keys[at].id.clone(), format!("n{to}"));
                    let patch = KeyPatch {
                        name: Some(name.clone()),
                        ..KeyPatch::default()
                    };
                    if store.patch(&id, patch, now).is_ok() {
                        model.merge_edits();
                        prop_assert!(!model.keys.iter().any(|k| k.name == name && k.id != id));
                        model.keys.iter_mut().find(|k| k.id == id).unwrap().name = name;
                    }
                }
            }
            Op::Rotate { key, grace_s } => {
                if let Some(at) = model.pick(key) {
                    let id = model.keys[at].id.clone();
                    if let Ok((_, secret)) = store.rotate(&id, Duration::from_secs(grace_s), now) {
                        model.merge_edits();
                        let until = now + grace_s * 1000;
                        let key = model.keys.iter_mut().find(|k| k.id == id).unwrap();
                        let old = std::mem::replace(&mut key.secret, secret.reveal().to_owned());
                        key.old.push((old, until));
                        key.old.iter_mut().for_each(|o| o.1 = o.1.min(until));
                        model.secrets.push(secret.reveal().to_owned());
                    }
                }
            }
            Op::Delete(n) => {
                if let Some(at) = model.pick(n) {
                    let id = model.keys[at].id.clone();
                    if store.delete(&id, now).is_ok() {
                        model.merge_edits();
                        model.keys.retain(|k| k.id != id);
                    }
                }
            }
            Op::Totals(n, requests) => {
                if let Some(at) = model.pick(n) {
                    let id = model.keys[at].id.clone();
                    let totals = Totals {
                        requests,
                        ..Totals::default()
                    };
                    store.set_totals([(id.as_str(), totals)], now).unwrap();
                    model.merge_edits();
                    if let Some(key) = model.keys.iter_mut().find(|k| k.id == id) {
                        key.requests = requests;
                    }
                }
            }
            Op::Later(seconds) => now += seconds * 1000,
            Op::Reopen => {
                // What a stop does: the last totals, which also write back what was edited.
                store
                    .set_totals(Vec::<(String, Totals)>::new(), now)
                    .unwrap();
                model.merge_edits();
                let before = store.list();
                drop(store);
                store = home.open();
                prop_assert_eq!(store.list(), before);
            }
            Op::EditEnabled(n, enabled) => {
                if let Some(at) = model.pick(n) {
                    let id = model.keys[at].id.clone();
                    home.edit(|json| {
                        for key in json["keys"].as_array_mut().unwrap() {
                            key["usage"]["requests"] = json!(777);
                            if key["id"] == id.as_str() {
                                key["enabled"] = json!(enabled);
                            }
                        }
                    });
                    model.edits.push((id, Some(enabled)));
                }
            }
            Op::EditRemove(n) => {
                if let Some(at) = model.pick(n) {
                    let id = model.keys[at].id.clone();
                    home.edit(|json| {
                        json["keys"]
                            .as_array_mut()
                            .unwrap()
                            .retain(|k| k["id"] != id.as_str())
                    });
                    model.edits.push((id, None));
                }
            }
            Op::Reload => {
                store.reload(Some(ADMIN), now).unwrap();
                model.merge_edits();
            }
        }
        for secret in &model.secrets {
            prop_assert_eq!(auth(&store, secret, now), model.expected(secret, now));
        }
        let shown: Vec<_> = store
            .list()
            .into_iter()
            .map(|k| (k.id, k.name, k.usage.requests))
            .collect();
        let expected: Vec<_> = model
            .keys
            .iter()
            .map(|k| (k.id.clone(), k.name.clone(), k.requests))
            .collect();
        prop_assert_eq!(shown, expected);
        prop_assert_eq!(auth(&store, ADMIN, now), "admin");
    }
    // Table and file agree at the end.
    store
        .set_totals(Vec::<(String, Totals)>::new(), now)
        .unwrap();
    prop_assert_eq!(home.open().list(), store.list());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_equals_its_model(ops in proptest::collection::vec(op(), 1..30)) {
        run(ops)?;
    }

    /// Whatever is in the file, reading it never panics, and a refused file stays as it was.
    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}:,\"a-c0-1\\\\ \n]{0,60}") {
        let home = Home::with(&text);
        if home.open_with(Some(ADMIN)).is_err() {
            prop_assert_eq!(home.text(), text);
        }
    }

    /// A file with one byte changed is read or refused, never a panic.
    #[test]
    fn a_flipped_byte_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let home = Home::new();
        let store = home.open();
        let (info, _) = create(&store, "alice");
        store.rotate(&info.id, Duration::from_secs(9), NOW).unwrap();
        drop(store);
        let mut bytes = std::fs::read(&home.path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        std::fs::write(&home.path, &bytes).unwrap();
        if home.open_with(Some(ADMIN)).is_err() {
            prop_assert_eq!(std::fs::read(&home.path).unwrap(), bytes);
        }
    }
}
