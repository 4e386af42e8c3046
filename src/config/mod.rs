//! Files and environment become one immutable [`Settings`].
//!
//! Every setting is listed once, in `schema`; the loader, the example file, the reference in `docs/configuration.md`
//! and the comparison on reload are all derived from that list. The way of a value: `source` (luna.toml with line
//! numbers) and `environment` (variables, which win) are laid over each other as `Given` values, checked against
//! their kind in `value`, and made into types by `build` and `upstream`. `fallback` and `old_form` read fallback.json
//! over `json`, which knows lines too. `refuse` holds what is understood but not allowed: example secrets and what a
//! later version brings.
//!
//! Invariants: a load never stops at the first error; a `Settings` that exists is complete and consistent; no secret is
//! ever shown; nothing here opens a socket or writes a file. Neighbours: `routing` resolves the chains read here,
//! `cli` and `admin` call [`load`] and [`Settings::diff`].

mod build;
mod environment;
mod fallback;
mod json;
mod old_form;
mod prices;
mod problem;
mod refuse;
mod reload;
mod routes;
mod schema;
mod schema_text;
mod secret;
mod settings;
mod source;
mod upstream;
mod upstreams;
mod value;
mod values;

mod load;

#[cfg(test)]
mod tests;

pub use load::{LoadOptions, load};
pub use problem::Problem;
pub use reload::Reload;
pub use schema_text::{example, reference};
pub use secret::Secret;
pub use settings::{
    Admin, Fallback, Lark, LarkCard, LarkOauth, Metrics, OnDisconnect, Quota, Server, Settings,
    Store, Streams, Usage,
};
pub use upstream::{BaseUrl, Capabilities, Health, Http2, Limits, Profile, Reasoning, Upstream};
