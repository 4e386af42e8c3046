//! Why a request is not let in, as data.

use crate::wire::error::{ClientError, ErrorKind};

/// An answer that Luna gives itself, before any upstream is asked.
#[derive(Debug)]
pub struct Refusal {
    /// What the client is told.
    pub error: ClientError,
    /// `limited_total{limit}` to count, for refusals by a limit.
    pub limit: Option<&'static str>,
    /// `Allow` of a 405.
    pub allow: Option<&'static str>,
}

impl Refusal {
    /// A refusal of `kind` with Luna's own `message`.
    pub fn new(status: u16, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            error: ClientError {
                status,
                kind,
                message: message.into(),
                param: None,
                code: None,
                retry_after_s: None,
                details: None,
            },
            limit: None,
            allow: None,
        }
    }

    /// 400, naming the field that is wrong.
    pub fn invalid(param: Option<&str>, message: impl Into<String>) -> Self {
        let mut refusal = Self::new(400, ErrorKind::InvalidRequest, message);
        refusal.error.param = param.map(str::to_owned);
        refusal
    }

    /// 503, at once: one of the house's own limits is reached.
    pub fn full_house(limit: &'static str, message: impl Into<String>) -> Self {
        let mut refusal = Self::new(503, ErrorKind::Api, message);
        refusal.error.retry_after_s = Some(1);
        refusal.limit = Some(limit);
        refusal
    }
}
