//! What the model may call, and what it must.

use std::borrow::Cow;
use std::collections::HashSet;

use super::options::flag;
use super::path::Path;
use super::{brief, list, object, optional, required, wrong};
use crate::wire::convert::json::{Kind, Object, kind};
use crate::wire::convert::{Capabilities, Rejection, Warnings};

/// For a tool that has no schema.
const ANY_OBJECT: &str = r#"{"type":"object","properties":{}}"#;

/// A tool that the client runs.
#[derive(Debug)]
pub struct Tool<'a> {
    pub name: Cow<'a, str>,
    /// The client's literal.
    pub description: Option<&'a str>,
    /// The client's own JSON.
    pub schema: &'a str,
    pub strict: Option<bool>,
}

/// Which tools are to be called.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    Auto,
    Required,
    Named(Cow<'a, str>),
    None,
}

/// The tools of a request, and how free the model is with them.
#[derive(Debug, Default)]
pub struct Offer<'a> {
    pub tools: Vec<Tool<'a>>,
    /// What is sent as `tool_choice`.
    pub choice: Option<Choice<'a>>,
    /// The choice for an upstream that does not obey `tool_choice`: it is told in words.
    pub told: Option<Choice<'a>>,
    /// No more than one call at a time.
    pub one_call: bool,
}

impl<'a> Offer<'a> {
    pub fn read(
        top: &Object<'a>,
        capabilities: &Capabilities,
        warnings: &mut Warnings,
    ) -> Result<Self, Rejection> {
        let tools = tools(top)?;
        let (choice, one_call) = choice(top, &tools)?;
        if tools.is_empty() {
            return Ok(Self::default());
        }
        if capabilities.tool_choice {
            return Ok(Self {
                one_call: one_call && choice != Some(Choice::None),
                tools,
                choice,
                told: None,
            });
        }
        if one_call {
            warnings.add("disable_parallel_tool_use", "dropped");
        }
        match choice {
            // What is not offered is not called.
            Some(Choice::None) => Ok(Self::default()),
            None | Some(Choice::Auto) => Ok(Self {
                tools,
                ..Self::default()
            }),
            forced => {
                warnings.add("tool_choice", "emulated");
                Ok(Self {
                    tools,
                    told: forced,
                    ..Self::default()
                })
            }
        }
    }
}

fn tools<'a>(top: &Object<'a>) -> Result<Vec<Tool<'a>>, Rejection> {
    let path = Path::top("tools");
    let all = list(top, "tools")?;
    let mut tools = Vec::with_capacity(all.len());
    let mut names = HashSet::with_capacity(all.len());
    for (index, raw) in all.into_iter().enumerate() {
        let path = path.at(index);
        let tool = tool(&object(raw, &path)?, &path)?;
        if !names.insert(tool.name.clone()) {
            return Err(path.field("name").reject(format!(
                "there are two tools of the name {}",
                brief(&tool.name)
            )));
        }
        tools.push(tool);
    }
    Ok(tools)
}

fn tool<'a>(tool: &Object<'a>, path: &Path<'_>) -> Result<Tool<'a>, Rejection> {
    if tool.get("type").is_some() {
        let kind_of = required(tool, "type", path)?;
        if kind_of != "custom" {
            return Err(path.field("type").reject(format!(
                "{} is a tool of Anthropic's servers or models and cannot be used here: offer tools with an input_schema",
                brief(&kind_of)
            )));
        }
    }
    let schema = match tool.get("input_schema") {
        Some(schema) if kind(schema) == Kind::Object => schema.get(),
        Some(schema) => return Err(wrong(&path.field("input_schema"), "an object", schema)),
        None => ANY_OBJECT,
    };
    Ok(Tool {
        name: required(tool, "name", path)?,
        description: optional(tool, "description", path)?,
        schema,
        strict: flag(tool, "strict", &path.field("strict"))?,
    })
}

/// The choice, and whether parallel calls are off.
fn choice<'a>(
    top: &Object<'a>,
    tools: &[Tool<'_>],
) -> Result<(Option<Choice<'a>>, bool), Rejection> {
    let path = Path::top("tool_choice");
    let Some(raw) = top.get("tool_choice") else {
        return Ok((None, false));
    };
    let choice = object(raw, &path)?;
    let one_call = flag(
        &choice,
        "disable_parallel_tool_use",
        &path.field("disable_parallel_tool_use"),
    )?
    .unwrap_or(false);
    let choice = match required(&choice, "type", &path)?.as_ref() {
        "auto" => Choice::Auto,
        "any" => Choice::Required,
        "none" => Choice::None,
        "tool" => {
            let name = required(&choice, "name", &path)?;
            if !tools.is_empty() && !tools.iter().any(|tool| tool.name == name) {
                return Err(path
                    .field("name")
                    .reject(format!("there is no tool {} in tools", brief(&name))));
            }
            Choice::Named(name)
        }
        other => {
            return Err(path.field("type").reject(format!(
                "{} is unknown: auto, any, tool or none",
                brief(other)
            )));
        }
    };
    Ok((Some(choice), one_call))
}
