//! The one owner of durable small files: whole-file atomic replacement, bounded reading, and the
//! lock on the data folder.
//!
//! Invariants: a reader sees the old file or the new one, never a mixture; a file is private
//! (0600) from the moment it exists; a write that was acknowledged survives a power cut. Errors
//! say what was being done, where, and what to do about it.
//!
//! Neighbours: `keys` keeps keys.json through this module and `usage` its day files. Nothing here
//! knows what is in a file.

mod atomic;
mod error;
mod lock;
#[cfg(test)]
mod tests;

pub use atomic::{
    Fingerprint, Staged, create_folder, read_file, read_stamped, remove_leftovers, write_atomic,
    write_new,
};
pub use error::StoreError;
pub use lock::DataLock;
