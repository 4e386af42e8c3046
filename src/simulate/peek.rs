//! The little of a messages body that decides the answer.
//!
//! The body is walked once without building a tree: bodies of megabytes are common in tests.
//! Doubled keys behave as in JavaScript, where the last one wins.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::shape::Shape;

/// A longer last message is not searched for a wish for a tool.
const MAX_LAST_MESSAGE: usize = 256 * 1024;
/// The real server's model when none is named.
const DEFAULT_MODEL: &str = "claude-3-5-sonnet-20241022";

/// A tool of the request.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) name: String,
    /// The JSON schema of its input, as sent.
    pub(super) schema: Option<String>,
}

/// What of a messages body decides the answer.
#[derive(Debug, Default)]
pub(super) struct Peek {
    pub(super) model: String,
    pub(super) has_messages: bool,
    pub(super) stream: bool,
    pub(super) max_tokens: Option<u64>,
    /// Text blocks of the last message, when it is the user's; empty after a tool's result.
    pub(super) last_user: String,
    pub(super) message_count: usize,
    /// The tool that the last user text asks for.
    pub(super) wanted: Option<Tool>,
    pub(super) shape: Shape,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum PeekError {
    /// Not JSON, or not an object or array: the HTML 400.
    Syntax(String),
    /// `metadata.sim` is wrong: the simulator's own complaint.
    Shape(String),
}

/// Reads a messages body; empty bytes are an empty object, as for a foreign content type.
pub(super) fn peek(body: &[u8]) -> Result<Peek, PeekError> {
    let text = String::from_utf8_lossy(body);
    let first = text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .chars()
        .next();
    let top = match first {
        None => Top::default(),
        Some('{') => serde_json::from_str::<Top<'_>>(&text).map_err(syntax)?,
        Some('[') => {
            serde_json::from_str::<IgnoredAny>(&text).map_err(syntax)?;
            Top::default()
        }
        Some(other) => {
            return Err(PeekError::Syntax(format!(
                "Unexpected token '{other}' is not valid JSON"
            )));
        }
    };
    top.digest()
}

fn syntax(error: serde_json::Error) -> PeekError {
    PeekError::Syntax(format!(
        "Unexpected token in JSON at line {} column {}",
        error.line(),
        error.column()
    ))
}

#[derive(Default)]
struct Top<'a> {
    model: Option<&'a RawValue>,
    messages: Option<&'a RawValue>,
    stream: Option<&'a RawValue>,
    max_tokens: Option<&'a RawValue>,
    tools: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Model,
    Messages,
    Stream,
    MaxTokens,
    Tools,
    Metadata,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Top<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopVisitor;
        impl<'de> Visitor<'de> for TopVisitor {
            type Value = Top<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top<'de>, A::Error> {
                let mut top = Top::default();
                while let Some(field) = map.next_key::<Field>()? {
                    let slot = match field {
                        Field::Model => &mut top.model,
                        Field::Messages => &mut top.messages,
                        Field::Stream => &mut top.stream,
                        Field::MaxTokens => &mut top.max_tokens,
                        Field::Tools => &mut top.tools,
                        Field::Metadata => &mut top.metadata,
                        Field::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *slot = Some(map.next_value()?);
                }
                Ok(top)
            }
        }
        deserializer.deserialize_map(TopVisitor)
    }
}

/// The last element of an array and how many there are.
struct Last<'a>(usize, Option<&'a RawValue>);

impl<'de> Deserialize<'de> for Last<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LastVisitor;
        impl<'de> Visitor<'de> for LastVisitor {
            type Value = Last<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Last<'de>, A::Error> {
                let mut last = Last(0, None);
                while let Some(raw) = seq.next_element()? {
                    last = Last(last.0 + 1, Some(raw));
                }
                Ok(last)
            }
        }
        deserializer.deserialize_seq(LastVisitor)
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawTool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    input_schema: Option<&'a RawValue>,
}

impl Top<'_> {
    fn digest(self) -> Result<Peek, PeekError> {
        let last: Option<Last<'_>> = self
            .messages
            .and_then(|raw| serde_json::from_str(raw.get()).ok());
        let (message_count, last_raw) = last.as_ref().map_or((0, None), |last| (last.0, last.1));
        let last_user = last_raw.map(|raw| user_text(raw.get())).unwrap_or_default();
        Ok(Peek {
            model: self
                .model
                .and_then(model_name)
                .unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            has_messages: last.is_some(),
            stream: self.stream.is_some_and(|raw| truthy(raw.get())),
            max_tokens: self.max_tokens.and_then(|raw| raw.get().parse().ok()),
            wanted: self.tools.and_then(|raw| wanted(raw.get(), &last_user)),
            last_user,
            message_count,
            shape: self
                .metadata
                .map_or(Ok(Shape::default()), |raw| shape_of(raw.get()))?,
        })
    }
}

fn model_name(raw: &RawValue) -> Option<String> {
    match serde_json::from_str::<String>(raw.get()) {
        Ok(name) => (!name.is_empty()).then_some(name),
        Err(_) => truthy(raw.get()).then(|| raw.get().chars().take(200).collect()),
    }
}

/// JavaScript's idea of true.
fn truthy(raw: &str) -> bool {
    !matches!(raw, "false" | "null" | "\"\"" | "0" | "-0" | "0.0")
}

fn user_text(raw: &str) -> String {
    if raw.len() > MAX_LAST_MESSAGE {
        return String::new();
    }
    let Ok(message) = serde_json::from_str::<Message<'_>>(raw) else {
        return String::new();
    };
    if message.role != "user" {
        return String::new();
    }
    if let Ok(text) = serde_json::from_str::<String>(message.content.get()) {
        return text;
    }
    let blocks: Vec<Block<'_>> = serde_json::from_str(message.content.get()).unwrap_or_default();
    if blocks.iter().any(|block| block.kind == "tool_result") {
        return String::new();
    }
    let texts = blocks.iter().filter(|block| block.kind == "text");
    let texts: Vec<&str> = texts.filter_map(|block| block.text.as_deref()).collect();
    texts.join("\n")
}

fn wanted(tools: &str, text: &str) -> Option<Tool> {
    if text.is_empty() {
        return None;
    }
    let tools: Vec<RawTool<'_>> = serde_json::from_str(tools).ok()?;
    let named = tools
        .iter()
        .find(|tool| tool.name.len() >= 3 && text.contains(tool.name.as_ref()));
    let asked = text.to_ascii_lowercase().contains("tool");
    let tool = named.or_else(|| tools.first().filter(|_| asked))?;
    Some(Tool {
        name: tool.name.clone().into_owned(),
        schema: tool.input_schema.map(|raw| raw.get().to_owned()),
    })
}

fn shape_of(metadata: &str) -> Result<Shape, PeekError> {
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow, default)]
        sim: Option<&'a RawValue>,
    }
    // A foreign metadata of any form is none of our business.
    let Ok(Metadata { sim: Some(raw) }) = serde_json::from_str(metadata) else {
        return Ok(Shape::default());
    };
    let shape: Shape = serde_json::from_str(raw.get())
        .map_err(|error| PeekError::Shape(format!("metadata.sim: {error}")))?;
    shape
        .check()
        .map_err(|error| PeekError::Shape(format!("metadata.sim: {error}")))?;
    Ok(shape)
}
