//! Turns that alternate, and the calls in them with their results.
//!
//! Invariants of what [`Turns::finish`] gives: it begins with a user turn; no two turns of one role follow each other;
//! no turn is empty; every call of an assistant turn is answered in the next turn, by results in front of everything
//! else; ids are in Anthropic's character set and given once.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::value::RawValue;

use super::block::{Block, Content, ResultContent};
use super::read::{Place, must_be};
use crate::wire::convert::Rejection;
use crate::wire::convert::ids::{clean_id, made_id};
use crate::wire::convert::json::{self, has_lone_surrogate};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
}

/// One turn; `results` stand in front of `blocks`.
#[derive(Debug)]
pub struct Turn<'a> {
    pub role: Role,
    pub results: Vec<Block<'a>>,
    pub blocks: Vec<Block<'a>>,
}

/// How the client tells its calls apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call<'a> {
    Id(Cow<'a, str>),
    /// `function_call`, which has no id: one at a time, of this name.
    Legacy,
}

/// A call without its result so far.
#[derive(Debug)]
struct Open<'a> {
    sent: String,
    name: Cow<'a, str>,
    message: usize,
    /// Its index in `tool_calls`.
    index: Option<usize>,
}

impl Open<'_> {
    fn param(&self) -> String {
        match self.index {
            Some(index) => format!("messages[{}].tool_calls[{index}]", self.message),
            None => format!("messages[{}].function_call", self.message),
        }
    }
}

/// Turns as they are being put together.
#[derive(Debug, Default)]
pub struct Turns<'a> {
    turns: Vec<Turn<'a>>,
    /// Calls of the last assistant turn that have no result yet.
    open: HashMap<Call<'a>, Open<'a>>,
    /// Client's ids of the last assistant turn.
    current: HashSet<Cow<'a, str>>,
    used: HashSet<String>,
}

impl<'a> Turns<'a> {
    /// The turn that `role` is speaking in now.
    ///
    /// # Errors
    /// It is the assistant's turn, and calls of its last one have no result.
    pub fn speak(&mut self, role: Role) -> Result<&mut Turn<'a>, Rejection> {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            if role == Role::Assistant {
                self.all_answered()?;
                self.current.clear();
            }
            self.turns.push(Turn {
                role,
                results: Vec::new(),
                blocks: Vec::new(),
            });
        }
        self.turns
            .last_mut()
            .ok_or_else(|| Rejection::plain("no turn"))
    }

    /// Notes a call in the assistant's turn (see [`Self::speak`]); gives the id that is sent for it.
    ///
    /// # Errors
    /// Another call of this turn has the same id.
    pub fn call(
        &mut self,
        call: Call<'a>,
        name: Cow<'a, str>,
        message: usize,
        index: Option<usize>,
    ) -> Result<String, Rejection> {
        let seed = match &call {
            Call::Id(id) => {
                if !self.current.insert(id.clone()) {
                    let at = index.unwrap_or_default();
                    return Err(Rejection::new(
                        format!("messages[{message}].tool_calls[{at}].id"),
                        "Another tool call of the same turn has this id.",
                    ));
                }
                id.clone().into_owned()
            }
            Call::Legacy => {
                if let Some(open) = self.open.get(&call) {
                    return Err(unanswered(open));
                }
                format!("function_call {message}")
            }
        };
        let mut sent = match &call {
            Call::Id(id) => clean_id(id).into_owned(),
            Call::Legacy => made_id("call_", seed.as_bytes()),
        };
        // Some clients count their calls anew in every turn; Anthropic wants ids to be unique in the whole request.
        let mut round = 0_u32;
        while !self.used.insert(sent.clone()) {
            round += 1;
            sent = made_id("call_", format!("{seed}\0{message}\0{round}").as_bytes());
        }
        let open = Open {
            sent: sent.clone(),
            name,
            message,
            index,
        };
        self.open.insert(call, open);
        Ok(sent)
    }

    /// Takes the result of an open call.
    ///
    /// # Errors
    /// No call waits for it.
    pub fn result(
        &mut self,
        call: &Call<'a>,
        name: Option<&str>,
        content: ResultContent<'a>,
        place: Place,
    ) -> Result<(), Rejection> {
        let waits = self
            .open
            .get(call)
            .is_some_and(|open| name.is_none_or(|name| name == open.name));
        let Some(open) = self.open.remove(call).filter(|_| waits) else {
            return Err(match call {
                Call::Id(_) => place.reject(
                    "tool_call_id",
                    "This tool message answers no tool call of the assistant message before it.",
                ),
                Call::Legacy => place.reject(
                    "name",
                    "This function message answers no function_call of the assistant message before it.",
                ),
            });
        };
        let id = open.sent;
        let turn = self.speak(Role::User)?;
        turn.results
            .push(Content::ToolResult { id, content }.into());
        Ok(())
    }

    fn all_answered(&self) -> Result<(), Rejection> {
        let first = self
            .open
            .values()
            .min_by_key(|open| (open.message, open.index));
        first.map_or(Ok(()), |open| Err(unanswered(open)))
    }

    /// All turns.
    ///
    /// # Errors
    /// Calls of the last assistant turn have no result.
    pub fn finish(mut self) -> Result<Vec<Turn<'a>>, Rejection> {
        self.all_answered()?;
        if self
            .turns
            .first()
            .is_some_and(|turn| turn.role == Role::Assistant)
        {
            let opening = Turn {
                role: Role::User,
                results: Vec::new(),
                blocks: vec![Block::told(".")],
            };
            self.turns.insert(0, opening);
        }
        if let Some(turn) = self.turns.last_mut()
            && turn.role == Role::Assistant
        {
            cut_end(turn);
        }
        Ok(self.turns)
    }
}

fn unanswered(open: &Open<'_>) -> Rejection {
    Rejection::new(
        open.param(),
        "This call has no result: a message with its result must follow before the assistant speaks again.",
    )
}

/// Anthropic refuses a last assistant turn that ends with white space.
fn cut_end(turn: &mut Turn<'_>) {
    let Some(Content::Text(literal)) = turn.blocks.last_mut().map(|last| &mut last.content) else {
        return;
    };
    let Ok(text) = serde_json::from_str::<String>(literal) else {
        return;
    };
    let cut = text.trim_end();
    if cut.len() < text.len()
        && let Content::Text(shorter) = Block::told(cut).content
    {
        *literal = Cow::Owned(shorter.into_owned());
    }
}

/// Tool arguments, as the client wrote them inside their string: the text of a JSON object.
///
/// # Errors
/// They are something else.
pub fn arguments<'a>(
    raw: Option<&'a RawValue>,
    param: impl Fn() -> String,
) -> Result<Cow<'a, str>, Rejection> {
    let Some(raw) = raw else {
        return Ok(Cow::Borrowed("{}"));
    };
    let text = json::text(raw).ok_or_else(|| Rejection::new(param(), must_be("a string", raw)))?;
    if text.trim().is_empty() {
        return Ok(Cow::Borrowed("{}"));
    }
    let read: Result<&RawValue, _> = serde_json::from_str(&text);
    match read {
        Ok(value)
            if json::kind(value) == json::Kind::Object && !has_lone_surrogate(text.as_bytes()) =>
        {
            Ok(text)
        }
        _ => Err(Rejection::new(
            param(),
            "The arguments of this call are not a JSON object.",
        )),
    }
}
