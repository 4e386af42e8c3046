//! The form of a journal: a header line, then one line for each request.
//!
//! ```json
//! {"journal":"2026-11-24-0011223344556677","version":1}
//! {"seq":1,"time_ms":1795509000000,"request_id":"req_1","key_id":"key_a",...,"tokens":{"input":10,...}}
//! {"seq":2,"time_ms":1795509000000,"key_id":"key_a","served_model":"opus","sum":{"requests":70,...}}
//! ```
//!
//! The third form stands for requests that came faster than they could be written singly; it is the only one without the
//! request's own facts.

use std::borrow::Cow;
use std::io::Write as _;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Counters, Finished, Millis};

/// The version written, and the newest that is read.
pub(super) const VERSION: u32 = 1;

/// A longer line is not one of ours.
pub(super) const MAX_LINE: u64 = 256 * 1024;

#[derive(Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub(super) journal: Cow<'a, str>,
    pub(super) version: u32,
}

/// What replay needs of a line.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Line<'a> {
    pub(in super::super) seq: u64,
    pub(in super::super) time_ms: Millis,
    #[serde(borrow)]
    pub(in super::super) key_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(in super::super) served_model: Cow<'a, str>,
    #[serde(default)]
    error: bool,
    #[serde(default)]
    aborted: bool,
    #[serde(default)]
    fallback_reasons: Vec<IgnoredAny>,
    tokens: Option<LineTokens>,
    sum: Option<Counters>,
}

#[derive(Debug, Deserialize)]
struct LineTokens {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_creation: u64,
}

impl<'a> Line<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if line.tokens.is_none() == line.sum.is_none() {
            return Err("it must have either `tokens` or `sum`".to_owned());
        }
        Ok(line)
    }

    /// What the line adds to every sum it belongs to.
    pub(in super::super) fn counters(&self) -> Counters {
        match (&self.sum, &self.tokens) {
            (Some(sum), _) => *sum,
            (None, Some(tokens)) => Counters {
                requests: 1,
                errors: u64::from(self.error),
                fallbacks: u64::from(!self.fallback_reasons.is_empty()),
                aborted: u64::from(self.aborted),
                input_tokens: tokens.input,
                output_tokens: tokens.output,
                cache_read_input_tokens: tokens.cache_read,
                cache_creation_input_tokens: tokens.cache_creation,
            },
            (None, None) => Counters::default(),
        }
    }
}

pub(super) fn header(id: &str) -> String {
    format!(
        "{{\"journal\":{},\"version\":{VERSION}}}\n",
        Value::from(id)
    )
}

/// Appends a request's line.
pub(super) fn render(out: &mut Vec<u8>, seq: u64, finished: &Finished) {
    // Writing to a Vec cannot fail, nor can numbers and strings fail to be JSON.
    let _ = write!(out, "{{\"seq\":{seq},");
    let rest = out.len();
    let _ = serde_json::to_writer(&mut *out, finished);
    out.remove(rest);
    out.push(b'\n');
}

#[derive(Serialize)]
struct SumLine<'a> {
    seq: u64,
    time_ms: Millis,
    key_id: &'a str,
    served_model: &'a str,
    sum: &'a Counters,
}

/// Appends the line of a sum.
pub(super) fn render_sum(
    out: &mut Vec<u8>,
    seq: u64,
    time_ms: Millis,
    key: &str,
    model: &str,
    sum: &Counters,
) {
    let line = SumLine {
        seq,
        time_ms,
        key_id: key,
        served_model: model,
        sum,
    };
    // As above.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}
