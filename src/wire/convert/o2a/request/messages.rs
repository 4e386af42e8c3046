//! The client's messages, one by one, into system texts and turns.

use std::borrow::Cow;

use super::block::{Block, Content, ResultContent};
use super::parts::{self, Speaker};
use super::read::{
    MESSAGES_MAX, Place, Reader, cache_control, inner, must_be, object_list, said, short,
};
use super::turns::{Call, Role, Turn, Turns, arguments};
use crate::wire::convert::Rejection;
use crate::wire::convert::json::{self, Kind, Object};

/// What the messages say.
#[derive(Debug)]
pub struct Talk<'a> {
    /// Texts of system and developer messages, wherever they stood.
    pub system: Vec<Block<'a>>,
    /// Never empty.
    pub turns: Vec<Turn<'a>>,
    /// The client's tool names in them.
    pub names: Vec<Cow<'a, str>>,
}

impl Talk<'_> {
    /// The answer is to go on where the assistant's last turn stops.
    pub fn is_prefilled(&self) -> bool {
        self.turns
            .last()
            .is_some_and(|turn| turn.role == Role::Assistant)
    }

    /// The last assistant turn called tools, is being answered now, and does not begin with signed thinking.
    pub fn is_in_unsigned_tool_turn(&self) -> bool {
        let mut last = self.turns.iter().rev();
        let answered = last.next().is_some_and(|turn| !turn.results.is_empty());
        answered
            && last.next().is_some_and(|turn| {
                turn.blocks.iter().any(Block::is_tool_use)
                    && !turn.blocks.first().is_some_and(Block::is_thinking)
            })
    }
}

/// Reads `messages`.
///
/// # Errors
/// What contracts/conversion.md refuses (sections 1 and 11).
pub fn read<'a>(
    messages: Option<Vec<Object<'a>>>,
    reader: &mut Reader<'_>,
) -> Result<Talk<'a>, Rejection> {
    const NAME: &str = "messages";
    let messages = messages.ok_or_else(|| Rejection::new(NAME, "messages is required."))?;
    if messages.is_empty() {
        return Err(Rejection::new(NAME, "messages must not be empty."));
    }
    if messages.len() > MESSAGES_MAX {
        return Err(Rejection::new(
            NAME,
            format!("There are more than {MESSAGES_MAX} messages."),
        ));
    }
    let mut scribe = Scribe {
        reader,
        system: Vec::new(),
        turns: Turns::default(),
        names: Vec::new(),
    };
    for (index, message) in messages.iter().enumerate() {
        scribe.message(message, Place::message(index))?;
    }
    let Scribe {
        mut system,
        turns,
        names,
        ..
    } = scribe;
    let mut turns = turns.finish()?;
    if turns.is_empty() {
        // Anthropic needs a turn.
        if system.is_empty() {
            return Err(Rejection::new(
                NAME,
                "The messages say nothing: all their texts are empty or white space.",
            ));
        }
        turns.push(Turn {
            role: Role::User,
            results: Vec::new(),
            blocks: std::mem::take(&mut system),
        });
    }
    Ok(Talk {
        system,
        turns,
        names,
    })
}

struct Scribe<'a, 'r, 'c> {
    reader: &'r mut Reader<'c>,
    system: Vec<Block<'a>>,
    turns: Turns<'a>,
    names: Vec<Cow<'a, str>>,
}

impl<'a> Scribe<'a, '_, '_> {
    fn message(&mut self, message: &Object<'a>, place: Place) -> Result<(), Rejection> {
        let role = message
            .text("role")
            .ok_or_else(|| place.reject("role", "Every message needs a role."))?;
        match role.as_ref() {
            "system" | "developer" => {
                let mut blocks = self.spoken(message, Speaker::System, place)?;
                mark(&mut blocks, message, place)?;
                self.system.extend(blocks);
                Ok(())
            }
            "user" => {
                let mut blocks = self.spoken(message, Speaker::User, place)?;
                mark(&mut blocks, message, place)?;
                if !blocks.is_empty() {
                    self.turns.speak(Role::User)?.blocks.extend(blocks);
                }
                Ok(())
            }
            "assistant" => self.assistant(message, place),
            "tool" => self.tool(message, place),
            "function" => self.function(message, place),
            other => Err(place.reject(
                "role",
                format!(
                    "The role \"{}\" is not known; use system, developer, user, assistant or tool.",
                    short(other)
                ),
            )),
        }
    }

    /// A message's content.
    fn spoken(
        &mut self,
        message: &Object<'a>,
        speaker: Speaker,
        place: Place,
    ) -> Result<Vec<Block<'a>>, Rejection> {
        if message.get("name").is_some() {
            self.reader.warnings.add("name", "dropped");
        }
        parts::content(message.get("content"), speaker, place, self.reader)
    }

    fn assistant(&mut self, message: &Object<'a>, place: Place) -> Result<(), Rejection> {
        if message.get("audio").is_some() {
            return Err(place.reject("audio", "Audio of earlier answers cannot be sent on."));
        }
        let mut blocks = self.thinking(message, place)?;
        let thought = blocks.len();
        blocks.extend(self.spoken(message, Speaker::Assistant, place)?);
        match message.get("refusal") {
            Some(raw) if json::kind(raw) == Kind::String => {
                blocks.extend(said(raw).map(|literal| Content::Text(literal.into()).into()));
            }
            Some(raw) => return Err(place.reject("refusal", must_be("a string", raw))),
            None => {}
        }
        let calls = match message.get("tool_calls") {
            Some(raw) => object_list(raw, || place.param("tool_calls"))?,
            None => Vec::new(),
        };
        let legacy = message.get("function_call");
        if blocks.len() == thought && calls.is_empty() && legacy.is_none() {
            return Ok(());
        }
        self.turns.speak(Role::Assistant)?;
        for (index, call) in calls.iter().enumerate() {
            blocks.push(self.call(call, index, place)?);
        }
        if legacy.is_some() {
            let call = inner(message, "function_call", || place.param("function_call"))?;
            let param = |tail: &str| place.param(&format!("function_call.{tail}"));
            blocks.push(self.called(&call, Call::Legacy, None, place, param)?);
        }
        mark(&mut blocks, message, place)?;
        self.turns.speak(Role::Assistant)?.blocks.extend(blocks);
        Ok(())
    }

    fn call(
        &mut self,
        call: &Object<'a>,
        index: usize,
        place: Place,
    ) -> Result<Block<'a>, Rejection> {
        let param = |tail: &str| place.param(&format!("tool_calls[{index}].{tail}"));
        if let Some(kind) = call.get("type")
            && json::text(kind).is_none_or(|kind| kind != "function")
        {
            return Err(Rejection::new(
                param("type"),
                "Only tool calls of type function can be sent to this model.",
            ));
        }
        let id = call
            .text("id")
            .filter(|id| !id.is_empty())
            .ok_or_else(|| Rejection::new(param("id"), "Every tool call needs an id."))?;
        let function = inner(call, "function", || param("function"))?;
        let param = |tail: &str| param(&format!("function.{tail}"));
        self.called(&function, Call::Id(id), Some(index), place, param)
    }

    /// `{name, arguments}` as a tool_use block.
    fn called(
        &mut self,
        function: &Object<'a>,
        call: Call<'a>,
        index: Option<usize>,
        place: Place,
        param: impl Fn(&str) -> String,
    ) -> Result<Block<'a>, Rejection> {
        let name = function
            .text("name")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Rejection::new(param("name"), "Every call needs a name."))?;
        let input = arguments(function.get("arguments"), || param("arguments"))?;
        let id = self.turns.call(call, name.clone(), place.message, index)?;
        self.names.push(name.clone());
        Ok(Content::ToolUse { id, name, input }.into())
    }

    /// Signed thinking that the client has kept (LiteLLM's `thinking_blocks`). Thinking without a signature stays out:
    /// Anthropic refuses it, and as text it would be something that the assistant never said.
    fn thinking(
        &mut self,
        message: &Object<'a>,
        place: Place,
    ) -> Result<Vec<Block<'a>>, Rejection> {
        let mut kept = Vec::new();
        if let Some(raw) = message.get("thinking_blocks") {
            for block in object_list(raw, || place.param("thinking_blocks"))? {
                let signed = |name| {
                    let raw = block.get(name)?;
                    (json::kind(raw) == Kind::String).then_some(raw)
                };
                let content = match block.text("type").as_deref() {
                    Some("thinking") => signed("thinking")
                        .zip(signed("signature").and_then(said))
                        .map(|(thinking, signature)| Content::Thinking(thinking.get(), signature)),
                    Some("redacted_thinking") => {
                        signed("data").and_then(said).map(Content::RedactedThinking)
                    }
                    _ => None,
                };
                kept.extend(content.map(Block::from));
            }
        }
        let thought = message.get("reasoning_content").and_then(said).is_some();
        if thought && kept.is_empty() {
            self.reader.warnings.add("reasoning_content", "dropped");
        }
        Ok(kept)
    }

    fn tool(&mut self, message: &Object<'a>, place: Place) -> Result<(), Rejection> {
        let id = message
            .text("tool_call_id")
            .filter(|id| !id.is_empty())
            .ok_or_else(|| place.reject("tool_call_id", "Every tool message needs one."))?;
        self.result(&Call::Id(id), None, message, place)
    }

    fn function(&mut self, message: &Object<'a>, place: Place) -> Result<(), Rejection> {
        let name = message.text("name");
        self.result(&Call::Legacy, name.as_deref(), message, place)
    }

    fn result(
        &mut self,
        call: &Call<'a>,
        name: Option<&str>,
        message: &Object<'a>,
        place: Place,
    ) -> Result<(), Rejection> {
        let content = match message.get("content") {
            Some(raw) if json::kind(raw) == Kind::String => {
                said(raw).map_or(ResultContent::Nothing, ResultContent::Text)
            }
            other => {
                let blocks = parts::content(other, Speaker::Tool, place, self.reader)?;
                if blocks.is_empty() {
                    ResultContent::Nothing
                } else {
                    ResultContent::Blocks(blocks)
                }
            }
        };
        self.turns.result(call, name, content, place)?;
        mark(&mut self.turns.speak(Role::User)?.results, message, place)
    }
}

/// Puts the message's own `cache_control` (LiteLLM's way for string contents) on its last block.
fn mark<'a>(blocks: &mut [Block<'a>], message: &Object<'a>, place: Place) -> Result<(), Rejection> {
    let cache = cache_control(message, || place.param("cache_control"))?;
    if let Some(last) = blocks.last_mut()
        && cache.is_some()
        && !last.is_thinking()
    {
        last.cache = cache;
    }
    Ok(())
}
