//! The driver: asks a system under test, and reads from the kernel what that cost which process.
//!
//! One thread. Three ways: a closed loop over some connections (CPU per request), a fixed rate (latency), and many
//! slow streams held open (memory).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::client::{Connection, Times};
use super::job::{Cpu, Job, Memory, Outcome, Quantiles, Way};
use super::script;

fn quantiles(values: impl Iterator<Item = Duration>) -> Quantiles {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
    let at = |per_mille: usize| {
        let index = (values.len() * per_mille / 1000).min(values.len().saturating_sub(1));
        values.get(index).map_or(0.0, |d| d.as_secs_f64() * 1e6)
    };
    Quantiles {
        p50: at(500),
        p90: at(900),
        p99: at(990),
        max: at(1000),
    }
}

/// A request as it goes over the wire.
fn request(job: &Job) -> Vec<u8> {
    let body = script::request_body(job.body, job.body_bytes, &job.model, job.events > 0);
    let order = match (job.events, job.gap_us) {
        (0, _) => String::new(),
        (events, 0) => format!("?events={events}"),
        (events, gap) => format!("?events={events}&gap_us={gap}"),
    };
    let sdk = if job.sdk_headers {
        "accept-encoding: gzip, deflate\r\nconnection: keep-alive\r\nx-stainless-lang: python\r\n\
         x-stainless-package-version: 0.75.0\r\nx-stainless-os: Linux\r\nx-stainless-arch: x64\r\n\
         x-stainless-runtime: CPython\r\nx-stainless-runtime-version: 3.12.4\r\nx-stainless-async: false\r\n\
         x-stainless-retry-count: 0\r\nx-stainless-timeout: 600\r\n"
    } else {
        ""
    };
    // A query does not pass a conversion; the user agent does.
    let (path, query, agent) = if job.chat {
        ("/v1/chat/completions", "", order.as_str())
    } else {
        ("/v1/messages", order.as_str(), "")
    };
    let mut bytes = format!(
        "POST {path}{query} HTTP/1.1\r\nhost: bench.example\r\naccept: application/json\r\n\
         content-type: application/json\r\nuser-agent: luna-bench{agent}\r\nanthropic-version: 2023-06-01\r\n\
         x-api-key: {}\r\n{sdk}content-length: {}\r\n\r\n",
        job.key,
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Bytes of an answer's body; not known where it is converted.
fn expected(job: &Job) -> Option<usize> {
    if job.chat {
        None
    } else if job.events == 0 {
        Some(script::MESSAGE.len())
    } else {
        Some(script::stream_bytes(job.events.max(script::MIN_EVENTS)))
    }
}

/// Does the job.
///
/// # Errors
/// The first request that went wrong: a bench with failures measures nothing.
pub async fn run(job: Job) -> io::Result<Outcome> {
    let job = Arc::new(job);
    match job.way {
        Way::Closed { warmup, requests } => closed(&job, warmup, requests).await,
        Way::Rate { per_s, seconds } => rate(&job, per_s, seconds).await,
        Way::Hold { seconds } => hold(&job, seconds).await,
    }
}

async fn connect(job: &Job) -> io::Result<Vec<Connection>> {
    let mut all = Vec::with_capacity(job.connections);
    for _ in 0..job.connections {
        all.push(Connection::open(job.target).await?);
    }
    Ok(all)
}

fn cpu_of(job: &Job) -> io::Result<(Vec<Cpu>, Cpu)> {
    let watched = job
        .watch
        .iter()
        .map(|pid| Cpu::of(*pid))
        .collect::<io::Result<_>>()?;
    Ok((watched, Cpu::of(std::process::id())?))
}

/// What the measured time cost.
struct Meter {
    before: (Vec<Cpu>, Cpu),
    began: Instant,
}

impl Meter {
    fn start(job: &Job) -> io::Result<Self> {
        Ok(Self {
            before: cpu_of(job)?,
            began: Instant::now(),
        })
    }

    fn stop(self, job: &Job, mut outcome: Outcome) -> io::Result<Outcome> {
        outcome.seconds = self.began.elapsed().as_secs_f64();
        let (after, driver) = cpu_of(job)?;
        outcome.driver_cpu = driver.since(&self.before.1);
        outcome.cpu = after
            .iter()
            .zip(&self.before.0)
            .map(|(a, b)| a.since(b))
            .collect();
        outcome.memory = job
            .watch
            .iter()
            .map(|pid| Memory::of(*pid))
            .collect::<io::Result<_>>()?;
        Ok(outcome)
    }
}

async fn closed(job: &Arc<Job>, warmup: u64, requests: u64) -> io::Result<Outcome> {
    let connections = connect(job).await?;
    let (connections, _) = round(job, connections, warmup).await?;
    let meter = Meter::start(job)?;
    let (_, times) = round(job, connections, requests).await?;
    let outcome = Outcome {
        requests,
        events: requests * u64::from(job.events),
        first_us: quantiles(times.iter().map(|t| t.first)),
        last_us: quantiles(times.iter().map(|t| t.last)),
        ..Outcome::default()
    };
    meter.stop(job, outcome)
}

/// `count` requests in all, each connection as fast as it can.
async fn round(
    job: &Arc<Job>,
    connections: Vec<Connection>,
    count: u64,
) -> io::Result<(Vec<Connection>, Vec<Times>)> {
    let bytes: Arc<[u8]> = request(job).into();
    let expected = expected(job);
    let started = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for mut connection in connections {
        let (bytes, started) = (Arc::clone(&bytes), Arc::clone(&started));
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while started.fetch_add(1, Relaxed) < count {
                times.push(connection.ask(&bytes, expected).await?);
            }
            Ok::<_, io::Error>((connection, times))
        }));
    }
    let (mut back, mut all) = (Vec::new(), Vec::new());
    for task in tasks {
        let (connection, times) = task.await.map_err(io::Error::other)??;
        back.push(connection);
        all.extend(times);
    }
    Ok((back, all))
}

async fn rate(job: &Arc<Job>, per_s: u32, seconds: f64) -> io::Result<Outcome> {
    let mut connections = connect(job).await?;
    // Both pools filled, and every path walked once.
    for connection in &mut connections {
        connection.ask(&request(job), expected(job)).await?;
    }
    let bytes: Arc<[u8]> = request(job).into();
    let expected = expected(job);
    let count = connections.len();
    let step = Duration::from_secs_f64(1.0 / f64::from(per_s));
    let every = step * u32::try_from(count).unwrap_or(u32::MAX);
    let meter = Meter::start(job)?;
    let began = tokio::time::Instant::now() + Duration::from_millis(5);
    let until = began + Duration::from_secs_f64(seconds);
    let mut tasks = Vec::new();
    for (n, mut connection) in connections.into_iter().enumerate() {
        let bytes = Arc::clone(&bytes);
        let mut due = began + step * u32::try_from(n).unwrap_or(0);
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while due < until {
                tokio::time::sleep_until(due).await;
                // The timer's own lateness is not the answer's; a late answer before is.
                let late = times
                    .last()
                    .map_or(Duration::ZERO, |t: &Times| t.last.saturating_sub(every));
                let got = connection.ask(&bytes, expected).await?;
                times.push(Times {
                    first: got.first + late,
                    last: got.last + late,
                });
                due += every;
            }
            Ok::<_, io::Error>(times)
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.map_err(io::Error::other)??);
    }
    let requests = times.len() as u64;
    let outcome = Outcome {
        requests,
        events: requests * u64::from(job.events),
        first_us: quantiles(times.iter().map(|t| t.first)),
        last_us: quantiles(times.iter().map(|t| t.last)),
        ..Outcome::default()
    };
    meter.stop(job, outcome)
}

async fn hold(job: &Arc<Job>, seconds: f64) -> io::Result<Outcome> {
    let bytes: Arc<[u8]> = request(job).into();
    let delta = script::event(2, u32::MAX).len() as u64;
    let seen = Arc::new(AtomicU64::new(0));
    let open = Arc::new(AtomicU64::new(0));
    let held = Duration::from_secs_f64(seconds);
    // Opening them takes a while; all must last until the read-out.
    let until = tokio::time::Instant::now() + held + Duration::from_secs(60);
    let mut tasks = Vec::new();
    for n in 0..job.connections {
        let (job, bytes) = (Arc::clone(job), Arc::clone(&bytes));
        let (seen, open) = (Arc::clone(&seen), Arc::clone(&open));
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(job.target).await?;
            let mut first = true;
            connection
                .watch(&bytes, until, |n| {
                    if n > 0 && std::mem::take(&mut first) {
                        open.fetch_add(1, Relaxed);
                    }
                    seen.fetch_add(n as u64, Relaxed);
                })
                .await
        }));
        if n % 4 == 3 {
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }
    while open.load(Relaxed) < job.connections as u64 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Some(n) = tasks.iter().position(tokio::task::JoinHandle::is_finished) {
            tasks.swap_remove(n).await.map_err(io::Error::other)??;
            return Err(io::Error::other("a stream ended before all were open"));
        }
    }
    // The opening events are behind.
    tokio::time::sleep(held / 2).await;
    let bytes_before = seen.load(Relaxed);
    let meter = Meter::start(job)?;
    tokio::time::sleep(held / 2).await;
    let events = (seen.load(Relaxed) - bytes_before) / delta;
    let outcome = Outcome {
        requests: open.load(Relaxed),
        events,
        ..Outcome::default()
    };
    let outcome = meter.stop(job, outcome)?;
    for task in tasks {
        if task.is_finished() {
            task.await.map_err(io::Error::other)??;
            return Err(io::Error::other("a held stream ended too early"));
        }
        task.abort();
    }
    Ok(outcome)
}
