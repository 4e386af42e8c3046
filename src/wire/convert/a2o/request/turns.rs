//! The messages of a request, as chat messages in OpenAI's order.
//!
//! Invariants: each tool message answers a call of the assistant message right before the tool messages, each call is
//! answered once; no message is empty; what follows a call without being its result comes after all results.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::blocks::{Contents, Part, Reader, block, contents, misplaced, text_literal, texts};
use super::path::Path;
use super::{brief, list, object, optional, required, wrong};
use crate::wire::convert::ids::clean_id;
use crate::wire::convert::json::{Kind, Object, is_blank_literal, kind};
use crate::wire::convert::{Capabilities, Rejection, Warnings};

/// A chat message. All `&str` are the client's literals, with their quotes.
#[derive(Debug)]
pub enum Message<'a> {
    System(Vec<&'a str>),
    User(Vec<Part<'a>>),
    Assistant {
        text: Vec<&'a str>,
        calls: Vec<Call<'a>>,
    },
    Tool {
        id: Cow<'a, str>,
        failed: bool,
        lines: Vec<&'a str>,
    },
}

/// A call of a tool.
#[derive(Debug)]
pub struct Call<'a> {
    pub id: Cow<'a, str>,
    pub name: Cow<'a, str>,
    /// The client's own JSON.
    pub input: &'a str,
}

/// Puts the turns in order while they are read.
///
/// An assistant message is held until the next one: until then results may come, and whatever else comes has to wait
/// for them.
pub struct Turns<'a, 'c> {
    reader: Reader<'c>,
    out: Vec<Message<'a>>,
    text: Vec<&'a str>,
    calls: Vec<Call<'a>>,
    /// The ids of `calls`, and whether they are answered.
    answered: HashMap<Cow<'a, str>, bool>,
    /// The results of `calls`.
    results: Vec<Message<'a>>,
    /// What follows the results.
    after: Vec<Message<'a>>,
    /// Where the held assistant message is in the request.
    held_at: usize,
}

impl<'a, 'c> Turns<'a, 'c> {
    /// All messages of a request.
    pub fn read(
        top: &Object<'a>,
        capabilities: &'c Capabilities,
        warnings: &'c mut Warnings,
    ) -> Result<Vec<Message<'a>>, Rejection> {
        let mut turns = Self {
            reader: Reader {
                capabilities,
                warnings,
            },
            out: Vec::new(),
            text: Vec::new(),
            calls: Vec::new(),
            answered: HashMap::new(),
            results: Vec::new(),
            after: Vec::new(),
            held_at: 0,
        };
        let path = Path::top("messages");
        for (index, raw) in list(top, "messages")?.into_iter().enumerate() {
            turns.message(raw, index, &path.at(index))?;
        }
        turns.let_go()?;
        let said = |message: &Message<'_>| !matches!(message, Message::System(_));
        if !turns.out.iter().any(said) {
            return Err(path.reject("must hold at least one message that says something"));
        }
        Ok(turns.out)
    }

    fn message(
        &mut self,
        raw: &'a RawValue,
        index: usize,
        path: &Path<'_>,
    ) -> Result<(), Rejection> {
        let message = object(raw, path)?;
        let role = required(&message, "role", path)?;
        let content_path = path.field("content");
        let content = message
            .get("content")
            .ok_or_else(|| content_path.reject("is required"))?;
        match role.as_ref() {
            "assistant" => self.assistant(content, index, &content_path),
            "user" => self.user(content, &content_path),
            "system" => {
                let said = texts(content, &content_path)?;
                if !said.is_empty() {
                    let message = self.system(said);
                    self.after.push(message);
                }
                Ok(())
            }
            other => Err(path.field("role").reject(format!(
                "{} is unknown: user, assistant or system",
                brief(other)
            ))),
        }
    }

    fn system(&mut self, said: Vec<&'a str>) -> Message<'a> {
        if self.reader.capabilities.mid_system {
            return Message::System(said);
        }
        self.reader.warnings.add("system", "as_user");
        Message::User(said.into_iter().map(Part::Text).collect())
    }

    fn user(&mut self, content: &'a RawValue, path: &Path<'_>) -> Result<(), Rejection> {
        // Pictures of results first, then what the user says, whatever order they stood in.
        let mut parts = Vec::new();
        let mut own = Vec::new();
        match contents(content, path)? {
            Contents::Text(text) if is_blank_literal(text) => {}
            Contents::Text(text) => own.push(Part::Text(text)),
            Contents::Blocks(blocks) => {
                for (index, raw) in blocks.into_iter().enumerate() {
                    let path = path.at(index);
                    let (block, kind_of) = block(raw, &path)?;
                    if kind_of == "tool_result" {
                        self.result(&block, &path, &mut parts)?;
                    } else {
                        self.reader.part(&block, &kind_of, &path, &mut own)?;
                    }
                }
            }
        }
        parts.append(&mut own);
        if !parts.is_empty() {
            self.after.push(Message::User(parts));
        }
        Ok(())
    }

    fn result(
        &mut self,
        block: &Object<'a>,
        path: &Path<'_>,
        pictures: &mut Vec<Part<'a>>,
    ) -> Result<(), Rejection> {
        let id = cleaned(required(block, "tool_use_id", path)?);
        match self.answered.get_mut(&id) {
            Some(answered) if !*answered => *answered = true,
            Some(_) => {
                return Err(path
                    .field("tool_use_id")
                    .reject(format!("the call {} has a result already", brief(&id))));
            }
            None => {
                return Err(path.field("tool_use_id").reject(format!(
                    "the assistant message before this one has no tool_use of the id {}",
                    brief(&id)
                )));
            }
        }
        let failed = match block.get("is_error").map(RawValue::get) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(path.field("is_error").reject("must be true or false")),
        };
        let mut parts = Vec::new();
        let mut lines = Vec::new();
        if let Some(content) = block.get("content") {
            self.result_content(content, &path.field("content"), &mut lines, &mut parts)?;
        }
        if lines.is_empty() {
            lines.extend(parts.first().and_then(Part::placeholder));
        }
        pictures.append(&mut parts);
        self.results.push(Message::Tool { id, failed, lines });
        Ok(())
    }

    /// Splits a result into its text and what cannot be told in a tool message.
    fn result_content(
        &mut self,
        content: &'a RawValue,
        path: &Path<'_>,
        lines: &mut Vec<&'a str>,
        pictures: &mut Vec<Part<'a>>,
    ) -> Result<(), Rejection> {
        let blocks = match contents(content, path)? {
            Contents::Text(text) => {
                lines.push(text);
                return Ok(());
            }
            Contents::Blocks(blocks) => blocks,
        };
        for (index, raw) in blocks.into_iter().enumerate() {
            let path = path.at(index);
            let (block, kind_of) = block(raw, &path)?;
            match kind_of.as_ref() {
                // Blank lines of an output are part of it.
                "text" => lines.push(text_literal(&block, &path)?),
                "tool_reference" => {
                    let name = optional(&block, "tool_name", &path)?;
                    lines.push(name.ok_or_else(|| path.field("tool_name").reject("is required"))?);
                }
                kind_of => {
                    let mut parts = Vec::new();
                    self.reader.part(&block, kind_of, &path, &mut parts)?;
                    for part in parts {
                        match part {
                            Part::Text(text) => lines.push(text),
                            Part::Lines(all) => lines.extend(all),
                            picture => pictures.push(picture),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn assistant(
        &mut self,
        content: &'a RawValue,
        index: usize,
        path: &Path<'_>,
    ) -> Result<(), Rejection> {
        // Two assistant messages with nothing between them are one turn, and a call must be followed by its result.
        let same_turn = !self.calls.is_empty() && self.results.is_empty() && self.after.is_empty();
        if !same_turn {
            self.let_go()?;
            self.held_at = index;
        }
        match contents(content, path)? {
            Contents::Text(text) => self.say(text),
            Contents::Blocks(blocks) => {
                for (index, raw) in blocks.into_iter().enumerate() {
                    let path = path.at(index);
                    let (block, kind_of) = block(raw, &path)?;
                    self.assistant_block(&block, &kind_of, &path)?;
                }
            }
        }
        Ok(())
    }

    fn assistant_block(
        &mut self,
        block: &Object<'a>,
        kind_of: &str,
        path: &Path<'_>,
    ) -> Result<(), Rejection> {
        match kind_of {
            "text" => self.say(text_literal(block, path)?),
            "tool_use" => self.call(block, path)?,
            "thinking" | "redacted_thinking" => {}
            // The summary of what was said before it; null when summing up failed.
            "compaction" => {
                let summary = optional(block, "content", path)?;
                if let Some(summary) = summary.filter(|summary| !is_blank_literal(summary)) {
                    self.say(summary);
                    // It is no part of the answer that follows.
                    self.text.push("\"\\n\\n\"");
                }
            }
            "image" => self.reader.warnings.add("image", "dropped"),
            kind_of if is_server_block(kind_of) => {
                self.reader.warnings.add("server_tool_use", "dropped");
            }
            other => return Err(misplaced(other, "text, thinking or tool_use", path)),
        }
        Ok(())
    }

    fn say(&mut self, text: &'a str) {
        if !is_blank_literal(text) {
            self.text.push(text);
        }
    }

    fn call(&mut self, block: &Object<'a>, path: &Path<'_>) -> Result<(), Rejection> {
        let id = cleaned(required(block, "id", path)?);
        if self.answered.insert(id.clone(), false).is_some() {
            return Err(path
                .field("id")
                .reject(format!("there are two calls of the id {}", brief(&id))));
        }
        let input = match block.get("input") {
            None => "{}",
            Some(input) if kind(input) == Kind::Object => input.get(),
            Some(input) => return Err(wrong(&path.field("input"), "an object", input)),
        };
        self.calls.push(Call {
            id,
            name: required(block, "name", path)?,
            input,
        });
        Ok(())
    }

    /// Nothing more can belong to the held assistant message: it goes out with its results and what followed.
    fn let_go(&mut self) -> Result<(), Rejection> {
        let unanswered = |call: &&Call<'_>| self.answered.get(&call.id) != Some(&true);
        if let Some(call) = self.calls.iter().find(unanswered) {
            return Err(Path::top("messages").at(self.held_at).reject(format!(
                "the call {} has no tool_result in the message after it",
                brief(&call.id)
            )));
        }
        self.answered.clear();
        if !self.text.is_empty() || !self.calls.is_empty() {
            self.out.push(Message::Assistant {
                text: std::mem::take(&mut self.text),
                calls: std::mem::take(&mut self.calls),
            });
        }
        self.out.append(&mut self.results);
        self.out.append(&mut self.after);
        Ok(())
    }
}

/// What Anthropic's own tools leave in a conversation: nothing that another model can read.
fn is_server_block(kind_of: &str) -> bool {
    matches!(
        kind_of,
        "server_tool_use" | "mcp_tool_use" | "mcp_tool_result" | "container_upload"
    ) || (kind_of.ends_with("_tool_result") && kind_of.len() > "_tool_result".len())
}

fn cleaned(id: Cow<'_, str>) -> Cow<'_, str> {
    match id {
        Cow::Borrowed(id) => clean_id(id),
        Cow::Owned(id) => Cow::Owned(clean_id(&id).into_owned()),
    }
}
