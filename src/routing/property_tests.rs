//! What holds whatever happens: bounds of marks, single probes, no flapping, no lost writes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::testkit::*;
use super::*;

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Poll(u8),
    Fail {
        kind: u8,
        key: u64,
        reset: Option<u64>,
    },
    Commit,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0u64..700_000).prop_map(Event::Wait),
        (0u8..=100).prop_map(Event::Poll),
        (0u8..6, 0u64..3, prop::option::of(any::<u64>()))
            .prop_map(|(kind, key, reset)| Event::Fail { kind, key, reset }),
        Just(Event::Commit),
    ];
    prop::collection::vec(event, 1..60)
}

fn failure(kind: u8, reset: Option<Millis>) -> Failure {
    match kind {
        0 | 1 => exhausted(reset),
        2 => overloaded(),
        3 => Failure::timeout("t"),
        4 => Failure::connect("c"),
        _ => status(404, "no"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn marks_are_bounded_and_every_write_is_in_the_snapshot(events in events()) {
        let book = book();
        let up = tier("m");
        let mut now = T0;
        for event in events {
            match event {
                Event::Wait(ms) => now += ms,
                Event::Poll(percent) => {
                    poll(&book, now, &[("m", f64::from(percent) / 100.0, None)]);
                    let shown = view(&book, "m", now).remaining_fraction;
                    prop_assert_eq!(shown, Some(f64::from(percent) / 100.0));
                }
                Event::Fail { kind, key, reset } => {
                    let failure = failure(kind, reset);
                    let outcome = fail(&book, "m", now, key, &failure);
                    let shown = view(&book, "m", now);
                    if outcome.marked {
                        let until = outcome.until.unwrap();
                        prop_assert!(until > now && until <= now + MAX_RESET_AHEAD);
                        let told = failure.reset.is_some_and(|reset| reset > now);
                        if !told && shown.parsed_reset.is_none() {
                            prop_assert!(until <= now + 300 * S, "doubling is bounded");
                        }
                        prop_assert!(!shown.usable);
                        prop_assert!(shown.until >= Some(until));
                    }
                }
                Event::Commit => {
                    book.attempt_committed(&attempt(&up, now), now);
                    prop_assert_eq!(book.snapshot().marks(), 0);
                }
            }
            // Whatever has happened, one quiet cooldown of the longest kind frees it, unless the
            // upstream named a reset that polls do not contradict.
            let shown = view(&book, "m", now);
            let later = view(&book, "m", now + 300 * S);
            if shown.parsed_reset.is_none() {
                prop_assert_ne!(later.state, TierState::Cooldown);
            }
            let last = view(&book, "m", now + MAX_RESET_AHEAD);
            prop_assert_ne!(last.state, TierState::Cooldown);
        }
    }

    #[test]
    fn a_sawtooth_of_two_percent_does_not_flap(center in 0.0f64..1.0, teeth in 2usize..60) {
        let book = book();
        let mut changes = 0;
        let mut usable = true;
        for tooth in 0..teeth {
            let swing = if tooth % 2 == 0 { 0.02 } else { -0.02 };
            let at = T0 + tooth as u64 * 30 * S;
            poll(&book, at, &[("m", (center + swing).clamp(0.0, 1.0), None)]);
            let now = view(&book, "m", at).usable;
            changes += usize::from(now != usable);
            usable = now;
        }
        prop_assert!(changes <= 1, "{changes} changes around {center}");
    }

    #[test]
    fn simultaneous_failures_are_one_mark(began in prop::collection::vec(0u64..20_000, 1..100), kind in 0u8..4) {
        let book = book();
        let up = tier("m");
        let mut marks = 0;
        for (nth, ago) in began.iter().enumerate() {
            let at = T0 + nth as u64 * 7;
            let one = Attempt { key: nth as u64, ..attempt(&up, T0 - ago) };
            marks += usize::from(book.attempt_failed(&one, &failure(kind, None), at).marked);
        }
        prop_assert_eq!(marks, 1);
        prop_assert_eq!(view(&book, "m", T0 + S).until, Some(T0 + 20 * S));
    }

    #[test]
    fn a_request_asks_each_tier_at_most_once_and_ends(seed in any::<u64>(), count in 1usize..9) {
        let book = book();
        let names: Vec<String> = (0..count).map(|n| format!("m{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let fractions = [0.0, 0.02, 0.5];
        for (n, name) in names.iter().enumerate() {
            let dice = seed.rotate_left(n as u32 * 5);
            if dice & 1 == 1 {
                fail(&book, name, T0, dice >> 60, &failure((dice >> 8) as u8 % 6, Some(T0 + HOUR)));
            }
            let quota = (*name, Some(fractions[(dice >> 16) as usize % 3]), (dice & 2 == 2).then_some(T0 + HOUR));
            if dice & 4 == 4 {
                // Another upstream's numbers must not matter.
                book.poll_succeeded("other", T0 + n as u64, T0 + n as u64, accounts(&[&[quota]]));
            }
        }
        let mut tried = order(&book, &route(&names), T0 + 19 * S);
        let asked = tried.len();
        tried.sort_unstable();
        tried.dedup();
        prop_assert_eq!(tried.len(), asked);
        prop_assert!(asked <= count);
    }
}

#[test]
fn the_slot_is_never_held_twice_however_threads_race() {
    let book = Arc::new(book());
    fail(&book, "m", T0, 1, &overloaded());
    let holders = Arc::new(AtomicUsize::new(0));
    let probes = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..8u64)
        .map(|thread| {
            let (book, holders, probes) = (book.clone(), holders.clone(), probes.clone());
            std::thread::spawn(move || {
                let up = tier("m");
                for round in 1..2000u64 {
                    // Far apart, so that whoever comes next finds the mark ended.
                    let now = T0 + (round * 8 + thread) * HOUR;
                    let snapshot = book.snapshot();
                    let Some(probe) = snapshot.standing(&up, now).gate.probe() else {
                        continue;
                    };
                    assert_eq!(
                        holders.fetch_add(1, Ordering::SeqCst),
                        0,
                        "two probes at once"
                    );
                    probes.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    holders.fetch_sub(1, Ordering::SeqCst);
                    let attempt = Attempt {
                        key: thread,
                        probe: Some(&probe),
                        ..attempt(&up, now)
                    };
                    match round % 3 {
                        0 => drop(book.attempt_failed(&attempt, &overloaded(), now)),
                        1 => drop(probe),
                        // The mark stays, as after a client's own fault.
                        _ => drop(book.attempt_failed(&attempt, &status(400, "bad"), now)),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(probes.load(Ordering::SeqCst) > 100);
    let end = T0 + 1_000_000 * HOUR;
    assert!(view(&book, "m", end).usable, "the slot is free in the end");
}

#[test]
fn writers_on_many_threads_lose_nothing() {
    let book = Arc::new(book());
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let book = book.clone();
            std::thread::spawn(move || {
                for n in 0..50 {
                    fail(&book, &format!("m{thread}-{n}"), T0, 1, &overloaded());
                    poll(&book, T0 + n, &[("q", 0.5, None)]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(book.snapshot().marks(), 200);
    assert_eq!(view(&book, "q", T0 + S).remaining_fraction, Some(0.5));
}
