#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn replaces_the_whole_file_and_leaves_nothing_beside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    write_atomic(&path, b"first, the longer one", 0o600).unwrap();
    write_atomic(&path, b"second", 0o600).unwrap();
    assert_eq!(read_file(&path, 100).unwrap(), b"second");
    assert_eq!(names(dir.path()), ["a.json"]);
}

#[test]
fn is_private_even_where_a_readable_file_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let staged = Staged::new(&path, b"new", 0o600).unwrap();
    let temp = dir.path().join(
        names(dir.path())
            .into_iter()
            .find(|n| n.contains(".tmp-"))
            .unwrap(),
    );
    assert_eq!(mode(&temp), 0o600);
    staged.commit().unwrap();
    assert_eq!(mode(&path), 0o600);
    write_atomic(&path, b"public", 0o644).unwrap();
    assert_eq!(mode(&path), 0o644);
}

#[test]
fn a_dropped_stage_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    fs::write(&path, "old").unwrap();
    drop(Staged::new(&path, b"new", 0o600).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(dir.path()), ["a.json"]);
}

#[test]
fn commit_if_refuses_a_file_that_changed_or_appeared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let absent = Staged::new(&path, b"mine", 0o600).unwrap();
    fs::write(&path, "theirs").unwrap();
    assert!(matches!(
        absent.commit_if(None),
        Err(StoreError::Changed { .. })
    ));

    let (_, stamp) = read_stamped(&path, 100).unwrap().unwrap();
    Staged::new(&path, b"mine", 0o600)
        .unwrap()
        .commit_if(Some(stamp))
        .unwrap();
    let stale = Staged::new(&path, b"mine again", 0o600)
        .unwrap()
        .commit_if(Some(stamp));
    assert!(matches!(stale, Err(StoreError::Changed { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(names(dir.path()), ["a.json"]);
}

#[test]
fn keeps_a_symbolic_link() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real.json"), dir.path().join("link.json"));
    fs::write(&real, "old").unwrap();
    symlink(&real, &link).unwrap();
    write_atomic(&link, b"new", 0o600).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&real).unwrap(), b"new");
}

#[test]
fn reads_within_its_bound_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read_file(&path, 5).unwrap(), b"12345");
    assert!(matches!(
        read_file(&path, 4),
        Err(StoreError::TooLarge { max_bytes: 4, .. })
    ));
    assert!(
        read_file(dir.path(), 5)
            .unwrap_err()
            .to_string()
            .contains("a folder stands where")
    );
    assert!(read_stamped(&dir.path().join("none"), 5).unwrap().is_none());
}

#[test]
fn new_files_never_replace_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    write_new(&path, b"one").unwrap();
    assert!(write_new(&path, b"two").is_err());
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn removes_only_its_own_leftovers() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        ".a.json.tmp-7-0",
        ".b.json.tmp-7-0",
        "a.json",
        "a.json.imported",
    ] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    remove_leftovers(&dir.path().join("a.json"));
    assert_eq!(
        names(dir.path()),
        [".b.json.tmp-7-0", "a.json", "a.json.imported"]
    );
}

#[test]
fn errors_say_where_and_what_to_do_but_not_to_clients() {
    let error = write_atomic(
        std::path::Path::new("/no/such/folder/keys.json"),
        b"",
        0o600,
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("/no/such/folder") && text.contains("create its folder"),
        "{text}"
    );
    assert!(!error.public().contains("/no/such"), "{}", error.public());
}

#[test]
fn one_lock_at_a_time_and_it_names_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("data");
    let lock = DataLock::acquire(&folder).unwrap();
    let refused = DataLock::acquire(&folder).unwrap_err();
    assert!(
        matches!(refused, StoreError::Held { pid: Some(pid), .. } if pid == std::process::id()),
        "{refused:?}"
    );
    assert!(
        refused
            .to_string()
            .contains(&format!("by process {}", std::process::id()))
    );
    assert_eq!(mode(&folder), 0o700);
    drop(lock);
    let again = DataLock::acquire(&folder).unwrap();
    assert!(again.path().ends_with("luna.lock"));
}

#[test]
fn a_lock_passes_to_another_holder_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let old = DataLock::acquire(dir.path()).unwrap();
    let held = || matches!(DataLock::acquire(dir.path()), Err(StoreError::Held { .. }));
    // The other one gives up: ours as before.
    let new = DataLock::inherit(dir.path(), old.share().unwrap()).unwrap();
    drop(new);
    assert!(held());
    old.keep();
    // The other one takes it, we close ours.
    let new = DataLock::inherit(dir.path(), old.share().unwrap()).unwrap();
    new.keep();
    drop(old);
    assert!(held());
    drop(new);
    let again = DataLock::acquire(dir.path()).unwrap();
    // The lock of another folder is none.
    let other = tempfile::tempdir().unwrap();
    assert!(DataLock::inherit(other.path(), again.share().unwrap()).is_err());
    let mine = DataLock::acquire(other.path()).unwrap();
    let refused = DataLock::inherit(other.path(), again.share().unwrap()).unwrap_err();
    assert!(
        refused.to_string().contains("another data folder"),
        "{refused}"
    );
    drop(mine);
}
