//! The request path's side: a queue that never waits.
//!
//! Up to [`QUEUE_BOUND`] requests wait singly. When the owner falls behind that (a disk that hangs), further ones are added
//! up by quarter of an hour, key and model instead, so that memory stays bounded and the sums stay right; only when there
//! are more than [`OVERFLOW_CELLS`] of those are requests lost, and then they are counted as lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use super::calendar::SLOT_MS;
use super::handle::Trouble;
use super::owner::Command;
use super::{Counters, Finished, Millis};

/// Requests that may wait singly; at some 400 bytes each.
pub(super) const QUEUE_BOUND: u64 = 65_536;

/// Sums that may wait once the queue is full.
const OVERFLOW_CELLS: usize = 16_384;

/// What meter, owner and handle share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Requests handed to `record`.
    pub(super) recorded: AtomicU64,
    /// Of these, out of the queue and in the aggregates.
    pub(super) applied: AtomicU64,
    /// Of these, in files.
    pub(super) written: AtomicU64,
    /// Requests that could not be kept.
    pub(super) lost: AtomicU64,
    /// The owner's thread has ended.
    pub(super) ended: AtomicBool,
    pub(super) trouble: Mutex<Option<Trouble>>,
    pub(super) overflow: Mutex<Overflow>,
}

/// Sums of requests that found the queue full.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    pub(super) cells: HashMap<(u64, Arc<str>, Arc<str>), Counters>,
    /// Requests in `cells`.
    pub(super) requests: u64,
}

impl Overflow {
    /// A moment within the slot, for cutting days and hours.
    pub(super) fn time_of(slot: u64) -> Millis {
        slot.saturating_mul(SLOT_MS)
    }

    /// False when there is no room.
    fn add(&mut self, finished: &Finished) -> bool {
        let full = self.cells.len() >= OVERFLOW_CELLS;
        let id = (
            finished.time_ms / SLOT_MS,
            Arc::clone(&finished.key_id),
            Arc::clone(&finished.served_model),
        );
        match self.cells.get_mut(&id) {
            Some(sum) => sum.add(&finished.counters()),
            None if full => return false,
            None => {
                self.cells.insert(id, finished.counters());
            }
        }
        self.requests += 1;
        true
    }
}

/// Takes finished requests. Cheap to clone, one for each worker or one for all.
#[derive(Clone, Debug)]
pub struct Meter {
    pub(super) queue: Sender<Command>,
    pub(super) shared: Arc<Shared>,
}

impl Meter {
    /// Counts one finished request. Never waits: the queue is lock-free. Only with a full queue is a lock taken, which
    /// nobody holds for longer than one addition.
    pub fn record(&self, finished: Finished) {
        let shared = &self.shared;
        let number = shared
            .recorded
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        let waiting = number.saturating_sub(shared.applied.load(Ordering::Relaxed));
        let kept = if waiting > QUEUE_BOUND {
            let mut overflow = shared
                .overflow
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            overflow.add(&finished)
        } else {
            self.queue
                .send(Command::Finished(Box::new(finished)))
                .is_ok()
        };
        if !kept {
            // It will never be applied or written; without this the gauges would wait for it for ever.
            shared.applied.fetch_add(1, Ordering::Relaxed);
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
