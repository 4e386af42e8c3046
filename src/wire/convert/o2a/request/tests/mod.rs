//! The request's conversion: properties over generated requests, what the answer's conversion is told, and what is too
//! large for a golden case (the other cases are under `tests/conformance/wire/o2a-request`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

mod back;
mod conversations;
mod properties;
mod reading;
mod sizes;
mod validator;
mod wild;

use super::request;
use crate::wire::convert::o2a::Back;
use crate::wire::convert::{Capabilities, Converted, Rejection, Target};

fn convert(body: &str, capabilities: &Capabilities) -> Result<Converted<Back>, Rejection> {
    let target = Target {
        model: "claude-sonnet-4-5",
        capabilities,
    };
    request(body.as_bytes(), &target)
}

fn converted(body: &str, capabilities: &Capabilities) -> Converted<Back> {
    convert(body, capabilities).unwrap_or_else(|rejection| panic!("{rejection:?}: {body}"))
}

/// A request of one user message and these further members.
fn hi(more: &str) -> String {
    format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hi"}}]{more}}}"#)
}
