//! Writing: changed day files, changed totals, and retention.

use std::path::PathBuf;

use jiff::civil::Date;

use crate::store::{StoreError, create_folder, remove_leftovers, write_atomic};

use super::book::{Cells, Hours, add_all};
use super::calendar::days_before;
use super::dayfile::{self, Refused};
use super::{Changed, Millis, Store, TotalsSink, retired};

/// Files that retention rewrites at one compaction, so that a lowered setting does not hold up the owner.
const REWRITES_AT_ONCE: usize = 32;

const MODE: u32 = 0o600;

impl Store {
    /// Writes what has changed, hands changed totals to the sink, and drops what is too old.
    ///
    /// Goes on after an error, so that one bad file does not keep the others from being written; what could not be
    /// written stays to be written. The error returned is the first.
    pub fn compact(&mut self, now: Millis, sink: &mut TotalsSink) -> Result<(), String> {
        let today = self.calendar.date_of(now);
        self.drop_old_hours(today);
        let mut first = self.ensure_folder().map_err(|error| error.to_string());
        if first.is_ok() {
            let dirty = self.book.days.iter().filter(|(_, day)| day.dirty);
            for date in dirty.map(|(date, _)| *date).collect::<Vec<_>>() {
                let written = self.write_day(date).map_err(|error| error.to_string());
                first = first.and(written);
            }
            let retired = self.retire(today).map_err(|error| error.to_string());
            first = first.and(retired);
        }
        // Totals never go ahead of the days: whatever ends the process then, both say the same after a replay.
        if first.is_ok() {
            first = self.give_totals(now, sink);
        }
        self.unload_hours(days_before(today, 1)..=today);
        first
    }

    fn ensure_folder(&mut self) -> Result<(), StoreError> {
        let dir = &self.params.dir;
        if !dir.is_dir() {
            create_folder(dir)?;
            // The folder was taken away: what is still in memory goes into the new one.
            for day in self.book.days.values_mut().filter(|day| day.known) {
                day.dirty = true;
            }
            self.book.retired_dirty = self.book.retired_until.is_some();
        }
        Ok(())
    }

    fn write_day(&mut self, date: Date) -> Result<(), Refused> {
        self.load_hours(date)?;
        let Some(day) = self.book.days.get_mut(&date) else {
            return Ok(());
        };
        let hours = match &day.hours {
            Hours::Loaded(hours) => Some(hours),
            Hours::OnDisk(_) | Hours::Dropped => None,
        };
        let zone = self.calendar.name();
        let names = &self.book.names;
        let text = dayfile::render(date, zone, &self.applied, &day.cells, hours, names);
        let path = dayfile::path(&self.params.dir, date);
        day.dirty = false;
        let written = self.write(path, &text);
        if let (Err(_), Some(day)) = (&written, self.book.days.get_mut(&date)) {
            day.dirty = true;
        }
        written
    }

    fn give_totals(&mut self, now: Millis, sink: &mut TotalsSink) -> Result<(), String> {
        let book = &mut self.book;
        if book.changed.is_empty() {
            return Ok(());
        }
        let total = |key: &u32| book.totals.get(key).copied().unwrap_or_default();
        let changed = book.changed.iter();
        let totals: Vec<_> = changed
            .map(|key| (book.names.name(*key), total(key)))
            .collect();
        sink(Changed {
            totals: &totals,
            through: &self.applied,
            now,
        })?;
        book.changed.clear();
        Ok(())
    }

    fn drop_old_hours(&mut self, today: Date) {
        let cutoff = days_before(today, self.params.keep_hours_days);
        let old = self.book.days.range_mut(..cutoff);
        let detailed = old.filter(|(_, day)| !matches!(day.hours, Hours::Dropped));
        for (_, day) in detailed.take(REWRITES_AT_ONCE) {
            // The file of a day that is not known yet may hold more than we do: it is joined first.
            if day.known {
                day.hours = Hours::Dropped;
                day.dirty = true;
            }
        }
    }

    /// The first day that keeps its file.
    fn cutoff(&self, today: Date) -> Date {
        days_before(today, self.params.keep_days)
    }

    /// Moves the sums of days beyond `keep_days` into `retired.json`, then removes their files.
    fn retire(&mut self, today: Date) -> Result<(), Refused> {
        let old: Vec<Date> = {
            let old = self.book.days.range(..self.cutoff(today));
            // Without a gap, because every file up to the last is taken for a leftover from then on; a day that could
            // not be written may have a file that was not joined.
            old.take_while(|(_, day)| day.known && !day.dirty)
                .map(|(date, _)| *date)
                .collect()
        };
        if let Some(last) = old.last().copied() {
            let mut sums = self.book.retired.clone();
            for date in &old {
                if let Some(day) = self.book.days.get(date) {
                    add_all(&mut sums, &day.cells);
                }
            }
            let until = self
                .book
                .retired_until
                .map_or(last, |until| until.max(last));
            self.write_retired(until, &sums)?;
            self.book.retired = sums;
            self.book.retired_until = Some(until);
            self.book.retired_dirty = false;
            for date in &old {
                self.book.days.remove(date);
            }
            self.leftovers.extend(old);
        }
        if let (true, Some(until)) = (self.book.retired_dirty, self.book.retired_until) {
            let sums = self.book.retired.clone();
            self.write_retired(until, &sums)?;
            self.book.retired_dirty = false;
        }
        for date in std::mem::take(&mut self.leftovers) {
            // Left in place it does no harm: the next start knows it for a leftover.
            let _ = std::fs::remove_file(dayfile::path(&self.params.dir, date));
        }
        Ok(())
    }

    fn write_retired(&mut self, until: Date, sums: &Cells) -> Result<(), Refused> {
        let text = retired::render(until, &self.applied, sums, &self.book.names);
        self.write(retired::path(&self.params.dir), &text)
    }

    fn write(&mut self, path: PathBuf, text: &str) -> Result<(), Refused> {
        if !self.swept.contains(&path) {
            remove_leftovers(&path);
        }
        let written = write_atomic(&path, text.as_bytes(), MODE).map_err(Refused::Io);
        self.swept.insert(path);
        written
    }
}
