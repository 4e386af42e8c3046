//! Answers in JSON: how the upstream is made to give them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::read::{Fields, must_be, short};
use super::tools::write_schema;
use crate::wire::convert::json::{self, Kind, Object, Writer};
use crate::wire::convert::{Capabilities, Rejection};

/// The tool that takes the answer as its input.
const TOOL: &str = "json_answer";

/// What the client asks for.
#[derive(Debug, Default)]
pub enum Wish<'a> {
    #[default]
    Text,
    /// Any JSON object.
    Object,
    Schema {
        schema: &'a RawValue,
        description: Option<Cow<'a, str>>,
    },
}

/// How it is done.
#[derive(Debug)]
pub enum Way<'a> {
    Nothing,
    /// `output_config.format`
    Native(&'a RawValue),
    /// This tool is forced; its schema and description.
    Tool {
        name: String,
        schema: &'a RawValue,
        description: Option<Cow<'a, str>>,
    },
    /// In the system text.
    Words(String),
}

/// What the way depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    pub has_tools: bool,
    pub thinks: bool,
    /// The assistant's last turn is to be continued: Anthropic's own format cannot do that.
    pub prefilled: bool,
}

/// Reads `response_format`, else the extension `output_config.format`.
///
/// # Errors
/// Another type, or none; no schema where there must be one.
pub fn read<'a>(fields: &Fields<'a>) -> Result<Wish<'a>, Rejection> {
    if let Some(raw) = fields.get("response_format") {
        let format = object(raw, "response_format")?;
        return match format.text("type").as_deref() {
            Some("text") => Ok(Wish::Text),
            Some("json_object") => Ok(Wish::Object),
            Some("json_schema") => {
                const PARAM: &str = "response_format.json_schema";
                let inner = format
                    .get("json_schema")
                    .ok_or_else(|| Rejection::new(PARAM, "Must be an object with a schema."))?;
                schema(&object(inner, PARAM)?, "response_format.json_schema.schema")
            }
            Some(other) => Err(Rejection::new(
                "response_format.type",
                format!(
                    "\"{}\" is not known; use text, json_object or json_schema.",
                    short(other)
                ),
            )),
            None => Err(Rejection::new("response_format.type", "Must be a string.")),
        };
    }
    let format = fields
        .get("output_config")
        .and_then(Object::of)
        .and_then(|config| config.get("format"));
    match format {
        Some(raw) => schema(
            &object(raw, "output_config.format")?,
            "output_config.format.schema",
        ),
        None => Ok(Wish::Text),
    }
}

fn object<'a>(raw: &'a RawValue, param: &str) -> Result<Object<'a>, Rejection> {
    Object::of(raw).ok_or_else(|| Rejection::new(param, must_be("an object", raw)))
}

fn schema<'a>(holder: &Object<'a>, param: &str) -> Result<Wish<'a>, Rejection> {
    match holder.get("schema") {
        Some(schema) if json::kind(schema) == Kind::Object => Ok(Wish::Schema {
            schema,
            description: holder.text("description"),
        }),
        _ => Err(Rejection::new(param, "Must be an object: a JSON schema.")),
    }
}

impl<'a> Wish<'a> {
    /// Chooses the way that the upstream can go; `is_taken` tells which tool names the history has.
    pub fn way(
        self,
        on: Situation,
        capabilities: &Capabilities,
        is_taken: impl Fn(&str) -> bool,
    ) -> Way<'a> {
        match self {
            Self::Text => Way::Nothing,
            Self::Object => Way::Words(
                "Answer with one JSON object and nothing else: no other words, no code fence."
                    .to_owned(),
            ),
            Self::Schema { schema, .. } if capabilities.output_config && !on.prefilled => {
                Way::Native(schema)
            }
            Self::Schema {
                schema,
                description,
            } if capabilities.tool_choice
                && !capabilities.output_config
                && !on.has_tools
                && !on.thinks
                && !on.prefilled
                && is_object_schema(schema) =>
            {
                Way::Tool {
                    name: free_name(is_taken),
                    schema,
                    description,
                }
            }
            Self::Schema {
                schema,
                description,
            } => {
                let about = description.map_or(String::new(), |about| format!(" It is: {about}"));
                Way::Words(format!(
                    "Answer with one JSON value that is valid under the JSON schema below, and nothing else: no other \
                     words, no code fence.{about}\n\n{}",
                    schema.get()
                ))
            }
        }
    }
}

/// Whether a tool's input can be such a value: tools take objects only.
fn is_object_schema(schema: &RawValue) -> bool {
    let member = |name| {
        let found = json::member(schema, name).flatten();
        found.filter(|value| json::kind(value) != Kind::Null)
    };
    match member("type") {
        Some(kind) => json::text(kind).is_some_and(|kind| kind == "object"),
        None => member("properties").is_some(),
    }
}

/// A name that no call in the history was sent under.
fn free_name(is_taken: impl Fn(&str) -> bool) -> String {
    let mut name = TOOL.to_owned();
    while is_taken(&name) {
        name.push('_');
    }
    name
}

/// `tools` and `tool_choice` of the forced tool.
pub fn write_tool(w: &mut Writer, name: &str, description: Option<&str>, schema: &RawValue) {
    w.key("tools").open_array().open_object();
    w.key("name").text(name);
    w.key("description")
        .text(description.unwrap_or("Takes the answer."));
    w.key("input_schema");
    write_schema(w, schema);
    w.close_object().close_array();
    w.key("tool_choice").open_object();
    w.key("type").raw("\"tool\"").key("name").text(name);
    w.key("disable_parallel_tool_use").flag(true);
    w.close_object();
}
