//! The file edited by a person, damaged, or of another version.

use serde_json::json;

use super::*;

fn used(n: u64) -> Totals {
    Totals {
        requests: n,
        ..Totals::default()
    }
}

#[test]
fn key_fields_win_from_the_file_and_totals_never_do() {
    let home = Home::new();
    let store = home.open();
    let (alice, secret) = create(&store, "alice");
    let (bob, bobs) = create(&store, "bob");
    store
        .set_totals([(&alice.id, used(10)), (&bob.id, used(20))], NOW)
        .unwrap();
    home.edit(|json| {
        json["keys"][0]["enabled"] = json!(false);
        json["keys"][0]["usage"]["requests"] = json!(5);
        json["keys"].as_array_mut().unwrap().remove(1);
    });
    let report = store.reload(Some(ADMIN), NOW).unwrap();
    assert_eq!(
        (
            report.changed.len(),
            report.removed.len(),
            report.added.len()
        ),
        (1, 1, 0)
    );
    assert_eq!(
        report.to_string(),
        format!(
            "keys: 1 removed: \"bob\" ({}); 1 changed: \"alice\" ({})",
            bob.id, alice.id
        )
    );
    assert_eq!(auth(&store, secret.reveal(), NOW), "disabled");
    assert_eq!(auth(&store, bobs.reveal(), NOW), "unknown");
    assert_eq!(store.get(&alice.id, NOW).unwrap().usage, used(10));
    // Though nothing was counted since, the next compaction puts the right totals back.
    store.set_totals([(&alice.id, used(10))], NOW).unwrap();
    assert_eq!(home.json()["keys"][0]["usage"]["requests"], 10);
    assert!(store.reload(Some(ADMIN), NOW).unwrap().is_empty());
}

#[test]
fn a_change_merges_what_others_wrote_first() {
    let home = Home::new();
    let store = home.open();
    let (alice, secret) = create(&store, "alice");
    home.edit(|json| json["keys"][0]["models"] = json!(["claude-*"]));
    create(&store, "bob");
    assert_eq!(store.get(&alice.id, NOW).unwrap().models, ["claude-*"]);
    // Equal length, and perhaps within one tick of the clock: it is noticed all the same.
    let text = home.text();
    std::fs::write(&home.path, text.replace("claude-*", "gemini-*")).unwrap();
    store.set_totals([(&alice.id, used(1))], NOW).unwrap();
    assert_eq!(store.get(&alice.id, NOW).unwrap().models, ["gemini-*"]);
    assert_eq!(auth(&store, secret.reveal(), NOW), "client");
    assert_eq!(home.open().list(), store.list());
}

#[test]
fn a_change_that_conflicts_with_the_edit_is_refused() {
    let home = Home::new();
    let store = home.open();
    create(&store, "alice");
    home.edit(|json| json["keys"][0]["name"] = json!("bob"));
    assert!(matches!(
        store.create(NewKey::named("bob"), NOW),
        Err(KeyError::Conflict { .. })
    ));
    create(&store, "alice");
}

#[test]
fn a_key_written_by_hand_needs_a_name_and_a_hash_only() {
    let home = Home::new();
    let store = home.open();
    let hash = "2BD806C97F0E00AF1A1FC3328FA763A9269723C8DB8FAC4F93AF71DB186D6E90"; // of "alice"
    home.edit(|json| {
        json["keys"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "by hand", "hash": hash, "usage": {"requests": 9}}));
    });
    let report = store.reload(Some(ADMIN), NOW).unwrap();
    assert_eq!(report.added[0].name, "by hand");
    assert_eq!(auth(&store, "alice", NOW), "client");
    let shown = store.get("alice", NOW).unwrap();
    assert_eq!((shown.usage, shown.created_at), (Totals::default(), NOW));
    store.set_totals([("none", used(1))], NOW).unwrap();
    assert_eq!(home.json()["keys"][0]["id"], shown.id.as_str());
    // The id is the same when the file is read before it was written back.
    let other = Home::with(&format!(
        "{{\"version\": 1, \"keys\": [{{\"name\": \"x\", \"hash\": \"{hash}\"}}]}}"
    ));
    assert_eq!(other.open().list()[0].id, shown.id);
}

#[test]
fn what_a_later_version_wrote_is_kept() {
    let home = Home::new();
    let store = home.open();
    let (alice, _) = create(&store, "alice");
    home.edit(|json| {
        json["through"] = json!({"journal-1": 42});
        json["lark"] = json!({"tokens": [1, 2.5, "x"]});
        json["keys"][0]["colour"] = json!({"deep": ["red", null]});
    });
    drop(store);
    let store = home.open();
    store.disable(&alice.id, NOW).unwrap();
    create(&store, "bob");
    let json = home.json();
    assert_eq!(json["through"], json!({"journal-1": 42}));
    assert_eq!(json["lark"], json!({"tokens": [1, 2.5, "x"]}));
    assert_eq!(json["keys"][0]["colour"], json!({"deep": ["red", null]}));
}

#[test]
fn an_edit_brings_its_new_fields_but_never_a_watermark() {
    let home = Home::new();
    let store = home.open();
    create(&store, "alice");
    let ours = json!({"j": 7}).as_object().unwrap().clone();
    store
        .set_totals_through([("none", used(1))], ours.clone(), NOW)
        .unwrap();
    home.edit(|json| {
        json["through"] = json!({"j": 1});
        json["note"] = json!("by hand");
        json["keys"][0]["note"] = json!("vip");
    });
    store.set_totals([("none", used(1))], NOW).unwrap();
    assert_eq!(store.through(), Some(ours));
    let json = home.json();
    assert_eq!(
        (&json["through"], &json["note"], &json["keys"][0]["note"]),
        (&json!({"j": 7}), &json!("by hand"), &json!("vip"))
    );
}

#[test]
fn a_damaged_edit_is_refused_and_never_overwritten() {
    let home = Home::new();
    let store = home.open();
    let (alice, secret) = create(&store, "alice");
    let broken = home
        .text()
        .replace("\"enabled\": true", "\"enabled\": maybe");
    std::fs::write(&home.path, &broken).unwrap();
    let line = 1 + broken.lines().position(|l| l.contains("maybe")).unwrap();
    let error = store.reload(Some(ADMIN), NOW).unwrap_err();
    assert!(
        error.to_string().contains(&format!("keys.json:{line}: ")),
        "{error}"
    );
    for refused in [
        store.disable(&alice.id, NOW).map(drop),
        store.create(NewKey::named("bob"), NOW).map(drop),
        store.set_totals([(&alice.id, used(1))], NOW),
    ] {
        assert!(matches!(refused, Err(KeyError::Damaged { .. })));
    }
    assert_eq!(home.text(), broken);
    assert_eq!(auth(&store, secret.reveal(), NOW), "client");
}

#[test]
fn a_reload_that_is_dropped_changes_nothing() {
    let home = Home::new();
    let store = home.open();
    let (_, secret) = create(&store, "alice");
    home.edit(|json| json["keys"][0]["enabled"] = json!(false));
    drop(
        store
            .begin_reload(Some("another-admin-key-of-length"), NOW)
            .unwrap(),
    );
    assert_eq!(
        (auth(&store, secret.reveal(), NOW), auth(&store, ADMIN, NOW)),
        ("client", "admin")
    );
    let _ = store.begin_reload(Some(ADMIN), NOW).unwrap().commit();
    assert_eq!(auth(&store, secret.reveal(), NOW), "disabled");
}

#[test]
fn a_vanished_file_takes_no_key_away() {
    let home = Home::new();
    let store = home.open();
    let (_, secret) = create(&store, "alice");
    std::fs::remove_file(&home.path).unwrap();
    assert!(
        store
            .reload(Some(ADMIN), NOW)
            .unwrap_err()
            .to_string()
            .contains("is missing")
    );
    assert_eq!(auth(&store, secret.reveal(), NOW), "client");
    create(&store, "bob");
    assert_eq!(home.open().list().len(), 2);
}

#[test]
fn an_admin_key_taken_out_of_the_file_locks_nobody_out() {
    let home = Home::new();
    let (store, opened) = home.open_with(None).unwrap();
    let admin = opened.generated_admin.unwrap();
    home.edit(|json| drop(json.as_object_mut().unwrap().remove("admin")));
    store.reload(None, NOW).unwrap();
    assert_eq!(auth(&store, admin.reveal(), NOW), "admin");
    drop(store);
    // At a start it is how a lost one is replaced.
    assert!(home.open_with(None).unwrap().1.generated_admin.is_some());
}

#[test]
fn bad_files_are_refused_with_their_line() {
    let hash = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";
    let key = |rest: &str| {
        format!(
            "{{\n \"version\": 1,\n \"keys\": [\n  {{\"name\": \"a\", \"hash\": \"{hash}\"\n{rest}}}\n ]\n}}\n"
        )
    };
    let twice = |field: &str| {
        key(&format!(
            "}}, {{\"name\": \"a\", \"hash\": \"{}\", {field}",
            hash.replace('2', "3")
        ))
    };
    for (text, expected) in [
        (String::new(), "keys.json: is empty"),
        (" \n".to_owned(), "keys.json: is empty"),
        (
            "{\"version\": 1, \"keys\": [".to_owned(),
            "keys.json:1: is not valid JSON",
        ),
        (
            "{\"version\": 2, \"keys\": []}".to_owned(),
            "written by a newer luna (version 2, this one reads 1)",
        ),
        (
            "{\"version\": \"1\", \"keys\": []}".to_owned(),
            "\"version\" must be 1",
        ),
        (
            format!("{{\"keys\": [{{\"name\": \"a\", \"hash\": \"{hash}\"}}]}}"),
            "\"version\": 1 is missing",
        ),
        (
            "{\n\"version\": 1,\n\"keys\": [\n{\"name\": \"a\"}]}".to_owned(),
            "keys.json:4: key \"a\": \"hash\" is missing",
        ),
        (
            "{\n\"version\": 1,\n\"keys\": [\n7]}".to_owned(),
            "keys.json:4: key number 1 must be an object",
        ),
        (
            key(",\"enabled\": 1"),
            "keys.json:5: key \"a\": \"enabled\" must be true or false",
        ),
        (
            key(",\"expires_at\": \"soon\""),
            "keys.json:5: key \"a\": \"expires_at\" must be a time",
        ),
        (key(",\"usage\": {\"requests\": -1}"), "\"usage\" must be"),
        (key(",\"limits\": {\"rpm\": 1}"), "not yet supported"),
        (
            key(",\"models\": \"x\""),
            "\"models\" must be a list of strings",
        ),
        (key(",\"previous\": [{}]"), "\"previous\" must be a list"),
        (
            twice("\"id\": \"x\""),
            "the name \"a\" is given to two keys",
        ),
        (
            key(&format!("}}, {{\"name\": \"b\", \"hash\": \"{hash}\"")),
            "the id",
        ),
        (
            key(&format!(
                "}}, {{\"name\": \"b\", \"id\": \"b\", \"hash\": \"{hash}\""
            )),
            "has the same secret",
        ),
        (
            key(&format!(
                "}}, {{\"name\": \"admin\", \"id\": \"b\", \"hash\": \"{hash}\""
            )),
            "admin key's own",
        ),
        (
            "{\"version\": 1, \"keys\": [], \"through\": 5}".to_owned(),
            "\"through\" must be an object",
        ),
        ("5".to_owned(), "neither keys of Luna"),
        ("\"text\"".to_owned(), "neither keys of Luna"),
        ("{\"version\": 1}".to_owned(), "neither keys of Luna"),
        ("[[], 5]".to_owned(), "neither keys of Luna"),
    ] {
        let home = Home::with(&text);
        let error = home.open_with(None).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}\n{error}");
        assert!(
            check_file(&home.path, NOW)
                .unwrap_err()
                .to_string()
                .contains(expected)
        );
        assert_eq!(home.text(), text);
        assert_eq!(home.others(), Vec::<String>::new());
    }
    let home = Home::new();
    std::fs::write(&home.path, b"{\n\n\"\xff\"}").unwrap();
    assert!(
        home.open_with(None)
            .unwrap_err()
            .to_string()
            .contains("keys.json:3: is not UTF-8")
    );
}

#[test]
fn a_file_is_checked_without_being_touched() {
    let home = Home::new();
    assert!(check_file(&home.path, NOW).unwrap().is_none());
    create(&home.open(), "alice");
    let checked = check_file(&home.path, NOW).unwrap().unwrap();
    assert_eq!((checked.keys, checked.old_form), (1, false));
    let old = Home::with("{\"sk-one-two-three-four\": {\"name\": \"x\"}}");
    let checked = check_file(&old.path, NOW).unwrap().unwrap();
    assert_eq!((checked.keys, checked.old_form), (1, true));
    assert_eq!(old.others(), Vec::<String>::new());
}

#[test]
fn leftovers_and_loose_modes_are_seen_at_the_start() {
    let home = Home::new();
    create(&home.open(), "alice");
    std::fs::write(home.path.with_file_name(".keys.json.tmp-1-1"), "half").unwrap();
    let loose = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&home.path, loose).unwrap();
    let (_, opened) = home.open_with(Some(ADMIN)).unwrap();
    assert!(opened.warnings[0].contains("644"), "{:?}", opened.warnings);
    assert_eq!(home.others(), Vec::<String>::new());
}
