//! What the real APIs refuse with 400, so that a bad conversion cannot hide behind a lenient simulator.
//!
//! The rules are those of the public API references and of errors that their servers are known to give; names of
//! fields stand as each API writes them (`messages.0.content`, `messages[0].content`). Where the real servers differ
//! by model, the stricter of the current ones is taken. `metadata.sim` is the simulator's own and passes.

mod anthropic;
mod messages;
mod openai;
mod turns;

use std::fmt;

use super::Generation;
use super::raw::Node;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// The field, when the rule is about one.
    pub(super) param: Option<String>,
    pub(super) message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{param}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

type Rule<T = ()> = Result<T, Broken>;

fn broken<T>(param: impl Into<String>, message: impl Into<String>) -> Rule<T> {
    Err(Broken {
        param: Some(param.into()),
        message: message.into(),
    })
}

/// Breaks the rule `message` unless `holds`.
fn rule(holds: bool, param: impl Into<String>, message: impl Into<String>) -> Rule {
    if holds {
        Ok(())
    } else {
        broken(param, message)
    }
}

fn is_name(text: &str) -> bool {
    let clean = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !text.is_empty() && text.bytes().all(clean)
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A number within a range, if the field is there.
fn within(body: Node<'_>, name: &str, least: f64, most: f64) -> Rule {
    let Some(value) = body.some(name) else {
        return Ok(());
    };
    let holds = value.number().is_some_and(|n| (least..=most).contains(&n));
    rule(
        holds,
        name,
        format!("must be a number from {least} to {most}"),
    )
}

fn known_fields(body: Node<'_>, known: &[&str], says: &str) -> Rule {
    let mut seen = std::collections::BTreeSet::new();
    for (name, _) in body.fields() {
        rule(known.contains(&name.as_str()), name.as_str(), says)?;
        rule(!seen.contains(&name), name.as_str(), "stands twice")?;
        seen.insert(name);
    }
    Ok(())
}

/// Checks a body by the rules of the generation's dialect.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check(generation: Generation, body: &[u8]) -> Rule {
    let plain = |message: &str| Broken {
        param: None,
        message: message.to_owned(),
    };
    let text = std::str::from_utf8(body).map_err(|_| plain("the body is not UTF-8"))?;
    let body = Node::parse(text).map_err(|_| plain("the body is not JSON"))?;
    if !body.is_object() {
        return Err(plain("the body is not an object"));
    }
    match generation {
        Generation::OpenAi => openai::check(body),
        _ => anthropic::check(body, generation),
    }
}
