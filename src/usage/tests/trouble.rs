//! A disk that fails and comes back. A folder's place is taken by a file: permissions do not stop root.

use super::*;

#[test]
fn counts_wait_in_memory_until_the_disk_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let usage = dir.path().join("usage");
    std::fs::write(&usage, "in the way").unwrap();
    let mut store = Store::open(params(&dir.path().join("else"), "UTC"), Known::default()).unwrap();
    store.params.dir.clone_from(&usage);
    let (mut sink, taken) = keeper();
    for round in 1..=3 {
        store.apply(&request(NOW, "key_a", "opus"));
        store.compact(NOW, &mut sink).unwrap_err();
        assert_eq!(store.totals().total.counters.requests, round);
        // keys.json is elsewhere and could be written: it would be ahead of the days.
        assert!(taken.lock().unwrap().is_empty());
    }
    std::fs::remove_file(&usage).unwrap();
    store.compact(NOW, &mut sink).unwrap();
    assert_eq!(taken.lock().unwrap()["key_a"].requests, 3);
    assert_eq!(open(dir.path()).totals().total.counters.requests, 3);
}

#[test]
fn totals_wait_for_every_day() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (mut sink, taken) = keeper();
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut sink).unwrap();
    // Yesterday's file refuses, today's does not.
    let refuses = dir.path().join("usage/2026-11-23.json");
    std::fs::create_dir(&refuses).unwrap();
    store.apply(&request(NOW - DAY, "key_a", "opus"));
    store.apply(&request(NOW, "key_b", "opus"));
    store.compact(NOW, &mut sink).unwrap_err();
    assert!(read(dir.path(), "2026-11-24.json").contains("key_b"));
    let before = taken.lock().unwrap().clone();
    assert_eq!((before.len(), before["key_a"].requests), (1, 1));
    std::fs::remove_dir(&refuses).unwrap();
    store.compact(NOW, &mut sink).unwrap();
    let after = taken.lock().unwrap().clone();
    assert_eq!((after["key_a"].requests, after["key_b"].requests), (2, 1));
}

#[test]
fn a_folder_taken_away_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = params(dir.path(), "UTC");
    kept.keep_days = 2;
    let mut store = Store::open(kept.clone(), Known::default()).unwrap();
    for days in 0..5 {
        store.apply(&request(NOW - days * DAY, "key_a", "opus"));
    }
    store.compact(NOW, &mut taker()).unwrap();
    std::fs::remove_dir_all(dir.path().join("usage")).unwrap();
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    let again = Store::open(kept, Known::default()).unwrap();
    assert_eq!(again.totals(), store.totals());
    assert_eq!(all_days(&again), all_days(&store));
    assert_eq!(again.totals().total.counters.requests, 6);
}

#[test]
fn totals_that_are_refused_are_offered_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.apply(&request(NOW, "key_a", "opus"));
    let mut refuse: TotalsSink = Box::new(|_| Err("keys.json: no space".to_owned()));
    let error = store.compact(NOW, &mut refuse).unwrap_err();
    assert_eq!(error, "keys.json: no space");
    store.apply(&request(NOW, "key_b", "opus"));
    let (mut sink, taken) = keeper();
    store.compact(NOW, &mut sink).unwrap();
    assert_eq!(taken.lock().unwrap().len(), 2);
    let mut none: TotalsSink = Box::new(|_| panic!("nothing has changed"));
    store.compact(NOW, &mut none).unwrap();
}

#[test]
fn a_gap_is_not_retired() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = params(dir.path(), "UTC");
    kept.keep_days = 5;
    let mut store = Store::open(kept.clone(), Known::default()).unwrap();
    for days in 1..=4 {
        store.apply(&request(NOW - days * DAY, "key_a", "opus"));
    }
    store.compact(NOW, &mut taker()).unwrap();
    let mut store = Store::open(kept, Known::default()).unwrap();
    // The second oldest is damaged and has news: it, and what follows, must stay.
    let path = dir.path().join("usage/2026-11-21.json");
    std::fs::write(&path, "garbage").unwrap();
    store.apply(&request(NOW - 3 * DAY, "key_a", "opus"));
    store.compact(NOW + 30 * DAY, &mut taker()).unwrap_err();
    let left = |name: &str| dir.path().join("usage").join(name).exists();
    assert!(!left("2026-11-20.json"));
    assert!(left("2026-11-21.json") && left("2026-11-22.json") && left("2026-11-23.json"));
    assert_eq!(store.totals().total.counters.requests, 5);
}

#[test]
fn a_file_that_cannot_be_replaced_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    let path = dir.path().join("usage/2026-11-24.json");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap_err();
    std::fs::remove_dir(&path).unwrap();
    store.compact(NOW, &mut taker()).unwrap();
    assert_eq!(open(dir.path()).totals().total.counters.requests, 2);
}
