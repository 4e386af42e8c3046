//! Answers from the book: sums since the beginning, days and hours.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use jiff::civil::Date;

use super::book::{Cell, Cells, Hours, add_all};
use super::calendar::{HOUR_MS, Hour, date_in, days_after, days_before, format_hour};
use super::range::{DayRange, HourRange};
use super::report::{Costs, Series, Slot, Span};
use super::{Counters, KeyUsage, QueryError, Store, Totals, Usage};

impl Store {
    /// All sums since the beginning, by key and by model.
    pub fn totals(&self) -> Totals {
        let book = &self.book;
        let mut models: BTreeMap<u32, Usage> = BTreeMap::new();
        let mut keys: BTreeMap<u32, Usage> = BTreeMap::new();
        self.every_cell(|(key, model), counters, cost| {
            models.entry(model).or_default().add(counters, cost);
            keys.entry(key).or_default().add(counters, cost);
        });
        let mut totals = Totals::default();
        for (key, counters) in &book.totals {
            // Imported totals are more than the days show, and have no model that could have a price.
            let cost_usd = keys.get(key).and_then(|usage| usage.cost_usd);
            totals.total.add(counters, cost_usd);
            let usage = Usage {
                counters: *counters,
                cost_usd,
            };
            totals.keys.insert(book.names.name(*key), usage);
        }
        for (model, usage) in models {
            totals.models.insert(book.names.name(model), usage);
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
        let mut models: BTreeMap<u32, Usage> = BTreeMap::new();
        let mut all = Usage::default();
        self.every_cell(|(owner, model), counters, cost| {
            if Some(owner) == key {
                models.entry(model).or_default().add(counters, cost);
                all.add(counters, cost);
            }
        });
        let total = key.and_then(|key| self.book.totals.get(&key).copied());
        let total = Usage {
            counters: total.unwrap_or_default(),
            cost_usd: all.cost_usd,
        };
        let names = &self.book.names;
        let models = models.into_iter();
        Ok(KeyUsage {
            id: id.to_owned(),
            name: name.to_owned(),
            total,
            models: models
                .map(|(model, sum)| (names.name(model), sum))
                .collect(),
            days: self.days(days, Some(id), None).by_slot(),
            hours: self.hours(hours, Some(id), None)?.by_slot(),
        })
    }

    /// With what each costs. Of the days that retention has dropped only the last date is known: its prices hold.
    fn every_cell(&self, mut each: impl FnMut(Cell, &Counters, Option<f64>)) {
        let book = &self.book;
        let mut costs = Costs::new(&self.prices);
        let days = book.days.iter().map(|(date, day)| (*date, &day.cells));
        let retired = book.retired_until.map(|until| (until, &book.retired));
        for (date, cells) in days.chain(retired) {
            for (cell, counters) in cells {
                let cost = costs.cost(cell.1, || book.names.name(cell.1), date, counters);
                each(*cell, counters, cost);
            }
        }
    }

    /// The days of a range that have usage, each by key and model.
    pub fn days(&self, range: DayRange, key: Option<&str>, model: Option<&str>) -> Series {
        let days = self.book.days.range(range.first..=range.last);
        let slots = days.map(|(date, day)| (date.to_string(), *date, &day.cells));
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
        let zone = self.zone().clone();
        let date = |hour: u32| date_in(&zone, u64::from(hour) * HOUR_MS);
        let first = days_before(date(range.first), 1);
        let last = days_after(date(range.last), 1);
        let dates: Vec<Date> = self
            .book
            .days
            .range(first..=last)
            .map(|(date, _)| *date)
            .collect();
        for date in &dates {
            self.load_hours(*date)
                .map_err(|error| QueryError::Unreadable(error.to_string()))?;
        }
        let mut found: BTreeMap<Hour, Cow<'_, Cells>> = BTreeMap::new();
        for (_, day) in self.book.days.range(first..=last) {
            let Hours::Loaded(hours) = &day.hours else {
                continue;
            };
            for (hour, cells) in hours.range(range.first..=range.last) {
                match found.entry(*hour) {
                    Entry::Vacant(entry) => {
                        entry.insert(Cow::Borrowed(cells));
                    }
                    // In zones with half hours an hour has its parts in two days.
                    Entry::Occupied(mut entry) => add_all(entry.get_mut().to_mut(), cells),
                }
            }
        }
        let slots = found
            .iter()
            .map(|(hour, cells)| (format_hour(*hour), date(*hour), &**cells));
        let series = self.series(Span::Hour, slots, key, model);
        self.unload_hours(first..=last);
        Ok(series)
    }

    fn series<'a>(
        &self,
        span: Span,
        slots: impl Iterator<Item = (String, Date, &'a Cells)>,
        key: Option<&str>,
        model: Option<&str>,
    ) -> Series {
        let names = &self.book.names;
        let wanted = |name: Option<&str>| name.map(|name| names.get(name));
        let (key, model) = (wanted(key), wanted(model));
        let matches = |wanted: Option<Option<u32>>, id: u32| wanted.is_none_or(|w| w == Some(id));
        let mut out = Vec::new();
        for (label, date, cells) in slots {
            let all = cells.iter().map(|(cell, counters)| (*cell, *counters));
            let cells: Vec<_> = match (key, model) {
                // Of a known length: three years of days are copied in one go.
                (None, None) => all.collect(),
                _ => all
                    .filter(|((k, m), _)| matches(key, *k) && matches(model, *m))
                    .collect(),
            };
            if !cells.is_empty() {
                out.push(Slot { label, date, cells });
            }
        }
        Series::new(span, out, names.list(), Arc::clone(&self.prices))
    }
}
