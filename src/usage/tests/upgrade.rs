//! Two processes on one folder: one that still writes its journal, and the one that owns the files.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::super::calendar::Calendar;
use super::super::journal::{Flush, Recorder, cut};
use super::*;

/// keys.json: totals and marks.
type Keys = Arc<Mutex<(BTreeMap<String, Counters>, BTreeMap<String, u64>)>>;

fn sink(keys: &Keys) -> TotalsSink {
    let keys = Arc::clone(keys);
    Box::new(move |changed| {
        let mut keys = keys.lock().unwrap();
        let totals = changed.totals.iter();
        keys.0
            .extend(totals.map(|(key, sum)| (key.to_string(), *sum)));
        let through = changed.through.iter();
        keys.1 = through.map(|(id, seq)| (id.to_string(), *seq)).collect();
        Ok(())
    })
}

fn known_of(keys: &Keys) -> Known {
    let keys = keys.lock().unwrap();
    Known {
        totals: keys.0.clone().into_iter().collect(),
        through: keys.1.clone(),
    }
}

fn process(dir: &Path, keys: &Keys, waits: bool) -> (Meter, UsageHandle) {
    let params = Params {
        dir: dir.join("usage"),
        timezone: "UTC".to_owned(),
        flush: BEAT,
        compact: Duration::from_secs(3600),
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| NOW),
    };
    match waits {
        true => Owner::start_waiting(params, known_of(keys), sink(keys)).unwrap(),
        false => Owner::start(params, known_of(keys), sink(keys)).unwrap(),
    }
}

fn journals(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("usage")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("journal-")).collect()
}

/// What the day's file says, and keys.json.
fn on_disk(dir: &Path, keys: &Keys) -> (u64, u64) {
    let day: serde_json::Value = serde_json::from_str(&read(dir, "2026-11-24.json")).unwrap();
    let in_day = day["day"]["key_a"]["opus"]["requests"].as_u64().unwrap();
    (in_day, keys.lock().unwrap().0["key_a"].requests)
}

async fn until(condition: impl AsyncFn() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(std::time::Instant::now() < limit, "it does not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn record(meter: &Meter, times: usize) {
    for _ in 0..times {
        meter.record(request(NOW, "key_a", "opus"));
    }
}

async fn seen(usage: &UsageHandle) -> u64 {
    usage.totals().await.unwrap().total.counters.requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_in_the_old_process_is_counted_by_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::default();
    let (old_meter, old) = process(dir.path(), &keys, false);
    record(&old_meter, 3);
    old.hand_over().await.unwrap();
    assert_eq!(on_disk(dir.path(), &keys), (3, 3));
    assert_eq!(journals(dir.path()), Vec::<String>::new());
    record(&old_meter, 2);
    until(async || old.unwritten() == 0).await;
    let (new_meter, new) = process(dir.path(), &keys, true);
    record(&new_meter, 4);
    assert!(new.flush().await.is_err(), "it writes before it may");
    assert!(
        old.flush().await.is_err(),
        "it writes what it has given away"
    );
    assert_eq!(on_disk(dir.path(), &keys), (3, 3));
    new.take_over();
    until(async || on_disk(dir.path(), &keys) == (9, 9)).await;
    // The old one's journal is still being written, and is left alone.
    record(&old_meter, 5);
    until(async || seen(&new).await == 14).await;
    new.flush().await.unwrap();
    assert_eq!(on_disk(dir.path(), &keys), (14, 14));
    assert_eq!(journals(dir.path()).len(), 2);
    record(&old_meter, 1);
    old.stop().unwrap();
    assert_eq!(on_disk(dir.path(), &keys), (14, 14));
    new.flush().await.unwrap();
    assert_eq!(on_disk(dir.path(), &keys), (15, 15));
    assert_eq!(journals(dir.path()).len(), 1);
    new.stop().unwrap();
    assert_eq!(journals(dir.path()), Vec::<String>::new());
    let again = Store::open(params(dir.path(), "UTC"), known_of(&keys)).unwrap();
    assert_eq!(again.totals().total.counters.requests, 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_that_came_to_nothing_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::default();
    let (meter, usage) = process(dir.path(), &keys, false);
    record(&meter, 1);
    for round in 1..4 {
        usage.hand_over().await.unwrap();
        record(&meter, 1);
        // The successor reads, and is gone.
        let (_, new) = process(dir.path(), &keys, true);
        new.stop().unwrap();
        usage.take_over();
        record(&meter, 1);
        usage.flush().await.unwrap();
        assert_eq!(on_disk(dir.path(), &keys), (1 + 2 * round, 1 + 2 * round));
    }
    usage.stop().unwrap();
    assert_eq!(journals(dir.path()), Vec::<String>::new());
    assert_eq!(on_disk(dir.path(), &keys), (7, 7));
}

/// A process that is stopped anywhere.
struct Old {
    recorder: Recorder,
}

impl Old {
    fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir.join("usage")).unwrap();
        let calendar = Calendar::new("UTC").unwrap();
        let mut recorder = Recorder::new(dir.join("usage"), calendar);
        recorder.start(NOW);
        Self { recorder }
    }

    fn write(&mut self, requests: usize) {
        for _ in 0..requests {
            self.recorder.count(&request(NOW, "key_a", "opus"));
        }
        assert!(matches!(self.recorder.flush(NOW), Flush::Done(_)));
    }
}

fn nothing_is_ours(_: &str) -> bool {
    false
}

#[test]
fn a_journal_that_is_being_written_is_neither_cut_nor_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Old::new(dir.path());
    old.write(2);
    let path = old.recorder.file();
    let whole = std::fs::read(&path).unwrap();
    // A write that has come half way.
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(b"{\"seq\":3,\"time_ms\":17955").unwrap();
    let half = std::fs::read(&path).unwrap();
    let keys = Keys::default();
    let mut store = open(dir.path());
    cut(store.cuts());
    let mut sink = sink(&keys);
    for _ in 0..2 {
        store.follow(nothing_is_ours).unwrap();
        store.compact(NOW, &mut sink).unwrap();
        store.drop_journals(None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), half);
        assert_eq!(on_disk(dir.path(), &keys), (2, 2));
    }
    // It goes on where it was.
    file.set_len(whole.len() as u64).unwrap();
    old.write(3);
    store.follow(nothing_is_ours).unwrap();
    store.compact(NOW, &mut sink).unwrap();
    store.drop_journals(None).unwrap();
    assert_eq!(on_disk(dir.path(), &keys), (5, 5));
    assert!(path.exists());
    // A further one, and the end in the middle of a line.
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(b"{\"seq\":6").unwrap();
    drop(old);
    let mut second = Old::new(dir.path());
    second.write(1);
    store.follow(nothing_is_ours).unwrap();
    store.compact(NOW, &mut sink).unwrap();
    store.drop_journals(None).unwrap();
    assert_eq!(on_disk(dir.path(), &keys), (6, 6));
    assert!(!path.exists());
    assert!(second.recorder.file().exists());
}

#[test]
fn what_came_after_the_last_look_keeps_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Old::new(dir.path());
    old.write(1);
    let keys = Keys::default();
    let mut store = open(dir.path());
    store.follow(nothing_is_ours).unwrap();
    store.compact(NOW, &mut sink(&keys)).unwrap();
    old.write(1);
    let path = old.recorder.file();
    drop(old);
    store.drop_journals(None).unwrap();
    assert!(path.exists());
    store.follow(nothing_is_ours).unwrap();
    store.compact(NOW, &mut sink(&keys)).unwrap();
    store.drop_journals(None).unwrap();
    assert!(!path.exists());
    assert_eq!(on_disk(dir.path(), &keys), (2, 2));
}

#[test]
fn a_new_process_that_is_killed_counts_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Old::new(dir.path());
    let keys = Keys::default();
    let mut sum = 0;
    for round in 0..6 {
        old.write(1);
        sum += 1;
        let mut store = Store::open(params(dir.path(), "UTC"), known_of(&keys)).unwrap();
        cut(store.cuts());
        assert_eq!(store.totals().total.counters.requests, sum);
        old.write(2);
        sum += 2;
        store.follow(nothing_is_ours).unwrap();
        assert_eq!(store.totals().total.counters.requests, sum);
        if round % 2 == 0 {
            store.compact(NOW, &mut sink(&keys)).unwrap();
            assert_eq!(on_disk(dir.path(), &keys), (sum, sum));
        }
        if round % 3 == 0 {
            store.drop_journals(None).unwrap();
        }
        // Killed here.
    }
}

#[test]
fn a_damaged_journal_of_another_process_is_told_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Old::new(dir.path());
    old.write(1);
    let keys = Keys::default();
    let mut store = open(dir.path());
    let path = old.recorder.file();
    old.write(2);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"seq\":2", "\"sex\":2", 1)).unwrap();
    drop(old);
    for _ in 0..2 {
        let told = store.follow(nothing_is_ours).unwrap_err().to_string();
        assert!(told.contains("damaged usage journal"), "{told}");
    }
    store.compact(NOW, &mut sink(&keys)).unwrap();
    store.drop_journals(None).unwrap();
    assert_eq!(on_disk(dir.path(), &keys), (1, 1));
    assert!(path.exists());
}
