//! How many input tokens a request has: an estimate that needs no network and no vocabulary.
//!
//! `text` estimates texts by a fitted model, `image` takes pictures by their size; what is added for each message, call
//! and tool is documented by Anthropic or measured on its documented examples (docs/count-tokens.md).
//! Reads Messages requests, and Chat Completions requests by the same walk. Invariants: one pass over the body, bounded
//! memory beside it, no recursion, never 0 for a request with messages. Neighbours: `convert::a2o` puts the estimate
//! into `message_start`, `gateway` answers `count_tokens` with it.

mod image;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use memchr::memmem;
use serde_json::value::RawValue;

use self::text::Counter;
use super::convert::json::{Kind, Object, array, kind};

/// For the request itself: the marks around the conversation.
const REQUEST: u64 = 3;
/// For a message: its role and the marks around it.
const MESSAGE: u64 = 4;
/// For a call and for a result: the marks around their parts.
const CALL: u64 = 16;
/// The system prompt that Anthropic adds when there are tools: documented for `auto` and `none`.
const TOOLS_FREE: u64 = 346;
/// The same for `any` and `tool`.
const TOOLS_FORCED: u64 = 313;
/// For a tool that Anthropic defines, where it does not document another number.
const KNOWN_TOOL: u64 = 300;
/// Bytes of a PDF that are taken for one page, and what Anthropic makes of a page: its picture and its text.
const PDF_PAGE_BYTES: u64 = 50_000;
const PDF_PAGE: u64 = 2_200;
/// For what cannot be seen from here: a document by URL or by file.
const DOCUMENT_ELSEWHERE: u64 = PDF_PAGE;
/// Bytes a token of what is not known better.
const BYTES_PER_TOKEN: usize = 4;

/// The request cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountError {
    /// The body is no JSON object.
    NotJson,
    /// There is no array `messages`.
    NoMessages,
}

impl fmt::Display for CountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "the body is not a JSON object",
            Self::NoMessages => "messages: must be an array",
        })
    }
}

impl std::error::Error for CountError {}

/// Estimates the input tokens of a Messages request, or of a Chat Completions request.
///
/// # Errors
/// The body is no request: it has no array `messages`. What stands in the messages is not judged.
pub fn input_tokens(body: &[u8]) -> Result<u64, CountError> {
    let top = Object::parse(body).map_err(|_| CountError::NotJson)?;
    match top.get("messages").map(kind) {
        Some(Kind::Array) => Ok(walk(&top, Counter::default())),
        _ => Err(CountError::NoMessages),
    }
}

/// A rough number for a body that has been read already; at least 1. Only a sample is looked at, and where no picture or
/// document stands in the way the JSON around the texts is taken for text as well: to walk through it would cost as much
/// as to convert it.
pub fn estimate(top: &Object<'_>) -> u64 {
    let parts = || {
        ["system", "messages", "tools"]
            .iter()
            .filter_map(|name| top.get(name))
    };
    if parts().any(|part| memmem::find(part.get().as_bytes(), b"\"source\"").is_some()) {
        return walk(top, Counter::sampling());
    }
    let mut text = Counter::sampling();
    for part in parts() {
        text.literal(part.get());
    }
    text.tokens().max(1)
}

fn walk(top: &Object<'_>, text: Counter) -> u64 {
    let mut walk = Walk {
        fixed: REQUEST,
        text,
    };
    if let Some(system) = top.get("system") {
        walk.content(system, false);
    }
    let messages = top.get("messages").and_then(array).unwrap_or_default();
    let messages: Vec<Object<'_>> = messages.into_iter().filter_map(Object::of).collect();
    let open_turn = open_turn(&messages);
    for (index, message) in messages.iter().enumerate() {
        walk.message(message, index > open_turn);
    }
    walk.tools(top);
    if let Some(schema) = top
        .get("output_config")
        .and_then(Object::of)
        .and_then(|config| config.get("format"))
    {
        walk.text.json(schema.get());
    }
    (walk.fixed + walk.text.tokens()).max(1)
}

/// The last message in which the user speaks rather than a tool. Thinking before it is not sent to the model.
fn open_turn(messages: &[Object<'_>]) -> usize {
    let speaks = |message: &Object<'_>| {
        message.text("role").as_deref() == Some("user")
            && !message
                .get("content")
                .is_some_and(|content| content.get().contains("\"tool_result\""))
    };
    messages.iter().rposition(speaks).unwrap_or_default()
}

struct Walk {
    text: Counter,
    /// Tokens that are not text.
    fixed: u64,
}

impl Walk {
    fn message(&mut self, message: &Object<'_>, open_turn: bool) {
        self.fixed += MESSAGE;
        if let Some(content) = message.get("content") {
            self.content(content, open_turn);
        }
        // Chat Completions.
        for call in message
            .get("tool_calls")
            .and_then(array)
            .unwrap_or_default()
        {
            let function = Object::of(call).and_then(|call| call.get("function"));
            if let Some(function) = function.and_then(Object::of) {
                self.fixed += CALL;
                self.string(&function, "name");
                self.string(&function, "arguments");
            }
        }
    }

    /// Content of a message: a string or blocks. What a block holds in turn is read once, results and documents below
    /// it once more; nothing is deeper.
    fn content(&mut self, content: &RawValue, open_turn: bool) {
        for raw in self.blocks(content) {
            let Some(block) = Object::of(raw) else {
                continue;
            };
            let inner = match block.text("type").as_deref() {
                Some("tool_result") => {
                    self.fixed += CALL;
                    block.get("content")
                }
                Some("document") => self.document(&block),
                Some("thinking") => {
                    if open_turn {
                        self.string(&block, "thinking");
                    }
                    None
                }
                Some("redacted_thinking") => {
                    if open_turn {
                        self.unread(raw);
                    }
                    None
                }
                _ => {
                    self.block(&block, raw);
                    None
                }
            };
            let Some(inner) = inner else { continue };
            for raw in self.blocks(inner) {
                let Some(block) = Object::of(raw) else {
                    continue;
                };
                if block.text("type").as_deref() != Some("document") {
                    self.block(&block, raw);
                    continue;
                }
                let Some(inner) = self.document(&block) else {
                    continue;
                };
                for raw in self.blocks(inner) {
                    if let Some(block) = Object::of(raw) {
                        self.block(&block, raw);
                    }
                }
            }
        }
    }

    /// The blocks of a content; a string is counted at once.
    fn blocks<'a>(&mut self, content: &'a RawValue) -> Vec<&'a RawValue> {
        match kind(content) {
            Kind::String => {
                self.text.literal(content.get());
                Vec::new()
            }
            Kind::Array => array(content).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// A block without blocks inside.
    fn block(&mut self, block: &Object<'_>, raw: &RawValue) {
        match block.text("type").as_deref() {
            Some("text" | "input_text") => self.string(block, "text"),
            Some("refusal") => self.string(block, "refusal"),
            Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
                self.fixed += CALL;
                self.string(block, "name");
                if let Some(input) = block.get("input") {
                    self.text.json(input.get());
                }
            }
            Some("image") => {
                let source = block.get("source").and_then(Object::of);
                let data = source.as_ref().and_then(|source| source.get("data"));
                self.fixed += data.map_or(image::UNSEEN, |data| image::tokens(data.get()));
            }
            Some("image_url") => {
                let url = block
                    .get("image_url")
                    .and_then(Object::of)
                    .and_then(|image| image.get("url"));
                self.fixed += url.map_or(image::UNSEEN, |url| image::tokens_of_url(url.get()));
            }
            Some("file") => {
                let data = block
                    .get("file")
                    .and_then(Object::of)
                    .and_then(|file| file.get("file_data"));
                self.fixed += data.map_or(DOCUMENT_ELSEWHERE, |data| pdf(data.get().len()));
            }
            Some("search_result") => {
                self.string(block, "title");
                self.string(block, "source");
                for raw in block.get("content").and_then(array).unwrap_or_default() {
                    if let Some(inner) = Object::of(raw) {
                        self.string(&inner, "text");
                    }
                }
            }
            _ => self.unread(raw),
        }
    }

    /// Counts a document; what it holds in blocks is left to the caller.
    fn document<'a>(&mut self, block: &Object<'a>) -> Option<&'a RawValue> {
        self.string(block, "title");
        self.string(block, "context");
        let source = block.get("source").and_then(Object::of)?;
        match source.text("type").as_deref() {
            Some("text") => self.string(&source, "data"),
            Some("content") => return source.get("content"),
            Some("base64") => {
                self.fixed += source
                    .get("data")
                    .map_or(DOCUMENT_ELSEWHERE, |data| pdf(data.get().len()));
            }
            _ => self.fixed += DOCUMENT_ELSEWHERE,
        }
        None
    }

    fn tools(&mut self, top: &Object<'_>) {
        let tools = top.get("tools").and_then(array).unwrap_or_default();
        let mut anthropic = false;
        for raw in tools {
            let Some(tool) = Object::of(raw) else {
                continue;
            };
            let function = tool.get("function").and_then(Object::of);
            anthropic |= function.is_none();
            let definition = function.as_ref().unwrap_or(&tool);
            self.fixed += tool.text("type").map_or(0, |kind_of| known_tool(&kind_of));
            self.string(definition, "name");
            self.string(definition, "description");
            for schema in ["input_schema", "parameters"] {
                if let Some(schema) = definition.get(schema) {
                    self.text.json(schema.get());
                }
            }
        }
        if anthropic {
            let choice = top.get("tool_choice").and_then(Object::of);
            self.fixed += match choice.and_then(|choice| choice.text("type")).as_deref() {
                Some("any" | "tool") => TOOLS_FORCED,
                _ => TOOLS_FREE,
            };
        }
    }

    fn string(&mut self, object: &Object<'_>, name: &str) {
        if let Some(raw) = object.get(name).filter(|raw| kind(raw) == Kind::String) {
            self.text.literal(raw.get());
        }
    }

    /// Something that is not known: by its size.
    fn unread(&mut self, raw: &RawValue) {
        self.fixed += tokens_of_bytes(raw.get().len());
    }
}

/// What Anthropic documents for the tools that it defines.
fn known_tool(kind_of: &str) -> u64 {
    match kind_of {
        "custom" | "function" => 0,
        _ if kind_of.starts_with("bash_") => 245,
        _ if kind_of.starts_with("text_editor_") => 700,
        _ if kind_of.starts_with("computer_") => 735,
        _ => KNOWN_TOOL,
    }
}

fn tokens_of_bytes(bytes: usize) -> u64 {
    u64::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u64::MAX / 2)
}

/// A PDF of so many base64 digits.
fn pdf(digits: usize) -> u64 {
    let bytes = u64::try_from(digits).unwrap_or_default() / 4 * 3;
    PDF_PAGE * bytes.div_ceil(PDF_PAGE_BYTES).max(1)
}
