//! Golden cases of the conversion: what the upstream is asked, and what the client gets, byte for byte.
//!
//! A case is a folder `wire/GROUP/CASE` with a `case.json` (see [`Spec`]) and, as far as it tests them, `client.json`,
//! `upstream.json`, `answer.json` or `answer.sse`, `expected.json` or `expected.sse`. Streams go the way they go in the
//! gateway: cut into events, judged, held until the commit, converted; once whole and again for many cuts.
//! Each accepted request must be one that the strict simulator takes. Needs nothing of Luna but `wire` and that rule.
//! `LUNA_CASE=TEXT` runs the cases whose name contains TEXT; together with `LUNA_GOLDEN=write` it writes `upstream.json`
//! and `expected.*` of those cases, for reading before keeping.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use luna::wire::convert::{Facts, Rejection, Target};
use serde_json::Value;
use serde_json::value::RawValue;

use self::case::{Case, without_last_newline};
use self::direction::{A2o, Direction, O2a, Seen, run_stream, split};

#[path = "wire_case.rs"]
mod case;
#[path = "wire_direction.rs"]
mod direction;
#[path = "shapes/mod.rs"]
mod shapes;

/// A stream up to this size is cut at every byte.
const CUT_EVERYWHERE: usize = 4096;
const RANDOM_CUTS: u64 = 20;

fn facts(case: &Case) -> Facts {
    Facts {
        model: case.model.clone(),
        created: 1_700_000_000,
        request_id: "req_test".into(),
    }
}

/// Runs one case; the differences, if any.
fn run<D: Direction>(case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    let capabilities = match case.capabilities() {
        Ok(capabilities) => capabilities,
        Err(error) => return vec![error],
    };
    let target = Target {
        model: &case.model,
        capabilities: &capabilities,
    };
    let Some(client) = case.file("client.json") else {
        return vec!["client.json is missing".into()];
    };
    let converted = match D::request(&client, &target) {
        Ok(converted) => converted,
        Err(rejection) => {
            wrong.extend(case.rejection_differs(&rejection));
            return wrong;
        }
    };
    if case.spec.get("rejected").is_some() {
        let body = String::from_utf8_lossy(&converted.body).into_owned();
        return vec![format!("should be rejected, was converted to {body}")];
    }
    if serde_json::from_slice::<&RawValue>(&converted.body).is_err() {
        wrong.push("the request for the upstream is not JSON".into());
    }
    if let Some(why) = D::refusal(&converted.body, &capabilities) {
        wrong.push(format!("the upstream would refuse this: {why}"));
    }
    let answers = case.has("answer.json") || case.has("answer.sse");
    if case.writes() && (!answers || case.has("upstream.json")) {
        case.write("upstream.json", &with_newline(&converted.body));
    }
    if let Some(upstream) = case.file("upstream.json") {
        wrong.extend(differ(
            "upstream.json",
            without_last_newline(&upstream),
            &converted.body,
        ));
    } else if !answers {
        wrong.push("neither an upstream.json nor an answer: tests nothing".into());
    }
    if case.has("upstream.json") || case.spec.get("warnings").is_some() {
        let expected = case.text("warnings").unwrap_or_default();
        let got = converted.warnings.header();
        if expected != got {
            wrong.push(format!("warnings: expected {expected:?}, got {got:?}"));
        }
    }
    let facts = facts(case);
    if let Some(answer) = case.file("answer.json") {
        wrong.extend(whole::<D>(case, &answer, &converted.back, &facts));
    }
    if let Some(answer) = case.file("answer.sse") {
        wrong.extend(stream::<D>(case, &answer, converted.back, &facts));
    }
    wrong
}

fn whole<D: Direction>(case: &Case, answer: &[u8], back: &D::Back, facts: &Facts) -> Vec<String> {
    let answer = without_last_newline(answer);
    match (D::answer(answer, back, facts), case.text("fault")) {
        (Err(fault), Some(part)) => case::fault_differs(&format!("{fault:?}"), part),
        (Err(fault), None) => vec![format!("the answer failed: {fault:?}")],
        (Ok(got), Some(part)) => vec![format!(
            "should fail with {part}, gave {}",
            String::from_utf8_lossy(&got)
        )],
        (Ok(got), None) => {
            if case.writes() {
                case.write("expected.json", &with_newline(&got));
            }
            let mut wrong = D::answer_shape(&got);
            match case.file("expected.json") {
                Some(expected) => wrong.extend(differ(
                    "expected.json",
                    without_last_newline(&expected),
                    &got,
                )),
                None => wrong.push("expected.json is missing".into()),
            }
            wrong
        }
    }
}

fn stream<D: Direction>(case: &Case, answer: &[u8], back: D::Back, facts: &Facts) -> Vec<String> {
    let back = Arc::new(back);
    let once = run_stream::<D>(answer, &[], &back, facts);
    if case.writes() {
        case.write("expected.sse", &once.out);
    }
    let mut wrong = match (&once.fault, case.text("fault")) {
        (Some(fault), Some(part)) => case::fault_differs(fault, part),
        (Some(fault), None) => vec![format!("the stream failed: {fault}")],
        (None, Some(part)) => vec![format!("should fail with {part}, but ended well")],
        (None, None) => Vec::new(),
    };
    match case.file("expected.sse") {
        Some(expected) => wrong.extend(differ("expected.sse", &expected, &once.out)),
        None => wrong.push("expected.sse is missing".into()),
    }
    wrong.extend(D::stream_shape(&once.out, once.fault.is_some()));
    wrong.extend(cuts_differ::<D>(answer, &once, &back, facts));
    wrong
}

/// The same stream, cut elsewhere. The conversion sees events only, so a cut that gives the same events gives the same
/// bytes; where single bytes come, the whole way is gone all the same.
fn cuts_differ<D: Direction>(
    answer: &[u8],
    once: &Seen,
    back: &Arc<D::Back>,
    facts: &Facts,
) -> Option<String> {
    let whole = split(answer, &[]);
    for cuts in all_cuts(answer.len()) {
        let many = cuts.len() > 1 || answer.len() > CUT_EVERYWHERE;
        if split(answer, &cuts) != whole
            || many && run_stream::<D>(answer, &cuts, back, facts) != *once
        {
            return Some(format!("cut at {cuts:?} it gives other bytes"));
        }
    }
    None
}

/// Every two-way cut and one with single bytes for small streams; seeded random cuts for others.
fn all_cuts(length: usize) -> Vec<Vec<usize>> {
    if length <= CUT_EVERYWHERE {
        let mut all: Vec<Vec<usize>> = (1..length).map(|at| vec![at]).collect();
        all.push((1..length).collect());
        return all;
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (length as u64)).unwrap()
    };
    (0..RANDOM_CUTS)
        .map(|_| {
            let mut cuts: Vec<usize> = (0..=random() % 40).map(|_| random()).collect();
            cuts.retain(|at| *at > 0);
            cuts.sort_unstable();
            cuts.dedup();
            cuts
        })
        .collect()
}

fn with_newline(body: &[u8]) -> Vec<u8> {
    [body, b"\n"].concat()
}

/// Both texts around the first byte in which they differ.
fn differ(what: &str, expected: &[u8], got: &[u8]) -> Option<String> {
    if expected == got {
        return None;
    }
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let from = same.saturating_sub(60);
        let to = (same + 160).min(bytes.len());
        String::from_utf8_lossy(bytes.get(from..to).unwrap_or_default())
            .escape_debug()
            .to_string()
    };
    let mut text = format!("{what} differs from byte {same} on\n");
    let _ = writeln!(text, "      expected ...{}", around(expected));
    let _ = write!(text, "      got      ...{}", around(got));
    Some(text)
}

impl Case {
    fn rejection_differs(&self, rejection: &Rejection) -> Vec<String> {
        let Some(expected) = self.spec.get("rejected") else {
            return vec![format!("the request was rejected: {rejection:?}")];
        };
        let mut wrong = Vec::new();
        if expected.get("param").and_then(Value::as_str) != rejection.param.as_deref() {
            wrong.push(format!(
                "rejected with param {:?}, not {:?}",
                rejection.param,
                expected.get("param")
            ));
        }
        match expected.get("says").and_then(Value::as_str) {
            Some(says) if !rejection.message.contains(says) => {
                wrong.push(format!("{:?} does not say {says:?}", rejection.message));
            }
            _ => {}
        }
        wrong
    }
}

/// Where the cases are.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/wire");
    if own.is_dir() {
        return own;
    }
    let other = std::env::var_os("LUNA_CASES").expect("LUNA_CASES names the folder of the cases");
    PathBuf::from(other)
}

#[test]
fn every_case_gives_the_bytes_that_it_should() {
    let cases = case::all(&root());
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(BTreeMap::new());
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    let wrong = differences(case);
                    if !wrong.is_empty() {
                        failures.lock().unwrap().insert(&case.name, wrong);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let mut report = String::new();
    for (name, wrong) in &failures {
        let _ = writeln!(report, "\n{name}\n  - {}", wrong.join("\n  - "));
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{report}",
        failures.len(),
        cases.len()
    );
}

fn differences(case: &Case) -> Vec<String> {
    match case.text("direction") {
        Some("o2a") => run::<O2a>(case),
        Some("a2o") => run::<A2o>(case),
        other => vec![format!("direction {other:?} is unknown")],
    }
}

#[test]
fn there_are_enough_cases() {
    let cases = case::every(&root());
    let streams = cases.iter().filter(|case| case.has("answer.sse")).count();
    assert!(cases.len() >= 200, "only {} cases", cases.len());
    assert!(streams >= 60, "only {streams} streams");
    let untold = cases.iter().find(|case| case.text("about").is_none());
    assert!(
        untold.is_none(),
        "{} does not say what it is about",
        untold.unwrap().name
    );
}
