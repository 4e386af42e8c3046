//! Usage: what every key and model has used, by hour and day, kept through restarts.
//!
//! The path of a count: the gateway reports a [`Finished`] request to the [`Meter`], which only puts it into a queue. One
//! thread ([`Owner`]) takes it out, adds it to the aggregates of the [`Store`] and writes changed day files every
//! `compact_s` and on stop. Questions ([`UsageHandle`]) go through the same queue, so an answer holds everything that was
//! recorded before it was asked.
//!
//! Invariants:
//! - `Meter::record` never waits for the disk, the owner or a reader, and its memory is bounded.
//! - The owner's thread is the only writer below `usage/`; a file is replaced whole (`store::write_atomic`) or not at all.
//! - A file that cannot be read is never overwritten.
//! - Disk trouble leaves the counts in memory; they are written when the disk is back.
//! - Running totals by key do not shrink when old day files are dropped.
//!
//! Neighbours: `wire::usage` gives the token counts, `store` writes files, `keys` holds the running totals (handed over by
//! the caller's [`TotalsSink`]), `admin` and `cli` show the reports. Room for the journal (issue 3): [`Finished`] serializes
//! as one journal line, the owner sees each one singly before it is added up, and day files carry `through`.

mod answer;
mod book;
mod calendar;
mod compact;
mod counters;
mod dayfile;
mod error;
mod finished;
mod handle;
mod meter;
mod owner;
mod range;
pub mod report;
mod retired;
mod store;
pub mod table;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Usage};
pub use error::{OpenError, QueryError};
pub use finished::{Endpoint, Finished};
pub use handle::{StopError, Trouble, UsageHandle};
pub use meter::Meter;
pub use owner::{Clock, Owner, Params, TotalsSink};
pub use range::{DayRange, HourRange, Query, RangeError};
pub use report::{Daily, Hourly, KeyUsage, Series, Totals};
pub use store::{Store, StoreParams};
pub use table::{By, Summary};

/// Unix time in milliseconds.
pub type Millis = u64;
