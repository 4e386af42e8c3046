//! The book and its files: opening and counting. Writing is in `compact`, answering in `answer`.
//!
//! Synchronous, used by one thread at a time: the owner's, or the command line with `--offline`, which never compacts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::store::StoreError;

use super::book::{Book, Day, HourCells, Hours, add_all};
use super::calendar::{Calendar, hour_of};
use super::dayfile::{self, Refused};
use super::journal::{self, Cut, Line, Marks, Tails};
use super::owner::Counted;
use super::{Counters, OpenError, Prices, retired};

/// Sums by hour, key and model that stay in memory, at some 100 bytes each: 90 days of 20 keys with 6 models each in every
/// hour, so that no answer waits for files.
const HOUR_CELLS_KEPT: usize = 300_000;

/// Where the files are and how they are kept.
#[derive(Clone, Debug)]
pub struct StoreParams {
    /// The folder of the day files; made when it is missing, mode 0700.
    pub dir: PathBuf,
    /// IANA name of the zone in which days are cut.
    pub timezone: String,
    /// Days before today that keep their hours.
    pub keep_hours_days: u32,
    /// Days before today that keep their file; older ones live on in `retired.json` as sums.
    pub keep_days: u32,
}

/// What keys.json says of usage.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Running totals by key id.
    pub totals: Vec<(String, Counters)>,
    /// Up to which line of each journal they hold everything.
    pub through: BTreeMap<String, u64>,
}

/// Usage in memory and on disk.
#[derive(Debug)]
pub struct Store {
    pub(super) params: StoreParams,
    pub(super) calendar: Calendar,
    pub(super) book: Book,
    /// Files of days that `retired.json` already holds.
    pub(super) leftovers: Vec<Date>,
    /// Files whose half-written predecessors have been looked for.
    pub(super) swept: BTreeSet<PathBuf>,
    /// The journals that are there, and how far they are in the book.
    pub(super) applied: Marks,
    /// Those of them that another process writes or has written, and how far they have been read.
    foreign: Tails,
    cuts: Vec<Cut>,
    /// [`HOUR_CELLS_KEPT`]
    pub(super) hour_cells_kept: usize,
    pub(super) prices: Arc<Prices>,
}

impl Store {
    /// Reads what is in the folder and adds what only the journals have. Writes nothing.
    ///
    /// Every file is read and checked; only hours are left for [`Self::read_recent_hours`] or for when they are asked for.
    pub fn open(params: StoreParams, known: Known) -> Result<Self, OpenError> {
        let calendar = Calendar::new(&params.timezone)
            .map_err(|_| OpenError::TimeZone(params.timezone.clone()))?;
        let mut store = Self {
            params,
            calendar,
            book: Book::default(),
            leftovers: Vec::new(),
            swept: BTreeSet::new(),
            applied: Marks::new(),
            foreign: Tails::new(),
            cuts: Vec::new(),
            hour_cells_kept: HOUR_CELLS_KEPT,
            prices: Arc::default(),
        };
        let retired_through = store.read_folder()?;
        let replayed = store.replay(&known.through, &retired_through)?;
        store.book.start_totals(known.totals, replayed);
        Ok(store)
    }

    /// From now on costs come from these.
    pub fn set_prices(&mut self, prices: Arc<Prices>) {
        self.prices = prices;
    }

    /// Returns the totals of lines that keys.json does not hold.
    fn replay(
        &mut self,
        keys_through: &BTreeMap<String, u64>,
        retired_through: &BTreeMap<String, u64>,
    ) -> Result<BTreeMap<u32, Counters>, OpenError> {
        let (book, calendar) = (&mut self.book, &mut self.calendar);
        let mut totals: BTreeMap<u32, Counters> = BTreeMap::new();
        // The marks of the journal that is being read, so that nothing is looked up by name for each line.
        let mut current = String::new();
        let mut of_days: HashMap<Date, u64> = HashMap::new();
        let (mut of_keys, mut of_retired) = (0, 0);
        let (foreign, cuts) = journal::replay(&self.params.dir, |id, line| {
            if id != current {
                current = id.to_owned();
                of_days = book.days.iter().fold(HashMap::new(), |mut marks, it| {
                    let (date, day) = it;
                    marks.extend(day.through.get(id).map(|mark| (*date, *mark)));
                    marks
                });
                of_keys = keys_through.get(id).copied().unwrap_or(0);
                of_retired = retired_through.get(id).copied().unwrap_or(0);
            }
            let date = calendar.date_of(line.time_ms);
            let counters = line.counters();
            let key = book.names.intern(&line.key_id);
            if line.seq > of_keys {
                totals.entry(key).or_default().add(&counters);
            }
            let retired = book.retired_until.is_some_and(|until| date <= until);
            let mark = match retired {
                true => of_retired,
                false => of_days.get(&date).copied().unwrap_or(0),
            };
            if line.seq > mark {
                let hour = hour_of(line.time_ms);
                book.add(date, hour, key, &line.served_model, &counters);
            }
        })?;
        let marks = foreign.iter().map(|(id, tail)| (Arc::clone(id), tail.seq));
        self.applied = marks.collect();
        self.foreign = foreign;
        self.cuts = cuts;
        for day in book.days.values_mut() {
            day.through = BTreeMap::new();
        }
        Ok(totals)
    }

    /// Returns the marks of retired.json.
    fn read_folder(&mut self) -> Result<BTreeMap<String, u64>, OpenError> {
        let dir = &self.params.dir;
        let book = &mut self.book;
        let mut retired_through = BTreeMap::new();
        if let Some(retired) = retired::read(dir, &mut book.names)? {
            book.retired = retired.cells;
            book.retired_until = Some(retired.until);
            retired_through = retired.through;
        }
        let io = |source| {
            OpenError::Io(StoreError::Io {
                doing: "list",
                path: dir.clone(),
                source,
            })
        };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(retired_through);
            }
            Err(error) => return Err(io(error)),
        };
        for entry in entries {
            let name = entry.map_err(io)?.file_name();
            let Some(date) = name.to_str().and_then(dayfile::date_of_name) else {
                continue;
            };
            if book.retired_until.is_some_and(|until| date <= until) {
                self.leftovers.push(date);
                continue;
            }
            let Some(file) = dayfile::read_day(dir, date, &mut book.names)? else {
                continue;
            };
            let mut day = Day::new();
            day.cells = file.cells;
            day.through = file.through;
            day.known = true;
            if file.hours.is_none() {
                day.hours = Hours::Dropped;
            }
            book.days.insert(date, day);
        }
        Ok(retired_through)
    }

    /// The zone in which days are cut.
    pub fn zone(&self) -> &TimeZone {
        self.calendar.zone()
    }

    /// Torn ends of journals that were found at opening.
    pub(super) fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// Adds a request that no journal knows.
    #[cfg(test)]
    pub(super) fn apply(&mut self, finished: &super::Finished) {
        let date = self.calendar.date_of(finished.time_ms);
        let hour = hour_of(finished.time_ms);
        let key = self.book.names.intern(&finished.key_id);
        let counters = finished.counters();
        self.book.add_total(key, &counters);
        let model = &finished.served_model;
        self.book.add(date, hour, key, model, &counters);
    }

    /// Adds what the journal has numbered. Touches no file.
    pub(super) fn take(&mut self, counted: &Counted) {
        match self.applied.get_mut(&counted.journal) {
            Some(seq) => *seq = counted.seq,
            None => {
                self.applied
                    .insert(Arc::clone(&counted.journal), counted.seq);
            }
        }
        let date = self.calendar.date_of(counted.time_ms);
        let hour = hour_of(counted.time_ms);
        let key = self.book.names.intern(&counted.key);
        self.book.add_total(key, &counted.counters);
        self.book
            .add(date, hour, key, &counted.model, &counted.counters);
    }

    /// Takes in what other processes have written since: in an upgrade the one before goes on with a journal of its own
    /// until its last stream has ended. `ours` tells the journals of this process.
    pub(super) fn follow(&mut self, ours: impl Fn(&str) -> bool) -> Result<(), Refused> {
        let found = journal::discover(&self.params.dir, &mut self.foreign, ours);
        found.and(self.read_on())
    }

    /// The same for the journals that are known.
    pub(super) fn read_on(&mut self) -> Result<(), Refused> {
        let (book, calendar) = (&mut self.book, &mut self.calendar);
        let applied = &mut self.applied;
        journal::follow(
            &self.params.dir,
            &mut self.foreign,
            |id, line: &Line<'_>| {
                let date = calendar.date_of(line.time_ms);
                let counters = line.counters();
                let key = book.names.intern(&line.key_id);
                book.add_total(key, &counters);
                let hour = hour_of(line.time_ms);
                book.add(date, hour, key, &line.served_model, &counters);
                match applied.get_mut(id) {
                    Some(seq) => *seq = line.seq,
                    None => drop(applied.insert(Arc::from(id), line.seq)),
                }
            },
        )
    }

    /// Another process may still be writing a journal.
    pub(super) fn follows(&self) -> bool {
        !self.foreign.is_empty()
    }

    /// Removes the journals that everything is compacted from, but for `current`, which grows on, and those that other
    /// processes still write. Only after a compaction without an error.
    pub(super) fn drop_journals(&mut self, current: Option<&Arc<str>>) -> Result<(), String> {
        let dir = &self.params.dir;
        let mut gone: Vec<Arc<str>> = Vec::new();
        let fail = |error| format!("cannot remove a journal that is done with: {error}");
        for id in self.applied.keys().filter(|id| Some(*id) != current) {
            let removed = match self.foreign.get(id) {
                Some(tail) => journal::remove_read(dir, id, tail),
                None => journal::remove(dir, id).map(|()| true),
            };
            if removed.map_err(fail)? {
                gone.push(Arc::clone(id));
            }
        }
        // Without a line there is no mark either.
        for (id, tail) in &self.foreign {
            if !self.applied.contains_key(id)
                && journal::remove_read(dir, id, tail).map_err(fail)?
            {
                gone.push(Arc::clone(id));
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        journal::sync_folder(dir).map_err(fail)?;
        // Only now: a mark must outlive its journal.
        self.applied.retain(|id, _| !gone.contains(id));
        self.foreign.retain(|id, _| !gone.contains(id));
        Ok(())
    }

    /// Joins the hours of a day's file with those counted since. After that the day is known: memory holds all that is
    /// in the file.
    pub(super) fn load_hours(&mut self, date: Date) -> Result<(), Refused> {
        let Some(day) = self.book.days.get_mut(&date) else {
            return Ok(());
        };
        if day.known && !matches!(day.hours, Hours::OnDisk(_)) {
            return Ok(());
        }
        let file = dayfile::read_hours(&self.params.dir, date, &mut self.book.names)?;
        if let (false, Some(file)) = (day.known, &file) {
            // It came while we were running, say from a backup; it is added to, not overwritten.
            add_all(&mut day.cells, &file.cells);
        }
        day.known = true;
        let dropped = file.as_ref().is_some_and(|file| file.hours.is_none());
        day.hours = match std::mem::replace(&mut day.hours, Hours::Dropped) {
            Hours::OnDisk(new) if !dropped => {
                let mut hours = file.and_then(|file| file.hours).unwrap_or_default();
                for (hour, cells) in new {
                    add_all(hours.entry(hour).or_default(), &cells);
                }
                Hours::Loaded(hours)
            }
            Hours::OnDisk(_) => Hours::Dropped,
            kept => kept,
        };
        Ok(())
    }

    /// Reads the hours of the newest days, as far as there is room, so that no answer has to wait for files.
    pub fn read_recent_hours(&mut self) -> Result<(), OpenError> {
        let dates: Vec<Date> = self.book.days.keys().rev().copied().collect();
        let mut cells = 0;
        for date in dates {
            if cells >= self.hour_cells_kept {
                break;
            }
            self.load_hours(date)?;
            cells += self.book.days.get(&date).map_or(0, Day::hour_cells);
        }
        Ok(())
    }

    /// Keeps the memory for hours bounded: of the days outside `wanted` the oldest go first.
    pub(super) fn unload_hours(&mut self, wanted: RangeInclusive<Date>) {
        let mut cells: usize = self.book.days.values().map(Day::hour_cells).sum();
        let others = self.book.days.iter_mut();
        let others = others.filter(|(date, _)| !wanted.contains(date));
        for (_, day) in others.filter(|(_, day)| day.loaded() && !day.dirty) {
            if cells <= self.hour_cells_kept {
                break;
            }
            cells -= day.hour_cells();
            day.hours = Hours::OnDisk(HourCells::new());
        }
    }
}
