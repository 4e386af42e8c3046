//! The eight numbers that are counted, and their form in answers (USAGE in the contract).

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

/// Sums over finished requests. Every addition saturates: a sum can stand still at the top, never wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counters {
    /// Calls of an LLM route that passed key auth.
    pub requests: u64,
    /// Of these, ended with a status of 400 or more or with an error event.
    pub errors: u64,
    /// Of these, passed over at least one tier for another one, which was asked.
    pub fallbacks: u64,
    /// Of these, left by the client before the end.
    pub aborted: u64,
    /// Input tokens without cache reads.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens read from a cache.
    pub cache_read_input_tokens: u64,
    /// Input tokens written to a cache.
    pub cache_creation_input_tokens: u64,
}

/// Names of the counters in the contract's order, for CSV headers.
pub(super) const NAMES: [&str; 8] = [
    "requests",
    "errors",
    "fallbacks",
    "aborted",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
];

impl Counters {
    /// The values in the order of `NAMES`.
    pub fn values(&self) -> [u64; 8] {
        [
            self.requests,
            self.errors,
            self.fallbacks,
            self.aborted,
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        ]
    }

    /// The counters with these values, in the order of `NAMES`.
    pub fn from_values(values: [u64; 8]) -> Self {
        let [
            requests,
            errors,
            fallbacks,
            aborted,
            input,
            output,
            read,
            creation,
        ] = values;
        Self {
            requests,
            errors,
            fallbacks,
            aborted,
            input_tokens: input,
            output_tokens: output,
            cache_read_input_tokens: read,
            cache_creation_input_tokens: creation,
        }
    }

    /// Adds each number of `other`, stopping at the largest.
    pub fn add(&mut self, other: &Self) {
        self.merge(other, u64::saturating_add);
    }

    /// The larger of each number.
    pub fn max(mut self, other: &Self) -> Self {
        self.merge(other, u64::max);
        self
    }

    /// All tokens together.
    pub fn tokens(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.output_tokens)
            .saturating_add(self.cache_read_input_tokens)
            .saturating_add(self.cache_creation_input_tokens)
    }

    fn merge(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        let mut values = self.values();
        for (mine, theirs) in values.iter_mut().zip(other.values()) {
            *mine = with(*mine, theirs);
        }
        *self = Self::from_values(values);
    }
}

/// USAGE: counters and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// The sums.
    pub counters: Counters,
    /// US dollars; `None` without prices, which is not the same as 0.
    pub cost_usd: Option<f64>,
}

impl Usage {
    /// Adds a part. A sum costs what its priced parts cost; null only while it has none.
    pub(super) fn add(&mut self, counters: &Counters, cost: Option<f64>) {
        self.counters.add(counters);
        if let Some(cost) = cost {
            *self.cost_usd.get_or_insert(0.0) += cost;
        }
    }

    /// The cost without the noise of floating point: a billionth of a dollar is enough.
    pub(super) fn shown_cost(&self) -> Option<f64> {
        self.cost_usd.map(|cost| (cost * 1e9).round() / 1e9)
    }
}

impl From<Counters> for Usage {
    fn from(counters: Counters) -> Self {
        Self {
            counters,
            cost_usd: None,
        }
    }
}

impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Usage", NAMES.len() + 1)?;
        for (name, value) in NAMES.into_iter().zip(self.counters.values()) {
            out.serialize_field(name, &value)?;
        }
        out.serialize_field("cost_usd", &self.shown_cost())?;
        out.end()
    }
}
