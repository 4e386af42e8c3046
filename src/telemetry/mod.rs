//! What Luna says about itself: the Prometheus series, the ring of recent events, the log.
//!
//! Invariants: label sets stay bounded whatever clients send; nothing here
//! holds or prints a secret, a body or a query string. Neighbours: `gateway`,
//! `quota` and `admin` report here; nothing here knows any of them.

pub mod events;
pub mod logging;
mod metrics;

pub use events::{Event, EventKind, Events};
pub use metrics::{Metrics, OTHER_MODEL};
