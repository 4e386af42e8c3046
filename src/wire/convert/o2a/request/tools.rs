//! Tools and the choice among them.
//!
//! Invariants: tool names are given once; a choice names an offered tool; without tools there is no choice.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use super::choice::{Choice, chosen, legacy_chosen};
use super::read::{Fields, Reader, cache_control, flag, inner, must_be, object_list, said, short};
use crate::wire::convert::Rejection;
use crate::wire::convert::json::{self, Kind, Object, Writer};
use crate::wire::convert::names::Names;

/// One tool, as borrowed from the client's body.
#[derive(Debug)]
pub struct Tool<'a> {
    pub name: Cow<'a, str>,
    description: Option<&'a str>,
    schema: Option<&'a RawValue>,
    strict: bool,
    cache: Option<&'a RawValue>,
}

/// The tools of one request.
#[derive(Debug)]
pub struct Toolbox<'a> {
    pub tools: Vec<Tool<'a>>,
    pub choice: Choice<'a>,
    /// The model must not call two tools at once.
    single: bool,
    /// They came as `functions`.
    pub legacy: bool,
}

/// Reads `tools`, `functions`, `tool_choice`, `function_call` and `parallel_tool_calls`.
///
/// # Errors
/// What contracts/conversion.md refuses (sections 1 and 11).
pub fn read<'a>(fields: &Fields<'a>, reader: &mut Reader<'_>) -> Result<Toolbox<'a>, Rejection> {
    let mut tools = Vec::new();
    let mut known = HashSet::new();
    if let Some(raw) = fields.get("tools") {
        for (index, tool) in object_list(raw, || "tools".to_owned())?.iter().enumerate() {
            let tool = wrapped(tool, index, reader)?;
            if !known.insert(tool.name.clone()) {
                return Err(Rejection::new(
                    format!("tools[{index}].function.name"),
                    format!("Another tool is called \"{}\".", short(&tool.name)),
                ));
            }
            tools.push(tool);
        }
    }
    let mut legacy = false;
    if let Some(raw) = fields.get("functions") {
        let functions = object_list(raw, || "functions".to_owned())?;
        legacy = tools.is_empty() && !functions.is_empty();
        for (index, function) in functions.iter().enumerate() {
            let param = |tail: &str| format!("functions[{index}].{tail}");
            let tool = bare(function, param, reader)?;
            // Some clients offer the same ones in both ways.
            if known.insert(tool.name.clone()) {
                tools.push(tool);
            }
        }
    }
    let mut choice = Choice::Absent;
    if let Some(raw) = fields.get("tool_choice") {
        choice = chosen(raw, &mut tools, &known)?;
    } else if let Some(raw) = fields.get("function_call") {
        choice = legacy_chosen(raw, &known)?;
    }
    if tools.is_empty() {
        if matches!(choice, Choice::Any | Choice::Named(_)) {
            return Err(Rejection::new(
                "tool_choice",
                "A tool call is required, but there are no tools.",
            ));
        }
        choice = Choice::Absent;
    }
    // An answer holds one function_call: a second call would be lost.
    let single = flag(fields, "parallel_tool_calls")? == Some(false) || legacy;
    Ok(Toolbox {
        tools,
        choice,
        single,
        legacy,
    })
}

fn wrapped<'a>(
    tool: &Object<'a>,
    index: usize,
    reader: &mut Reader<'_>,
) -> Result<Tool<'a>, Rejection> {
    let param = |tail: &str| format!("tools[{index}].{tail}");
    if let Some(kind) = tool.get("type") {
        let kind = json::text(kind)
            .ok_or_else(|| Rejection::new(param("type"), must_be("a string", kind)))?;
        if kind != "function" {
            return Err(Rejection::new(
                param("type"),
                format!(
                    "Tools of type \"{}\" cannot be sent to this model; use function.",
                    short(&kind)
                ),
            ));
        }
    }
    let function = inner(tool, "function", || param("function"))?;
    let mut read = bare(&function, |tail| param(&format!("function.{tail}")), reader)?;
    if let Some(cache) = cache_control(tool, || param("cache_control"))? {
        read.cache = Some(cache);
    }
    Ok(read)
}

fn bare<'a>(
    function: &Object<'a>,
    param: impl Fn(&str) -> String,
    reader: &mut Reader<'_>,
) -> Result<Tool<'a>, Rejection> {
    let name = function
        .text("name")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Rejection::new(param("name"), "Every tool needs a name."))?;
    let description = match function.get("description") {
        Some(raw) if json::kind(raw) == Kind::String => said(raw),
        Some(raw) => {
            return Err(Rejection::new(
                param("description"),
                must_be("a string", raw),
            ));
        }
        None => None,
    };
    let schema = function.get("parameters");
    if let Some(raw) = schema
        && json::kind(raw) != Kind::Object
    {
        return Err(Rejection::new(
            param("parameters"),
            must_be("an object", raw),
        ));
    }
    let mut strict = match function.get("strict").map(RawValue::get) {
        Some("true") => true,
        Some("false") | None => false,
        Some(_) => return Err(Rejection::new(param("strict"), "Must be a boolean.")),
    };
    if strict && !reader.capabilities.output_config {
        // Comes with structured outputs; an upstream without them refuses or ignores it.
        reader.warnings.add("strict", "dropped");
        strict = false;
    }
    let cache = cache_control(function, || param("cache_control"))?;
    Ok(Tool {
        name,
        description,
        schema,
        strict,
        cache,
    })
}

impl Toolbox<'_> {
    /// The model has to call a tool.
    pub const fn is_forced(&self) -> bool {
        matches!(self.choice, Choice::Any | Choice::Named(_))
    }

    /// Does without `tool_choice`, for an upstream that does not obey it: what has to be told instead.
    pub fn emulate_choice(&mut self, names: &Names, reader: &mut Reader<'_>) -> Option<String> {
        let may_call = !self.tools.is_empty() && self.choice != Choice::Nothing;
        if self.single && !self.legacy && may_call {
            reader.warnings.add("parallel_tool_calls", "dropped");
        }
        self.single = false;
        let told = match &self.choice {
            Choice::Absent | Choice::Auto => None,
            Choice::Nothing => {
                self.tools.clear();
                None
            }
            Choice::Any => Some(
                "Your next reply must call at least one of the tools that you have been given; do not answer in \
                 words alone."
                    .to_owned(),
            ),
            Choice::Named(name) => Some(format!(
                "Your next reply must call the tool \"{}\"; do not answer in words alone and do not call another tool.",
                names.sent(name)
            )),
        };
        if told.is_some() {
            reader.warnings.add("tool_choice", "emulated");
        }
        self.choice = Choice::Absent;
        told
    }

    /// `tools` and `tool_choice`.
    pub fn write(&self, w: &mut Writer, names: &Names) {
        if self.tools.is_empty() {
            return;
        }
        w.key("tools").open_array();
        for tool in &self.tools {
            tool.write(w, names);
        }
        w.close_array();
        let kind = match &self.choice {
            Choice::Absent if !self.single => return,
            Choice::Absent | Choice::Auto => "\"auto\"",
            Choice::Any => "\"any\"",
            Choice::Nothing => "\"none\"",
            Choice::Named(_) => "\"tool\"",
        };
        w.key("tool_choice").open_object();
        w.key("type").raw(kind);
        if let Choice::Named(name) = &self.choice {
            w.key("name").text(names.sent(name));
        }
        if self.single && self.choice != Choice::Nothing {
            w.key("disable_parallel_tool_use").flag(true);
        }
        w.close_object();
    }
}

impl Tool<'_> {
    fn write(&self, w: &mut Writer, names: &Names) {
        w.open_object();
        w.key("name").text(names.sent(&self.name));
        if let Some(description) = self.description {
            w.key("description").raw(description);
        }
        w.key("input_schema");
        match self.schema {
            Some(schema) => write_schema(w, schema),
            None => {
                w.raw(r#"{"type":"object","properties":{}}"#);
            }
        }
        if self.strict {
            w.key("strict").flag(true);
        }
        if let Some(cache) = self.cache {
            w.key("cache_control").raw(cache.get());
        }
        w.close_object();
    }
}

/// A schema as it stands, but of type object when it does not say its type: Anthropic needs one.
pub fn write_schema(w: &mut Writer, schema: &RawValue) {
    let stated = json::member(schema, "type").flatten();
    if stated.is_some_and(|kind| json::kind(kind) != Kind::Null) {
        w.raw(schema.get());
        return;
    }
    if stated.is_none() {
        let rest = schema.get().strip_prefix('{').unwrap_or("}");
        let is_empty = rest.trim_ascii_start().starts_with('}');
        let comma = if is_empty { "" } else { "," };
        w.raw(&format!("{{\"type\":\"object\"{comma}{rest}"));
        return;
    }
    // A `"type": null` says nothing either; of two types the last one counts.
    let open = schema.get().strip_suffix('}').unwrap_or("{");
    w.raw(&format!("{open},\"type\":\"object\"}}"));
}
