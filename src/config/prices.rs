//! prices.toml: what models cost, for the usage reports.

use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;
use serde::Deserialize;
use toml::Spanned;

use super::problem::{LineIndex, Problem};
use crate::usage::{Price, Prices};

/// More is not a price list.
pub(super) const MAX_FILE: u64 = 1024 * 1024;

/// In US dollars per million tokens; nothing costs more.
const MAX_PRICE: f64 = 1_000_000.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    price: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: Spanned<String>,
    from: Option<Spanned<String>>,
    input: Spanned<f64>,
    output: Spanned<f64>,
    cache_read: Option<Spanned<f64>>,
    cache_write: Option<Spanned<f64>>,
}

/// Reads a price list; what is wrong with it goes to `problems`.
pub(super) fn read(file: &Path, text: &str, problems: &mut Vec<Problem>) -> Arc<Prices> {
    let lines = LineIndex::new(text);
    let mut problem = |at: usize, what: String| {
        problems.push(Problem {
            file: Some(file.to_path_buf()),
            line: Some(lines.line(at)),
            what,
        });
    };
    let parsed: File = match toml::from_str(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            problem(at, error.message().to_owned());
            return Arc::default();
        }
    };
    let mut list: Vec<Price> = Vec::new();
    for entry in parsed.price {
        let at = entry.span().start;
        let entry = entry.into_inner();
        let mut number = |name: &str, value: &Spanned<f64>| {
            let number = *value.get_ref();
            if !(0.0..=MAX_PRICE).contains(&number) {
                let what =
                    format!("{name} must be between 0 and {MAX_PRICE} USD per million tokens");
                problem(value.span().start, what);
            }
            number
        };
        let input = number("input", &entry.input);
        let output = number("output", &entry.output);
        // Without a price of its own a token is what it is: input.
        let cache = |value: &Option<Spanned<f64>>| value.as_ref().map_or(input, |v| *v.get_ref());
        for (name, value) in [
            ("cache_read", &entry.cache_read),
            ("cache_write", &entry.cache_write),
        ] {
            if let Some(value) = value {
                number(name, value);
            }
        }
        let from = entry.from.and_then(|text| {
            let date = text.get_ref().parse::<Date>().ok();
            let date = date.filter(|date| date.to_string() == *text.get_ref());
            if date.is_none() {
                let what = "from must be a date such as \"2026-11-24\"".to_owned();
                problem(text.span().start, what);
            }
            date
        });
        let model = entry.model.get_ref().clone();
        if model.is_empty() {
            let what = "model must be a name or a pattern such as \"claude-opus-*\"".to_owned();
            problem(entry.model.span().start, what);
        }
        if list
            .iter()
            .any(|known| known.model == model && known.from == from)
        {
            let what = format!(
                "`{model}` has a price from the same day above; give this one another `from`"
            );
            problem(at, what);
        }
        list.push(Price {
            model,
            from,
            input,
            output,
            cache_read: cache(&entry.cache_read),
            cache_write: cache(&entry.cache_write),
        });
    }
    Arc::new(Prices::new(list))
}
