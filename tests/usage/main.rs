//! Usage end to end: what is counted, and what survives.

#[path = "../support/mod.rs"]
mod support;

mod counting;
mod fallbacks;
mod read_only;
mod rig;
mod served;
mod trouble;
mod usage_crash;
