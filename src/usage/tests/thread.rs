//! The owner's thread: reading what was just recorded, stopping, trouble, and a full queue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::super::meter::{Command, QUEUE_BOUND, Shared};
use super::*;

struct Running {
    meter: Meter,
    usage: UsageHandle,
    clock: Arc<AtomicU64>,
    taken: Taken,
}

fn start(dir: &Path, compact: Duration) -> Running {
    let clock = Arc::new(AtomicU64::new(NOW));
    let (sink, taken) = keeper();
    let hands = Arc::clone(&clock);
    let params = Params {
        dir: dir.join("usage"),
        timezone: "UTC".to_owned(),
        flush: BEAT,
        compact,
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(move || hands.load(Ordering::Relaxed)),
    };
    let (meter, usage) = Owner::start(params, Known::default(), sink).unwrap();
    Running {
        meter,
        usage,
        clock,
        taken,
    }
}

/// Waits for what another thread is about to do.
async fn until(condition: impl Fn() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < limit, "it does not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Puts a file in the folder's place. The owner may be writing the folder anew at the same moment.
fn block(folder: &Path) {
    while std::fs::write(folder, "in the way").is_err() {
        let _ = std::fs::remove_dir_all(folder);
    }
}

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_holds_what_was_recorded_before() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    for round in 1..=200u64 {
        let meter = running.meter.clone();
        let recorded = tokio::spawn(async move { meter.record(request(NOW, "key_a", "opus")) });
        recorded.await.unwrap();
        running.meter.record(request(NOW, "key_b", "sonnet"));
        let totals = running.usage.totals().await.unwrap();
        assert_eq!(totals.total.counters.requests, 2 * round);
    }
    running.usage.flush().await.unwrap();
    assert_eq!(running.usage.unwritten(), 0);
    let key = running.usage.key("key_b", "Bob").await.unwrap();
    assert_eq!((key.id.as_str(), key.name.as_str()), ("key_b", "Bob"));
    assert_eq!(key.total.counters.requests, 200);
    assert_eq!(key.models["sonnet"], key.total);
    assert_eq!(key.days["2026-11-24"], key.total);
    assert_eq!(key.hours["2026-11-24T08:00:00Z"], key.total);
    let nobody = running.usage.key("nobody", "").await.unwrap();
    assert_eq!(nobody.total, Usage::default());
    assert!(nobody.models.is_empty() && nobody.days.is_empty() && nobody.hours.is_empty());
    let only = |model: &str| Query {
        model: Some(model.to_owned()),
        ..Query::default()
    };
    let daily = running.usage.daily(only("opus")).await.unwrap().daily();
    assert_eq!(daily.days[0].sums.total.counters.requests, 200);
    let hourly = running.usage.hourly(only("none")).await.unwrap().hourly();
    assert!(hourly.hours.is_empty());
    let bad = Query {
        from: Some("x".to_owned()),
        ..Query::default()
    };
    assert!(matches!(
        running.usage.daily(bad).await,
        Err(QueryError::Range(_))
    ));
}

#[test]
fn a_stop_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let meter = running.meter.clone();
            std::thread::spawn(move || {
                for number in 0..5_000 {
                    meter.record(request(
                        NOW,
                        &format!("key_{worker}"),
                        &format!("m{}", number % 5),
                    ));
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    running.usage.stop().unwrap();
    assert_eq!(running.usage.unwritten(), 0);
    assert_eq!(running.usage.lost(), 0);
    let totals = open(dir.path()).totals();
    assert_eq!(totals.total.counters.requests, 20_000);
    assert_eq!(running.taken.lock().unwrap()["key_3"].requests, 5_000);
    // Afterwards nothing waits for ever, and what comes too late is counted as lost.
    running.meter.record(request(NOW, "key_a", "opus"));
    assert_eq!((running.usage.lost(), running.usage.unwritten()), (1, 0));
    running.usage.stop().unwrap();
}

#[test]
fn dropping_everything_writes_too() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    running.meter.record(request(NOW, "key_a", "opus"));
    let threads = std::mem::take(&mut *running.usage.threads.lock().unwrap());
    drop(running);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(open(dir.path()).totals().total.counters.requests, 1);
}

#[test]
fn it_writes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (told, written) = channel();
    let sink: TotalsSink = Box::new(move |changed| {
        told.send(changed.totals.len())
            .map_err(|error| error.to_string())
    });
    let params = Params {
        dir: dir.path().join("usage"),
        timezone: "UTC".to_owned(),
        flush: BEAT,
        compact: Duration::from_millis(50),
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| NOW),
    };
    let (meter, _usage) = Owner::start(params, Known::default(), sink).unwrap();
    meter.record(request(NOW, "key_a", "opus"));
    assert_eq!(written.recv_timeout(Duration::from_secs(30)), Ok(1));
    assert_eq!(open(dir.path()).totals().total.counters.requests, 1);
}

#[tokio::test]
async fn trouble_is_told_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    assert_eq!(running.usage.trouble(), None);
    let folder = dir.path().join("usage");
    block(&folder);
    running.meter.record(request(NOW, "key_a", "opus"));
    running.usage.flush().await.unwrap_err();
    running.clock.store(NOW + 5_000, Ordering::Relaxed);
    running.meter.record(request(NOW, "key_a", "opus"));
    running.usage.flush().await.unwrap_err();
    let trouble = running.usage.trouble().unwrap();
    assert_eq!(trouble.since_ms, NOW);
    assert_eq!(running.usage.unwritten(), 2);
    assert_eq!(
        running
            .usage
            .totals()
            .await
            .unwrap()
            .total
            .counters
            .requests,
        2
    );
    std::fs::remove_file(&folder).unwrap();
    running.usage.flush().await.unwrap();
    assert_eq!(running.usage.unwritten(), 0);
    // The journal finds its folder again with its next beat.
    until(|| running.usage.trouble().is_none()).await;
    assert_eq!(open(dir.path()).totals().total.counters.requests, 2);
}

#[test]
fn a_stop_in_trouble_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    let folder = dir.path().join("usage");
    block(&folder);
    running.meter.record(request(NOW, "key_a", "opus"));
    let error = running.usage.stop().unwrap_err();
    assert_eq!(error.unwritten, 1);
    assert!(running.usage.trouble().is_some());
}

#[test]
fn a_damaged_file_keeps_it_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("usage")).unwrap();
    let params = Params {
        dir: dir.path().join("usage"),
        timezone: "UTC".to_owned(),
        flush: BEAT,
        compact: NEVER,
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| NOW),
    };
    let hours = r#"{"version": 1, "date": "2026-11-24", "timezone": "UTC", "day": {},
        "hours": {"2026-11-24T08:00:00Z": {"key_a": {"opus": {"requests": -1}}}}}"#;
    for (text, line) in [("{", 1), (hours, 2)] {
        let path = dir.path().join("usage/2026-11-24.json");
        std::fs::write(&path, text).unwrap();
        let error = Owner::start(params.clone(), Known::default(), taker());
        let error = error.err().unwrap();
        assert!(matches!(error, OpenError::Damaged(_)));
        let place = format!("2026-11-24.json:{line}:");
        assert!(error.to_string().contains(&place), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_full_queue_adds_up_instead() {
    let (sender, queue) = channel();
    let shared = Arc::new(Shared::default());
    let meter = Meter {
        queue: sender,
        shared: Arc::clone(&shared),
    };
    let more = 1_000;
    for _ in 0..QUEUE_BOUND + more {
        meter.record(request(NOW, "key_a", "opus"));
    }
    let overflow = shared.overflow.lock().unwrap();
    assert_eq!(overflow.cells.len(), 1);
    assert_eq!(overflow.requests, more);
    let sum = overflow.cells.values().next().unwrap();
    assert_eq!((sum.requests, sum.input_tokens), (more, 10 * more));
    drop(overflow);
    let waiting = queue
        .try_iter()
        .filter(|it| matches!(it, Command::Finished(_)))
        .count();
    assert_eq!(waiting as u64, QUEUE_BOUND);
    // Sums have a bound as well.
    for number in 0..20_000 {
        meter.record(request(NOW, "key_a", &format!("m{number}")));
    }
    let cells = shared.overflow.lock().unwrap().cells.len() as u64;
    assert_eq!(cells, 16_384);
    assert_eq!(shared.lost.load(Ordering::Relaxed), 20_000 - (cells - 1));
}

#[tokio::test]
async fn an_overflow_is_counted_in_its_hour() {
    let dir = tempfile::tempdir().unwrap();
    let (release, gate) = channel::<()>();
    let (told, entered) = channel();
    let sink: TotalsSink = Box::new(move |_| {
        let _ = told.send(());
        let _ = gate.recv();
        Ok(())
    });
    let params = Params {
        dir: dir.path().join("usage"),
        timezone: "Asia/Kathmandu".to_owned(),
        flush: BEAT,
        compact: NEVER,
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| NOW),
    };
    let (meter, usage) = Owner::start(params, Known::default(), sink).unwrap();
    meter.record(request(NOW, "key_a", "opus"));
    let (done, _result) = tokio::sync::oneshot::channel();
    usage.queue.send(Command::Compact(done)).unwrap();
    entered.recv().unwrap();
    // The disk hangs now.
    for _ in 0..QUEUE_BOUND + 10 {
        meter.record(request(NOW + HOUR, "key_a", "opus"));
    }
    drop(release);
    let hours = usage.hourly(Query {
        to: Some("2026-11-24T12:00:00Z".to_owned()),
        ..Query::default()
    });
    let hours = hours.await.unwrap().hourly().hours;
    assert_eq!(hours[1].hour, "2026-11-24T09:00:00Z");
    assert_eq!(hours[1].sums.total.counters.requests, QUEUE_BOUND + 10);
    assert_eq!((usage.lost(), hours.len()), (0, 2));
}

#[tokio::test]
async fn a_kill_loses_at_most_one_beat() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    for round in 1..=50 {
        running.meter.record(request(NOW, "key_a", "opus"));
        until(|| running.usage.unwritten() == 0).await;
        // What a start would find if the process were gone now.
        assert_eq!(open(dir.path()).totals().total.counters.requests, round);
    }
}

#[tokio::test]
async fn journals_go_when_they_are_compacted_and_all_at_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    running.meter.record(request(NOW, "key_a", "opus"));
    until(|| running.usage.unwritten() == 0).await;
    running.usage.stop().unwrap();
    let names = std::fs::read_dir(dir.path().join("usage")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["2026-11-24.json"]);
    let text = read(dir.path(), "2026-11-24.json");
    assert!(text.contains("\"through\": {\"2026-11-24-"), "{text}");
}

#[tokio::test]
async fn a_stop_that_cannot_compact_leaves_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let params = Params {
        dir: dir.path().join("usage"),
        timezone: "UTC".to_owned(),
        flush: BEAT,
        compact: NEVER,
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| NOW),
    };
    let refuse: TotalsSink = Box::new(|_| Err("keys.json: no space".to_owned()));
    let (meter, usage) = Owner::start(params, Known::default(), refuse).unwrap();
    meter.record(request(NOW, "key_a", "opus"));
    let error = usage.flush().await.unwrap_err();
    assert_eq!(error, "keys.json: no space");
    assert_eq!(usage.trouble().unwrap().message, "keys.json: no space");
    // It is in the journal, so nothing is lost.
    usage.stop().unwrap();
    let again = open(dir.path()).totals();
    assert_eq!(again.keys["key_a"].counters.requests, 1);
    assert_eq!(again.models["opus"].counters.requests, 1);
}

#[tokio::test]
async fn a_folder_that_is_deleted_under_way_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    let folder = dir.path().join("usage");
    for round in 1..=5 {
        running.meter.record(request(NOW, "key_a", "opus"));
        until(|| running.usage.unwritten() == 0).await;
        std::fs::remove_dir_all(&folder).unwrap();
        running.meter.record(request(NOW, "key_b", "opus"));
        until(|| folder.join("2026-11-24.json").exists()).await;
        until(|| running.usage.trouble().is_none()).await;
        until(|| open(dir.path()).totals().total.counters.requests == 2 * round).await;
    }
    running.usage.stop().unwrap();
    assert_eq!(open(dir.path()).totals().total.counters.requests, 10);
}
