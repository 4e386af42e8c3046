//! The book and the planner against a small model written from the contract alone, over random
//! histories of polls, requests that overlap, failures, commits and clients that go away.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly"
)]

mod model;

use self::model::{Model, Shot};
use super::testkit::*;
use super::*;

const MODELS: [&str; 4] = ["a", "b", "c", "d"];

/// xorshift64*: the same history for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// A request under way: one attempt is out.
struct Running {
    route: Route,
    trail: Trail,
    key: u64,
    index: usize,
    began: Millis,
    probe: Option<ProbeGuard>,
    /// The model's view of the same.
    shot: Shot,
    tried: Vec<usize>,
    failed: Vec<(usize, Reason)>,
    passed: Vec<(usize, &'static str)>,
}

struct World {
    book: Book,
    model: Model,
    dice: Dice,
    now: Millis,
    running: Vec<Running>,
    counts: [usize; 4],
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            book: book(),
            model: Model::new(Params::default()),
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now: T0,
            running: Vec::new(),
            counts: [0; 4],
        }
    }

    fn act(&mut self) {
        match self.dice.roll(10) {
            0 => self.poll(),
            1 => self.wait(),
            2..=5 => self.start(),
            _ if self.running.is_empty() => self.wait(),
            _ => self.finish_one(),
        }
        self.compare();
    }

    fn wait(&mut self) {
        let spans = [1, 500, 3 * S, 10 * S, 21 * S, 61 * S, 130 * S, 400 * S];
        self.now += spans[self.dice.roll(8) as usize];
    }

    fn poll(&mut self) {
        self.now += 1;
        let started = self.now;
        self.now += self.dice.roll(2) * 40;
        if self.dice.one_in(6) {
            self.book.poll_failed("up", started, self.now, "no");
            self.model.poll(started, self.now, None);
            return;
        }
        let mut accounts_ = Vec::new();
        for _ in 0..=self.dice.roll(2) {
            let mut quotas = Vec::new();
            for name in MODELS {
                let fraction =
                    [0.0, 0.0, 0.02, 0.04, 0.07, 0.10, 0.15, 0.5, 1.0][self.dice.roll(9) as usize];
                let fraction = (!self.dice.one_in(12)).then_some(fraction);
                // Whole seconds, as /health gives them in text.
                let reset = self.now / S * S + [5 * S, 60 * S, HOUR][self.dice.roll(3) as usize];
                let reset = self.dice.one_in(2).then_some(reset);
                if !self.dice.one_in(15) {
                    quotas.push((name, fraction, reset));
                }
            }
            accounts_.push(quotas);
        }
        let borrowed: Vec<_> = accounts_.iter().map(|quotas| &quotas[..]).collect();
        self.book
            .poll_succeeded("up", started, self.now, accounts(&borrowed));
        self.model.poll(started, self.now, Some(&accounts_));
    }

    fn start(&mut self) {
        let mut names = MODELS.to_vec();
        names.rotate_left(self.dice.roll(4) as usize);
        names.truncate(1 + self.dice.roll(4) as usize);
        let running = Running {
            route: route(&names),
            trail: Trail::new(),
            key: self.dice.roll(2),
            index: 0,
            began: 0,
            probe: None,
            shot: Shot::default(),
            tried: Vec::new(),
            failed: Vec::new(),
            passed: Vec::new(),
        };
        self.go_on(running);
    }

    /// One call of the planner, compared with the model's choice.
    fn go_on(&mut self, mut request: Running) {
        let names: Vec<&str> = request.route.tiers.iter().map(|t| &*t.model).collect();
        let expected = self.model.choose(&names, &request.tried, self.now);
        request.passed = expected.passed.clone();
        match next(
            &self.book.snapshot(),
            &request.route,
            &mut request.trail,
            self.now,
        ) {
            Next::Out => {
                assert_eq!(expected.shot, None, "the model would ask a tier");
                self.counts[0] += 1;
                let told = verdict(
                    &request.route,
                    &request.trail,
                    &self.book.snapshot(),
                    self.now,
                );
                assert!(told.retry_after_s.is_none_or(|s| (1..=900).contains(&s)));
            }
            Next::Try { index, probe, .. } => {
                let shot = expected
                    .shot
                    .unwrap_or_else(|| panic!("the model would refuse"));
                assert_eq!(
                    (index, probe.is_some()),
                    (shot.index, shot.probes()),
                    "{names:?}"
                );
                self.counts[1 + usize::from(probe.is_some())] += 1;
                (request.index, request.probe) = (index, probe);
                (request.began, request.shot) = (self.now, shot);
                request.tried.push(index);
                self.running.push(request);
            }
        }
    }

    fn finish_one(&mut self) {
        let which = self.dice.roll(self.running.len() as u64) as usize;
        let mut request = self.running.swap_remove(which);
        let tier = request.route.tiers[request.index].clone();
        let attempt = Attempt {
            tier: &tier,
            key: request.key,
            began: request.began,
            probe: request.probe.as_ref(),
            first: request.tried.len() == 1,
        };
        let fate = self.dice.roll(10);
        if fate == 0 {
            // The client has gone.
            self.model.freed(&request.shot);
            return;
        }
        if fate <= 3 {
            self.book.attempt_committed(&attempt, self.now);
            self.model.committed(&tier.model, &request.shot);
            let reasons: Vec<_> = request
                .trail
                .fallback_reasons()
                .iter()
                .map(|r| r.as_str())
                .collect();
            assert_eq!(reasons, expected_reasons(&request));
            self.counts[3] += 1;
            return;
        }
        let reset = [
            None,
            None,
            Some(self.now + 30 * S),
            Some(self.now + 2 * HOUR),
        ];
        let failure = match self.dice.roll(5) {
            0 => exhausted(reset[self.dice.roll(4) as usize]),
            1 => overloaded(),
            2 => Failure::timeout("first_event_s"),
            3 => Failure::connect("refused"),
            _ => status(404, "no"),
        };
        self.book.attempt_failed(&attempt, &failure, self.now);
        self.model.failed(
            &tier.model,
            request.key,
            request.began,
            &request.shot,
            &failure,
            self.now,
        );
        request.failed.push((request.index, failure.reason));
        request.trail.failed(request.index, failure);
        request.probe = None;
        self.go_on(request);
    }

    /// The snapshot says of every tier what the model says.
    fn compare(&self) {
        for name in MODELS {
            let shown = view(&self.book, name, self.now);
            let expected = self.model.state(name, self.now);
            assert_eq!(
                (shown.state.as_str(), shown.usable),
                expected,
                "{name} at {}",
                self.now
            );
        }
    }
}

/// In the order of the chain: the failure of what was tried, else why it was passed over.
fn expected_reasons(request: &Running) -> Vec<&'static str> {
    let mut all: Vec<(usize, &'static str)> = request
        .failed
        .iter()
        .map(|(index, reason)| (*index, reason.as_str()))
        .collect();
    let earlier = request
        .passed
        .iter()
        .filter(|(index, _)| *index < request.index);
    all.extend(earlier);
    all.sort();
    all.into_iter().map(|(_, reason)| reason).collect()
}

#[test]
fn the_planner_agrees_with_the_model() {
    let mut seen = [0; 4];
    for seed in 1..=60 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.act();
        }
        for (all, here) in seen.iter_mut().zip(world.counts) {
            *all += here;
        }
    }
    let [refused, plain, probes, commits] = seen;
    let enough = refused > 200 && plain > 2000 && probes > 200 && commits > 600;
    assert!(enough, "the histories visit everything: {seen:?}");
}
