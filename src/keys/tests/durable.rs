//! The admin key, failed and concurrent writes, totals, and what must not be shown.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn the_first_start_makes_an_admin_key_once() {
    let home = Home::new();
    let (store, opened) = home.open_with(None).unwrap();
    let admin = opened.generated_admin.unwrap();
    assert_eq!(auth(&store, admin.reveal(), NOW), "admin");
    assert!(!home.text().contains(admin.reveal()));
    assert!(!format!("{store:?}").contains(admin.reveal()));
    drop(store);
    let (store, opened) = home.open_with(None).unwrap();
    assert!(opened.generated_admin.is_none());
    assert_eq!(auth(&store, admin.reveal(), NOW), "admin");
    // It is no client key.
    assert!(store.list().is_empty());
    assert!(matches!(
        store.disable(admin.reveal(), NOW),
        Err(KeyError::NotFound)
    ));
    assert!(matches!(store.get("admin", NOW), Err(KeyError::NotFound)));
    drop(store);
    // That of the configuration wins, and the stored one comes back when it goes.
    let (store, opened) = home.open_with(Some(ADMIN)).unwrap();
    assert!(opened.generated_admin.is_none() && opened.warnings.is_empty());
    assert_eq!(
        (auth(&store, ADMIN, NOW), auth(&store, admin.reveal(), NOW)),
        ("admin", "unknown")
    );
    assert!(store.reload(None, NOW).unwrap().admin_changed);
    assert_eq!(
        (auth(&store, ADMIN, NOW), auth(&store, admin.reveal(), NOW)),
        ("unknown", "admin")
    );
}

#[test]
fn the_configured_admin_key_is_looked_at() {
    let home = Home::new();
    let (store, opened) = home.open_with(Some("short")).unwrap();
    assert!(
        opened.warnings[0].contains("under 20"),
        "{:?}",
        opened.warnings
    );
    assert!(!home.text().contains("\"hash\""));
    assert!(store.reload(None, NOW).is_err(), "nobody would be admin");
    assert_eq!(auth(&store, "short", NOW), "admin");
    drop(store);
    assert!(home.open_with(Some("with space")).is_err());
    assert!(
        home.open_with(Some(""))
            .unwrap()
            .1
            .generated_admin
            .is_some(),
        "empty is not given"
    );
}

#[test]
fn a_failed_write_changes_nothing() {
    let home = Home::new();
    let store = home.open();
    let (info, secret) = create(&store, "alice");
    // A folder in its place can neither be read nor replaced, not even by root.
    let text = home.text();
    std::fs::remove_file(&home.path).unwrap();
    std::fs::create_dir(&home.path).unwrap();
    assert!(matches!(
        store.create(NewKey::named("bob"), NOW),
        Err(KeyError::Store(_))
    ));
    let error = store.disable(&info.id, NOW).unwrap_err();
    assert!(error.to_string().contains("keys.json"), "{error}");
    assert!(!error.public().contains("keys.json"), "{}", error.public());
    assert!(store.rotate(&info.id, Duration::ZERO, NOW).is_err());
    assert!(store.delete(&info.id, NOW).is_err());
    assert!(
        store
            .set_totals(
                [(
                    &info.id,
                    Totals {
                        requests: 1,
                        ..Totals::default()
                    }
                )],
                NOW
            )
            .is_err()
    );
    assert_eq!(store.list(), std::slice::from_ref(&info));
    assert_eq!(auth(&store, secret.reveal(), NOW), "client");
    // And it goes on when the fault is gone.
    std::fs::remove_dir(&home.path).unwrap();
    std::fs::write(&home.path, text).unwrap();
    create(&store, "bob");
    assert_eq!(home.open().list().len(), 2);
}

#[test]
fn concurrent_changes_all_count() {
    let home = Home::new();
    let store = Arc::new(home.open());
    let won: Vec<usize> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..5 {
                        create(store, &format!("w{worker}-{n}"));
                    }
                    usize::from(store.create(NewKey::named("the one"), NOW).is_ok())
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert_eq!(won.iter().sum::<usize>(), 1);
    assert_eq!(store.list().len(), 31);
    let mut live = store.list();
    let mut stored = home.open().list();
    live.sort_by(|a, b| a.id.cmp(&b.id));
    stored.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(live, stored);
}

#[test]
fn totals_and_last_use_are_persisted_and_shared_by_snapshots() {
    let home = Home::new();
    let store = home.open();
    let (info, secret) = create(&store, "alice");
    let held = store.table().entry(&info.id).unwrap().clone();
    store.disable(&info.id, NOW).unwrap();
    held.touch(NOW + 5_000);
    held.touch(NOW + 5_500);
    assert_eq!(
        store.get(&info.id, NOW).unwrap().last_used_at,
        Some(NOW + 5_000)
    );
    let totals = Totals {
        requests: 3,
        input_tokens: u64::MAX,
        ..Totals::default()
    };
    let admin = Totals {
        requests: 1,
        ..Totals::default()
    };
    let through = json!({"j-1": 7}).as_object().unwrap().clone();
    let all = [
        (info.id.as_str(), totals),
        ("admin", admin),
        ("key_gone", totals),
    ];
    store.set_totals_through(all, through.clone(), NOW).unwrap();
    let written = std::fs::metadata(&home.path).unwrap();
    store.set_totals(all, NOW).unwrap();
    let again = std::fs::metadata(&home.path).unwrap();
    assert_eq!(
        std::os::unix::fs::MetadataExt::ino(&written),
        std::os::unix::fs::MetadataExt::ino(&again),
        "nothing new, nothing written"
    );
    drop(store);
    let store = home.open();
    let shown = store.get(secret.reveal(), NOW).unwrap();
    assert_eq!(
        (shown.usage, shown.last_used_at),
        (totals, Some(NOW + 5_000))
    );
    assert_eq!(
        store.totals(),
        [(info.id.clone(), totals), ("admin".to_owned(), admin)]
    );
    assert_eq!(store.through(), Some(through));
}

#[test]
fn after_the_hand_over_the_file_is_left_alone() {
    let home = Home::new();
    let store = home.open();
    let (info, secret) = create(&store, "alice");
    let text = home.text();
    store.hand_over();
    assert!(matches!(
        store.create(NewKey::named("bob"), NOW),
        Err(KeyError::HandedOver)
    ));
    assert!(matches!(
        store.disable(&info.id, NOW),
        Err(KeyError::HandedOver)
    ));
    assert!(
        store
            .set_totals(
                [(
                    &info.id,
                    Totals {
                        requests: 1,
                        ..Totals::default()
                    }
                )],
                NOW
            )
            .is_err()
    );
    assert_eq!(home.text(), text);
    assert_eq!(auth(&store, secret.reveal(), NOW), "client");
    store.take_back();
    create(&store, "bob");
}

#[test]
fn nothing_secret_is_debugged() {
    let home = Home::new();
    let (store, opened) = home.open_with(None).unwrap();
    let (info, secret) = create(&store, "alice");
    let hash = home.json()["keys"][0]["hash"].as_str().unwrap().to_owned();
    let text = format!(
        "{store:?} {opened:?} {info:?} {secret:?} {:?}",
        store.get(secret.reveal(), NOW)
    );
    let not_found = store.get("luna-a-secret-that-is-wrong", NOW).unwrap_err();
    let text = format!("{text} {not_found:?} {not_found}");
    for bad in [
        secret.reveal(),
        opened.generated_admin.unwrap().reveal(),
        &hash,
        "that-is-wrong",
    ] {
        assert!(!text.contains(bad));
    }
}
