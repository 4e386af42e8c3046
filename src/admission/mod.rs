//! Who may call, and what a call asks for: everything that is decided before an upstream is.
//!
//! Two tower stacks, because the body is read only when the key is known:
//! [`door`] works on the request head, [`plan`] on head and body. Each layer
//! gets just what it needs and is ready at once, so a stack costs a few calls.
//! A [`Refusal`] is turned into the client's answer in one place, by `gateway`.
//!
//! Neighbours: `keys` and `routing` are asked here; `gateway` calls the stacks
//! and `admin` shares the [`auth::Authenticator`].

pub mod auth;
pub mod door;
pub mod guard;
pub mod plan;
pub mod refusal;

pub use auth::{Authenticator, Identity};
pub use refusal::Refusal;
