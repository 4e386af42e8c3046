//! Judges what an upstream that speaks Chat Completions sends: streams, whole answers, and the usage in both.
//!
//! `watch` says for each event of a stream whether the caller holds it, commits, passes it on or gives up; `completion`
//! does the same for an answer that does not stream; `relay` makes a relayed stream tell its usage.
//! Invariants: never panics, whatever the bytes; exactly one `Commit` per stream; no content gets into an error text.
//! Neighbours: `anthropic` and `answer` are the same for the Messages API and own the types of the verdicts, `sse` cuts
//! the events, `usage` counts.

mod chunk;
mod completion;
pub(super) mod frame;
pub mod relay;
mod watch;

pub use completion::check_completion;
pub use watch::StreamWatch;
