//! An Anthropic client served by an OpenAI upstream.
//!
//! `request` turns the client's Messages request into a Chat Completions request, `answer` and `stream` turn what
//! comes back. Neighbours: `openai` (the parent's) has judged the answer before it gets here.

use super::names::Names;

mod answer;
mod request;
mod stream;

pub use answer::answer;
pub use request::request;
pub use stream::Stream;

/// What the answer of a converted request needs.
#[derive(Clone, Debug, Default)]
pub struct Back {
    /// Tool names, there and back.
    pub names: Names,
    /// The client wants a stream.
    pub stream: bool,
    /// Estimated input tokens, for `message_start`: clients read the context size there, before the upstream tells it.
    pub input_estimate: u64,
}
