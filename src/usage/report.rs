//! Answers as the admin API gives them: JSON shapes and CSV.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use jiff::civil::Date;

use super::book::Cell;
use super::csv::{self, Csv};
use super::prices::{self, Price};
use super::{Counters, Prices, Usage};

/// `GET /admin/usage`
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Everything ever counted, with keys that have been deleted.
    pub total: Usage,
    /// By key id.
    pub keys: BTreeMap<Arc<str>, Usage>,
    /// By model. Totals imported from an older system have no model, so these may sum to less.
    pub models: BTreeMap<Arc<str>, Usage>,
}

/// `GET /admin/keys/{key}/usage` and `GET /me/usage`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeyUsage {
    /// Id of the key.
    pub id: String,
    /// Name of the key.
    pub name: String,
    /// Everything it ever used.
    pub total: Usage,
    /// The same by model.
    pub models: BTreeMap<Arc<str>, Usage>,
    /// By date, the last 30 days or as asked.
    pub days: BTreeMap<String, Usage>,
    /// By hour, the last 24 or as asked.
    pub hours: BTreeMap<String, Usage>,
}

/// `GET /admin/usage/daily`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Daily {
    /// Days with usage, the oldest first.
    pub days: Vec<DayUsage>,
}

/// One day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayUsage {
    /// `2026-11-24`
    pub date: String,
    /// Sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// `GET /admin/usage/hourly`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hourly {
    /// Hours with usage, the oldest first.
    pub hours: Vec<HourUsage>,
}

/// One hour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HourUsage {
    /// `2026-11-24T08:00:00Z`
    pub hour: String,
    /// Sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// A day's or an hour's sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sums {
    /// All together.
    pub total: Usage,
    /// By model.
    pub models: BTreeMap<Arc<str>, Usage>,
    /// By key id.
    pub keys: BTreeMap<Arc<str>, Usage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Day,
    Hour,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) label: String,
    /// The day whose prices hold.
    pub(super) date: Date,
    /// By key and model, as numbers of the names.
    pub(super) cells: Vec<(Cell, Counters)>,
}

/// Days or hours by key and model, made into JSON or CSV by whoever asked, not by the owner.
#[derive(Clone, Debug)]
pub struct Series {
    span: Span,
    slots: Vec<Slot>,
    names: Vec<Arc<str>>,
    prices: Arc<Prices>,
}

impl Series {
    pub(super) fn new(
        span: Span,
        slots: Vec<Slot>,
        names: Vec<Arc<str>>,
        prices: Arc<Prices>,
    ) -> Self {
        Self {
            span,
            slots,
            names,
            prices,
        }
    }

    /// The JSON of `GET /admin/usage/daily`.
    pub fn daily(&self) -> Daily {
        let day = |(date, sums)| DayUsage { date, sums };
        let days = self.sums().map(day).collect();
        Daily { days }
    }

    /// The JSON of `GET /admin/usage/hourly`.
    pub fn hourly(&self) -> Hourly {
        let hour = |(hour, sums)| HourUsage { hour, sums };
        let hours = self.sums().map(hour).collect();
        Hourly { hours }
    }

    /// [`Self::daily`] or [`Self::hourly`] as text, without all of it in memory twice.
    pub fn json(&self) -> Vec<u8> {
        let mut out = match self.span {
            Span::Day => b"{\"days\":[".to_vec(),
            Span::Hour => b"{\"hours\":[".to_vec(),
        };
        let mut first = true;
        for (label, sums) in self.sums() {
            if !first {
                out.push(b',');
            }
            // Writing to a Vec cannot fail, nor can numbers and strings fail to be JSON.
            let _ = match self.span {
                Span::Day => serde_json::to_writer(&mut out, &DayUsage { date: label, sums }),
                Span::Hour => serde_json::to_writer(&mut out, &HourUsage { hour: label, sums }),
            };
            if first {
                // The others are about as long, and growing means copying.
                let size = out.len().saturating_add(out.len() / 8);
                out.reserve(size.saturating_mul(self.slots.len()));
                first = false;
            }
        }
        out.extend_from_slice(b"]}");
        out
    }

    /// The sum of each day or hour.
    pub fn by_slot(&self) -> BTreeMap<String, Usage> {
        self.sums()
            .map(|(label, sums)| (label, sums.total))
            .collect()
    }

    fn sums(&self) -> impl Iterator<Item = (String, Sums)> {
        let mut costs = Costs::new(&self.prices);
        self.slots.iter().map(move |slot| {
            let mut total = Usage::default();
            let mut keys: BTreeMap<u32, Usage> = BTreeMap::new();
            let mut models: BTreeMap<u32, Usage> = BTreeMap::new();
            for ((key, model), counters) in &slot.cells {
                let cost = costs.cost(*model, || self.name_of(*model), slot.date, counters);
                total.add(counters, cost);
                keys.entry(*key).or_default().add(counters, cost);
                models.entry(*model).or_default().add(counters, cost);
            }
            let sums = Sums {
                total,
                models: self.named(models),
                keys: self.named(keys),
            };
            (slot.label.clone(), sums)
        })
    }

    fn named(&self, sums: BTreeMap<u32, Usage>) -> BTreeMap<Arc<str>, Usage> {
        let sums = sums.into_iter();
        sums.map(|(id, sum)| (self.name(id), sum)).collect()
    }

    fn name(&self, id: u32) -> Arc<str> {
        self.names.get(id as usize).cloned().unwrap_or_default()
    }

    fn name_of(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("", |name| name)
    }

    /// A header line, then one row for each date or hour, key and model, sorted.
    pub fn csv(&self) -> String {
        let label = match self.span {
            Span::Day => "date",
            Span::Hour => "hour",
        };
        // Every name's place in the order and its field, once and not for each row.
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_unstable_by_key(|id| self.names.get(*id));
        let mut ranks = vec![0; order.len()];
        for (rank, id) in order.into_iter().enumerate() {
            if let Some(slot) = ranks.get_mut(id) {
                *slot = rank;
            }
        }
        let rank = |id: u32| ranks.get(id as usize).copied().unwrap_or(usize::MAX);
        let fields: Vec<String> = self.names.iter().map(|name| csv::field(name)).collect();
        let field = |id: u32| fields.get(id as usize).map_or("", String::as_str);
        let cells: usize = self.slots.iter().map(|slot| slot.cells.len()).sum();
        let mut out = Csv::new(&[label, "key", "model"], cells);
        let mut costs = Costs::new(&self.prices);
        let mut rows: Vec<&(Cell, Counters)> = Vec::new();
        for slot in &self.slots {
            rows.clear();
            rows.extend(&slot.cells);
            rows.sort_unstable_by_key(|((key, model), _)| (rank(*key), rank(*model)));
            for ((key, model), counters) in &rows {
                out.push(&slot.label);
                out.push(field(*key));
                out.push(field(*model));
                out.end_row(&Usage {
                    counters: *counters,
                    cost_usd: costs.cost(*model, || self.name_of(*model), slot.date, counters),
                });
            }
        }
        out.finish()
    }
}

/// Costs of many cells: the prices of each model are looked up once.
pub(super) struct Costs<'a> {
    prices: &'a Prices,
    by_model: HashMap<u32, Vec<&'a Price>>,
}

impl<'a> Costs<'a> {
    pub(super) fn new(prices: &'a Prices) -> Self {
        Self {
            prices,
            by_model: HashMap::new(),
        }
    }

    /// None when the model has no price on that day.
    pub(super) fn cost<N: AsRef<str>>(
        &mut self,
        model: u32,
        name: impl FnOnce() -> N,
        date: Date,
        counters: &Counters,
    ) -> Option<f64> {
        if self.prices.is_empty() {
            return None;
        }
        let all = self.prices;
        let of_model = self
            .by_model
            .entry(model)
            .or_insert_with(|| all.of(name().as_ref()));
        prices::on(of_model, date).map(|price| price.cost(counters))
    }
}
