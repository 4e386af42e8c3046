//! The aggregates in memory, without files: every day's sums by key and model, and the hours of those days that are needed.
//!
//! Adding a request never reads a file: hours of a day whose file has not been read are collected beside it (`Hours::OnDisk`)
//! and joined when it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::civil::Date;

use super::Counters;
use super::calendar::Hour;

/// Names of keys and models as small numbers, so that years of days fit into memory.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<Arc<str>, u32>,
    list: Vec<Arc<str>>,
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(super) fn intern(&mut self, name: &str) -> u32 {
        if let Some(id) = self.get(name) {
            return id;
        }
        let id = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = Arc::from(name);
        self.list.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    pub(super) fn name(&self, id: u32) -> Arc<str> {
        self.list
            .get(id as usize)
            .map_or_else(|| Arc::from(OTHER), Arc::clone)
    }

    /// All names, by number.
    pub(super) fn list(&self) -> Vec<Arc<str>> {
        self.list.clone()
    }
}

/// (key, model)
pub(super) type Cell = (u32, u32);
pub(super) type Cells = BTreeMap<Cell, Counters>;
pub(super) type HourCells = BTreeMap<Hour, Cells>;

pub(super) fn add(cells: &mut Cells, cell: Cell, counters: &Counters) {
    cells.entry(cell).or_default().add(counters);
}

pub(super) fn add_all(cells: &mut Cells, more: &Cells) {
    for (cell, counters) in more {
        add(cells, *cell, counters);
    }
}

/// What is known of a day's hours.
#[derive(Debug)]
pub(super) enum Hours {
    /// All of them.
    Loaded(HourCells),
    /// Those in the day's file, and these, which are not in it.
    OnDisk(HourCells),
    /// Too old: only the day's sums are kept.
    Dropped,
}

#[derive(Debug)]
pub(super) struct Day {
    /// Sums of the day.
    pub(super) cells: Cells,
    pub(super) hours: Hours,
    /// Differs from its file.
    pub(super) dirty: bool,
    /// Whatever file the day has was read, so `cells` holds what is in it and the file may be replaced.
    pub(super) known: bool,
    /// Watermarks of its file, until the journals have been replayed.
    pub(super) through: BTreeMap<String, u64>,
}

impl Day {
    /// A day of which nothing is known but that a file may exist.
    pub(super) fn new() -> Self {
        Self {
            cells: Cells::new(),
            hours: Hours::OnDisk(HourCells::new()),
            dirty: false,
            known: false,
            through: BTreeMap::new(),
        }
    }

    pub(super) fn loaded(&self) -> bool {
        matches!(self.hours, Hours::Loaded(_))
    }

    /// Sums by hour, key and model that are in memory as a copy of the file.
    pub(super) fn hour_cells(&self) -> usize {
        match &self.hours {
            Hours::Loaded(hours) => hours.values().map(BTreeMap::len).sum(),
            Hours::OnDisk(_) | Hours::Dropped => 0,
        }
    }

    fn add(&mut self, hour: Hour, cell: Cell, counters: &Counters) {
        add(&mut self.cells, cell, counters);
        match &mut self.hours {
            Hours::Loaded(hours) | Hours::OnDisk(hours) => {
                add(hours.entry(hour).or_default(), cell, counters);
            }
            Hours::Dropped => {}
        }
        self.dirty = true;
    }

    /// Models of a key on this day.
    fn models(&self, key: u32) -> usize {
        self.cells.range((key, 0)..=(key, u32::MAX)).count()
    }
}

/// The model under which a key's further models of a day are counted.
pub(super) const OTHER: &str = "other";

/// Models kept apart for one key on one day. Clients can name any model, and each would take memory for years.
pub(super) const MODELS_PER_KEY_AND_DAY: usize = 200;

const MODEL_NAME_BYTES: usize = 200;

/// Everything that is known about usage.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) names: Names,
    pub(super) days: BTreeMap<Date, Day>,
    /// Sums of the days that retention has dropped, up to and including `retired_until`.
    pub(super) retired: Cells,
    pub(super) retired_until: Option<Date>,
    pub(super) retired_dirty: bool,
    /// Running totals by key.
    pub(super) totals: BTreeMap<u32, Counters>,
    /// Keys whose totals the sink has not taken yet.
    pub(super) changed: BTreeSet<u32>,
}

impl Book {
    /// Adds to the running total of a key.
    pub(super) fn add_total(&mut self, key: u32, counters: &Counters) {
        self.totals.entry(key).or_default().add(counters);
        self.changed.insert(key);
    }

    /// Adds sums of one key and model to their day.
    pub(super) fn add(
        &mut self,
        date: Date,
        hour: Hour,
        key: u32,
        model: &str,
        counters: &Counters,
    ) {
        if self.retired_until.is_some_and(|until| date <= until) {
            let model = self.names.get(model);
            let model = model.unwrap_or_else(|| self.names.intern(OTHER));
            add(&mut self.retired, (key, model), counters);
            self.retired_dirty = true;
            return;
        }
        let day = self.days.entry(date).or_insert_with(Day::new);
        let known = self
            .names
            .get(model)
            .filter(|model| day.cells.contains_key(&(key, *model)));
        let model = match known {
            Some(model) => model,
            None if acceptable(model) && day.models(key) < MODELS_PER_KEY_AND_DAY => {
                self.names.intern(model)
            }
            None => self.names.intern(OTHER),
        };
        day.add(hour, (key, model), counters);
    }

    /// Takes over running totals, and what the journals add to them. They are at least what the days show, even when
    /// keys.json comes from a backup.
    pub(super) fn start_totals(
        &mut self,
        known: Vec<(String, Counters)>,
        replayed: BTreeMap<u32, Counters>,
    ) {
        let mut shown: BTreeMap<u32, Counters> = BTreeMap::new();
        let days = self.days.values().map(|day| &day.cells);
        for cells in days.chain([&self.retired]) {
            for ((key, _), counters) in cells {
                shown.entry(*key).or_default().add(counters);
            }
        }
        self.changed.extend(replayed.keys());
        self.totals = replayed;
        for (key, counters) in known {
            let key = self.names.intern(&key);
            let total = self.totals.entry(key).or_default();
            total.add(&counters);
            // A key that has been deleted is only known by its days.
            let least = shown.remove(&key).unwrap_or_default();
            let mended = total.max(&least);
            if mended != *total {
                self.changed.insert(key);
            }
            *total = mended;
        }
        // Keys that have been deleted: their usage stays part of the sums.
        for (key, counters) in shown {
            let total = self.totals.entry(key).or_default();
            *total = total.max(&counters);
        }
    }
}

fn acceptable(model: &str) -> bool {
    !model.is_empty() && model.len() <= MODEL_NAME_BYTES && !model.chars().any(char::is_control)
}
