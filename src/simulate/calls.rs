//! Which tools an answer calls, and with what.

use super::answer::make_id;
use super::peek::{Choice, Peek, Tool};
use super::sample::sample;
use super::shape::{Call, Shape, Which};
use super::text::tool_input;
use super::{Generation, SimConfig, js};

#[derive(Clone, Debug)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON text, unless an order wanted something else.
    pub(super) input: String,
}

impl ToolCall {
    /// The block's fields before its input.
    pub(super) fn head(&self) -> String {
        let (id, name) = (js(&self.id), js(&self.name));
        format!("\"type\":\"tool_use\",\"id\":{id},\"name\":{name},")
    }

    /// The input as a whole answer can carry it.
    pub(super) fn input_or_empty(&self) -> &str {
        if self.input.is_empty() {
            "{}"
        } else {
            &self.input
        }
    }

    /// The input in pieces of about `size` bytes, or in one.
    pub(super) fn fragments(&self, size: Option<usize>) -> impl Iterator<Item = &str> + Send {
        let (mut rest, size) = (self.input.as_str(), size.unwrap_or(usize::MAX));
        std::iter::from_fn(move || {
            let mut end = size.min(rest.len());
            while !rest.is_char_boundary(end) {
                end += 1;
            }
            let (piece, left) = rest.split_at(end);
            rest = left;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// The calls of the answer: ordered ones, else those that `tool_choice` or the user's text want.
///
/// # Errors
/// Says which ordered tool the request does not offer.
pub(super) fn planned(
    config: &SimConfig,
    peek: &Peek,
    shape: &Shape,
    seq: u64,
) -> Result<Vec<ToolCall>, String> {
    let obeys = config.generation.obeys();
    let id = |index: u64| {
        let prefix = config.generation.call_prefix();
        make_id(prefix, config.seed, seq.wrapping_add(index << 48))
    };
    // The order of a request's metadata or of a model is for the first answer, not for that after the tools' results.
    let fresh = peek.results.is_empty() || peek.ordered;
    let mut calls = Vec::new();
    if let Some(ordered) = shape.calls.as_ref().filter(|_| fresh) {
        for (index, call) in (0_u64..).zip(ordered) {
            let tool = offered(peek, call)?;
            calls.push(ToolCall {
                id: call.id.clone().unwrap_or_else(|| id(index)),
                name: tool.name.clone(),
                input: input(call, tool),
            });
        }
    } else if let Some(name) = &shape.tool {
        calls.push(ToolCall {
            id: id(0),
            name: name.clone(),
            input: tool_input(None),
        });
    } else {
        let wanted = peek.wanted.as_ref();
        // Words are followed once; Antigravity does not know the field.
        let choice = match obeys {
            true => &peek.choice,
            false if fresh => &peek.choice_by_text,
            false => &Choice::Free,
        };
        let tool = match choice {
            Choice::Named(name) => peek.tools.iter().find(|tool| tool.name == *name),
            Choice::Any => wanted.or(peek.tools.first()),
            Choice::None => None,
            Choice::Free => wanted,
        };
        calls.extend(tool.map(|tool| ToolCall {
            id: id(0),
            name: tool.name.clone(),
            // A tool that is forced may be a schema in disguise: then nested objects must fit, too.
            input: match (choice, &tool.schema) {
                (Choice::Named(_), Some(schema)) => sample(schema),
                (_, schema) => tool_input(schema.as_deref()),
            },
        }));
    }
    if peek.one_call && obeys {
        calls.truncate(1);
    }
    let is_json = |text: &str| text.is_empty() || super::raw::Node::parse(text).is_ok();
    let whole = config.generation != Generation::OpenAi && !peek.stream;
    if whole && !calls.iter().all(|call| is_json(&call.input)) {
        return Err("the order's arguments are no JSON: stream them".to_owned());
    }
    Ok(calls)
}

fn offered<'a>(peek: &'a Peek, call: &Call) -> Result<&'a Tool, String> {
    let found = match &call.tool {
        Which::Index(index) => peek.tools.get(*index),
        Which::Name(name) => peek.tools.iter().find(|tool| tool.name == *name),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = peek.tools.iter().map(|tool| tool.name.as_str()).collect();
        let wanted = match &call.tool {
            Which::Index(index) => format!("number {index}"),
            Which::Name(name) => format!("{name:?}"),
        };
        format!("the order calls tool {wanted}, but the request offers {names:?}")
    })
}

fn input(call: &Call, tool: &Tool) -> String {
    match (&call.arguments, &call.input) {
        (Some(text), _) => text.clone(),
        (None, Some(json)) => json.get().to_owned(),
        (None, None) => tool_input(tool.schema.as_deref()),
    }
}
