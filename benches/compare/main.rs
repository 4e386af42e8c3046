//! The harness of `make bench`: Luna beside a bare pingora passthrough, in turn, in one run.
//!
//! Every round starts fresh processes of all subjects and measures each scenario on one after the other, the other way
//! round in every second round, so that what disturbs the machine disturbs all. Only ratios within a round are compared.
//! Neighbours: `load` (driver and stub upstream), `bare_proxy`; `benches/run.sh` builds all and starts this.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal; it has no log"
)]

#[path = "../load/job.rs"]
mod job;
#[path = "../load/memory.rs"]
mod memory;
mod report;
mod scenario;
mod subject;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use self::report::{Measured, Run};
use self::scenario::{Kind, Scenario};
use self::subject::{Programs, Subject, World};

const USAGE: &str = "\
compare --luna FILE --bare FILE --bare-glibc FILE --load FILE [options]
  --rounds N      rounds of everything but memory (default 7)
  --only NAME     only this scenario; may be given again
  --scale X       requests per measurement, times X (default 1)
  --out FOLDER    where result.json and table.md go (default: nowhere)
  --list          names the scenarios";

struct Options {
    programs: Programs,
    rounds: u32,
    only: Vec<String>,
    scale: f64,
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    if args.is_empty() {
        eprintln!("{USAGE}\nbenches/run.sh builds everything and runs it.");
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--list") {
        for scenario in scenario::all() {
            println!("{:18} {}", scenario.name, scenario.label);
        }
        return ExitCode::SUCCESS;
    }
    match parse(args).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("compare: {e}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: Vec<String>) -> io::Result<Options> {
    let wrong = |what: &str| io::Error::other(format!("{what}\n{USAGE}"));
    let (mut luna, mut bare, mut glibc, mut load) = (None, None, None, None);
    let (mut rounds, mut only, mut scale, mut out) = (7, Vec::new(), 1.0, None);
    let mut args = args.into_iter();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| wrong("a value is missing"))?;
        match name.as_str() {
            "--luna" => luna = Some(PathBuf::from(value)),
            "--bare" => bare = Some(PathBuf::from(value)),
            "--bare-glibc" => glibc = Some(PathBuf::from(value)),
            "--load" => load = Some(PathBuf::from(value)),
            "--rounds" => {
                rounds = value
                    .parse()
                    .map_err(|_| wrong("--rounds wants a number"))?
            }
            "--only" => only.push(value),
            "--scale" => scale = value.parse().map_err(|_| wrong("--scale wants a number"))?,
            "--out" => out = Some(PathBuf::from(value)),
            _ => return Err(wrong("unknown option")),
        }
    }
    let (Some(luna), Some(bare), Some(glibc), Some(load)) = (luna, bare, glibc, load) else {
        return Err(wrong("all four programs must be named"));
    };
    Ok(Options {
        programs: Programs {
            luna,
            bare,
            glibc,
            load,
        },
        rounds,
        only,
        scale,
        out,
    })
}

fn run(options: &Options) -> io::Result<()> {
    let wanted: Vec<Scenario> = scenario::all()
        .into_iter()
        .filter(|s| options.only.is_empty() || options.only.iter().any(|name| name == s.name))
        .collect();
    let mut run = Run::begin();
    for round in 0..options.rounds {
        measure_round(options, &wanted, round, &mut run)?;
    }
    for scenario in wanted.iter().filter(|s| s.kind == Kind::Memory) {
        for round in 0..options.rounds.min(3) {
            for subject in order(&Subject::PROXIES, round) {
                hold(options, scenario, round, subject, &mut run)?;
            }
        }
    }
    run.end();
    let table = report::markdown(&run, &wanted);
    println!("{table}");
    if let Some(out) = &options.out {
        std::fs::create_dir_all(out)?;
        std::fs::write(out.join("table.md"), table)?;
        std::fs::write(out.join("result.json"), serde_json::to_string_pretty(&run)?)?;
    }
    Ok(())
}

/// The subjects, the other way round in every second round.
fn order(subjects: &[Subject], round: u32) -> Vec<Subject> {
    let mut all = subjects.to_vec();
    if round % 2 == 1 {
        all.reverse();
    }
    all
}

fn measure_round(
    options: &Options,
    wanted: &[Scenario],
    round: u32,
    run: &mut Run,
) -> io::Result<()> {
    let mut world = World::start(&options.programs, &Subject::PROXIES)?;
    for scenario in wanted {
        let subjects: &[Subject] = match scenario.kind {
            Kind::PerRequest | Kind::PerEvent => &Subject::PROXIES,
            Kind::Latency => &Subject::ALL,
            Kind::Memory => continue,
        };
        for subject in order(subjects, round) {
            let job = scenario.job(&world, subject, options.scale);
            let outcome = world.drive(&job)?;
            say(scenario, round, subject);
            run.measured.push(Measured {
                scenario: scenario.name.to_owned(),
                subject,
                round,
                outcome,
                idle: None,
            });
        }
    }
    world.stop()
}

/// Memory wants a process that has done nothing before.
fn hold(
    options: &Options,
    scenario: &Scenario,
    round: u32,
    subject: Subject,
    run: &mut Run,
) -> io::Result<()> {
    let mut world = World::start(&options.programs, &[subject])?;
    let idle = world.memory(subject)?;
    let job = scenario.job(&world, subject, options.scale);
    let outcome = world.drive(&job)?;
    say(scenario, round, subject);
    run.measured.push(Measured {
        scenario: scenario.name.to_owned(),
        subject,
        round,
        outcome,
        idle: Some(idle),
    });
    world.stop()
}

fn say(scenario: &Scenario, round: u32, subject: Subject) {
    eprint!(
        "\r{:40}",
        format!("round {round} {} {}", scenario.name, subject.name())
    );
    // Only for the eye.
    let _ = io::stderr().flush();
}
