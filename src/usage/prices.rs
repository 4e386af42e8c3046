//! What tokens cost. Costs are worked out when they are asked for, never stored, so that a corrected price corrects the past.

use std::cmp::Reverse;

use jiff::civil::Date;

use super::Counters;

/// A price of one model or of those that match a pattern, in US dollars per million tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// A name, or a pattern with `*`.
    pub model: String,
    /// The first day on which it holds; without one it holds from the beginning.
    pub from: Option<Date>,
    /// For input tokens that no cache had to do with.
    pub input: f64,
    /// For output tokens.
    pub output: f64,
    /// For input tokens read from a cache.
    pub cache_read: f64,
    /// For input tokens written to a cache.
    pub cache_write: f64,
}

impl Price {
    /// What these tokens cost.
    pub(super) fn cost(&self, counters: &Counters) -> f64 {
        #[allow(
            clippy::cast_precision_loss,
            reason = "exact to the dollar beyond any real count"
        )]
        let dollars = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1_000_000.0;
        dollars(counters.input_tokens, self.input)
            + dollars(counters.output_tokens, self.output)
            + dollars(counters.cache_read_input_tokens, self.cache_read)
            + dollars(counters.cache_creation_input_tokens, self.cache_write)
    }

    fn matches(&self, model: &str) -> bool {
        crate::routing::pattern_matches(&self.model, model)
    }
}

/// All prices. Empty: no cost is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    list: Vec<Price>,
}

impl Prices {
    /// In any order.
    pub fn new(mut list: Vec<Price>) -> Self {
        // The best first: a name before a pattern, a longer pattern before a shorter, a later date before an earlier.
        list.sort_by_key(|price| {
            (
                price.model.contains('*'),
                Reverse(price.model.len()),
                price.model.clone(),
                Reverse(price.from),
            )
        });
        Self { list }
    }

    /// Whether no cost is known.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The prices of a model, the best first.
    pub(super) fn of(&self, model: &str) -> Vec<&Price> {
        let list = self.list.iter();
        list.filter(|price| price.matches(model)).collect()
    }
}

/// The price that holds on a day, of those that [`Prices::of`] gave.
pub(super) fn on<'a>(prices: &[&'a Price], date: Date) -> Option<&'a Price> {
    let holds = |price: &&&Price| price.from.is_none_or(|from| from <= date);
    prices.iter().find(holds).copied()
}
