//! Everything of a request that is neither conversation nor tool.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::path::Path;
use super::{brief, list, object, required, wrong};
use crate::wire::convert::json::{Kind, Object, kind, literal, text, whole};
use crate::wire::convert::{Capabilities, Rejection, Warnings};

/// OpenAI takes no more stop sequences than this.
const STOPS_MAX: usize = 4;
/// Longest `user` that OpenAI takes, in characters.
const USER_MAX: usize = 64;
/// Largest thinking budgets, in tokens, that still are low and medium effort.
const LOW_BUDGET: u64 = 2048;
const MEDIUM_BUDGET: u64 = 8192;

/// The options of a request as they are sent. Numbers and stop sequences are the client's own literals.
#[derive(Debug)]
pub struct Options<'a> {
    pub max_tokens: u64,
    pub temperature: Option<&'a str>,
    pub top_p: Option<&'a str>,
    pub stop: Vec<&'a str>,
    pub effort: Option<&'static str>,
    /// The JSON schema of the answer, for `response_format`.
    pub schema: Option<&'a str>,
    /// The same for an upstream that does not know `response_format`: it is told in words.
    pub told_schema: Option<&'a str>,
    pub user: Option<Cow<'a, str>>,
    /// `service_tier` is `default`.
    pub standard: bool,
    pub stream: bool,
}

impl<'a> Options<'a> {
    pub fn read(
        top: &Object<'a>,
        capabilities: &Capabilities,
        warnings: &mut Warnings,
    ) -> Result<Self, Rejection> {
        if !list(top, "mcp_servers")?.is_empty() {
            return Err(Path::top("mcp_servers")
                .reject("MCP servers cannot be used here: offer their tools in tools"));
        }
        let temperature = number(top, "temperature", 2.0)?;
        let mut top_p = number(top, "top_p", 1.0)?;
        if capabilities.exclusive_sampling && temperature.is_some() && top_p.take().is_some() {
            warnings.add("top_p", "dropped");
        }
        if top.get("top_k").is_some() {
            warnings.add("top_k", "dropped");
        }
        let schema = schema(top)?;
        let told = schema.is_some() && !capabilities.output_config;
        if told {
            warnings.add("output_config", "emulated");
        }
        Ok(Self {
            max_tokens: max_tokens(top, capabilities, warnings)?,
            temperature,
            top_p,
            stop: stop(top, capabilities, warnings)?,
            effort: effort(top, capabilities, warnings)?,
            schema: schema.filter(|_| !told),
            told_schema: schema.filter(|_| told),
            user: user(top)?,
            standard: standard(top, capabilities, warnings)?,
            stream: flag(top, "stream", &Path::top("stream"))?.unwrap_or(false),
        })
    }
}

/// A boolean that may be missing.
pub fn flag(
    object: &Object<'_>,
    name: &'static str,
    path: &Path<'_>,
) -> Result<Option<bool>, Rejection> {
    object
        .get(name)
        .map(|raw| match raw.get() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(wrong(path, "true or false", raw)),
        })
        .transpose()
}

fn max_tokens(
    top: &Object<'_>,
    capabilities: &Capabilities,
    warnings: &mut Warnings,
) -> Result<u64, Rejection> {
    let path = Path::top("max_tokens");
    let raw = top
        .get("max_tokens")
        .ok_or_else(|| path.reject("is required"))?;
    let asked = whole(raw)
        .filter(|tokens| *tokens > 0)
        .ok_or_else(|| path.reject("must be a whole number above 0"))?;
    match capabilities.max_output {
        Some(most) if most > 0 && asked > most => {
            warnings.add("max_tokens", "clamped");
            Ok(most)
        }
        _ => Ok(asked),
    }
}

/// A number from 0 to `most`, as it is spelled.
fn number<'a>(
    top: &Object<'a>,
    name: &'static str,
    most: f64,
) -> Result<Option<&'a str>, Rejection> {
    let path = Path::top(name);
    let Some(raw) = top.get(name) else {
        return Ok(None);
    };
    if kind(raw) != Kind::Number {
        return Err(wrong(&path, "a number", raw));
    }
    match raw.get().parse::<f64>() {
        Ok(value) if (0.0..=most).contains(&value) => Ok(Some(raw.get())),
        _ => Err(path.reject(format!("must lie between 0 and {most}"))),
    }
}

fn stop<'a>(
    top: &Object<'a>,
    capabilities: &Capabilities,
    warnings: &mut Warnings,
) -> Result<Vec<&'a str>, Rejection> {
    let path = Path::top("stop_sequences");
    let mut stops = Vec::new();
    for (index, raw) in list(top, "stop_sequences")?.into_iter().enumerate() {
        let stop = literal(raw).ok_or_else(|| wrong(&path.at(index), "a string", raw))?;
        match stop {
            "\"\"" => warnings.add("stop_sequences", "empty_dropped"),
            _ if stops.len() == STOPS_MAX => warnings.add("stop_sequences", "only_four"),
            _ => stops.push(stop),
        }
    }
    if !capabilities.stop_sequences && !stops.is_empty() {
        warnings.add("stop_sequences", "dropped");
        stops.clear();
    }
    Ok(stops)
}

fn effort(
    top: &Object<'_>,
    capabilities: &Capabilities,
    warnings: &mut Warnings,
) -> Result<Option<&'static str>, Rejection> {
    let told = told_effort(top, warnings)?;
    let thought = thinking(top)?;
    if capabilities.reasoning {
        return Ok(told.or(thought));
    }
    for (asked, field) in [(told, "effort"), (thought, "thinking")] {
        if asked.is_some() {
            warnings.add(field, "dropped");
        }
    }
    Ok(None)
}

fn told_effort(
    top: &Object<'_>,
    warnings: &mut Warnings,
) -> Result<Option<&'static str>, Rejection> {
    let path = Path::top("output_config");
    let Some(config) = top.get("output_config") else {
        return Ok(None);
    };
    let config = object(config, &path)?;
    let Some(effort) = config.get("effort") else {
        return Ok(None);
    };
    let path = path.field("effort");
    let effort = text(effort).ok_or_else(|| wrong(&path, "a string", effort))?;
    Ok(Some(match effort.as_ref() {
        "low" => "low",
        "medium" => "medium",
        "high" => "high",
        // Every reasoning model knows high, few know more.
        "xhigh" | "max" => {
            warnings.add("effort", "clamped");
            "high"
        }
        other => {
            return Err(path.reject(format!(
                "{} is no effort: low, medium, high, xhigh or max",
                brief(other)
            )));
        }
    }))
}

/// `disabled` and `adaptive` leave the effort to the model.
fn thinking(top: &Object<'_>) -> Result<Option<&'static str>, Rejection> {
    let path = Path::top("thinking");
    let Some(raw) = top.get("thinking") else {
        return Ok(None);
    };
    let thinking = object(raw, &path)?;
    match required(&thinking, "type", &path)?.as_ref() {
        "enabled" => {
            let path = path.field("budget_tokens");
            let budget = thinking
                .get("budget_tokens")
                .ok_or_else(|| path.reject("is required"))?;
            let budget = whole(budget).ok_or_else(|| path.reject("must be a whole number"))?;
            Ok(Some(if budget <= LOW_BUDGET {
                "low"
            } else if budget <= MEDIUM_BUDGET {
                "medium"
            } else {
                "high"
            }))
        }
        "disabled" | "adaptive" => Ok(None),
        other => Err(path.field("type").reject(format!(
            "{} is unknown: enabled, disabled or adaptive",
            brief(other)
        ))),
    }
}

/// The schema of `output_config.format`, or of `output_format`, as it was called in the beta.
fn schema<'a>(top: &Object<'a>) -> Result<Option<&'a str>, Rejection> {
    let config = Path::top("output_config");
    let wanted = match top.get("output_config") {
        Some(raw) => object(raw, &config)?.get("format"),
        None => None,
    };
    match (wanted, top.get("output_format")) {
        (Some(format), _) => format_schema(format, &config.field("format")).map(Some),
        (None, Some(format)) => format_schema(format, &Path::top("output_format")).map(Some),
        (None, None) => Ok(None),
    }
}

fn format_schema<'a>(format: &'a RawValue, path: &Path<'_>) -> Result<&'a str, Rejection> {
    let format = object(format, path)?;
    let kind_of = required(&format, "type", path)?;
    if kind_of != "json_schema" {
        return Err(path.field("type").reject(format!(
            "{} is unknown: only json_schema can be asked for",
            brief(&kind_of)
        )));
    }
    let path = path.field("schema");
    let schema = format
        .get("schema")
        .ok_or_else(|| path.reject("is required"))?;
    match kind(schema) {
        Kind::Object => Ok(schema.get()),
        _ => Err(wrong(&path, "an object", schema)),
    }
}

/// What OpenAI would refuse for its length is sent as its SHA-256, which tells users apart as well.
fn user<'a>(top: &Object<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
    let path = Path::top("metadata");
    let Some(raw) = top.get("metadata") else {
        return Ok(None);
    };
    let Some(id) = object(raw, &path)?.get("user_id") else {
        return Ok(None);
    };
    let id = text(id).ok_or_else(|| wrong(&path.field("user_id"), "a string", id))?;
    if id.is_empty() {
        return Ok(None);
    }
    if id.chars().nth(USER_MAX).is_none() {
        return Ok(Some(id));
    }
    let mut hex = String::with_capacity(USER_MAX);
    for byte in Sha256::digest(id.as_bytes()) {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(Some(Cow::Owned(hex)))
}

fn standard(
    top: &Object<'_>,
    capabilities: &Capabilities,
    warnings: &mut Warnings,
) -> Result<bool, Rejection> {
    let Some(raw) = top.get("service_tier") else {
        return Ok(false);
    };
    let tier = text(raw).ok_or_else(|| wrong(&Path::top("service_tier"), "a string", raw))?;
    match tier.as_ref() {
        // What OpenAI does by itself.
        "auto" => Ok(false),
        "standard_only" if capabilities.service_tier => Ok(true),
        _ => {
            warnings.add("service_tier", "dropped");
            Ok(false)
        }
    }
}
