//! Luna: an LLM gateway in front of Antigravity, on pingora.
//!
//! Start reading at [`app`] (how it is put together) and [`gateway`] (the way
//! of a request). `docs/architecture.md` has the picture.

pub mod admin;
pub mod admission;
pub mod app;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod handover;
pub mod keys;
pub mod quota;
pub mod routing;
pub mod simulate;
pub mod store;
pub mod telemetry;
pub mod usage;
pub mod wire;
