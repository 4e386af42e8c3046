#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod any;

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::*;
use crate::keys::tests::{ADMIN, Home, NOW, auth, create};
use crate::keys::{KeyInfo, Totals};

/// Opens a store on an old file; answers it with what the import said.
fn taken_over(old: &Value) -> (Home, KeyStore, ImportReport) {
    let home = Home::with(&old.to_string());
    let (store, opened) = home.open_with(Some(ADMIN)).unwrap();
    let report = opened
        .imported
        .unwrap_or_else(|| panic!("not taken for an old file: {old}"));
    (home, store, report)
}

fn only(store: &KeyStore) -> KeyInfo {
    let list = store.list();
    assert_eq!(list.len(), 1, "{list:?}");
    list.into_iter().next().unwrap()
}

#[test]
fn a_map_from_secret_to_object_with_a_copy_beside() {
    let old = "{\"sk-zeta-0123456789\": {\"name\": \"zoe\", \"enabled\": true},\n \"sk-alpha-0123456789\": {\"user\": \"al\", \"enabled\": false}}";
    let home = Home::with(old);
    let (store, opened) = home.open_with(Some(ADMIN)).unwrap();
    let report = opened.imported.unwrap();
    assert_eq!(
        report
            .added
            .iter()
            .map(|k| k.name.as_str())
            .collect::<Vec<_>>(),
        ["zoe", "al"],
        "in the file's order"
    );
    assert_eq!(auth(&store, "sk-zeta-0123456789", NOW), "client");
    assert_eq!(auth(&store, "sk-alpha-0123456789", NOW), "disabled");
    let copy = report.copy.unwrap();
    assert_eq!(copy, home.path.with_file_name("keys.json.imported"));
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), old);
    assert_eq!(
        std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        std::fs::metadata(&home.path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(report.warnings.last().unwrap().contains("plain text"));
    assert!(!home.text().contains("sk-zeta-0123456789"));
    // The next start finds a file of its own.
    drop(store);
    let (store, opened) = home.open_with(Some(ADMIN)).unwrap();
    assert!(opened.imported.is_none());
    assert_eq!(store.list().len(), 2);
}

#[test]
fn every_shape_of_the_file() {
    let secret = "sk-0123456789abcdef";
    for (old, name) in [
        (json!({secret: {"name": "bob"}}), Some("bob")),
        (json!({secret: "bob"}), Some("bob")),
        (json!({"bob": secret}), Some("bob")),
        (json!({"bob": {"api_key": secret}}), Some("bob")),
        (json!({secret: true}), None),
        (json!({secret: null}), None),
        (json!({secret: {}}), None),
        (json!({secret: {"name": secret}}), None),
        (json!([{"key": secret, "name": "bob"}]), Some("bob")),
        (json!([{"api_key": secret, "user": "bob"}]), Some("bob")),
        (
            json!([{"secret": secret, "name": "", "user": "bob\u{7}"}]),
            Some("bob"),
        ),
        (json!([secret]), None),
        (json!({"keys": {secret: {"name": "bob"}}}), Some("bob")),
        (
            json!({"keys": [{"key": secret, "name": "bob"}], "version": 3}),
            Some("bob"),
        ),
        (
            json!({"version": 1, "api_keys": [{"key": secret, "name": "bob"}]}),
            Some("bob"),
        ),
        (
            json!({"version": 1, "updated_at": "2026-01-01", secret: {"name": "bob"}}),
            Some("bob"),
        ),
    ] {
        let (home, store, _) = taken_over(&old);
        let key = only(&store);
        let shown = home.json();
        assert_eq!(key.name, name.unwrap_or(&key.id), "{old}");
        assert_eq!(auth(&store, secret, NOW), "client", "{old}");
        assert!(!shown.to_string().contains(secret), "{old}");
    }
    for empty in [json!({}), json!([]), json!({"keys": {}})] {
        assert!(taken_over(&empty).1.list().is_empty());
    }
}

#[test]
fn on_and_off_in_the_usual_spellings() {
    for (fields, on) in [
        (json!({}), true),
        (json!({"enabled": true}), true),
        (json!({"enabled": 1}), true),
        (json!({"enabled": "Yes"}), true),
        (json!({"active": "true"}), true),
        (json!({"status": "active"}), true),
        (json!({"disabled": false}), true),
        (json!({"disabled": 0}), true),
        (json!({"disabled": "no"}), true),
        (json!({"disabled": null, "enabled": null}), true),
        (json!({"enabled": false}), false),
        (json!({"enabled": 0}), false),
        (json!({"enabled": "off"}), false),
        (json!({"enabled": "disabled"}), false),
        (json!({"active": false}), false),
        (json!({"is_active": "0"}), false),
        (json!({"disabled": true}), false),
        (json!({"disabled": "1"}), false),
        (json!({"disabled": "disabled"}), false),
        (json!({"status": "revoked"}), false),
        (json!({"revoked": true, "enabled": true}), false),
        (json!({"enabled": true, "active": false}), false),
        (json!({"disabled_at": "2026-01-01T00:00:00Z"}), false),
        (json!({"enabled": "perhaps"}), false),
        (json!({"enabled": 2}), false),
    ] {
        let (_home, store, _) = taken_over(&json!({"sk-0123456789abcdef": fields}));
        assert_eq!(only(&store).enabled, on, "{fields}");
    }
}

#[test]
fn totals_wherever_they_are() {
    let expected = Totals {
        requests: 7,
        input_tokens: 100,
        output_tokens: 20,
        ..Totals::default()
    };
    for fields in [
        json!({"requests": 7, "input_tokens": 100, "output_tokens": 20}),
        json!({"total_requests": "7", "total_input_tokens": 100.0, "total_output_tokens": 20}),
        json!({"usage": {"request_count": 7, "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}),
        json!({"stats": {"requests": 7, "input_tokens": 100, "output_tokens": 20, "daily": {"x": {"requests": 7}}}}),
        json!({"usage": {"total": {"requests": 7, "input_tokens": 100, "output_tokens": 20}, "a": {"requests": 7}}}),
        json!({"usage": {"claude": {"requests": 3, "input_tokens": 60}, "gemini": {"requests": 4, "input_tokens": 40, "output_tokens": 20}}}),
    ] {
        let (_home, store, report) = taken_over(&json!({"sk-0123456789abcdef": fields}));
        assert_eq!(only(&store).usage, expected, "{fields}");
        assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    }
    let odd = json!({"sk-0123456789abcdef": {"requests": -5, "input_tokens": 1e300, "output_tokens": "many", "errors": 2}});
    let (_home, store, report) = taken_over(&odd);
    assert_eq!(
        only(&store).usage,
        Totals {
            errors: 2,
            ..Totals::default()
        }
    );
    assert!(
        report.warnings[0].contains("no count"),
        "{:?}",
        report.warnings
    );
}

#[test]
fn what_restricts_a_key_is_never_lost_silently() {
    for (fields, enabled, warned) in [
        (json!({"models": ["claude-*"]}), true, ""),
        (json!({"allowed_models": "a, b"}), true, ""),
        (json!({"models": ["*"]}), true, ""),
        (json!({"models": {"a": 1}}), false, "list of models"),
        (json!({"models": [1]}), false, "list of models"),
        (json!({"expires_at": "never"}), true, ""),
        (json!({"expires_at": 1_900_000_000}), true, ""),
        (json!({"expires_at": "in May"}), false, "expiry"),
        (
            json!({"rate_limit": 5, "daily_quota": 9}),
            true,
            "daily_quota, rate_limit",
        ),
        (json!({"is_admin": true}), true, "was an admin key"),
    ] {
        let (_home, store, report) = taken_over(&json!({"sk-0123456789abcdef": fields}));
        assert_eq!(only(&store).enabled, enabled, "{fields}");
        assert!(
            report.warnings[0].contains(warned),
            "{fields}: {:?}",
            report.warnings
        );
    }
    let (_home, store, _) = taken_over(
        &json!({"sk-0123456789abcdef": {"models": "a, b", "expires": "2026-01-02T03:04:05.5",
        "created_at": "2025-12-31 23:00:00", "last_used": 1_767_000_000.25}}),
    );
    let key = only(&store);
    assert_eq!(key.models, ["a", "b"]);
    assert_eq!(key.expires_at, Some(1_767_323_045_500));
    assert_eq!(key.created_at, 1_767_222_000_000);
    assert_eq!(key.last_used_at, Some(1_767_000_000_250));
    assert_eq!(auth(&store, "sk-0123456789abcdef", NOW), "expired");
}

#[test]
fn equal_names_are_numbered() {
    let long = "n".repeat(80);
    let (_home, store, report) = taken_over(&json!([
        {"key": "secret-number-one-1", "name": "bob"}, {"key": "secret-number-two-2", "name": "bob"},
        {"key": "secret-number-three", "name": "bob-2"}, {"key": "secret-number-four4", "name": "admin"},
        {"key": "secret-number-five5", "name": long}, {"key": "secret-number-six66", "name": long},
    ]));
    let names: Vec<String> = store.list().into_iter().map(|k| k.name).collect();
    let (cut, second) = ("n".repeat(64), format!("{}-2", "n".repeat(62)));
    assert_eq!(
        names,
        [
            "bob",
            "bob-2",
            "bob-2-2",
            "admin-2",
            cut.as_str(),
            second.as_str()
        ]
    );
    assert!(
        report.warnings[0].contains("the name is taken"),
        "{:?}",
        report.warnings
    );
}

#[test]
fn unreadable_entries_are_left_out_and_said_without_their_secret() {
    let (_home, store, report) = taken_over(&json!({
        "sk-0123456789abcdef": {"name": "good"},
        "has a space and a secret": {"name": "bad"},
        "short": {"name": "weak"},
        "sk-list-0123456789": [1, 2],
        ADMIN: {"name": "the admin's"},
        "admin_key": "sk-admin-0123456789",
    }));
    assert_eq!(store.list().len(), 2);
    assert_eq!(report.skipped, 3);
    let text = format!("{report:?} {report}");
    for secret in [
        "sk-0123456789abcdef",
        "space and a secret",
        "sk-list",
        ADMIN,
        "sk-admin",
    ] {
        assert!(!text.contains(secret), "{text}");
    }
    for said in [
        "could be guessed",
        "no secret that a client could send",
        "ADMIN_KEY",
        "secret of the admin key",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(auth(&store, ADMIN, NOW), "admin");
}

#[test]
fn a_secret_given_twice_counts_once_and_stays_off() {
    let (_home, store, _) = taken_over(&json!([
        {"key": "sk-0123456789abcdef", "name": "first", "enabled": false}, {"key": "sk-0123456789abcdef", "name": "last"},
    ]));
    let key = only(&store);
    assert_eq!((key.name.as_str(), key.enabled), ("last", false));
}

#[test]
fn importing_into_a_store_adds_what_is_new_and_nothing_twice() {
    let home = Home::new();
    let store = home.open();
    create(&store, "bob");
    let file = home.path.with_file_name("old.json");
    std::fs::write(
        &file,
        json!({"sk-0123456789abcdef": {"name": "bob", "requests": 5}}).to_string(),
    )
    .unwrap();
    let report = import_into(&store, &file, NOW).unwrap();
    assert_eq!((report.added.len(), report.already), (1, 0));
    assert_eq!(report.added[0].name, "bob-2");
    assert!(file.exists());
    assert_eq!(auth(&store, "sk-0123456789abcdef", NOW), "client");

    let text = home.text();
    let again = import_into(&store, &file, NOW).unwrap();
    assert_eq!((again.added.len(), again.already, again.copy), (0, 1, None));
    assert_eq!(home.text(), text);

    std::fs::write(
        &file,
        json!(["sk-0123456789abcdef", "sk-another-0123456789"]).to_string(),
    )
    .unwrap();
    let more = import_into(&store, &file, NOW).unwrap();
    assert_eq!((more.added.len(), more.already), (1, 1));
    assert_eq!(
        home.others(),
        ["keys.json.imported", "keys.json.imported.2", "old.json"]
    );
    assert_eq!(home.open().list(), store.list());

    let refused = import_into(&store, &home.path, NOW).unwrap_err();
    assert!(
        refused.to_string().contains("nothing to take over"),
        "{refused}"
    );
    std::fs::write(&file, "{\n\"a\": nope}").unwrap();
    assert!(
        import_into(&store, &file, NOW)
            .unwrap_err()
            .to_string()
            .contains("old.json:2")
    );
}

#[test]
fn without_a_copy_nothing_is_taken_over() {
    let old = "{\"sk-0123456789abcdef\": {\"name\": \"bob\"}}";
    let home = Home::with(old);
    std::fs::write(
        home.path.with_file_name("keys.json.imported"),
        "an earlier one",
    )
    .unwrap();
    let (_, opened) = home.open_with(Some(ADMIN)).unwrap();
    assert!(
        opened
            .imported
            .unwrap()
            .copy
            .unwrap()
            .ends_with("keys.json.imported.2")
    );
    let kept = std::fs::read_to_string(home.path.with_file_name("keys.json.imported")).unwrap();
    assert_eq!(kept, "an earlier one");
}
