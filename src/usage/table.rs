//! `luna usage`: sums by key, model, day or hour, made from the admin API's JSON, as a table or CSV.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::counters::NAMES;
use super::csv::{self, Csv};
use super::{Counters, Usage};

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A key.
    Key,
    /// A model.
    Model,
    /// A day.
    Day,
    /// An hour.
    Hour,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Model => "model",
            Self::Day => "date",
            Self::Hour => "hour",
        }
    }
}

/// Rows and their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    by: By,
    rows: Vec<(String, Usage)>,
    total: Usage,
}

const HEADS: [&str; 8] = [
    "REQUESTS",
    "ERRORS",
    "FALLBACKS",
    "ABORTED",
    "INPUT",
    "OUTPUT",
    "CACHE READ",
    "CACHE WRITE",
];

impl Summary {
    /// Reads the JSON of any of the usage routes. Days or hours are summed up when keys or models are wanted. `names` are
    /// the names of keys by id; a key without a name is shown by its id. Keys and models come with the most tokens first.
    pub fn new(by: By, json: &Value, names: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut sums: BTreeMap<String, Usage> = BTreeMap::new();
        let slots = json
            .get("days")
            .or_else(|| json.get("hours"))
            .and_then(Value::as_array);
        match (by, slots) {
            (By::Day, _) => each(json, "days", "date", &mut sums)?,
            (By::Hour, _) => each(json, "hours", "hour", &mut sums)?,
            (By::Key | By::Model, Some(slots)) => {
                for slot in slots {
                    map(slot, by, &mut sums)?;
                }
            }
            (By::Key | By::Model, None) => map(json, by, &mut sums)?,
        }
        let mut total = Usage::default();
        for usage in sums.values() {
            add(&mut total, usage);
        }
        // The whole is given apart where the parts may be less: imported totals have no model.
        if let (By::Key | By::Model, Some(whole)) = (by, json.get("total")) {
            total = usage(whole)?;
        }
        let mut rows: Vec<_> = sums.into_iter().collect();
        if by == By::Key {
            for (label, _) in &mut rows {
                if let Some(name) = names.get(label) {
                    label.clone_from(name);
                }
            }
        }
        if matches!(by, By::Key | By::Model) {
            let order = |(label, usage): &(String, Usage)| {
                let counters = usage.counters;
                (
                    std::cmp::Reverse((counters.tokens(), counters.requests)),
                    label.clone(),
                )
            };
            rows.sort_by_cached_key(order);
        }
        Ok(Self { by, rows, total })
    }

    /// Columns aligned, thousands apart, the sum below.
    pub fn table(&self) -> String {
        if self.rows.is_empty() {
            return "no usage in this time\n".to_owned();
        }
        let priced = self.rows.iter().any(|(_, usage)| usage.cost_usd.is_some());
        let mut lines: Vec<Vec<String>> = Vec::with_capacity(self.rows.len() + 2);
        let mut head = vec![self.by.name().to_uppercase()];
        head.extend(HEADS.map(str::to_owned));
        if priced {
            head.push("COST USD".to_owned());
        }
        lines.push(head);
        let total = ("total".to_owned(), self.total);
        for (label, usage) in self.rows.iter().chain([&total]) {
            let mut line = vec![printable(label)];
            line.extend(usage.counters.values().map(thousands));
            if priced {
                let cost = |cost| format!("{cost:.2}");
                line.push(usage.cost_usd.map_or_else(|| "-".to_owned(), cost));
            }
            lines.push(line);
        }
        let mut widths: Vec<usize> = Vec::new();
        for line in &lines {
            widths.resize(line.len().max(widths.len()), 0);
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let rule = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        let mut out = String::new();
        let last = lines.len() - 1;
        for (number, line) in lines.iter().enumerate() {
            if number == last {
                let _ = writeln!(out, "{}", "-".repeat(rule));
            }
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                // Writing to a String cannot fail.
                let _ = match column {
                    0 => write!(out, "{cell:width$}"),
                    _ => write!(out, "  {cell:>width$}"),
                };
            }
            out.push('\n');
        }
        out
    }

    /// A header line and one row for each label, without the sum.
    pub fn csv(&self) -> String {
        let mut out = Csv::new(&[self.by.name()], self.rows.len());
        for (label, usage) in &self.rows {
            out.push(&csv::field(label));
            out.end_row(usage);
        }
        out.finish()
    }
}

/// Reads `[{"date", "total": USAGE}]` or `{DATE: USAGE}`.
fn each(
    json: &Value,
    list: &str,
    label: &str,
    sums: &mut BTreeMap<String, Usage>,
) -> Result<(), String> {
    match json.get(list) {
        Some(Value::Array(slots)) => {
            for slot in slots {
                let name = slot.get(label).and_then(Value::as_str);
                let name = name.ok_or_else(|| format!("an entry of {list} has no {label}"))?;
                let total = usage(slot.get("total").unwrap_or(&Value::Null))?;
                add(sums.entry(name.to_owned()).or_default(), &total);
            }
            Ok(())
        }
        Some(Value::Object(slots)) => {
            for (name, value) in slots {
                add(sums.entry(name.clone()).or_default(), &usage(value)?);
            }
            Ok(())
        }
        _ => Err(format!("the answer has no {list}")),
    }
}

/// Adds `{"keys": {ID: USAGE}}` or `{"models": {M: USAGE}}`.
fn map(json: &Value, by: By, sums: &mut BTreeMap<String, Usage>) -> Result<(), String> {
    let field = match by {
        By::Key => "keys",
        _ => "models",
    };
    let entries = json.get(field).and_then(Value::as_object);
    let entries = entries.ok_or_else(|| format!("the answer has no {field}"))?;
    for (name, value) in entries {
        let usage = usage(value)?;
        match sums.get_mut(name) {
            Some(sum) => add(sum, &usage),
            None => {
                sums.insert(name.clone(), usage);
            }
        }
    }
    Ok(())
}

fn usage(json: &Value) -> Result<Usage, String> {
    let json = json
        .as_object()
        .ok_or("the answer has a usage that is not an object")?;
    let mut values = [0; 8];
    for (value, name) in values.iter_mut().zip(NAMES) {
        let number = json.get(name).and_then(Value::as_u64);
        *value = number.ok_or_else(|| format!("the answer has a usage without {name}"))?;
    }
    Ok(Usage {
        counters: Counters::from_values(values),
        cost_usd: json.get("cost_usd").and_then(Value::as_f64),
    })
}

fn add(sum: &mut Usage, more: &Usage) {
    sum.counters.add(&more.counters);
    sum.cost_usd = match (sum.cost_usd, more.cost_usd) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    };
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A name cannot move the cursor of the terminal that it is shown in.
fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(clean).collect()
}
