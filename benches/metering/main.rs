//! What counting costs: for each streamed event, for each request, at a start after a crash, and for a long report.
//!
//! Each figure of the request path is a ratio to the same work without counting, taken in the same run, so that it can be
//! compared between machines. Run with `cargo bench --bench metering`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for the terminal"
)]

mod answers;

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use luna::usage::{Endpoint, Finished, Known, Owner, Params, Store, StoreParams};
use luna::wire::anthropic::StreamWatch;
use luna::wire::sse::Splitter;
use luna::wire::usage::Tokens;

fn main() {
    // cargo passes --bench; nothing is to be chosen.
    events();
    requests();
    replay();
    answers::run();
}

/// The median of some runs.
fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..7).map(|_| run()).collect();
    times.sort();
    times.get(3).copied().unwrap()
}

fn events() {
    const EVENTS: usize = 20_000;
    let mut text = String::from(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\
         \"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null,\"stop_sequence\":null,\
         \"usage\":{\"input_tokens\":100,\"output_tokens\":0}}}\n\nevent: content_block_start\ndata: \
         {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    );
    for number in 0..EVENTS {
        let _ = write!(
            text,
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":\
             {{\"type\":\"text_delta\",\"text\":\"word {number} and some more \"}}}}\n\n"
        );
    }
    text.push_str(
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: \
         {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\
         \"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    let text = Bytes::from(text);
    let pass = |watched: bool| {
        median(|| {
            let began = Instant::now();
            let mut splitter = Splitter::new(1 << 20);
            let mut watch = StreamWatch::new();
            let mut out = Vec::new();
            for at in (0..text.len()).step_by(1_400) {
                let chunk = text.slice(at..text.len().min(at + 1_400));
                splitter.push(chunk, &mut out).unwrap();
                for event in out.drain(..) {
                    if watched {
                        black_box(watch.on_event(&event));
                    }
                    black_box(&event);
                }
            }
            if watched {
                assert_eq!(watch.usage().tokens.output, 15);
            }
            began.elapsed()
        })
    };
    let (bare, watched) = (pass(false), pass(true));
    let each = |time: Duration| time.as_nanos() as f64 / EVENTS as f64;
    println!(
        "events: {:.0} ns to split one, {:.0} ns with watching it ({:.0} ns more, ratio {:.2})",
        each(bare),
        each(watched),
        each(watched) - each(bare),
        each(watched) / each(bare)
    );
}

fn finished() -> Finished {
    Finished {
        time_ms: 1_795_509_000_000,
        request_id: "req_0123456789abcdef".to_owned(),
        key_id: Arc::from("key_a"),
        requested_model: Arc::from("claude-sonnet-4-6"),
        served_model: Arc::from("claude-sonnet-4-6"),
        upstream: Arc::from("default"),
        endpoint: Endpoint::Messages,
        stream: true,
        status: 200,
        error: false,
        aborted: false,
        fallback_reasons: Vec::new(),
        tokens: Tokens {
            input: 100,
            output: 20,
            cache_read: 0,
            cache_creation: 0,
        },
        estimated: false,
        duration_ms: 1_000,
        ttfe_ms: Some(300),
    }
}

fn requests() {
    const BURST: u32 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let params = Params {
        dir: dir.path().join("usage"),
        timezone: "UTC".to_owned(),
        flush: Duration::from_millis(200),
        compact: Duration::from_secs(10),
        keep_hours_days: 90,
        keep_days: 1095,
        clock: Arc::new(|| 1_795_509_000_000),
    };
    let (meter, usage) = Owner::start(params, Known::default(), Box::new(|_| Ok(()))).unwrap();
    let (queue, other_end) = std::sync::mpsc::channel();
    let taker = std::thread::spawn(move || other_end.iter().count());
    let made = finished();
    let one = |record: &dyn Fn(Finished)| {
        median(|| {
            let began = Instant::now();
            for _ in 0..BURST {
                record(made.clone());
            }
            let took = began.elapsed();
            std::thread::sleep(Duration::from_millis(300));
            took
        }) / BURST
    };
    let bare = one(&|finished| {
        black_box(finished);
    });
    let queued = one(&|finished| queue.send(Box::new(finished)).unwrap());
    let recorded = one(&|finished| meter.record(finished));
    println!(
        "requests: {} ns to make what is reported, {} ns with a queue to a thread that drops it, {} ns with the journal \
         behind it (ratio {:.2})",
        bare.as_nanos(),
        queued.as_nanos(),
        recorded.as_nanos(),
        recorded.as_nanos() as f64 / queued.as_nanos() as f64
    );
    drop(queue);
    taker.join().unwrap();
    usage.stop().unwrap();
    assert_eq!(usage.lost(), 0);
}

fn params(dir: &Path) -> StoreParams {
    StoreParams {
        dir: dir.to_owned(),
        timezone: "UTC".to_owned(),
        keep_hours_days: 90,
        keep_days: 1095,
    }
}

/// Memory of this process, now and at most, in MiB.
fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(0) / 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn replay() {
    const LINES: u64 = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal-bench.jsonl");
    {
        let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        let line = serde_json::to_string(&finished()).unwrap();
        let rest = line.strip_prefix('{').unwrap();
        use std::io::Write as _;
        writeln!(out, "{{\"journal\":\"bench\",\"version\":1}}").unwrap();
        for seq in 1..=LINES {
            writeln!(out, "{{\"seq\":{seq},{rest}").unwrap();
        }
    }
    let size = std::fs::metadata(&path).unwrap().len() >> 20;
    let before = memory().0;
    let began = Instant::now();
    let store = Store::open(params(dir.path()), Known::default()).unwrap();
    let took = began.elapsed();
    assert_eq!(store.totals().total.counters.requests, LINES);
    let (now, most) = memory();
    println!(
        "replay: {LINES} lines ({size} MiB) in {:.2} s; memory {before} MiB before, {now} MiB after, at most {most} MiB",
        took.as_secs_f64()
    );
}
