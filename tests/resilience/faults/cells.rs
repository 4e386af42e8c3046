//! The cells of the matrix and what each has to come to, from contracts/gateway.md sections 3 to 5
//! and contracts/antigravity.md section 11.

use std::time::Duration;

use luna::simulate::{FaultKind, Generation};

use super::{LAST_LIMIT_S, LIMIT_S, SLACK};

/// Which tiers of a chain of three have the fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// The first.
    First,
    /// The second; the first is passed over for its quota.
    Middle,
    /// The third; the other two fail with a plain 500.
    Last,
    /// All three.
    All,
}

#[derive(Clone, Debug)]
pub struct Cell {
    pub name: String,
    pub kind: FaultKind,
    pub at_event: Option<u32>,
    pub stream: bool,
    pub place: Place,
}

/// What one attempt with the fault comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// An answer; the fault is none, or nobody can see it.
    Answers,
    /// A failure with this label, and the statuses that tell it when it decides.
    Fails(&'static str, &'static [u16]),
}

/// The same for an OpenAI upstream, whose event 0 is the role chunk and event 1 the first content.
fn outcome_openai(cell: &Cell) -> Outcome {
    use Outcome::{Answers, Fails};
    let stream_error = Fails("stream_error", &[502]);
    match cell.kind {
        FaultKind::Exhausted400 | FaultKind::RateLimit429 => Fails("rate_limited", &[429]),
        FaultKind::ExhaustedSse if !cell.stream => Fails("rate_limited", &[429]),
        FaultKind::ExhaustedSse | FaultKind::Exhausted500 => Fails("exhausted", &[429]),
        FaultKind::MaxRetries => Fails("exhausted", &[529]),
        FaultKind::Overloaded503 | FaultKind::Overloaded529 => Fails("overloaded", &[529]),
        FaultKind::Status | FaultKind::NoAccounts => Fails("upstream_error", &[500]),
        FaultKind::Html => Fails("upstream_error", &[502]),
        FaultKind::Hang | FaultKind::Stall => Fails("timeout", &[504]),
        FaultKind::Reset if cell.at_event.is_none() => Fails("upstream_error", &[502]),
        // Nothing was sent yet, so the connection just ends.
        FaultKind::Cut | FaultKind::Reset if cell.at_event == Some(0) => {
            Fails("upstream_error", &[502])
        }
        FaultKind::Cut | FaultKind::Reset => stream_error,
        FaultKind::ErrorEvent if cell.stream => Fails("stream_error", &[500, 502]),
        FaultKind::ErrorEvent => Fails("upstream_error", &[500]),
        FaultKind::Empty if cell.at_event == Some(0) => stream_error,
        FaultKind::Empty | FaultKind::EmptyText => Fails("empty", &[502]),
        FaultKind::EarlyEnd if cell.stream => stream_error,
        FaultKind::EarlyEnd
        | FaultKind::Slow
        | FaultKind::SecondStart
        | FaultKind::HealthError
        | FaultKind::HealthSlow => Answers,
    }
}

pub fn outcome(cell: &Cell, generation: Generation) -> Outcome {
    use Outcome::{Answers, Fails};
    if generation == Generation::OpenAi {
        return outcome_openai(cell);
    }
    let old = generation == Generation::V2_0;
    let stream_error = Fails("stream_error", &[502]);
    let upstream_error = Fails("upstream_error", &[502]);
    let said_500 = Fails("upstream_error", &[500]);
    let timeout = Fails("timeout", &[504]);
    // 2.7 sends no head before the first event, so the connection just ends.
    let no_byte = cell.stream && !old && cell.at_event == Some(0);
    match cell.kind {
        FaultKind::Exhausted400 | FaultKind::Exhausted500 | FaultKind::ExhaustedSse => {
            Fails("exhausted", &[429])
        }
        // It may be quota, and /health shows plenty.
        FaultKind::MaxRetries => Fails("exhausted", &[529]),
        FaultKind::RateLimit429 => Fails("rate_limited", &[429]),
        FaultKind::Overloaded503 | FaultKind::Overloaded529 => Fails("overloaded", &[529]),
        FaultKind::Status => said_500,
        FaultKind::Html => upstream_error,
        FaultKind::Hang | FaultKind::Stall => timeout,
        FaultKind::NoAccounts if old && cell.stream => Fails("upstream_error", &[500, 502]),
        FaultKind::NoAccounts if old => said_500,
        FaultKind::NoAccounts => timeout,
        FaultKind::Reset if cell.at_event.is_none() || no_byte => upstream_error,
        FaultKind::Cut if no_byte => upstream_error,
        FaultKind::Cut | FaultKind::Reset => stream_error,
        FaultKind::ErrorEvent if cell.stream => Fails("stream_error", &[500, 502]),
        FaultKind::ErrorEvent => said_500,
        // No event, or no body, at all.
        FaultKind::Empty if cell.at_event == Some(0) => stream_error,
        FaultKind::Empty | FaultKind::EmptyText => Fails("empty", &[502]),
        FaultKind::EarlyEnd if cell.stream && cell.at_event == Some(0) => Fails("empty", &[502]),
        FaultKind::EarlyEnd
        | FaultKind::Slow
        | FaultKind::SecondStart
        | FaultKind::HealthError
        | FaultKind::HealthSlow => Answers,
    }
}

/// Where a fault that strikes within a stream is put: before, in and after the head of the message,
/// always before its first content.
pub fn places_in_stream(generation: Generation, kind: FaultKind, stream: bool) -> Vec<Option<u32>> {
    let openai = generation == Generation::OpenAi;
    match kind {
        FaultKind::Stall | FaultKind::Cut | FaultKind::ErrorEvent | FaultKind::EarlyEnd
            if stream && openai =>
        {
            vec![Some(0), Some(1)]
        }
        FaultKind::Reset if stream && openai => vec![None, Some(0), Some(1)],
        FaultKind::SecondStart if openai => vec![Some(0), Some(1)],
        FaultKind::Stall | FaultKind::Cut | FaultKind::ErrorEvent | FaultKind::SecondStart
            if stream =>
        {
            vec![Some(0), Some(1), Some(2)]
        }
        FaultKind::Reset if stream => vec![None, Some(0), Some(1), Some(2)],
        FaultKind::Empty => vec![None, Some(0)],
        FaultKind::EarlyEnd if stream => vec![None, Some(0)],
        _ => vec![None],
    }
}

pub fn matrix(generation: Generation, kinds: &[FaultKind]) -> Vec<Cell> {
    // Without quotas no tier is passed over for them.
    let places: &[Place] = match generation {
        Generation::OpenAi | Generation::Anthropic => &[Place::First, Place::Last, Place::All],
        _ => &[Place::First, Place::Middle, Place::Last, Place::All],
    };
    let mut cells = Vec::new();
    for &kind in kinds {
        for stream in [false, true] {
            for at_event in places_in_stream(generation, kind, stream) {
                for &place in places {
                    let name = format!("c{}", cells.len());
                    cells.push(Cell {
                        name,
                        kind,
                        at_event,
                        stream,
                        place,
                    });
                }
            }
        }
    }
    cells
}

/// Names that /health lists, of models that do not think.
pub fn models(cell: &Cell) -> [String; 3] {
    [1, 2, 3].map(|n| format!("gemini-2-{}-t{n}", cell.name))
}

/// What the cell's request has to come to.
pub struct Expected {
    /// Index of the tier that answers, and the reasons in its header; or the statuses.
    pub end: Result<(usize, Vec<&'static str>), &'static [u16]>,
    /// Which tiers are asked.
    pub asked: [bool; 3],
    pub within: Duration,
}

pub fn expected(cell: &Cell, generation: Generation) -> Expected {
    let timed = matches!(outcome(cell, generation), Outcome::Fails("timeout", _));
    let limit = |tiers: f64| {
        let span = if timed {
            LIMIT_S * (tiers - 1.0) + LAST_LIMIT_S
        } else {
            0.0
        };
        Duration::from_secs_f64(span) + SLACK
    };
    let passed = match cell.place {
        Place::First | Place::All => vec![],
        Place::Middle => vec!["quota"],
        Place::Last => vec!["upstream_error", "upstream_error"],
    };
    let at = passed.len();
    match outcome(cell, generation) {
        Outcome::Answers => {
            let asked = [0, 1, 2].map(|i| i == at || (cell.place == Place::Last && i < at));
            Expected {
                end: Ok((at, passed)),
                asked,
                within: limit(1.0),
            }
        }
        Outcome::Fails(reason, _) if matches!(cell.place, Place::First | Place::Middle) => {
            let reasons: Vec<_> = passed.into_iter().chain([reason]).collect();
            let asked = [at == 0, true, at == 1];
            Expected {
                end: Ok((at + 1, reasons)),
                asked,
                within: limit(1.0),
            }
        }
        Outcome::Fails(_, statuses) => Expected {
            end: Err(statuses),
            asked: [true; 3],
            within: limit(if cell.place == Place::All { 3.0 } else { 1.0 }),
        },
    }
}

/// The tier with the fault, when there is just one.
pub fn struck(cell: &Cell) -> usize {
    match cell.place {
        Place::First | Place::All => 0,
        Place::Middle => 1,
        Place::Last => 2,
    }
}
