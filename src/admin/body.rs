//! Bodies and queries of the admin API, read within bounds.

use axum::extract::Request;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Query};
use serde_json::{Map, Value};

use super::MAX_BODY;
use super::fault::Fault;
use crate::wire::error::ErrorKind;
use crate::wire::text::clean;

/// The longest single text that a field or parameter may hold, in bytes.
const MAX_TEXT: usize = 1024;

/// A JSON object; no body counts as an empty one. The content-type is not looked at: people send
/// these with curl, and no browser can send our key header without asking first.
pub(super) struct Fields(pub Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Fault;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Fault> {
        let bytes = axum::body::to_bytes(request.into_body(), MAX_BODY)
            .await
            .map_err(|_| {
                Fault::new(
                    413,
                    ErrorKind::TooLarge,
                    format!("the request body is over {MAX_BODY} bytes, or broke off"),
                )
            })?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(Fault::field("body", "must be a JSON object")),
            Err(error) => Err(Fault::field("body", format!("is not JSON: {error}"))),
        }
    }
}

impl Fields {
    /// The whole, for the readers of `keys`.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Refuses every field that is not in `known`.
    pub fn only(&self, known: &[&str]) -> Result<(), Fault> {
        match self.0.keys().find(|field| !known.contains(&field.as_str())) {
            Some(field) => Err(unknown(field, known)),
            None => Ok(()),
        }
    }

    /// A text; `null` and absence are the same.
    pub fn text(&self, field: &'static str) -> Result<Option<&str>, Fault> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => {
                Err(Fault::field(field, "must not be empty"))
            }
            Some(Value::String(text)) if text.len() > MAX_TEXT => Err(too_long(field)),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::field(field, "must be a string")),
        }
    }
}

/// The query as pairs.
pub(super) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The values of `known` parameters in that order; an empty value counts as absent. A parameter
/// that is not known is refused, because a filter that is misspelt would show everything.
pub(super) fn parameters<const N: usize>(
    pairs: Pairs,
    known: [&'static str; N],
) -> Result<[Option<String>; N], Fault> {
    let Query(pairs) = pairs.map_err(|_| {
        Fault::new(
            400,
            ErrorKind::InvalidRequest,
            "the query of the URL cannot be read",
        )
    })?;
    let mut values = [const { None }; N];
    for (name, value) in pairs {
        let slot = known
            .iter()
            .zip(&mut values)
            .find(|(known, _)| **known == name);
        let Some((name, slot)) = slot else {
            return Err(unknown(&name, &known));
        };
        if value.len() > MAX_TEXT {
            return Err(too_long(name));
        }
        if slot.is_some() {
            return Err(Fault::field(name, "is given twice"));
        }
        if !value.is_empty() {
            *slot = Some(value);
        }
    }
    Ok(values)
}

fn too_long(field: &str) -> Fault {
    Fault::field(field, format!("is over {MAX_TEXT} bytes"))
}

fn unknown(field: &str, known: &[&str]) -> Fault {
    let shown: String = clean(field).chars().take(40).collect();
    let known = if known.is_empty() {
        "nothing is taken here".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    Fault::field(&shown, format!("is not known here; {known}"))
}
