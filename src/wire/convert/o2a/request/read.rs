//! What every part of the request's conversion reads with: checked fields, their places, and short names for errors.
//!
//! Invariant: a [`Place`] costs nothing until an error needs its text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::wire::convert::json::{self, Kind, Object, has_lone_surrogate};
use crate::wire::convert::{Capabilities, Rejection, Warnings};

/// Top-level members of a request that are read; real requests have a few dozen.
const FIELDS_MAX: usize = 1000;
/// Messages of a request (Anthropic takes no more), and elements of every other array of objects.
pub const MESSAGES_MAX: usize = 100_000;
/// Members of all objects of one array.
const MEMBERS_MAX: usize = 1_000_000;
const TOO_MANY: &str = "the objects of an array have too many members";
/// Characters of a client's name or type that an error repeats.
const SHORT: usize = 60;

/// What reading depends on, and where losses are noted.
#[derive(Debug)]
pub struct Reader<'c> {
    pub capabilities: &'c Capabilities,
    pub warnings: Warnings,
}

/// Where in `messages` something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub message: usize,
    pub part: Option<usize>,
}

impl Place {
    pub const fn message(message: usize) -> Self {
        Self {
            message,
            part: None,
        }
    }

    pub const fn part(self, part: usize) -> Self {
        Self {
            message: self.message,
            part: Some(part),
        }
    }

    /// The client's name of the member `tail`: `messages[1].content[0].type`.
    pub fn param(self, tail: &str) -> String {
        let dot = if tail.is_empty() { "" } else { "." };
        match self.part {
            Some(part) => format!("messages[{}].content[{part}]{dot}{tail}", self.message),
            None => format!("messages[{}]{dot}{tail}", self.message),
        }
    }

    pub fn reject(self, tail: &str, message: impl Into<String>) -> Rejection {
        Rejection::new(self.param(tail), message)
    }
}

/// The request's members, the messages read one level further: they are nearly all of it, and so are read once less.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    pub messages: Option<Vec<Object<'a>>>,
}

impl<'a> Fields<'a> {
    /// The member, when it is there and not null. Of a key given twice the last one counts, as in JavaScript.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut last_first = self.members.iter().rev();
        last_first
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
            .filter(|value| value.get() != "null")
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        #[derive(Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(Key(key)) = map.next_key()? {
                    if key == "messages" {
                        fields.messages = map.next_value::<Option<Messages<'de>>>()?.map(|m| m.0);
                        continue;
                    }
                    let value = map.next_value()?;
                    if fields.members.len() <= FIELDS_MAX {
                        fields.members.push((key, value));
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Objects, but not many more than may be sent: a small one takes many times its bytes in memory.
struct Messages<'a>(Vec<Object<'a>>);

impl<'de> Deserialize<'de> for Messages<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = Messages<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Messages<'de>, A::Error> {
                let mut messages: Vec<Object<'de>> = Vec::new();
                let mut members = 0;
                while messages.len() <= MESSAGES_MAX {
                    let Some(message) = seq.next_element::<Object<'de>>()? else {
                        return Ok(Messages(messages));
                    };
                    members += message.len();
                    if members > MEMBERS_MAX {
                        return Err(A::Error::custom(TOO_MANY));
                    }
                    messages.push(message);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Messages(messages))
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}

/// Reads the whole body.
///
/// # Errors
/// No JSON object, text in it that is no Unicode, messages that are no array of objects.
pub fn body(body: &[u8]) -> Result<Fields<'_>, Rejection> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Rejection::plain("The body is not UTF-8, so it is no JSON."))?;
    let fields: Fields<'_> = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(fault) => return Err(unreadable(text, &fault)),
    };
    if has_lone_surrogate(body) {
        return Err(Rejection::plain(
            "The body holds half of a surrogate pair (a \\ud800 to \\udfff escape without its partner).",
        ));
    }
    if fields.members.len() > FIELDS_MAX {
        return Err(Rejection::plain(format!(
            "The body has more than {FIELDS_MAX} members."
        )));
    }
    Ok(fields)
}

/// What is wrong with a body that [`Fields`] cannot read.
fn unreadable(body: &str, fault: &serde_json::Error) -> Rejection {
    const MESSAGES: &str = "messages";
    if json::is_too_many(fault) || is_too_many(fault) {
        return Rejection::plain(format!(
            "Too much of the body is members of objects: a message may have {}, all messages together {MEMBERS_MAX}.",
            json::MEMBERS_MAX
        ));
    }
    match Object::parse(body.as_bytes()) {
        Err(fault) => Rejection::plain(format!(
            "The body is not a JSON object: it cannot be read at line {}, column {}.",
            fault.line(),
            fault.column()
        )),
        // Also an earlier one of two that a good one follows.
        Ok(fields) => fields
            .get(MESSAGES)
            .and_then(|raw| object_list(raw, || MESSAGES.to_owned()).err())
            .unwrap_or_else(|| Rejection::new(MESSAGES, "Must be an array of objects.")),
    }
}

/// A client's word, cut and without control characters, so that an error can repeat it.
pub fn short(word: &str) -> String {
    let mut out: String = word
        .chars()
        .take(SHORT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if out.len() < word.len() && word.chars().nth(SHORT).is_some() {
        out.push_str("...");
    }
    out
}

fn is_too_many(fault: &serde_json::Error) -> bool {
    fault.is_data() && fault.to_string().starts_with(TOO_MANY)
}

/// The elements of the array called `name`, all of them objects, read in one pass.
///
/// # Errors
/// No array, too long a one, an element that is no object.
pub fn object_list<'a>(
    raw: &'a RawValue,
    name: impl Fn() -> String,
) -> Result<Vec<Object<'a>>, Rejection> {
    let fault = match serde_json::from_str::<Messages<'a>>(raw.get()) {
        Ok(Messages(objects)) if objects.len() <= MESSAGES_MAX => return Ok(objects),
        Ok(_) => {
            return Err(Rejection::new(
                name(),
                format!("There are more than {MESSAGES_MAX} elements."),
            ));
        }
        Err(fault) => fault,
    };
    if is_too_many(&fault) {
        return Err(Rejection::new(
            name(),
            format!("The elements have more than {MEMBERS_MAX} members together."),
        ));
    }
    let elements =
        json::array(raw).ok_or_else(|| Rejection::new(name(), must_be("an array", raw)))?;
    let wrong = elements
        .iter()
        .enumerate()
        .find(|(_, element)| Object::of(element).is_none());
    Err(match wrong {
        Some((index, element)) => Rejection::new(
            format!("{}[{index}]", name()),
            must_be("an object", element),
        ),
        None => Rejection::new(name(), "Must be an array of objects."),
    })
}

/// `Must be a string, not a number.`
pub fn must_be(what: &str, raw: &RawValue) -> String {
    let why = json::unfit(what, raw);
    let mut rest = why.chars();
    let first = rest.next().map(|c| c.to_ascii_uppercase());
    format!("{}{}.", first.unwrap_or_default(), rest.as_str())
}

/// A member that must be an object.
///
/// # Errors
/// It is missing, or something else; `param` names it.
pub fn inner<'a>(
    of: &Object<'a>,
    name: &str,
    param: impl FnOnce() -> String,
) -> Result<Object<'a>, Rejection> {
    match of.get(name) {
        Some(raw) => {
            Object::of(raw).ok_or_else(|| Rejection::new(param(), must_be("an object", raw)))
        }
        None => Err(Rejection::new(param(), "Must be an object.")),
    }
}

/// A top-level string.
pub fn text<'a>(
    fields: &Fields<'a>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    fields
        .get(name)
        .map(|raw| json::text(raw).ok_or_else(|| Rejection::new(name, must_be("a string", raw))))
        .transpose()
}

/// A top-level boolean; false when it is absent.
pub fn flag(fields: &Fields<'_>, name: &'static str) -> Result<Option<bool>, Rejection> {
    match fields.get(name) {
        None => Ok(None),
        Some(raw) => match raw.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(Rejection::new(name, must_be("a boolean", raw))),
        },
    }
}

/// A top-level number, with its digits.
pub fn number<'a>(
    fields: &Fields<'a>,
    name: &'static str,
) -> Result<Option<(f64, &'a str)>, Rejection> {
    let Some(raw) = fields.get(name) else {
        return Ok(None);
    };
    let value = match json::kind(raw) {
        Kind::Number => raw.get().parse().ok(),
        _ => None,
    };
    match value {
        Some(value) => Ok(Some((value, raw.get()))),
        None => Err(Rejection::new(name, must_be("a number", raw))),
    }
}

/// A string's literal that is more than white space. The body was searched for lone surrogates, so none is left here.
pub fn said(raw: &RawValue) -> Option<&str> {
    let literal = raw.get();
    let inner = literal.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
    (!is_blank(inner.unwrap_or_default())).then_some(literal)
}

/// Whether what stands between a literal's quotes is nothing but white space; decodes no more than it must.
fn is_blank(inner: &str) -> bool {
    let mut rest = inner.chars();
    while let Some(mut c) = rest.next() {
        if c == '\\' {
            c = match rest.next() {
                Some('n' | 't' | 'r' | 'f') => ' ',
                Some('u') => {
                    let Some((digits, behind)) = rest.as_str().split_at_checked(4) else {
                        return false;
                    };
                    rest = behind.chars();
                    let code = u32::from_str_radix(digits, 16).ok();
                    // Half of a pair is of no white space.
                    code.and_then(char::from_u32).unwrap_or('x')
                }
                _ => return false,
            };
        }
        if !c.is_whitespace() {
            return false;
        }
    }
    true
}

/// The extension `cache_control` of anything that may carry it.
pub fn cache_control<'a>(
    of: &Object<'a>,
    name: impl Fn() -> String,
) -> Result<Option<&'a RawValue>, Rejection> {
    match of.get("cache_control") {
        Some(raw) if json::kind(raw) != Kind::Object => {
            Err(Rejection::new(name(), must_be("an object", raw)))
        }
        found => Ok(found),
    }
}
