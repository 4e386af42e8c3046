//! Any order of counting, writing, compacting, crashing, restarting and failing gives what a simple model gives.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::journal::Flush;
use super::super::journal::{Recorder, cut};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Count {
        hours_ago: u64,
        key: usize,
        model: usize,
        input: u64,
        aborted: bool,
    },
    /// The beat of the journal.
    Flush,
    /// What was written has reached the disk.
    Sync,
    Compact,
    /// Day files are written, and the process ends before keys.json is.
    CompactHalf,
    /// Write, then start anew.
    Restart,
    /// `kill -9` in the middle of a write: so many bytes of what was pending are in the file.
    Crash {
        torn: usize,
    },
    /// The end of the journal that was not synced is gone, in part or whole, or has become zeros.
    PowerCut {
        lost: usize,
        zeros: usize,
    },
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
        10 => (0..80u64, 0..3usize, 0..3usize, 0..1000u64, any::<bool>()).prop_map(
            |(hours_ago, key, model, input, aborted)| {
                Step::Count { hours_ago, key, model, input, aborted }
            }
        ),
        5 => Just(Step::Flush),
        1 => Just(Step::Sync),
        2 => Just(Step::Compact),
        1 => Just(Step::CompactHalf),
        1 => Just(Step::Restart),
        2 => (0..3000usize).prop_map(|torn| Step::Crash { torn }),
        2 => (0..3000usize, 0..9usize).prop_map(|(lost, zeros)| Step::PowerCut { lost, zeros }),
        1 => Just(Step::Block),
        1 => Just(Step::Mend),
        2 => (0..80u64).prop_map(|hours_ago| Step::Look { hours_ago }),
        2 => (1..30u64).prop_map(|hours| Step::Pass { hours }),
    ]
}

/// (hour, key, model)
type Cell = (u64, usize, usize);

/// Requests, aborted ones, input tokens.
type Model = BTreeMap<Cell, (u64, u64, u64)>;

type One = (Cell, (u64, u64, u64));

fn add(model: &mut Model, (cell, more): One) {
    let sum = model.entry(cell).or_default();
    *sum = (sum.0 + more.0, sum.1 + more.1, sum.2 + more.2);
}

/// keys.json
#[derive(Default)]
struct Keys {
    totals: BTreeMap<String, Counters>,
    through: BTreeMap<String, u64>,
    refuse: bool,
}

struct World {
    dir: tempfile::TempDir,
    zone: &'static str,
    now: Millis,
    store: Store,
    recorder: Recorder,
    /// The journal of the last request.
    current: Option<Arc<str>>,
    sink: TotalsSink,
    keys: Arc<Mutex<Keys>>,
    /// What has been counted.
    model: Model,
    /// Of this, what is in files.
    safe: Model,
    /// What is counted and not in the journal.
    pending: Vec<One>,
    /// What a power cut can take from `safe`, by the end of its line.
    unsynced: Vec<(u64, One)>,
}

const KEYS: [&str; 3] = ["key_a", "key_b", "key_c"];
const MODELS: [&str; 3] = ["opus", "sonnet", "gemini"];

fn kept(dir: &Path, zone: &str) -> StoreParams {
    let mut kept = params(dir, zone);
    (kept.keep_hours_days, kept.keep_days) = (9, 12);
    kept
}

fn begin(dir: &Path, zone: &str, now: Millis, known: Known) -> (Store, Recorder) {
    let store = Store::open(kept(dir, zone), known).unwrap();
    cut(store.cuts());
    let calendar = super::super::calendar::Calendar::new(zone).unwrap();
    let mut recorder = Recorder::new(dir.join("usage"), calendar);
    recorder.start(now);
    (store, recorder)
}

impl World {
    fn new(zone: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("usage")).unwrap();
        let keys = Arc::new(Mutex::new(Keys::default()));
        let theirs = Arc::clone(&keys);
        let sink: TotalsSink = Box::new(move |changed| {
            let mut keys = theirs.lock().unwrap();
            if keys.refuse {
                return Err("refused".to_owned());
            }
            let totals = changed.totals.iter();
            keys.totals
                .extend(totals.map(|(key, sum)| (key.to_string(), *sum)));
            let through = changed.through.iter();
            keys.through = through.map(|(id, seq)| (id.to_string(), *seq)).collect();
            Ok(())
        });
        // Whole hours: in zones with half hours the model knows no part of one.
        let now = NOW / HOUR * HOUR;
        let (store, recorder) = begin(dir.path(), zone, now, Known::default());
        Self {
            zone,
            now,
            store,
            recorder,
            current: None,
            sink,
            keys,
            model: Model::new(),
            safe: Model::new(),
            pending: Vec::new(),
            unsynced: Vec::new(),
            dir,
        }
    }

    fn usage(&self) -> PathBuf {
        self.dir.path().join("usage")
    }

    fn aside(&self) -> PathBuf {
        self.dir.path().join("aside")
    }

    fn blocked(&self) -> bool {
        self.usage().is_file()
    }

    fn mend(&self) {
        if self.blocked() {
            std::fs::remove_file(self.usage()).unwrap();
            std::fs::rename(self.aside(), self.usage()).unwrap();
        }
    }

    fn flush(&mut self) {
        let file = self.recorder.file();
        let lines = self.recorder.pending().to_vec();
        match self.recorder.flush(self.now) {
            Flush::Idle => assert!(lines.is_empty()),
            Flush::Failed(_) => assert!(self.blocked()),
            Flush::Done(written) => {
                assert!(!self.blocked() && !written.vanished);
                let mut end = std::fs::metadata(&file).unwrap().len() - lines.len() as u64;
                let lines = lines.split_inclusive(|byte| *byte == b'\n');
                for (line, one) in lines.zip(std::mem::take(&mut self.pending)) {
                    end += line.len() as u64;
                    self.unsynced.push((end, one));
                    add(&mut self.safe, one);
                }
                assert_eq!(self.safe, self.model);
                if self.recorder.file() != file {
                    // The next file has begun; this one is taken for synced.
                    self.unsynced.clear();
                }
            }
        }
    }

    fn compact(&mut self) -> Result<(), String> {
        self.flush();
        let result = self.store.compact(self.now, &mut self.sink);
        if result.is_ok() {
            // Nothing that waits would be lost now, though the journal does not have it.
            self.safe = self.model.clone();
            self.unsynced.clear();
            return self.store.drop_journals(self.current.as_ref());
        }
        result
    }

    fn reopen(&mut self) {
        self.mend();
        let known = {
            let mut keys = self.keys.lock().unwrap();
            keys.refuse = false;
            Known {
                totals: keys.totals.clone().into_iter().collect(),
                through: keys.through.clone(),
            }
        };
        let (store, recorder) = begin(self.dir.path(), self.zone, self.now, known);
        (self.store, self.recorder) = (store, recorder);
        self.current = None;
        self.pending.clear();
        self.unsynced.clear();
        self.model = self.safe.clone();
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Count {
                hours_ago,
                key,
                model,
                input,
                aborted,
            } => {
                let time = self.now - hours_ago * HOUR;
                let mut finished = request(time, KEYS[*key], MODELS[*model]);
                finished.tokens.input = *input;
                finished.aborted = *aborted;
                let counted = self.recorder.count(&finished);
                self.store.take(&counted);
                self.current = Some(counted.journal);
                let one = (
                    (time / HOUR, *key, *model),
                    (1, u64::from(*aborted), *input),
                );
                add(&mut self.model, one);
                self.pending.push(one);
            }
            Step::Flush => self.flush(),
            Step::Sync => {
                if !self.blocked() {
                    self.unsynced.clear();
                }
            }
            Step::Compact => {
                let dirty = self.model != self.safe;
                let result = self.compact();
                if self.blocked() {
                    assert!(result.is_err() || !dirty);
                } else {
                    result.unwrap();
                }
            }
            Step::CompactHalf => {
                if !self.blocked() {
                    self.keys.lock().unwrap().refuse = true;
                    let _ = self.compact();
                    self.reopen();
                }
            }
            Step::Restart => {
                self.mend();
                self.compact().unwrap();
                self.reopen();
            }
            Step::Crash { torn } => {
                if !self.blocked() && self.recorder.file().exists() {
                    let lines = self.recorder.pending();
                    let part = &lines[..lines.len().min(*torn)];
                    let mut file = std::fs::OpenOptions::new()
                        .append(true)
                        .open(self.recorder.file())
                        .unwrap();
                    std::io::Write::write_all(&mut file, part).unwrap();
                    let whole = part.iter().filter(|byte| **byte == b'\n').count();
                    for one in self.pending.iter().take(whole) {
                        add(&mut self.safe, *one);
                    }
                }
                self.reopen();
            }
            Step::PowerCut { lost, zeros } => {
                if self.blocked() || self.unsynced.is_empty() {
                    return;
                }
                let file = self.recorder.file();
                let len = std::fs::metadata(&file).unwrap().len();
                let one = |(end, one): &(u64, One)| (*end, *one);
                // The first line that was not synced begins where the one before ends, which is not known: its end is.
                let first = self.unsynced[0].0;
                let keep = len.saturating_sub(*lost as u64).max(first);
                for (end, (cell, less)) in self.unsynced.iter().map(one) {
                    if end > keep {
                        let sum = self.safe.get_mut(&cell).unwrap();
                        *sum = (sum.0 - less.0, sum.1 - less.1, sum.2 - less.2);
                    }
                }
                let torn = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
                torn.set_len(keep).unwrap();
                torn.set_len(keep + *zeros as u64).unwrap();
                self.reopen();
            }
            Step::Block => {
                if !self.blocked() {
                    std::fs::rename(self.usage(), self.aside()).unwrap();
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
            cells.fold((0, 0, 0), |sum, (_, cell)| {
                (sum.0 + cell.0, sum.1 + cell.1, sum.2 + cell.2)
            })
        };
        let got = |usage: Option<&Usage>| {
            usage.map_or((0, 0, 0), |usage| {
                let counters = usage.counters;
                (counters.requests, counters.aborted, counters.input_tokens)
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
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_order_equals_the_model(
        steps in prop::collection::vec(step(), 1..60),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns"]),
    ) {
        let mut world = World::new(zone);
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
        let through = BTreeMap::from([(Arc::from("j\"1"), u64::MAX)]);
        let text = dayfile::render(date, "UTC", &through, &day, Some(&hours), &names);
        std::fs::write(dayfile::path(dir.path(), date), text).unwrap();
        let file = dayfile::read_hours(dir.path(), date, &mut names).unwrap().unwrap();
        prop_assert_eq!(&file.cells, &day);
        prop_assert_eq!(&file.hours, &Some(hours));
        prop_assert_eq!(&file.through, &BTreeMap::from([("j\"1".to_owned(), u64::MAX)]));
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
