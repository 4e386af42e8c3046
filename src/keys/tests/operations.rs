use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn a_new_key_works_at_once_and_only_its_hash_is_kept() {
    let home = Home::new();
    let store = home.open();
    let (info, secret) = create(&store, "alice");
    assert_eq!(auth(&store, secret.reveal(), NOW), "client");
    assert_eq!(auth(&store, "luna-wrong", NOW), "unknown");
    assert_eq!(auth(&store, "", NOW), "unknown");
    assert_eq!(auth(&store, &"x".repeat(70_000), NOW), "unknown");

    assert!(!home.text().contains(secret.reveal()));
    assert_eq!(home.json()["version"], 1);
    assert_eq!(home.json()["keys"][0]["id"], info.id.as_str());
    assert_eq!(home.json()["keys"][0]["created_at"], "2026-11-18T11:06:40Z");
    assert_eq!(
        std::fs::metadata(&home.path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(home.others(), Vec::<String>::new());
    assert!(secret.reveal().starts_with(&info.prefix) && info.prefix.len() == 9);
}

#[test]
fn the_json_of_a_key_is_that_of_the_contract() {
    let home = Home::new();
    let store = home.open();
    let body = json!({"name": "bob", "models": ["claude-*", "claude-*"], "permissions": ["lark"], "limits": {},
        "expires_at": "2027-01-31T13:00:00+01:00"});
    let (info, _) = store
        .create(NewKey::from_json(&body).unwrap(), NOW)
        .unwrap();
    let mut shown = serde_json::to_value(&info).unwrap();
    let fields: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        fields,
        [
            "admin",
            "created_at",
            "enabled",
            "expires_at",
            "id",
            "last_used_at",
            "limits",
            "models",
            "name",
            "permissions",
            "prefix",
            "usage"
        ]
    );
    assert_eq!(shown["expires_at"], "2027-01-31T12:00:00Z");
    assert_eq!(shown["models"], json!(["claude-*"]));
    assert_eq!(shown["usage"].take()["cache_read_input_tokens"], 0);
}

#[test]
fn disable_enable_and_delete_hold_for_the_next_request() {
    let home = Home::new();
    let store = home.open();
    let (info, secret) = create(&store, "alice");
    let before = store.snapshot();
    assert!(!store.disable(secret.reveal(), NOW).unwrap().enabled);
    assert_eq!(auth(&store, secret.reveal(), NOW), "disabled");
    assert_eq!(home.json()["keys"][0]["enabled"], false);
    // A request that was admitted keeps its snapshot.
    assert!(matches!(
        before.authenticate(secret.reveal().as_bytes(), NOW),
        Auth::Client(_)
    ));
    assert!(store.enable(&info.id, NOW).unwrap().enabled);
    assert_eq!(auth(&store, secret.reveal(), NOW), "client");
    assert_eq!(store.delete(&info.id, NOW).unwrap().name, "alice");
    assert_eq!(auth(&store, secret.reveal(), NOW), "unknown");
    assert!(matches!(store.get(&info.id, NOW), Err(KeyError::NotFound)));
    assert!(matches!(
        store.delete(secret.reveal(), NOW),
        Err(KeyError::NotFound)
    ));
}

#[test]
fn rotation_keeps_the_old_secret_for_its_grace_and_no_longer() {
    let home = Home::new();
    let store = home.open();
    let (info, first) = create(&store, "alice");
    let (rotated, second) = store
        .rotate(first.reveal(), Duration::from_secs(60), NOW)
        .unwrap();
    assert_eq!(rotated.id, info.id);
    assert_eq!(auth(&store, first.reveal(), NOW + 59_999), "client");
    assert_eq!(auth(&store, first.reveal(), NOW + 60_000), "unknown");
    assert_eq!(auth(&store, second.reveal(), NOW + 60_000), "client");
    assert_eq!(store.get(first.reveal(), NOW).unwrap().id, info.id);
    assert!(store.get(first.reveal(), NOW + 60_000).is_err());
    // It outlives a restart.
    drop(store);
    let store = home.open();
    assert_eq!(auth(&store, first.reveal(), NOW + 59_999), "client");
    assert_eq!(auth(&store, first.reveal(), NOW + 60_000), "unknown");
    // Without grace every earlier secret ends.
    let (_, third) = store.rotate(&info.id, Duration::ZERO, NOW + 1).unwrap();
    for (secret, now) in [
        (&first, "unknown"),
        (&second, "unknown"),
        (&third, "client"),
    ] {
        assert_eq!(auth(&store, secret.reveal(), NOW + 1), now);
    }
    assert!(home.json()["keys"][0].get("previous").is_none());
}

#[test]
fn the_number_of_secrets_in_grace_is_bounded() {
    let home = Home::new();
    let store = home.open();
    let (info, _) = create(&store, "alice");
    for _ in 0..8 {
        store
            .rotate(&info.id, Duration::from_secs(60), NOW)
            .unwrap();
    }
    let refused = store.rotate(&info.id, Duration::from_secs(60), NOW);
    assert!(matches!(refused, Err(KeyError::Invalid { field, .. }) if field == "grace_s"));
    store
        .rotate(&info.id, Duration::from_secs(60), NOW + 60_000)
        .unwrap();
}

#[test]
fn an_expired_key_is_told_from_a_disabled_one() {
    let home = Home::new();
    let store = home.open();
    let (info, secret) = store
        .create(
            NewKey {
                expires_at: Some(NOW + 10),
                ..NewKey::named("alice")
            },
            NOW,
        )
        .unwrap();
    assert_eq!(auth(&store, secret.reveal(), NOW + 9), "client");
    assert_eq!(auth(&store, secret.reveal(), NOW + 10), "expired");
    let never = KeyPatch::from_json(&json!({"expires_at": null, "name": "al"})).unwrap();
    assert_eq!(store.patch(&info.id, never, NOW).unwrap().name, "al");
    assert_eq!(auth(&store, secret.reveal(), NOW + 10), "client");
    store
        .patch(
            &info.id,
            KeyPatch {
                enabled: Some(false),
                ..KeyPatch::default()
            },
            NOW,
        )
        .unwrap();
    assert_eq!(auth(&store, secret.reveal(), NOW + 10), "disabled");
}

#[test]
fn names_are_unique_and_the_admins_is_reserved() {
    let home = Home::new();
    let store = home.open();
    create(&store, "alice");
    let (bob, _) = create(&store, "bob");
    for name in ["alice", " alice ", "admin"] {
        let refused = store.create(NewKey::named(name), NOW);
        assert!(
            matches!(refused, Err(KeyError::Conflict { .. })),
            "{name:?}"
        );
    }
    let rename = |name: &str| KeyPatch {
        name: Some(name.to_owned()),
        ..KeyPatch::default()
    };
    assert!(matches!(
        store.patch(&bob.id, rename("alice"), NOW),
        Err(KeyError::Conflict { .. })
    ));
    assert_eq!(
        store.patch(&bob.id, rename("bob"), NOW).unwrap().name,
        "bob"
    );
    assert_eq!(store.list().len(), 2);
}

#[test]
fn bodies_are_checked_field_by_field() {
    let long = "n".repeat(65);
    for (body, field) in [
        (json!([]), "body"),
        (json!({}), "name"),
        (json!({"name": null}), "name"),
        (json!({"name": "  "}), "name"),
        (json!({"name": long}), "name"),
        (json!({"name": "a\nb"}), "name"),
        (json!({"name": "a\u{202e}b"}), "name"),
        (json!({"name": "a", "models": "x"}), "models"),
        (json!({"name": "a", "models": [1]}), "models"),
        (json!({"name": "a", "models": ["a b"]}), "models"),
        (json!({"name": "a", "models": vec!["m"; 201]}), "models"),
        (json!({"name": "a", "permissions": ["root"]}), "permissions"),
        (json!({"name": "a", "limits": []}), "limits"),
        (json!({"name": "a", "limits": {"rpm": 5}}), "limits"),
        (json!({"name": "a", "expires_at": "tomorrow"}), "expires_at"),
        (
            json!({"name": "a", "expires_at": "1960-01-01T00:00:00Z"}),
            "expires_at",
        ),
        (json!({"name": "a", "expires_at": 5}), "expires_at"),
        (json!({"name": "a", "admin": true}), "\"admin\""),
    ] {
        match NewKey::from_json(&body) {
            Err(KeyError::Invalid { field: named, .. }) => assert_eq!(named, field, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    let nulls = json!({"name": "名", "models": null, "permissions": null, "limits": null, "expires_at": null});
    assert_eq!(NewKey::from_json(&nulls).unwrap(), NewKey::named("名"));
    let not_yet = NewKey::from_json(&json!({"name": "a", "limits": {"rpm": 5}})).unwrap_err();
    assert!(not_yet.to_string().contains("not yet"), "{not_yet}");

    assert!(KeyPatch::from_json(&json!({"enabled": "yes"})).is_err());
    assert!(KeyPatch::from_json(&json!({"name": null})).is_err());
    assert!(KeyPatch::from_json(&json!({"secret": "x"})).is_err());
    assert_eq!(
        KeyPatch::from_json(&json!({"models": null}))
            .unwrap()
            .models,
        Some(vec![])
    );

    assert_eq!(grace_from_json(&json!({})).unwrap(), Duration::ZERO);
    assert_eq!(
        grace_from_json(&json!({"grace_s": 1.5})).unwrap(),
        Duration::from_millis(1500)
    );
    for bad in [
        json!({"grace_s": -1}),
        json!({"grace_s": "1h"}),
        json!({"grace_s": 1e9}),
        json!({"grace": 1}),
    ] {
        assert!(grace_from_json(&bad).is_err(), "{bad}");
    }
}
