//! Day files, restarts, damage and retention.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_restart_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (mut sink, taken) = keeper();
    store.apply(&request(NOW, "key_a", "opus"));
    store.apply(&request(NOW - HOUR, "key_a", "sonnet"));
    store.apply(&request(NOW - DAY, "key_b", "opus"));
    store.compact(NOW, &mut sink).unwrap();
    let (days, totals) = (all_days(&store), store.totals());
    let recent = hours(&mut store, "2026-11-23", "2026-11-24");

    let taken = taken.lock().unwrap().clone();
    let taken = known(taken.iter().map(|(key, sum)| (key.as_str(), *sum)));
    let mut again = Store::open(params(dir.path(), "UTC"), taken).unwrap();
    assert_eq!(all_days(&again), days);
    assert_eq!(again.totals(), totals);
    assert_eq!(hours(&mut again, "2026-11-23", "2026-11-24"), recent);
    assert_eq!(recent.hours.len(), 3);
    assert_eq!(totals.total.counters.requests, 3);
    assert_eq!(totals.total.counters.cache_read_input_tokens, 300);
}

#[test]
fn the_file_is_readable_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    let expected = r#"{
  "version": 1,
  "date": "2026-11-24",
  "timezone": "UTC",
  "through": {},
  "day": {
    "key_a": {
      "opus": {"requests": 1, "errors": 0, "fallbacks": 0, "aborted": 0, "input_tokens": 10, "output_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7}
    }
  },
  "hours": {
    "2026-11-24T08:00:00Z": {
      "key_a": {
        "opus": {"requests": 1, "errors": 0, "fallbacks": 0, "aborted": 0, "input_tokens": 10, "output_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7}
      }
    }
  }
}
"#;
    assert_eq!(read(dir.path(), "2026-11-24.json"), expected);
    let mode = |name: &str| {
        let path = dir.path().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("usage"), 0o700);
    assert_eq!(mode("usage/2026-11-24.json"), 0o600);
}

#[test]
fn nothing_changed_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    let path = dir.path().join("usage/2026-11-24.json");
    std::fs::remove_file(&path).unwrap();
    store.compact(NOW, &mut taker()).unwrap();
    assert!(!path.exists());
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    assert!(path.exists());
}

#[test]
fn counting_goes_on_in_a_day_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut store = open(dir.path());
        store.apply(&request(NOW, "key_a", "opus"));
        store.compact(NOW, &mut taker()).unwrap();
        let hour = &hours(&mut store, "2026-11-24", "2026-11-24").hours[0];
        assert_eq!(hour.sums.total.counters.requests, round);
        assert_eq!(all_days(&store).days[0].sums.total, hour.sums.total);
    }
}

#[test]
fn a_damaged_file_is_refused_with_its_line_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    let path = dir.path().join("usage/2026-11-24.json");
    let good = read(dir.path(), "2026-11-24.json");
    let cases = [
        (good[..good.len() / 2].to_owned(), "2026-11-24.json:8:"),
        (
            good.replacen("\"requests\": 1", "\"requests\": -1", 1),
            "2026-11-24.json:8:",
        ),
        (
            good.replacen("\"requests\"", "\"wishes\"", 1),
            "2026-11-24.json:8:",
        ),
        (
            good.replace("\"date\": \"2026-11-24\"", "\"date\": \"2026-11-25\""),
            "its name says",
        ),
        (String::new(), "2026-11-24.json"),
        (
            good.replace("\"version\": 1", "\"version\": 2"),
            "file version 2",
        ),
        ("{\"version\": 7, \"new\": []}".to_owned(), "file version 7"),
    ];
    for (text, expected) in cases {
        std::fs::write(&path, &text).unwrap();
        let error = Store::open(params(dir.path(), "UTC"), Known::default()).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, OpenError::Damaged(_)), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("left as it is"), "{message}");
        assert_eq!(read(dir.path(), "2026-11-24.json"), text);
    }
}

#[test]
fn a_day_damaged_while_running_is_not_overwritten_and_the_others_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.apply(&request(NOW - DAY, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    let mut store = open(dir.path());
    let path = dir.path().join("usage/2026-11-23.json");
    let good = read(dir.path(), "2026-11-23.json");
    std::fs::write(&path, "garbage").unwrap();
    store.apply(&request(NOW - DAY, "key_a", "opus"));
    store.apply(&request(NOW, "key_a", "opus"));
    let error = store.compact(NOW, &mut taker()).unwrap_err();
    assert!(error.contains("2026-11-23.json:1:"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "garbage");
    assert!(read(dir.path(), "2026-11-24.json").contains("opus"));
    std::fs::write(&path, good).unwrap();
    store.compact(NOW, &mut taker()).unwrap();
    assert!(read(dir.path(), "2026-11-23.json").contains("\"requests\": 2"));
}

#[test]
fn a_file_that_appears_while_running_is_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut source = open(other.path());
    source.apply(&request(NOW, "key_a", "opus"));
    source.compact(NOW, &mut taker()).unwrap();
    let mut store = open(dir.path());
    store.apply(&request(NOW, "key_a", "opus"));
    std::fs::create_dir(dir.path().join("usage")).unwrap();
    let name = "usage/2026-11-24.json";
    std::fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    store.compact(NOW, &mut taker()).unwrap();
    store.apply(&request(NOW, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    let again = open(dir.path());
    assert_eq!(again.totals().total.counters.requests, 3);
}

#[test]
fn old_hours_go_and_their_day_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = params(dir.path(), "UTC");
    kept.keep_hours_days = 2;
    let mut store = Store::open(kept.clone(), Known::default()).unwrap();
    for days in 0..5 {
        store.apply(&request(NOW - days * DAY, "key_a", "opus"));
    }
    store.compact(NOW, &mut taker()).unwrap();
    store.compact(NOW, &mut taker()).unwrap();
    for mut store in [store, Store::open(kept, Known::default()).unwrap()] {
        assert_eq!(all_days(&store).days.len(), 5);
        let labels: Vec<_> = hours(&mut store, "2026-11-19", "2026-11-24").hours;
        let labels: Vec<_> = labels.iter().map(|hour| hour.hour.as_str()).collect();
        let expected = ["22T08", "23T08", "24T08"].map(|at| format!("2026-11-{at}:00:00Z"));
        assert_eq!(labels, expected);
    }
    assert!(read(dir.path(), "2026-11-21.json").contains("\"hours\": null"));
    assert!(read(dir.path(), "2026-11-22.json").contains("T08:00:00Z"));
}

#[test]
fn old_files_go_and_the_sums_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = params(dir.path(), "UTC");
    kept.keep_days = 2;
    let mut store = Store::open(kept.clone(), Known::default()).unwrap();
    for days in 0..5 {
        store.apply(&request(NOW - days * DAY, "key_a", "opus"));
    }
    let before = store.totals();
    store.compact(NOW, &mut taker()).unwrap();
    assert_eq!(store.totals(), before);
    assert_eq!(all_days(&store).days.len(), 3);
    assert!(!dir.path().join("usage/2026-11-21.json").exists());
    assert!(dir.path().join("usage/2026-11-22.json").exists());
    let mut store = Store::open(kept.clone(), Known::default()).unwrap();
    assert_eq!(store.totals(), before);
    // Later days join the sums; a request from long ago does too.
    store.apply(&request(NOW - 4 * DAY, "key_a", "opus"));
    assert_eq!(all_days(&store).days.len(), 3);
    store.compact(NOW + DAY, &mut taker()).unwrap();
    assert_eq!(all_days(&store).days.len(), 2);
    let again = Store::open(kept, Known::default()).unwrap();
    assert_eq!(again.totals().total.counters.requests, 6);
    assert_eq!(again.totals().models["opus"].counters.requests, 6);
}

#[test]
fn a_stop_between_the_sums_and_the_removal_counts_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = params(dir.path(), "UTC");
    kept.keep_days = 2;
    let mut store = Store::open(kept.clone(), Known::default()).unwrap();
    store.apply(&request(NOW - 3 * DAY, "key_a", "opus"));
    store.compact(NOW - 3 * DAY, &mut taker()).unwrap();
    let old = read(dir.path(), "2026-11-21.json");
    store.compact(NOW, &mut taker()).unwrap();
    let path = dir.path().join("usage/2026-11-21.json");
    assert!(!path.exists());
    std::fs::write(&path, old).unwrap();
    let mut store = Store::open(kept, Known::default()).unwrap();
    assert_eq!(store.totals().total.counters.requests, 1);
    store.compact(NOW, &mut taker()).unwrap();
    assert!(!path.exists());
}

#[test]
fn totals_are_at_least_what_the_days_show() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for key in ["key_a", "key_a", "deleted"] {
        store.apply(&request(NOW, key, "opus"));
    }
    store.compact(NOW, &mut taker()).unwrap();
    let imported = Counters {
        requests: 1,
        input_tokens: 5_000,
        ..Counters::default()
    };
    let mut store = Store::open(params(dir.path(), "UTC"), known([("key_a", imported)])).unwrap();
    let totals = store.totals();
    assert_eq!(totals.keys["key_a"].counters.requests, 2);
    assert_eq!(totals.keys["key_a"].counters.input_tokens, 5_000);
    assert_eq!(totals.keys["deleted"].counters.requests, 1);
    // The mended total is handed over, an unchanged one is not.
    let (mut sink, taken) = keeper();
    store.compact(NOW, &mut sink).unwrap();
    let taken = taken.lock().unwrap();
    assert_eq!(taken.keys().collect::<Vec<_>>(), ["key_a"]);
    assert_eq!(taken["key_a"].requests, 2);
}

#[test]
fn hostile_model_names_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for number in 0..500 {
        store.apply(&request(NOW, "key_a", &format!("model-{number}")));
    }
    store.apply(&request(NOW, "key_b", &"x".repeat(5_000)));
    store.apply(&request(NOW, "key_b", "a\u{1b}[2J"));
    store.apply(&request(NOW, "key_b", "\"quoted\" \\ \u{1F600}"));
    store.compact(NOW, &mut taker()).unwrap();
    let totals = open(dir.path()).totals();
    assert_eq!(totals.total.counters.requests, 503);
    assert_eq!(totals.models.len(), 200 + 2);
    assert_eq!(totals.models["other"].counters.requests, 302);
    assert_eq!(
        totals.models["\"quoted\" \\ \u{1F600}"].counters.requests,
        1
    );
}

#[test]
fn sums_stand_still_at_the_top() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut big = request(NOW, "key_a", "opus");
    big.tokens.input = u64::MAX;
    store.apply(&big);
    store.apply(&big);
    store.compact(NOW, &mut taker()).unwrap();
    let totals = open(dir.path()).totals();
    assert_eq!(totals.total.counters.input_tokens, u64::MAX);
    assert_eq!(totals.total.counters.requests, 2);
}

#[test]
fn hours_of_many_days_do_not_stay_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.hour_cells_kept = 35;
    for days in 0..60 {
        store.apply(&request(NOW - days * DAY, "key_a", "opus"));
    }
    store.compact(NOW, &mut taker()).unwrap();
    let loaded = |store: &Store| store.book.days.values().filter(|day| day.loaded()).count();
    assert_eq!(loaded(&store), 35);
    let older = hours(&mut store, "2026-09-26", "2026-10-20").hours;
    assert_eq!(older.len(), 25);
    assert_eq!(loaded(&store), 35);
    // Those that were asked for stay, and the oldest of the others went.
    let is_loaded = |store: &Store, date: &str| store.book.days[&date.parse().unwrap()].loaded();
    assert!(is_loaded(&store, "2026-09-26") && is_loaded(&store, "2026-11-24"));
    assert!(!is_loaded(&store, "2026-10-25"));
    // A start reads what fits, and the answers are the same.
    let mut again = open(dir.path());
    assert_eq!(loaded(&again), 0);
    again.hour_cells_kept = 35;
    again.read_recent_hours().unwrap();
    assert_eq!(loaded(&again), 35);
    assert!(is_loaded(&again, "2026-11-24") && !is_loaded(&again, "2026-09-26"));
    assert_eq!(hours(&mut again, "2026-09-26", "2026-10-20").hours, older);
}
