//! An OpenAI client served by an Anthropic upstream.
//!
//! `request` turns the client's Chat Completions request into a Messages request, `answer` and `stream` turn what
//! comes back. Neighbours: `anthropic` (the parent's) has judged the answer before it gets here.

use super::names::Names;

mod answer;
mod request;
mod stream;

pub use answer::answer;
pub use answer::part::is_known_stop_reason;
pub use request::request;
pub use stream::Stream;

/// What the answer of a converted request needs.
#[derive(Clone, Debug, Default)]
pub struct Back {
    /// Tool names, there and back.
    pub names: Names,
    /// The client wants a stream.
    pub stream: bool,
    /// The client wants a usage chunk at the end of its stream (`stream_options.include_usage`).
    pub include_usage: bool,
    /// The request had `functions`: the answer has `function_call`, and so room for the first call only.
    pub legacy_functions: bool,
    /// How JSON was asked for.
    pub json: JsonAnswer,
    /// Stop sequences that Luna cuts at, because the upstream does not.
    pub stops: Vec<String>,
}

/// How the upstream was made to answer in JSON, and so what has to be undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JsonAnswer {
    /// Nothing to undo.
    #[default]
    Plain,
    /// By words: a code fence around the answer is taken off.
    Fenced,
    /// By this forced tool, whose input is the answer's text.
    Tool(String),
}
