//! The journal: its lines, replay, torn ends, damage, and a disk that is full.

use super::super::journal::{Flush, Recorder, cut};
use super::*;

fn recorder(dir: &Path) -> Recorder {
    let _ = std::fs::create_dir(dir.join("usage"));
    let calendar = super::super::calendar::Calendar::new("UTC").unwrap();
    let mut recorder = Recorder::new(dir.join("usage"), calendar);
    recorder.start(NOW);
    recorder
}

/// A journal of so many requests.
fn written(dir: &Path, requests: usize) -> std::path::PathBuf {
    let mut recorder = recorder(dir);
    for _ in 0..requests {
        recorder.count(&request(NOW, "key_a", "opus"));
    }
    assert!(matches!(recorder.flush(NOW), Flush::Done(_)));
    recorder.file()
}

fn requests(dir: &Path) -> u64 {
    open(dir).totals().total.counters.requests
}

fn journals(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("usage")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".jsonl")).count()
}

#[test]
fn a_line_is_for_people_and_jq() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(dir.path());
    let mut finished = request(NOW, "key_a", "sonnet");
    finished.requested_model = Arc::from("claude \"opus\"\n");
    finished.fallback_reasons = vec!["quota"];
    recorder.count(&finished);
    let sum = finished.counters();
    recorder.count_sum(NOW, &Arc::from("key_a"), &Arc::from("opus"), sum);
    recorder.flush(NOW);
    let text = std::fs::read_to_string(recorder.file()).unwrap();
    let id = recorder.file();
    let id = id.file_name().unwrap().to_str().unwrap();
    let id = id.strip_prefix("journal-").unwrap();
    let id = id.strip_suffix(".jsonl").unwrap();
    assert!(id.starts_with("2026-11-24-"), "{id}");
    let expected = [
        format!(r#"{{"journal":"{id}","version":1}}"#),
        concat!(
            r#"{"seq":1,"time_ms":1795509000000,"request_id":"req_1","key_id":"key_a","#,
            r#""requested_model":"claude \"opus\"\n","served_model":"sonnet","upstream":"default","#,
            r#""endpoint":"messages","stream":true,"status":200,"error":false,"aborted":false,"#,
            r#""fallback_reasons":["quota"],"#,
            r#""tokens":{"input":10,"output":3,"cache_read":100,"cache_creation":7},"#,
            r#""estimated":false,"duration_ms":1200,"ttfe_ms":300}"#
        )
        .to_owned(),
        concat!(
            r#"{"seq":2,"time_ms":1795509000000,"key_id":"key_a","served_model":"opus","sum":"#,
            r#"{"requests":1,"errors":0,"fallbacks":1,"aborted":0,"input_tokens":10,"output_tokens":3,"#,
            r#""cache_read_input_tokens":100,"cache_creation_input_tokens":7}}"#
        )
        .to_owned(),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let totals = open(dir.path()).totals();
    assert_eq!(totals.total.counters.requests, 2);
    assert_eq!(totals.total.counters.fallbacks, 2);
    assert_eq!(
        totals.models["sonnet"].counters.cache_read_input_tokens,
        100
    );
}

#[test]
fn replay_adds_to_each_file_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(dir.path());
    let mut store = open(dir.path());
    let count = |recorder: &mut Recorder, store: &mut Store, time| {
        let counted = recorder.count(&request(time, "key_a", "opus"));
        store.take(&counted);
        recorder.flush(NOW);
    };
    count(&mut recorder, &mut store, NOW);
    let (mut sink, taken) = keeper();
    store.compact(NOW, &mut sink).unwrap();
    let text = read(dir.path(), "2026-11-24.json");
    assert!(text.contains("\"through\": {\"2026-11-24-"), "{text}");
    assert!(text.contains("\":1},\n  \"day\""), "{text}");
    // Yesterday's file and keys.json know nothing of the second, today's file nothing of the third.
    count(&mut recorder, &mut store, NOW - DAY);
    count(&mut recorder, &mut store, NOW);
    let known = Known {
        totals: vec![("key_a".to_owned(), taken.lock().unwrap()["key_a"])],
        through: store.applied.keys().map(|id| (id.to_string(), 1)).collect(),
    };
    let again = Store::open(params(dir.path(), "UTC"), known).unwrap();
    assert_eq!(again.totals().keys["key_a"].counters.requests, 3);
    let days: Vec<_> = all_days(&again).days;
    let days: Vec<_> = days
        .iter()
        .map(|day| day.sums.total.counters.requests)
        .collect();
    assert_eq!(days, [1, 2]);
    // Imported totals are more than the days show: the marks alone say what is to be added.
    let imported = Counters {
        requests: 1000,
        ..Counters::default()
    };
    let known = Known {
        totals: vec![("key_a".to_owned(), imported)],
        through: store.applied.keys().map(|id| (id.to_string(), 2)).collect(),
    };
    let again = Store::open(params(dir.path(), "UTC"), known).unwrap();
    assert_eq!(again.totals().keys["key_a"].counters.requests, 1001);
}

#[test]
fn a_torn_end_is_cut() {
    for tail in [
        "{\"seq\":4,\"time",
        "\0\0\0",
        "\0\0\n\0",
        "x",
        "{\"seq\":4}",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path(), 3);
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{good}{tail}")).unwrap();
        let store = open(dir.path());
        assert_eq!(store.totals().total.counters.requests, 3, "{tail:?}");
        // A look writes nothing.
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("{good}{tail}")
        );
        cut(store.cuts());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), good);
        assert_eq!(requests(dir.path()), 3);
    }
}

#[test]
fn every_length_of_a_journal_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), 3);
    let good = std::fs::read(&path).unwrap();
    for length in 0..=good.len() {
        std::fs::write(&path, &good[..length]).unwrap();
        let lines = good[..length].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(
            requests(dir.path()),
            lines.saturating_sub(1) as u64,
            "{length}"
        );
    }
}

#[test]
fn damage_is_refused_with_its_line_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), 3);
    let good = std::fs::read_to_string(&path).unwrap();
    let cases = [
        (good.replacen("\"seq\":2", "\"seq\":\"x\"", 1), ".jsonl:3:"),
        (
            good.replacen("\"seq\":2", "\"seq\":1", 1),
            "seq 1 follows seq 1",
        ),
        (good.replacen("\"tokens\"", "\"wishes\"", 1), ".jsonl:2:"),
        (
            good.replacen("\"input\":10", "\"input\":-10", 1),
            ".jsonl:2:",
        ),
        (good.replacen("{\"seq\":3", "seq 3", 1), ".jsonl:4:"),
        (
            good.replacen("\n{\"seq\":2", "\n\0\0\0\n{\"seq\":2", 1),
            ".jsonl:3:",
        ),
        (
            good.replacen("\"journal\":\"", "\"journal\":\"x", 1),
            "its name says",
        ),
        (good.replacen("{\"journal", "{\"diary", 1), ".jsonl:1:"),
        (
            good.replace("\"version\":1", "\"version\":2"),
            "journal version 2, this one reads 1",
        ),
    ];
    for (text, expected) in cases {
        std::fs::write(&path, &text).unwrap();
        let error = Store::open(params(dir.path(), "UTC"), Known::default()).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, OpenError::Damaged(_)), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("left as it is"), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let huge = format!("{good}{}", "x".repeat(1_000_000));
    std::fs::write(&path, huge).unwrap();
    assert_eq!(requests(dir.path()), 3);
}

#[test]
fn a_full_disk_leaves_no_gap_and_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(dir.path());
    recorder.count(&request(NOW, "key_a", "opus"));
    recorder.flush(NOW);
    let len = std::fs::metadata(recorder.file()).unwrap().len();
    for room in 0..700 {
        recorder.set_room(Some(len + room));
        recorder.count(&request(NOW, "key_a", "opus"));
        recorder.count(&request(NOW, "key_a", "opus"));
        if matches!(recorder.flush(NOW), Flush::Done(_)) {
            break;
        }
        // A crash here finds whole lines and a torn one.
        assert!(requests(dir.path()) <= 2);
    }
    recorder.set_room(None);
    assert!(matches!(recorder.flush(NOW), Flush::Done(_) | Flush::Idle));
    let text = std::fs::read_to_string(recorder.file()).unwrap();
    let lines = text.lines().count() as u64;
    assert_eq!(requests(dir.path()), lines - 1);
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("{{\"seq\":{},", lines - 1)),
        "{last}"
    );
}

#[test]
fn what_is_kept_for_a_full_disk_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(dir.path());
    let mut store = open(dir.path());
    recorder.set_room(Some(0));
    let finished = request(NOW, "key_a", "opus");
    for _ in 0..60_000 {
        let counted = recorder.count(&finished);
        store.take(&counted);
    }
    assert!(matches!(recorder.flush(NOW), Flush::Failed(_)));
    assert!(recorder.pending().len() < 17 * 1024 * 1024);
    recorder.set_room(None);
    recorder.flush(NOW);
    let journaled = requests(dir.path());
    assert!((30_000..60_000).contains(&journaled), "{journaled}");
    // The counts are complete all the same, and the lines do not count again.
    store.compact(NOW, &mut taker()).unwrap();
    assert_eq!(requests(dir.path()), 60_000);
}

#[test]
fn a_new_day_begins_a_new_file_and_done_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(dir.path());
    let mut store = open(dir.path());
    let mut last = None;
    for day in 0..3 {
        for _ in 0..2 {
            let now = NOW + day * DAY;
            let counted = recorder.count(&request(now, "key_a", "opus"));
            store.take(&counted);
            last = Some(counted.journal);
            recorder.flush(now);
        }
    }
    assert_eq!(journals(dir.path()), 3);
    assert_eq!(requests(dir.path()), 6);
    store.compact(NOW + 2 * DAY, &mut taker()).unwrap();
    store.drop_journals(last.as_ref()).unwrap();
    assert_eq!(journals(dir.path()), 1);
    assert_eq!(requests(dir.path()), 6);
    store.drop_journals(None).unwrap();
    assert_eq!(journals(dir.path()), 0);
    assert_eq!(requests(dir.path()), 6);
}

#[test]
fn a_journal_taken_away_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(dir.path());
    let finished = request(NOW, "key_a", "opus");
    recorder.count(&finished);
    recorder.flush(NOW);
    let aside = dir.path().join("aside");
    std::fs::copy(recorder.file(), &aside).unwrap();
    std::fs::remove_file(recorder.file()).unwrap();
    recorder.count(&finished);
    assert!(matches!(recorder.flush(NOW), Flush::Done(written) if written.vanished));
    assert_eq!(requests(dir.path()), 1);
    // A copy is brought back, torn: it is gone on with.
    let torn = std::fs::read(&aside).unwrap();
    std::fs::write(&aside, [&torn[..], b"{\"seq\":"].concat()).unwrap();
    std::fs::rename(&aside, recorder.file()).unwrap();
    recorder.count(&finished);
    assert!(matches!(recorder.flush(NOW), Flush::Done(written) if written.vanished));
    assert_eq!(requests(dir.path()), 2);
    // The folder goes, and comes back as it was.
    let (usage, away) = (dir.path().join("usage"), dir.path().join("away"));
    std::fs::rename(&usage, &away).unwrap();
    recorder.count(&finished);
    assert!(matches!(recorder.flush(NOW), Flush::Failed(_)));
    std::fs::rename(&away, &usage).unwrap();
    assert!(matches!(recorder.flush(NOW), Flush::Done(written) if !written.vanished));
    assert_eq!(requests(dir.path()), 3);
}

#[test]
fn names_of_any_length_are_cut_and_count_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(dir.path());
    let mut store = open(dir.path());
    let mut finished = request(NOW, "key_a", &"\u{e9}".repeat(100_000));
    finished.requested_model = Arc::from("x".repeat(1_000_000));
    let counted = recorder.count(&finished);
    store.take(&counted);
    recorder.flush(NOW);
    assert!(std::fs::metadata(recorder.file()).unwrap().len() < 2_000);
    assert_eq!(open(dir.path()).totals(), store.totals());
}
