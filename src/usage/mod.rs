//! Usage: what every key and model has used, by hour and day, kept through restarts.
//!
//! The path of a count: the gateway reports a [`Finished`] request to the [`Meter`], which only puts it into a queue. The
//! journal's thread takes it out, appends its line and hands its counts on to the [`Owner`], which adds them to the
//! aggregates of the [`Store`] and writes changed day files every `compact_s` and on stop. Questions ([`UsageHandle`]) go the
//! same way, so an answer holds everything that was recorded before it was asked.
//!
//! Invariants:
//! - `Meter::record` never waits for the disk, the owner or a reader, and its memory is bounded.
//! - Each file below `usage/` has one writer: the journal appends, the owner replaces whole files (`store::write_atomic`).
//! - A compacted file says up to which line of which journal it holds everything (`through`), and its numbers and that mark
//!   change in one rename. Replay after a crash adds to each file exactly what it does not hold.
//! - A file that cannot be read is never overwritten.
//! - Disk trouble leaves the counts in memory; they are written when the disk is back.
//! - Running totals by key do not shrink when old day files are dropped.
//!
//! Neighbours: `wire::usage` gives the token counts, `store` writes files, `keys` holds the running totals (handed over by
//! the caller's [`TotalsSink`]), `admin` and `cli` show the reports.

mod answer;
mod book;
mod calendar;
mod compact;
mod counters;
mod csv;
mod dayfile;
mod error;
mod finished;
mod handle;
mod journal;
mod meter;
mod owner;
mod prices;
mod range;
pub mod report;
mod retired;
mod sheet;
mod store;
pub mod table;
mod trouble;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Usage};
pub use error::{OpenError, QueryError};
pub use finished::{Endpoint, Finished};
pub use handle::{StopError, UsageHandle};
pub use meter::Meter;
pub use owner::{Changed, Clock, Owner, Params, TotalsSink};
pub use prices::{Price, Prices};
pub use range::{DayRange, HourRange, Query, RangeError};
pub use report::{Daily, Hourly, KeyUsage, Series, Totals};
pub use store::{Known, Store, StoreParams};
pub use table::{By, Summary};
pub use trouble::Trouble;

/// Unix time in milliseconds.
pub type Millis = u64;
