//! Random scripts, the same for the same seed.

use luna::simulate::{Fault, FaultKind};

/// The three tiers; the first is a chain of all, the second one of two, the third stands alone.
pub const MODELS: [&str; 3] = [
    "claude-opus-4-6-thinking",
    "claude-sonnet-4-6",
    "gemini-3-flash",
];

/// One line of the simulator's faults.
#[derive(Clone, Debug)]
pub struct Line {
    /// None: every model.
    pub model: Option<&'static str>,
    pub kind: FaultKind,
    /// The status of `FaultKind::Status`.
    pub code: Option<u16>,
    pub after: u64,
    pub times: Option<u64>,
}

impl Line {
    pub fn fault(&self) -> Fault {
        let mut fault = Fault::new(self.model.unwrap_or("*"), self.kind);
        (fault.code, fault.after, fault.times) = (self.code, self.after, self.times);
        // In the midst of a stream, before its first content.
        fault.at_event = matches!(self.kind, FaultKind::Cut | FaultKind::ErrorEvent).then_some(1);
        // 2 ms, so that no two attempts of a request fail in the same one.
        fault.delay_ms = Some(2_000);
        fault
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    /// What is left on each of two accounts, and hours to the reset.
    Quota {
        model: &'static str,
        left: [Option<f64>; 2],
        reset_h: Option<i64>,
    },
    Faults(Vec<Line>),
    Poll,
    /// Of one model, or all.
    Clear(Option<&'static str>),
    Ask {
        model: &'static str,
        stream: bool,
        key: usize,
        off: bool,
    },
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

fn quota(random: &mut Random) -> Step {
    let left = [0.0, 0.02, 0.04, 0.07, 0.12, 0.5, 1.0];
    let model = random.of(&MODELS);
    let reset_h = random.of(&[None, Some(2), Some(6)]);
    let left = match random.below(10) {
        // Google left the field out: nothing is left when there is a reset, else nobody knows.
        0 => [None, None],
        1 if reset_h.is_some() => [None, Some(random.of(&left))],
        _ => [Some(random.of(&left)), Some(random.of(&left))],
    };
    Step::Quota {
        model,
        left,
        reset_h,
    }
}

fn line(random: &mut Random) -> Line {
    let (kind, code) = random.of(&[
        (FaultKind::Exhausted400, None),
        (FaultKind::Exhausted500, None),
        (FaultKind::MaxRetries, None),
        (FaultKind::RateLimit429, None),
        (FaultKind::Overloaded503, None),
        (FaultKind::Overloaded529, None),
        (FaultKind::Status, Some(500)),
        (FaultKind::Status, Some(403)),
        (FaultKind::Status, Some(404)),
        (FaultKind::Status, Some(400)),
        (FaultKind::Html, None),
        (FaultKind::Cut, None),
        (FaultKind::ErrorEvent, None),
        (FaultKind::Empty, None),
        (FaultKind::EmptyText, None),
    ]);
    Line {
        model: random.of(&[
            None,
            Some(MODELS[0]),
            Some(MODELS[0]),
            Some(MODELS[1]),
            Some(MODELS[2]),
        ]),
        kind,
        code,
        after: random.below(2),
        times: random.of(&[Some(1), Some(1), Some(2), Some(3), None]),
    }
}

pub fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut random = Random(seed);
    let mut step = || match random.below(100) {
        0..12 => quota(&mut random),
        12..22 => {
            let count = random.below(4);
            Step::Faults((0..count).map(|_| line(&mut random)).collect())
        }
        22..34 => Step::Poll,
        34..38 => Step::Clear(random.of(&[None, Some(MODELS[0]), Some(MODELS[1])])),
        _ => Step::Ask {
            model: random.of(&[MODELS[0], MODELS[0], MODELS[0], MODELS[1], MODELS[2]]),
            stream: random.below(2) == 0,
            key: random.below(2) as usize,
            off: random.below(6) == 0,
        },
    };
    (0..steps).map(|_| step()).collect()
}
