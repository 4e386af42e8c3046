//! Why a route did not do what it was asked, and how that becomes an answer.
//!
//! A handler returns a [`Fault`]; it travels to the outermost layer in the response's extensions,
//! because only there the request id and the format of the path are at hand.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use crate::admission::Refusal;
use crate::keys::KeyError;
use crate::usage::QueryError;
use crate::wire::error::{ClientFormat, ErrorKind, render_json};
use crate::wire::text::clean;

/// Seconds after which a successor has surely taken over (gateway.md section 7).
const HANDOVER_S: u64 = 6;

/// What handlers answer.
pub(super) type Answer = Result<Response, Fault>;

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Fault(Box<Told>);

#[derive(Debug)]
struct Told {
    refusal: Refusal,
    /// Each single error, where there are several (`POST /admin/reload`).
    errors: Vec<String>,
}

#[derive(Clone)]
struct Marked(Arc<Told>);

impl Fault {
    pub fn new(status: u16, kind: ErrorKind, message: impl Into<String>) -> Self {
        Refusal::new(status, kind, message).into()
    }

    /// 400 about one field of the request.
    pub fn field(field: &str, what: impl std::fmt::Display) -> Self {
        Refusal::invalid(Some(field), clean(&format!("{field}: {what}"))).into()
    }

    /// 404 that does not repeat the path: a key may stand in it.
    pub fn no_route(path: &str) -> Self {
        let hint = match path.len() > 1 && path.ends_with('/') {
            true => "; drop the slash at the end of the path or base URL",
            false => "",
        };
        let message = format!("there is no such route on this gateway{hint}");
        Self::new(404, ErrorKind::NotFound, message)
    }

    /// 422 with every error.
    pub fn errors(message: impl Into<String>, errors: Vec<String>) -> Self {
        Self(Box::new(Told {
            refusal: Refusal::new(422, ErrorKind::InvalidRequest, message),
            errors,
        }))
    }

    /// A change that this process does not make any more.
    pub fn handed_over(message: impl Into<String>) -> Self {
        let mut refusal = Refusal::new(503, ErrorKind::Api, message);
        refusal.error.retry_after_s = Some(HANDOVER_S);
        refusal.into()
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(Told {
            refusal,
            errors: Vec::new(),
        }))
    }
}

impl From<KeyError> for Fault {
    fn from(error: KeyError) -> Self {
        // Names and fields are the caller's text: a secret may have got among them.
        let message = clean(&error.public());
        match error {
            KeyError::NotFound => Self::new(404, ErrorKind::NotFound, message),
            KeyError::Conflict { .. } => {
                let mut refusal = Refusal::new(409, ErrorKind::InvalidRequest, message);
                refusal.error.param = Some("name".to_owned());
                refusal.into()
            }
            KeyError::Invalid { field, .. } => {
                Refusal::invalid(Some(&clean(&field)), message).into()
            }
            KeyError::Full { .. } => Refusal::invalid(None, message).into(),
            KeyError::HandedOver => Self::handed_over(message),
            KeyError::Store(_) | KeyError::Damaged { .. } | KeyError::Random => {
                log::error!("a change of the keys failed: {error}");
                Self::new(500, ErrorKind::Api, message)
            }
        }
    }
}

impl From<QueryError> for Fault {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Range(error) => {
                let message = error.to_string();
                let field = message.split([':', ',']).next();
                Refusal::invalid(field, message.clone()).into()
            }
            QueryError::Unreadable(message) => {
                log::error!("usage cannot be read: {message}");
                Self::new(
                    500,
                    ErrorKind::Api,
                    "usage of that time cannot be read; the gateway's log says which file",
                )
            }
            QueryError::Stopped => {
                let mut refusal = Refusal::new(503, ErrorKind::Api, error.to_string());
                refusal.error.retry_after_s = Some(HANDOVER_S);
                refusal.into()
            }
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = status(self.0.refusal.error.status).into_response();
        response.extensions_mut().insert(Marked(Arc::from(self.0)));
        response
    }
}

/// The answer to a request whose `response` may be a fault, and the limit that it counts on.
/// What axum refuses by itself (a method that a route does not take) is put into words here too.
pub(super) fn render(
    mut response: Response,
    format: ClientFormat,
    request_id: &str,
) -> (Response, Option<&'static str>) {
    if let Some(Marked(told)) = response.extensions_mut().remove::<Marked>() {
        let limit = told.refusal.limit;
        return (answer(&told, response.headers(), format, request_id), limit);
    }
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return (response, None);
    }
    // axum writes that header last, outside of this layer.
    let message =
        "this route does not take this method; the allow header names those that it takes";
    let told = Told {
        refusal: Refusal::new(405, ErrorKind::InvalidRequest, message),
        errors: Vec::new(),
    };
    (answer(&told, response.headers(), format, request_id), None)
}

fn answer(told: &Told, headers: &HeaderMap, format: ClientFormat, request_id: &str) -> Response {
    let error = &told.refusal.error;
    let mut body = render_json(format, error, request_id);
    if !told.errors.is_empty()
        && let Ok(Value::Object(mut map)) = serde_json::from_slice(&body)
    {
        map.insert("errors".to_owned(), told.errors.clone().into());
        body = Value::Object(map).to_string().into_bytes();
    }
    let mut response = (status(error.status_for(format)), body).into_response();
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(wait) = error.retry_after_s {
        out.insert(RETRY_AFTER, HeaderValue::from(wait.max(1)));
    }
    if error.should_not_retry() {
        out.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    if let Some(allow) = headers.get(ALLOW) {
        out.insert(ALLOW, allow.clone());
    }
    if let Some(allow) = told.refusal.allow {
        out.insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
