//! `tool_choice` and the older `function_call`.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use super::read::{inner, must_be, object_list, short};
use super::tools::Tool;
use crate::wire::convert::Rejection;
use crate::wire::convert::json::{self, Object};

/// Which tools the model may or must call.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The client did not say.
    Absent,
    Auto,
    Any,
    Nothing,
    Named(Cow<'a, str>),
}

/// Reads `tool_choice`; takes all tools away that it does not allow.
///
/// # Errors
/// Unknown words, shapes and names.
pub fn chosen<'a>(
    raw: &'a RawValue,
    tools: &mut Vec<Tool<'a>>,
    known: &HashSet<Cow<'a, str>>,
) -> Result<Choice<'a>, Rejection> {
    const PARAM: &str = "tool_choice";
    if let Some(word) = json::text(raw) {
        return by_word(&word, PARAM);
    }
    let object = Object::of(raw)
        .ok_or_else(|| Rejection::new(PARAM, must_be("a string or an object", raw)))?;
    match object.text("type").as_deref() {
        Some("function") => {
            let name = named(&object, "tool_choice.function.name")?;
            is_known(&name, known, "tool_choice.function.name")?;
            Ok(Choice::Named(name))
        }
        Some("allowed_tools") => allowed(&object, tools, known),
        _ => Err(Rejection::new(
            "tool_choice.type",
            "Must be function or allowed_tools.",
        )),
    }
}

fn allowed<'a>(
    object: &Object<'a>,
    tools: &mut Vec<Tool<'a>>,
    known: &HashSet<Cow<'a, str>>,
) -> Result<Choice<'a>, Rejection> {
    const PARAM: &str = "tool_choice.allowed_tools";
    let allowed = inner(object, "allowed_tools", || PARAM.to_owned())?;
    let choice = match allowed.text("mode").as_deref() {
        Some("auto") => Choice::Auto,
        Some("required") => Choice::Any,
        _ => {
            return Err(Rejection::new(
                "tool_choice.allowed_tools.mode",
                "Must be auto or required.",
            ));
        }
    };
    let list = || format!("{PARAM}.tools");
    let listed = allowed
        .get("tools")
        .ok_or_else(|| Rejection::new(list(), "Must be an array."))?;
    let mut offered = HashSet::new();
    for (index, tool) in object_list(listed, list)?.iter().enumerate() {
        let param = format!("{PARAM}.tools[{index}].function.name");
        let name = named(tool, &param)?;
        is_known(&name, known, &param)?;
        offered.insert(name);
    }
    tools.retain(|tool| offered.contains(&tool.name));
    Ok(choice)
}

/// Reads `function_call`.
///
/// # Errors
/// Unknown words and names.
pub fn legacy_chosen<'a>(
    raw: &'a RawValue,
    known: &HashSet<Cow<'a, str>>,
) -> Result<Choice<'a>, Rejection> {
    const PARAM: &str = "function_call";
    match json::text(raw).as_deref() {
        Some("required") => return Err(Rejection::new(PARAM, "Must be none, auto or a function.")),
        Some(word) => return by_word(word, PARAM),
        None => {}
    }
    let name = Object::of(raw)
        .and_then(|object| object.text("name"))
        .ok_or_else(|| Rejection::new(PARAM, "Must be none, auto or an object with a name."))?;
    is_known(&name, known, "function_call.name")?;
    Ok(Choice::Named(name))
}

fn by_word(word: &str, param: &str) -> Result<Choice<'static>, Rejection> {
    match word {
        "auto" => Ok(Choice::Auto),
        "required" => Ok(Choice::Any),
        "none" => Ok(Choice::Nothing),
        other => Err(Rejection::new(
            param,
            format!(
                "\"{}\" is not known; use none, auto or required.",
                short(other)
            ),
        )),
    }
}

fn named<'a>(object: &Object<'a>, param: &str) -> Result<Cow<'a, str>, Rejection> {
    object
        .get("function")
        .and_then(Object::of)
        .and_then(|function| function.text("name"))
        .ok_or_else(|| Rejection::new(param, "Must be the name of a function."))
}

fn is_known(name: &str, known: &HashSet<Cow<'_, str>>, param: &str) -> Result<(), Rejection> {
    if known.contains(name) {
        return Ok(());
    }
    Err(Rejection::new(
        param,
        format!("There is no tool called \"{}\".", short(name)),
    ))
}
