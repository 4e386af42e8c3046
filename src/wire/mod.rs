//! The bytes of the two client dialects and of the upstream: pure functions and push parsers.
//!
//! Invariants: nothing here does input or output, reads a clock or knows another module of Luna; no
//! input makes it panic; every buffer is bounded. Neighbours: `gateway` feeds it the bytes of requests
//! and answers, `routing` receives what it finds.

pub mod answer;
pub mod anthropic;
pub mod convert;
pub mod count;
pub mod error;
pub mod openai;
pub mod scan;
pub mod sse;
pub mod text;
pub mod usage;
