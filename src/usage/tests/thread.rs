//! The owner's thread: reading what was just recorded, stopping, trouble, and a full queue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::super::meter::{QUEUE_BOUND, Shared};
use super::super::owner::Command;
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
        compact,
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(move || hands.load(Ordering::Relaxed)),
    };
    let (meter, usage) = Owner::start(params, [], sink).unwrap();
    Running {
        meter,
        usage,
        clock,
        taken,
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
    assert_eq!(running.usage.unwritten(), 400);
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
    let thread = running.usage.thread.lock().unwrap().take().unwrap();
    drop(running);
    thread.join().unwrap();
    assert_eq!(open(dir.path()).totals().total.counters.requests, 1);
}

#[test]
fn it_writes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (told, written) = channel();
    let sink: TotalsSink =
        Box::new(move |totals, _| told.send(totals.len()).map_err(|error| error.to_string()));
    let params = Params {
        dir: dir.path().join("usage"),
        timezone: "UTC".to_owned(),
        compact: Duration::from_millis(50),
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| NOW),
    };
    let (meter, _usage) = Owner::start(params, [], sink).unwrap();
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
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
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
    assert_eq!(
        (running.usage.trouble(), running.usage.unwritten()),
        (None, 0)
    );
    assert_eq!(open(dir.path()).totals().total.counters.requests, 2);
}

#[test]
fn a_stop_in_trouble_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), NEVER);
    let folder = dir.path().join("usage");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    running.meter.record(request(NOW, "key_a", "opus"));
    let error = running.usage.stop().unwrap_err();
    assert_eq!(error.unwritten, 1);
    assert!(running.usage.trouble().is_some());
}

#[test]
fn a_damaged_file_keeps_it_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("usage")).unwrap();
    std::fs::write(dir.path().join("usage/2026-11-24.json"), "{").unwrap();
    let params = Params {
        dir: dir.path().join("usage"),
        timezone: "UTC".to_owned(),
        compact: NEVER,
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| NOW),
    };
    let error = Owner::start(params, [], taker()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged(_)));
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
    let sink: TotalsSink = Box::new(move |_, _| {
        let _ = told.send(());
        let _ = gate.recv();
        Ok(())
    });
    let params = Params {
        dir: dir.path().join("usage"),
        timezone: "Asia/Kathmandu".to_owned(),
        compact: NEVER,
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| NOW),
    };
    let (meter, usage) = Owner::start(params, [], sink).unwrap();
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
