//! Any order of counting, writing, restarting and failing gives what a simple model gives.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Count {
        hours_ago: u64,
        key: usize,
        model: usize,
        input: u64,
    },
    Compact,
    /// Write, then start anew.
    Restart,
    /// Start anew with what was written.
    Crash,
    Block,
    Mend,
    /// Ask for an hour's detail, which reads files.
    Look {
        hours_ago: u64,
    },
    Pass {
        hours: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..80u64, 0..3usize, 0..3usize, 0..1000u64)
            .prop_map(|(hours_ago, key, model, input)| Step::Count { hours_ago, key, model, input }),
        3 => Just(Step::Compact),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        1 => Just(Step::Block),
        1 => Just(Step::Mend),
        2 => (0..80u64).prop_map(|hours_ago| Step::Look { hours_ago }),
        2 => (1..30u64).prop_map(|hours| Step::Pass { hours }),
    ]
}

/// (hour, key, model) to (requests, input tokens)
type Model = BTreeMap<(u64, usize, usize), (u64, u64)>;

struct World {
    dir: tempfile::TempDir,
    zone: &'static str,
    now: Millis,
    store: Store,
    sink: TotalsSink,
    taken: Taken,
    model: Model,
    written: Model,
}

const KEYS: [&str; 3] = ["key_a", "key_b", "key_c"];
const MODELS: [&str; 3] = ["opus", "sonnet", "gemini"];

fn kept(dir: &Path, zone: &str) -> StoreParams {
    let mut kept = params(dir, zone);
    (kept.keep_hours_days, kept.keep_days) = (9, 12);
    kept
}

impl World {
    fn new(zone: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (sink, taken) = keeper();
        Self {
            zone,
            now: NOW,
            store: Store::open(kept(dir.path(), zone), []).unwrap(),
            sink,
            taken,
            model: Model::new(),
            written: Model::new(),
            dir,
        }
    }

    fn usage(&self) -> std::path::PathBuf {
        self.dir.path().join("usage")
    }

    fn aside(&self) -> std::path::PathBuf {
        self.dir.path().join("aside")
    }

    fn blocked(&self) -> bool {
        self.usage().is_file()
    }

    fn mend(&self) {
        if self.blocked() {
            std::fs::remove_file(self.usage()).unwrap();
            if self.aside().exists() {
                std::fs::rename(self.aside(), self.usage()).unwrap();
            }
        }
    }

    fn compact(&mut self) {
        let dirty = self.model != self.written;
        let result = self.store.compact(self.now, &mut self.sink);
        if self.blocked() {
            assert!(result.is_err() || !dirty);
        } else {
            result.unwrap();
            self.written = self.model.clone();
        }
    }

    fn reopen(&mut self) {
        self.mend();
        let known = self.taken.lock().unwrap().clone();
        let known = known.iter().map(|(key, sum)| (key.as_str(), *sum));
        self.store = Store::open(kept(self.dir.path(), self.zone), known).unwrap();
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Count {
                hours_ago,
                key,
                model,
                input,
            } => {
                let time = self.now - hours_ago * HOUR;
                let mut finished = request(time, KEYS[*key], MODELS[*model]);
                finished.tokens.input = *input;
                self.store.apply(&finished);
                let cell = self.model.entry((time / HOUR, *key, *model)).or_default();
                *cell = (cell.0 + 1, cell.1 + input);
            }
            Step::Compact => self.compact(),
            Step::Restart => {
                self.mend();
                self.compact();
                self.reopen();
            }
            Step::Crash => {
                // With the disk in trouble keys.json goes ahead of the days, which only the journal can mend.
                self.mend();
                if self.model != self.written {
                    self.taken.lock().unwrap().clear();
                }
                self.reopen();
                self.model = self.written.clone();
            }
            Step::Block => {
                if !self.blocked() {
                    if self.usage().exists() {
                        std::fs::rename(self.usage(), self.aside()).unwrap();
                    }
                    std::fs::write(self.usage(), "in the way").unwrap();
                }
            }
            Step::Mend => self.mend(),
            Step::Look { hours_ago } => {
                let hour = (self.now / HOUR - hours_ago) as u32;
                let range = HourRange {
                    first: hour,
                    last: hour,
                };
                if let Ok(series) = self.store.hours(range, None, None) {
                    let sum = series.hourly().hours;
                    let sum = sum
                        .first()
                        .map_or(0, |hour| hour.sums.total.counters.requests);
                    let expected = self
                        .model
                        .range((u64::from(hour), 0, 0)..(u64::from(hour) + 1, 0, 0));
                    assert_eq!(sum, expected.map(|(_, cell)| cell.0).sum::<u64>());
                } else {
                    assert!(self.blocked());
                }
            }
            Step::Pass { hours } => self.now += hours * HOUR,
        }
    }

    fn check(&self) {
        let totals = self.store.totals();
        let sum = |wanted: &dyn Fn(usize, usize) -> bool| {
            let cells = self
                .model
                .iter()
                .filter(|((_, key, model), _)| wanted(*key, *model));
            cells.fold((0, 0), |sum, (_, cell)| (sum.0 + cell.0, sum.1 + cell.1))
        };
        let got = |usage: Option<&Usage>| {
            usage.map_or((0, 0), |usage| {
                (usage.counters.requests, usage.counters.input_tokens)
            })
        };
        assert_eq!(got(Some(&totals.total)), sum(&|_, _| true));
        for (id, name) in KEYS.iter().enumerate() {
            assert_eq!(
                got(totals.keys.get(*name)),
                sum(&|key, _| key == id),
                "{name}"
            );
        }
        for (id, name) in MODELS.iter().enumerate() {
            assert_eq!(
                got(totals.models.get(*name)),
                sum(&|_, model| model == id),
                "{name}"
            );
        }
        let days = all_days(&self.store);
        let zone = self.store.zone();
        for day in &days.days {
            let cells = self.model.iter().filter(|((hour, _, _), _)| {
                super::super::calendar::date_in(zone, hour * HOUR).to_string() == day.date
            });
            let requests: u64 = cells.map(|(_, cell)| cell.0).sum();
            assert_eq!(day.sums.total.counters.requests, requests, "{}", day.date);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_order_equals_the_model(
        steps in prop::collection::vec(step(), 1..60),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns"]),
    ) {
        let mut world = World::new(zone);
        // Whole hours: in zones with half hours the model knows no part of one.
        world.now = NOW / HOUR * HOUR;
        for step in &steps {
            world.run(step);
            world.check();
        }
        world.run(&Step::Restart);
        world.check();
    }

    #[test]
    fn a_rendered_day_reads_back(
        cells in prop::collection::btree_map(("[ -~]{1,12}", "\\PC{1,12}"), any::<[u64; 8]>(), 0..20),
    ) {
        use super::super::{book, dayfile};
        let dir = tempfile::tempdir().unwrap();
        let date = jiff::civil::date(2026, 11, 24);
        let mut names = book::Names::default();
        let mut day = book::Cells::new();
        for ((key, model), values) in &cells {
            let cell = (names.intern(key), names.intern(model));
            book::add(&mut day, cell, &Counters::from_values(*values));
        }
        let hours = book::HourCells::from([(1, day.clone()), (2, day.clone())]);
        let through = BTreeMap::from([("j\"1".to_owned(), u64::MAX)]);
        let text = dayfile::render(date, "UTC", &through, &day, Some(&hours), &names);
        std::fs::write(dayfile::path(dir.path(), date), text).unwrap();
        let file = dayfile::read_hours(dir.path(), date, &mut names).unwrap().unwrap();
        prop_assert_eq!(&file.cells, &day);
        prop_assert_eq!(&file.hours, &Some(hours));
        prop_assert_eq!(&file.through, &through);
    }

    #[test]
    fn hostile_ranges_never_panic(from in "\\PC{0,40}", to in "[0-9TZ:+-]{0,30}", now in any::<u64>()) {
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let _ = DayRange::parse(Some(&from), Some(&to), &zone, now);
        let _ = HourRange::parse(Some(&to), Some(&from), &zone, now);
        let _ = HourRange::parse(None, Some(&to), &zone, now);
        let _ = DayRange::parse(None, Some(&to), &zone, now);
    }
}
