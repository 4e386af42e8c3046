use std::os::unix::fs::PermissionsExt;

use super::{put, settings};
use crate::cli::import::import;
use crate::store::DataLock;

const OLD: &str = r#"{
  "sk-old-secret-number-one": {"name": "alice", "enabled": true},
  "sk-old-secret-number-two": {"name": "bob", "enabled": false}
}"#;

#[test]
fn takes_keys_over_once_and_shows_the_first_admin_key() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("old.json", OLD)]);
    let settings = settings(folder.path());
    let old = folder.path().join("old.json");

    let first = import(&settings, &old).unwrap();
    assert!(
        first.has_secret && first.text.starts_with("admin key (shown this once"),
        "{}",
        first.text
    );
    assert!(
        first.text.contains("2 keys taken over from"),
        "{}",
        first.text
    );
    assert!(
        first.text.contains("  alice\n") && !first.text.contains("sk-old"),
        "{}",
        first.text
    );
    assert_eq!(std::fs::read_to_string(&old).unwrap(), OLD);
    let copy = folder.path().join("data/keys.json.imported");
    assert_eq!(
        std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        first
            .report
            .warnings
            .iter()
            .any(|w| w.contains("keys.json.imported"))
    );

    let again = import(&settings, &old).unwrap();
    assert!(!again.has_secret);
    assert!(
        again.text.starts_with("0 keys taken over"),
        "{}",
        again.text
    );
    assert_eq!(again.report.already, 2);
}

#[test]
fn the_configured_file_itself_is_taken_over_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("data/keys.json", OLD)]);
    let settings = settings(folder.path());
    let report = import(&settings, &settings.store.keys_file).unwrap().report;
    assert_eq!(report.added.len(), 2);
    assert!(
        !std::fs::read_to_string(&settings.store.keys_file)
            .unwrap()
            .contains("secret-number")
    );
    let own = import(&settings, &settings.store.keys_file).err().unwrap();
    assert!(own.to_string().contains("of Luna already"), "{own}");
}

#[test]
fn what_cannot_be_imported_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("bad.json", "{\"a\": ")]);
    let settings = settings(folder.path());
    for (name, says) in [
        ("none.json", "cannot be read"),
        ("bad.json", "not valid JSON"),
    ] {
        let error = import(&settings, &folder.path().join(name))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(says) && error.contains(name), "{error}");
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn another_key_file_of_the_proxy_is_not_touched_by_the_way() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        &[
            ("data/keys.json", OLD),
            ("other.json", r#"{"sk-other-secret": {"name": "c"}}"#),
        ],
    );
    let settings = settings(folder.path());
    let error = import(&settings, &folder.path().join("other.json"))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("luna import"), "{error}");
    assert_eq!(
        std::fs::read_to_string(&settings.store.keys_file).unwrap(),
        OLD
    );
}

#[test]
fn a_running_gateway_is_named_and_its_keys_stay() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &[("old.json", OLD)]);
    let settings = settings(folder.path());
    let _gateway = DataLock::acquire(&settings.store.data_dir).unwrap();
    let error = import(&settings, &folder.path().join("old.json"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    assert!(!settings.store.keys_file.exists());
}
