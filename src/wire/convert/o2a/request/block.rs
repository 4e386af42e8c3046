//! The content blocks of a Messages request, as borrowed from the client's body, and how they are written.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::wire::convert::json::Writer;
use crate::wire::convert::names::Names;

/// A block, and the cache mark behind it.
#[derive(Debug)]
pub struct Block<'a> {
    pub content: Content<'a>,
    pub cache: Option<&'a RawValue>,
}

/// Texts are string literals with their quotes, as the client wrote them.
#[derive(Debug)]
pub enum Content<'a> {
    Text(Cow<'a, str>),
    /// Media type and base64.
    Image(&'static str, Cow<'a, str>),
    /// The literal of the URL.
    ImageUrl(&'a str),
    /// Base64 and title.
    Pdf(Cow<'a, str>, Option<String>),
    /// A text file and its title.
    TextFile(String, Option<String>),
    ToolUse {
        id: String,
        name: Cow<'a, str>,
        /// A JSON object, as the client wrote it.
        input: Cow<'a, str>,
    },
    ToolResult {
        id: String,
        content: ResultContent<'a>,
    },
    /// Literals of the thinking and of its signature.
    Thinking(&'a str, &'a str),
    /// The literal of the data.
    RedactedThinking(&'a str),
}

#[derive(Debug)]
pub enum ResultContent<'a> {
    Nothing,
    /// A string literal.
    Text(&'a str),
    Blocks(Vec<Block<'a>>),
}

impl<'a> From<Content<'a>> for Block<'a> {
    fn from(content: Content<'a>) -> Self {
        Self {
            content,
            cache: None,
        }
    }
}

impl Block<'_> {
    /// A text of ours.
    pub fn told(text: &str) -> Self {
        let mut literal = Writer::default();
        literal.text(text);
        // What the writer gives is UTF-8, having been a str.
        let literal = String::from_utf8(literal.into_bytes()).unwrap_or_default();
        Content::Text(Cow::Owned(literal)).into()
    }

    pub const fn is_tool_use(&self) -> bool {
        matches!(self.content, Content::ToolUse { .. })
    }

    pub const fn is_thinking(&self) -> bool {
        matches!(
            self.content,
            Content::Thinking(..) | Content::RedactedThinking(_)
        )
    }

    pub fn write(&self, w: &mut Writer, names: &Names) {
        w.open_object();
        match &self.content {
            Content::Text(literal) => {
                w.key("type").raw("\"text\"").key("text").raw(literal);
            }
            Content::Image(media_type, data) => {
                w.key("type").raw("\"image\"");
                write_base64(w, media_type, data);
            }
            Content::ImageUrl(url) => {
                w.key("type").raw("\"image\"");
                w.key("source").open_object();
                w.key("type").raw("\"url\"").key("url").raw(url);
                w.close_object();
            }
            Content::Pdf(data, title) => {
                w.key("type").raw("\"document\"");
                write_base64(w, "application/pdf", data);
                write_title(w, title.as_deref());
            }
            Content::TextFile(text, title) => {
                w.key("type").raw("\"document\"");
                w.key("source").open_object();
                w.key("type").raw("\"text\"");
                w.key("media_type").raw("\"text/plain\"");
                w.key("data").text(text).close_object();
                write_title(w, title.as_deref());
            }
            Content::ToolUse { id, name, input } => {
                w.key("type").raw("\"tool_use\"").key("id").text(id);
                w.key("name").text(names.sent(name)).key("input").raw(input);
            }
            Content::ToolResult { id, content } => {
                w.key("type").raw("\"tool_result\"");
                w.key("tool_use_id").text(id);
                match content {
                    ResultContent::Nothing => {}
                    ResultContent::Text(literal) => {
                        w.key("content").raw(literal);
                    }
                    // Blocks of a result hold no results: this goes one level down, never further.
                    ResultContent::Blocks(blocks) => {
                        w.key("content");
                        write_all(blocks.iter(), w, names);
                    }
                }
            }
            Content::Thinking(thinking, signature) => {
                w.key("type").raw("\"thinking\"");
                w.key("thinking").raw(thinking);
                w.key("signature").raw(signature);
            }
            Content::RedactedThinking(data) => {
                w.key("type").raw("\"redacted_thinking\"");
                w.key("data").raw(data);
            }
        }
        if let Some(cache) = self.cache {
            w.key("cache_control").raw(cache.get());
        }
        w.close_object();
    }
}

/// An array of blocks.
pub fn write_all<'b>(blocks: impl Iterator<Item = &'b Block<'b>>, w: &mut Writer, names: &Names) {
    w.open_array();
    for block in blocks {
        block.write(w, names);
    }
    w.close_array();
}

fn write_base64(w: &mut Writer, media_type: &str, data: &str) {
    w.key("source").open_object();
    w.key("type").raw("\"base64\"");
    w.key("media_type").text(media_type).key("data");
    // Base64 needs no escapes: megabytes of it are not searched for any.
    let mut out = std::mem::take(w).into_bytes();
    out.reserve(data.len() + 2);
    out.push(b'"');
    out.extend_from_slice(data.as_bytes());
    out.push(b'"');
    *w = Writer::onto(out);
    w.close_object();
}

fn write_title(w: &mut Writer, title: Option<&str>) {
    if let Some(title) = title {
        w.key("title").text(title);
    }
}
