//! The book and its files: opening and counting. Writing is in `compact`, answering in `answer`.
//!
//! Synchronous, used by one thread at a time: the owner's, or the command line with `--offline`, which never compacts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::store::StoreError;

use super::book::{Book, Day, HourCells, Hours, add_all};
use super::calendar::{Calendar, days_before, hour_of};
use super::dayfile::{self, Refused};
use super::{Counters, Finished, Millis, OpenError, retired};

/// Days whose hours stay in memory after they were asked for.
const HOURS_KEPT_LOADED: usize = 35;

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
}

impl Store {
    /// Reads what is in the folder. `known` are the running totals by key (from keys.json).
    ///
    /// Every file is read and checked; only the hours of older days are left for when they are asked for.
    pub fn open<'a>(
        params: StoreParams,
        known: impl IntoIterator<Item = (&'a str, Counters)>,
    ) -> Result<Self, OpenError> {
        let calendar = Calendar::new(&params.timezone)
            .map_err(|_| OpenError::TimeZone(params.timezone.clone()))?;
        let mut store = Self {
            params,
            calendar,
            book: Book::default(),
            leftovers: Vec::new(),
            swept: BTreeSet::new(),
        };
        store.read_folder()?;
        store.book.start_totals(known);
        Ok(store)
    }

    fn read_folder(&mut self) -> Result<(), OpenError> {
        let dir = &self.params.dir;
        let book = &mut self.book;
        if let Some((until, cells)) = retired::read(dir, &mut book.names)? {
            book.retired = cells;
            book.retired_until = Some(until);
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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
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
        Ok(())
    }

    /// The zone in which days are cut.
    pub fn zone(&self) -> &TimeZone {
        self.calendar.zone()
    }

    /// Adds one finished request. Touches no file.
    pub fn apply(&mut self, finished: &Finished) {
        let (key, model) = (&finished.key_id, &finished.served_model);
        self.apply_sum(finished.time_ms, key, model, &finished.counters());
    }

    /// Adds the sums of requests that ended within one quarter of an hour.
    pub(super) fn apply_sum(
        &mut self,
        time_ms: Millis,
        key: &str,
        model: &str,
        counters: &Counters,
    ) {
        let date = self.calendar.date_of(time_ms);
        self.book.add(date, hour_of(time_ms), key, model, counters);
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
            day.through.clone_from(&file.through);
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

    /// Keeps the memory for hours bounded.
    pub(super) fn unload_hours(&mut self, today: Date) {
        let recent = days_before(today, 1);
        let loaded = self.book.days.values().filter(|day| day.loaded()).count();
        let surplus = loaded.saturating_sub(HOURS_KEPT_LOADED);
        let old = self.book.days.range_mut(..recent).map(|(_, day)| day);
        let clean = old.filter(|day| day.loaded() && !day.dirty);
        for day in clean.take(surplus) {
            day.hours = Hours::OnDisk(HourCells::new());
        }
    }
}
