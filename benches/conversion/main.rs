//! What converting costs: a request and its answer's stream, in both directions, against parsing and against relaying the
//! same bytes in the same run; and what an open converted stream holds.
//!
//! Run with `cargo bench --bench conversion`. The ratios can be compared between machines, the times cannot.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for the terminal"
)]

mod bodies;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use luna::wire::anthropic::{self, Step, StreamFault};
use luna::wire::convert::{Capabilities, Facts, Target, a2o, o2a};
use luna::wire::openai;
use luna::wire::sse::{Event, Splitter};

/// What a socket gives at once.
const CHUNK: usize = 1_400;
const MAX_EVENT: usize = 16 << 20;

fn main() {
    println!("| what | bytes | time | MB/s | against parsing it |");
    println!("|---|---|---|---|---|");
    request("o2a request", &bodies::openai_request(), |body, target| {
        o2a::request(body, target).unwrap().body.len()
    });
    request(
        "a2o request",
        &bodies::anthropic_request(),
        |body, target| a2o::request(body, target).unwrap().body.len(),
    );
    println!();
    println!("| stream | events | relay, ns an event | converted, ns an event | ratio | MB/s |");
    println!("|---|---|---|---|---|---|");
    for (name, text) in [
        ("o2a text", bodies::anthropic_stream(20_000)),
        ("o2a tool arguments", bodies::anthropic_tools(20_000)),
    ] {
        stream(name, &text, relay_anthropic, convert_o2a);
    }
    for (name, text) in [
        ("a2o text", bodies::openai_stream(20_000)),
        ("a2o tool arguments", bodies::openai_tools(20_000)),
    ] {
        stream(name, &text, relay_openai, convert_a2o);
    }
    println!();
    println!("| open stream | bytes held by its conversion |");
    println!("|---|---|");
    held();
}

/// The median of some runs, after one that is thrown away.
fn median(mut run: impl FnMut() -> Duration) -> Duration {
    run();
    let mut times: Vec<Duration> = (0..15).map(|_| run()).collect();
    times.sort();
    times.get(7).copied().unwrap()
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    black_box(work());
    began.elapsed()
}

#[allow(clippy::cast_precision_loss, reason = "figures to be read")]
fn mb_per_s(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e6
}

fn request(name: &str, body: &[u8], convert: impl Fn(&[u8], &Target<'_>) -> usize) {
    let capabilities = Capabilities::ANTIGRAVITY;
    let target = Target {
        model: "tier-model",
        capabilities: &capabilities,
    };
    let converted = median(|| timed(|| convert(body, &target)));
    let parsed = median(|| timed(|| serde_json::from_slice::<serde_json::Value>(body).unwrap()));
    println!(
        "| {name} | {} | {:.0} us | {:.0} | {:.2} of serde_json::Value |",
        body.len(),
        converted.as_secs_f64() * 1e6,
        mb_per_s(body.len(), converted),
        converted.as_secs_f64() / parsed.as_secs_f64()
    );
}

#[allow(clippy::cast_precision_loss, reason = "figures to be read")]
fn stream(name: &str, text: &Bytes, relay: fn(&Bytes) -> usize, convert: fn(&Bytes) -> usize) {
    let events = text.windows(2).filter(|pair| pair == b"\n\n").count();
    let relayed = median(|| timed(|| relay(text)));
    let converted = median(|| timed(|| convert(text)));
    let each = |took: Duration| took.as_secs_f64() * 1e9 / events as f64;
    println!(
        "| {name} | {events} | {:.0} | {:.0} | {:.2} | {:.0} |",
        each(relayed),
        each(converted),
        converted.as_secs_f64() / relayed.as_secs_f64(),
        mb_per_s(text.len(), converted)
    );
}

/// Feeds a stream as sockets do, and hands on the events that may pass.
fn feed(text: &Bytes, mut judge: impl FnMut(&Event) -> Step, mut pass: impl FnMut(&Event)) {
    let mut splitter = Splitter::new(MAX_EVENT);
    let mut events = Vec::new();
    for at in (0..text.len()).step_by(CHUNK) {
        splitter
            .push(text.slice(at..text.len().min(at + CHUNK)), &mut events)
            .unwrap();
        for event in events.drain(..) {
            match judge(&event) {
                Step::Fail(fault) => panic!("{fault:?}"),
                Step::Ignore => {}
                Step::Hold | Step::Restart | Step::Commit | Step::Pass => pass(&event),
            }
        }
    }
}

/// Bytes that a relay lets pass.
fn relay(text: &Bytes, judge: impl FnMut(&Event) -> Step) -> usize {
    let mut out = 0;
    feed(text, judge, |event| out += event.raw.len());
    out
}

fn relay_anthropic(text: &Bytes) -> usize {
    let mut watch = anthropic::StreamWatch::new();
    let out = relay(text, |event| watch.on_event(event));
    assert!(watch.finished());
    out
}

fn relay_openai(text: &Bytes) -> usize {
    let mut watch = openai::StreamWatch::new(false);
    let out = relay(text, |event| watch.on_event(event));
    assert!(watch.finished());
    out
}

fn facts() -> Facts {
    Facts {
        model: "m".to_owned(),
        created: 1_700_000_000,
        request_id: "req_bench".to_owned(),
    }
}

/// Bytes that a conversion makes of what may pass.
fn convert(
    text: &Bytes,
    judge: impl FnMut(&Event) -> Step,
    mut event_to: impl FnMut(&Event, &mut Vec<u8>) -> Result<(), StreamFault>,
) -> usize {
    let mut total = 0;
    let mut out = Vec::new();
    feed(text, judge, |event| {
        event_to(event, &mut out).unwrap();
        total += out.len();
        out.clear();
    });
    total
}

fn convert_o2a(text: &Bytes) -> usize {
    let back = Arc::new(o2a::Back {
        stream: true,
        ..o2a::Back::default()
    });
    let mut stream = o2a::Stream::new(back, facts());
    let mut watch = anthropic::StreamWatch::new();
    let total = convert(
        text,
        |event| watch.on_event(event),
        |event, out| stream.event(event, out),
    );
    assert!(watch.finished());
    total
}

fn convert_a2o(text: &Bytes) -> usize {
    let back = Arc::new(a2o::Back {
        stream: true,
        ..a2o::Back::default()
    });
    let mut stream = a2o::Stream::new(back, facts());
    let mut watch = openai::StreamWatch::new(false);
    let total = convert(
        text,
        |event| watch.on_event(event),
        |event, out| stream.event(event, out),
    );
    assert!(watch.finished());
    total
}

/// Streams that are open at once.
const OPEN: usize = 10_000;

/// What conversion adds to an open stream: its state in mid-stream and the request's way back, by the memory that
/// many of them take.
fn held() {
    let capabilities = Capabilities::ANTIGRAVITY;
    let target = Target {
        model: "m",
        capabilities: &capabilities,
    };
    let body = bodies::openai_request();
    let events = half(&bodies::anthropic_stream(20));
    each("o2a", || {
        let back = Arc::new(o2a::request(&body, &target).unwrap().back);
        let mut stream = Box::new(o2a::Stream::new(back, facts()));
        for event in &events {
            stream.event(event, &mut Vec::new()).unwrap();
        }
        stream
    });
    let body = bodies::anthropic_request();
    let events = half(&bodies::openai_stream(20));
    each("a2o", || {
        let back = Arc::new(a2o::request(&body, &target).unwrap().back);
        let mut stream = Box::new(a2o::Stream::new(back, facts()));
        for event in &events {
            stream.event(event, &mut Vec::new()).unwrap();
        }
        stream
    });
}

fn each<T>(name: &str, open: impl Fn() -> T) {
    let mut streams = Vec::with_capacity(OPEN);
    // The first ones warm the allocator up.
    streams.extend((0..100).map(|_| open()));
    let before = resident();
    streams.extend((100..OPEN).map(|_| open()));
    let bytes = resident().saturating_sub(before) / (OPEN - 100);
    println!("| {name}, request with {} tools | {bytes} |", bodies::TOOLS);
    drop(black_box(streams));
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split_ascii_whitespace().nth(1).unwrap();
    pages.parse::<usize>().unwrap() * 4096
}

fn half(text: &Bytes) -> Vec<Event> {
    let mut events = Vec::new();
    Splitter::new(MAX_EVENT)
        .push(text.slice(..text.len() / 2), &mut events)
        .unwrap();
    events
}
