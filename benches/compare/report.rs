//! From raw figures to the table: medians over rounds, and ratios within each round.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::job::{Memory, Outcome};
use crate::scenario::{Kind, Scenario};
use crate::subject::Subject;

/// Everything that one run measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// Unix seconds.
    pub began: u64,
    pub cores: usize,
    pub cpu: String,
    pub kernel: String,
    /// Runnable processes over one minute, before and after: how quiet the machine was.
    pub load_before: String,
    pub load_after: String,
    pub measured: Vec<Measured>,
}

/// One measurement of one subject.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    pub scenario: String,
    pub subject: Subject,
    pub round: u32,
    pub outcome: Outcome,
    /// Memory before the first request, where that matters.
    pub idle: Option<Memory>,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn load_average() -> String {
    read("/proc/loadavg")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl Run {
    /// Notes on what and when it is measured.
    pub fn begin() -> Self {
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| {
                Some(
                    line.strip_prefix("model name")?
                        .split_once(':')?
                        .1
                        .trim()
                        .to_owned(),
                )
            })
            .unwrap_or_default();
        Self {
            began: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu,
            kernel: read("/proc/sys/kernel/osrelease"),
            load_before: load_average(),
            load_after: String::new(),
            measured: Vec::new(),
        }
    }

    /// The last note.
    pub fn end(&mut self) {
        self.load_after = load_average();
    }

    fn of<'a>(
        &'a self,
        scenario: &'a Scenario,
        subject: Subject,
    ) -> impl Iterator<Item = &'a Measured> {
        self.measured
            .iter()
            .filter(move |m| m.scenario == scenario.name && m.subject == subject)
    }

    /// A figure of a subject, by round.
    fn figures(
        &self,
        scenario: &Scenario,
        subject: Subject,
        figure: impl Fn(&Measured) -> f64,
    ) -> Vec<f64> {
        self.of(scenario, subject).map(figure).collect()
    }
}

/// Middle, least and greatest.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let half = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        at(half)
    } else {
        f64::midpoint(at(half.wrapping_sub(1)), at(half))
    };
    Spread {
        median,
        min: at(0),
        max: at(values.len().wrapping_sub(1)),
    }
}

fn ratios(a: &[f64], b: &[f64]) -> Spread {
    spread(a.iter().zip(b).map(|(a, b)| a / b).collect())
}

#[allow(clippy::cast_precision_loss, reason = "counts of a bench")]
fn cpu_us(m: &Measured, per: Kind) -> f64 {
    let count = if per == Kind::PerEvent {
        m.outcome.events
    } else {
        m.outcome.requests
    };
    let used = m.outcome.cpu.first().map_or(f64::NAN, |cpu| cpu.total_s);
    used * 1e6 / count as f64
}

fn system_share(m: &Measured) -> f64 {
    m.outcome.cpu.first().map_or(f64::NAN, |cpu| {
        cpu.system_s / (cpu.system_s + cpu.user_s) * 100.0
    })
}

/// The whole report.
pub fn markdown(run: &Run, scenarios: &[Scenario]) -> String {
    let mut out = String::new();
    let rounds = run.measured.iter().map(|m| m.round + 1).max().unwrap_or(0);
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!(
        "{}, {} cores, Linux {}; {rounds} rounds; load average {} before, {} after.\n",
        run.cpu, run.cores, run.kernel, run.load_before, run.load_after
    ));
    let has = |kind: &[Kind]| scenarios.iter().any(|s| kind.contains(&s.kind));
    if has(&[Kind::PerRequest, Kind::PerEvent]) {
        line(cpu_table(run, scenarios));
    }
    if has(&[Kind::Latency]) {
        line(latency_table(run, scenarios));
    }
    if has(&[Kind::Memory]) {
        line(memory_table(run, scenarios));
    }
    out
}

fn cpu_table(run: &Run, scenarios: &[Scenario]) -> String {
    let mut out = String::from(
        "CPU of the proxy, microseconds; medians. Ratios are medians of the ratios within each round (least to greatest).\n\n\
         | | per | bare | bare, glibc | luna | luna / bare | luna / better bare | target | in the kernel, bare / luna |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for s in scenarios {
        let per = match s.kind {
            Kind::PerRequest => "request",
            Kind::PerEvent => "event",
            Kind::Latency | Kind::Memory => continue,
        };
        let of = |subject| run.figures(s, subject, |m| cpu_us(m, s.kind));
        let (bare, glibc, luna) = (of(Subject::Bare), of(Subject::BareGlibc), of(Subject::Luna));
        let better: Vec<f64> = bare.iter().zip(&glibc).map(|(a, b)| a.min(*b)).collect();
        let kernel = |subject| spread(run.figures(s, subject, system_share)).median;
        let (over_bare, over_better) = (ratios(&luna, &bare), ratios(&luna, &better));
        // A String takes everything.
        let _ = writeln!(
            out,
            "| {} | {per} | {:.1} | {:.1} | {:.1} | **{:.2}** ({:.2}-{:.2}) | {:.2} ({:.2}-{:.2}) | {} | {:.0} % / {:.0} % |",
            s.label,
            spread(bare.clone()).median,
            spread(glibc.clone()).median,
            spread(luna.clone()).median,
            over_bare.median,
            over_bare.min,
            over_bare.max,
            over_better.median,
            over_better.min,
            over_better.max,
            s.target.map_or("-".to_owned(), |t| format!("{t}")),
            kernel(Subject::Bare),
            kernel(Subject::Luna),
        );
    }
    out
}

fn latency_table(run: &Run, scenarios: &[Scenario]) -> String {
    let mut out = String::from(
        "Latency, microseconds: to the first content of a stream, else to the last byte. Medians over rounds; added is the \
         median of the differences within each round.\n\n\
         | | | direct | bare | luna | added to direct, bare | added to direct, luna | added to bare, luna |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for s in scenarios.iter().filter(|s| s.kind == Kind::Latency) {
        type Pick = fn(&Measured) -> f64;
        let picks: [(&str, Pick); 3] = [
            ("p50", |m| m.outcome.first_us.p50),
            ("p90", |m| m.outcome.first_us.p90),
            ("p99", |m| m.outcome.first_us.p99),
        ];
        for (name, pick) in picks {
            let of = |subject| run.figures(s, subject, pick);
            let (direct, bare, luna) = (of(Subject::Direct), of(Subject::Bare), of(Subject::Luna));
            let added =
                |a: &[f64], b: &[f64]| spread(a.iter().zip(b).map(|(a, b)| a - b).collect()).median;
            let _ = writeln!(
                out,
                "| {} | {name} | {:.0} | {:.0} | {:.0} | {:+.0} | {:+.0} | {:+.0} |",
                s.label,
                spread(direct.clone()).median,
                spread(bare.clone()).median,
                spread(luna.clone()).median,
                added(&bare, &direct),
                added(&luna, &direct),
                added(&luna, &bare),
            );
        }
    }
    out
}

#[allow(clippy::cast_precision_loss, reason = "KiB of a process")]
fn memory_table(run: &Run, scenarios: &[Scenario]) -> String {
    let mut out = String::from(
        "Memory: resident, fresh after the start and with all streams open; medians.\n\n\
         | | subject | idle, MiB | with the streams, MiB | KiB per stream | CPU per event, us |\n|---|---|---|---|---|---|\n",
    );
    for s in scenarios.iter().filter(|s| s.kind == Kind::Memory) {
        for subject in Subject::PROXIES {
            let idle = |m: &Measured| m.idle.unwrap_or_default().rss_kib as f64;
            let full = |m: &Measured| {
                m.outcome
                    .memory
                    .first()
                    .map_or(f64::NAN, |m| m.rss_kib as f64)
            };
            let median =
                |figure: &dyn Fn(&Measured) -> f64| spread(run.figures(s, subject, figure)).median;
            let _ = writeln!(
                out,
                "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
                s.label,
                subject.name(),
                median(&|m| idle(m) / 1024.0),
                median(&|m| full(m) / 1024.0),
                median(&|m| (full(m) - idle(m)) / m.outcome.requests as f64),
                median(&|m| cpu_us(m, Kind::PerEvent)),
            );
        }
    }
    out
}
