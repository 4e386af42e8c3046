//! Client keys and the admin key: who may call, kept in keys.json.
//!
//! * [`KeyTable`] is an immutable snapshot: a request loads it once, finds its key by SHA-256 and
//!   holds the [`KeyEntry`] to its end. No lock on that path.
//! * [`KeyStore`] is the one owner of keys.json. A change is on disk before it is acknowledged and
//!   before the new snapshot is swapped in; when the write fails nothing has changed.
//! * [`import_into`] takes over the plain keys.json of the old Python proxy.
//!
//! Invariants: a secret is known only while it is being handed out, at rest there is its SHA-256;
//! ids, names and hashes are unique over the table; a file that cannot be understood is never
//! overwritten; no secret and no hash in `Debug`, errors or logs.
//!
//! Neighbours: `store` writes the file; `admission` asks the table; `admin` and `cli` call the
//! store; `usage` persists totals through [`KeyStore::set_totals`]. The model allow-list of a key
//! is matched by `routing`.

mod digest;
mod error;
mod file;
mod import;
mod input;
mod merge;
mod ops;
mod parse;
mod record;
mod reload;
mod store;
mod table;
#[cfg(test)]
pub(crate) mod tests;

pub use digest::Secret;
pub use error::KeyError;
pub use import::{ImportReport, import_into};
pub use input::{KeyPatch, NewKey, grace_from_json};
pub use merge::{KeyRef, ReloadReport};
pub use parse::{Checked, check_file};
pub use record::{KeyInfo, Totals};
pub use reload::Reload;
pub use store::{KeyStore, Opened};
pub use table::{Auth, KeyEntry, KeyTable};

/// The id and the name of the admin key itself, which is not in the list of keys. No client key
/// may take the name: metrics are labelled by it.
pub const ADMIN_ID: &str = "admin";
