//! Answers from the book: sums since the beginning, days and hours.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::book::{Cell, Cells, HourCells, Hours, add_all};
use super::calendar::{HOUR_MS, date_in, days_after, days_before, format_hour};
use super::range::{DayRange, HourRange};
use super::report::{Series, Slot, Span};
use super::{Counters, KeyUsage, QueryError, Store, Totals};

impl Store {
    /// All sums since the beginning, by key and by model.
    pub fn totals(&self) -> Totals {
        let book = &self.book;
        let mut models: BTreeMap<u32, Counters> = BTreeMap::new();
        self.every_cell(|(_, model), counters| models.entry(model).or_default().add(counters));
        let mut totals = Totals::default();
        for (key, counters) in &book.totals {
            totals.total.counters.add(counters);
            totals
                .keys
                .insert(book.names.name(*key), (*counters).into());
        }
        for (model, counters) in models {
            totals
                .models
                .insert(book.names.name(model), counters.into());
        }
        totals
    }

    /// One key's sums: since the beginning, in all and by model, and for these days and hours.
    pub fn key(
        &mut self,
        id: &str,
        name: &str,
        days: DayRange,
        hours: HourRange,
    ) -> Result<KeyUsage, QueryError> {
        let key = self.book.names.get(id);
        let mut models: BTreeMap<u32, Counters> = BTreeMap::new();
        self.every_cell(|(owner, model), counters| {
            if Some(owner) == key {
                models.entry(model).or_default().add(counters);
            }
        });
        let total = key.and_then(|key| self.book.totals.get(&key).copied());
        let names = &self.book.names;
        let models = models.into_iter();
        Ok(KeyUsage {
            id: id.to_owned(),
            name: name.to_owned(),
            total: total.unwrap_or_default().into(),
            models: models
                .map(|(model, sum)| (names.name(model), sum.into()))
                .collect(),
            days: self.days(days, Some(id), None).by_slot(),
            hours: self.hours(hours, Some(id), None)?.by_slot(),
        })
    }

    fn every_cell(&self, mut each: impl FnMut(Cell, &Counters)) {
        let days = self.book.days.values().map(|day| &day.cells);
        for cells in days.chain([&self.book.retired]) {
            for (cell, counters) in cells {
                each(*cell, counters);
            }
        }
    }

    /// The days of a range that have usage, each by key and model.
    pub fn days(&self, range: DayRange, key: Option<&str>, model: Option<&str>) -> Series {
        let days = self.book.days.range(range.first..=range.last);
        let slots = days.map(|(date, day)| (date.to_string(), &day.cells));
        self.series(Span::Day, slots, key, model)
    }

    /// The hours of a range that have usage, each by key and model. Reads the files of days whose hours are not in memory.
    pub fn hours(
        &mut self,
        range: HourRange,
        key: Option<&str>,
        model: Option<&str>,
    ) -> Result<Series, QueryError> {
        // A day either side, in case days were cut in another zone when they were written.
        let date = |hour: u32| date_in(self.calendar.zone(), u64::from(hour) * HOUR_MS);
        let first = days_before(date(range.first), 1);
        let last = days_after(date(range.last), 1);
        let dates: Vec<Date> = self
            .book
            .days
            .range(first..=last)
            .map(|(date, _)| *date)
            .collect();
        let mut found = HourCells::new();
        for date in &dates {
            self.load_hours(*date)
                .map_err(|error| QueryError::Unreadable(error.to_string()))?;
            let Some(Hours::Loaded(hours)) = self.book.days.get(date).map(|day| &day.hours) else {
                continue;
            };
            for (hour, cells) in hours.range(range.first..=range.last) {
                add_all(found.entry(*hour).or_default(), cells);
            }
        }
        let slots = found
            .iter()
            .map(|(hour, cells)| (format_hour(*hour), cells));
        let series = self.series(Span::Hour, slots, key, model);
        if let Some(newest) = dates.last().copied() {
            self.unload_hours(newest);
        }
        Ok(series)
    }

    fn series<'a>(
        &self,
        span: Span,
        slots: impl Iterator<Item = (String, &'a Cells)>,
        key: Option<&str>,
        model: Option<&str>,
    ) -> Series {
        let names = &self.book.names;
        let wanted = |name: Option<&str>| name.map(|name| names.get(name));
        let (key, model) = (wanted(key), wanted(model));
        let matches = |wanted: Option<Option<u32>>, id: u32| wanted.is_none_or(|w| w == Some(id));
        let mut out = Vec::new();
        for (label, cells) in slots {
            let cells = cells.iter().map(|(cell, counters)| (*cell, *counters));
            let cells: Vec<_> = cells
                .filter(|((k, m), _)| matches(key, *k) && matches(model, *m))
                .collect();
            if !cells.is_empty() {
                out.push(Slot { label, cells });
            }
        }
        Series::new(span, out, names.list())
    }
}
