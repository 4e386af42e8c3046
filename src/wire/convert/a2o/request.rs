//! A Messages request as a Chat Completions request (contracts/conversion.md, sections 4, 10 and 11).
//!
//! `turns` reads the messages, `blocks` their contents, `tools` what may be called, `options` everything else; `write`
//! puts the request together. Invariants: nothing is written before the whole request has been read and found good;
//! texts, schemas, arguments and numbers are copied as the client spelled them.

mod blocks;
mod options;
mod path;
mod tools;
mod turns;
mod write;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::options::Options;
use self::path::Path;
use self::tools::Offer;
use self::turns::{Message, Turns};
use super::Back;
use crate::wire::convert::json::{
    MEMBERS_MAX, Object, array, has_lone_surrogate, is_too_many, literal, text, unfit,
};
use crate::wire::convert::names::Names;
use crate::wire::convert::{Converted, Rejection, Target, Warnings};
use crate::wire::count;

/// Longest name or id that an error text repeats, in characters.
const BRIEF: usize = 64;

/// Converts the client's own body for one tier.
///
/// # Errors
/// What cannot be served without changing its meaning (contracts/conversion.md, section 11).
pub fn request(body: &[u8], target: &Target<'_>) -> Result<Converted<Back>, Rejection> {
    let top = Object::parse(body).map_err(|error| unreadable(&error))?;
    if has_lone_surrogate(body) {
        return Err(Rejection::plain(
            "the body holds one half of a surrogate pair (\\ud800 to \\udfff): no character",
        ));
    }
    match top.text("model") {
        Some(model) if !model.is_empty() => {}
        _ => return Err(Path::top("model").reject("must be the name of a model")),
    }
    let mut warnings = Warnings::default();
    let options = Options::read(&top, target.capabilities, &mut warnings)?;
    let offer = Offer::read(&top, target.capabilities, &mut warnings)?;
    let system = system(top.get("system"))?;
    let messages = Turns::read(&top, target.capabilities, &mut warnings)?;
    if matches!(messages.last(), Some(Message::Assistant { .. })) {
        warnings.add("prefill", "not_continued");
    }
    let names = names(&offer, &messages);
    let back = Back {
        stream: options.stream,
        input_estimate: count::estimate(&top).max(1),
        names,
    };
    let body = write::Request {
        target,
        names: &back.names,
        system: &system,
        messages: &messages,
        offer: &offer,
        options: &options,
    }
    .write(body.len());
    Ok(Converted {
        body,
        warnings,
        back,
    })
}

/// Serde's own words would repeat what the client sent.
fn unreadable(error: &serde_json::Error) -> Rejection {
    if is_too_many(error) {
        return Rejection::plain(format!("the body has more than {MEMBERS_MAX} members"));
    }
    Rejection::plain(format!(
        "the body is not a JSON object: it cannot be read at line {}, column {}",
        error.line(),
        error.column()
    ))
}

/// The texts of `system`, as literals; blank ones are left out.
fn system(raw: Option<&RawValue>) -> Result<Vec<&str>, Rejection> {
    let path = Path::top("system");
    raw.map_or(Ok(Vec::new()), |raw| blocks::texts(raw, &path))
}

fn names(offer: &Offer<'_>, messages: &[Message<'_>]) -> Names {
    let called = messages.iter().flat_map(|message| match message {
        Message::Assistant { calls, .. } => calls.as_slice(),
        _ => &[],
    });
    let all: Vec<&str> = offer
        .tools
        .iter()
        .map(|tool| tool.name.as_ref())
        .chain(called.map(|call| call.name.as_ref()))
        .collect();
    Names::of(all.iter().copied())
}

/// The text of a member that must be there and not be empty.
fn required<'a>(
    object: &Object<'a>,
    name: &'static str,
    path: &Path<'_>,
) -> Result<Cow<'a, str>, Rejection> {
    match object.get(name).map(text) {
        Some(Some(text)) if !text.is_empty() => Ok(text),
        Some(Some(_)) => Err(path.field(name).reject("must not be empty")),
        Some(None) => Err(path.field(name).reject("must be a string")),
        None => Err(path.field(name).reject("is required")),
    }
}

/// The literal of a member that may be missing.
fn optional<'a>(
    object: &Object<'a>,
    name: &'static str,
    path: &Path<'_>,
) -> Result<Option<&'a str>, Rejection> {
    object
        .get(name)
        .map(|raw| literal(raw).ok_or_else(|| wrong(&path.field(name), "a string", raw)))
        .transpose()
}

/// The elements of a member that may be missing.
fn list<'a>(object: &Object<'a>, name: &'static str) -> Result<Vec<&'a RawValue>, Rejection> {
    object.get(name).map_or(Ok(Vec::new()), |raw| {
        array(raw).ok_or_else(|| wrong(&Path::top(name), "an array", raw))
    })
}

fn object<'a>(raw: &'a RawValue, path: &Path<'_>) -> Result<Object<'a>, Rejection> {
    Object::of(raw).ok_or_else(|| wrong(path, "an object", raw))
}

fn wrong(path: &Path<'_>, wanted: &str, raw: &RawValue) -> Rejection {
    path.reject(unfit(wanted, raw))
}

/// A name as error texts repeat it.
fn brief(name: &str) -> String {
    if name.chars().count() <= BRIEF {
        return name.to_owned();
    }
    let mut cut: String = name.chars().take(BRIEF).collect();
    cut.push('…');
    cut
}
