//! The request path's side: a queue that never waits. The journal's thread is at its other end.
//!
//! Up to [`QUEUE_BOUND`] requests wait singly. When the owner falls behind that (a disk that hangs), further ones are added
//! up by quarter of an hour, key and model instead, so that memory stays bounded and the sums stay right; only when there
//! are more than [`OVERFLOW_CELLS`] of those are requests lost, and then they are counted as lost.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use tokio::sync::oneshot;

use super::calendar::SLOT_MS;
use super::owner::Work;
use super::trouble::{Part, Troubles};
use super::{Counters, Finished, Millis, Store};

/// Requests that may wait singly; at some 400 bytes each.
pub(super) const QUEUE_BOUND: u64 = 65_536;

/// Sums that may wait once the queue is full.
const OVERFLOW_CELLS: usize = 16_384;

/// A question to the owner.
pub(super) type Question = Box<dyn FnOnce(&mut Store) + Send>;

/// Who waits for a compaction.
pub(super) type Done = oneshot::Sender<Result<(), String>>;

/// What comes through the queue.
pub(super) enum Command {
    Finished(Box<Finished>),
    Ask(Question),
    Compact(Done),
    /// Everything into files; then only to a journal.
    HandOver(Done),
    /// The files are ours.
    TakeOver,
    Stop,
}

/// What meter, journal, owner and handle share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Requests handed to `record`.
    pub(super) recorded: AtomicU64,
    /// Of these, out of the queues and in the aggregates.
    pub(super) applied: AtomicU64,
    /// Of these, in files: the journal or compacted ones.
    pub(super) written: AtomicU64,
    /// Requests that could not be kept.
    pub(super) lost: AtomicU64,
    /// The owner's thread has ended.
    pub(super) ended: AtomicBool,
    /// A compaction is on its way to the owner.
    pub(super) compacting: AtomicBool,
    pub(super) troubles: Mutex<Troubles>,
    pub(super) overflow: Mutex<Overflow>,
    /// The journal's thread, which naps while requests gather: see [`Shared::nudge`].
    pub(super) journal: OnceLock<Thread>,
    /// The journals that this process writes or has written.
    pub(super) journals: Mutex<BTreeSet<Arc<str>>>,
}

impl Shared {
    /// Requests that the owner has not taken in.
    pub(super) fn waiting(&self) -> u64 {
        let applied = self.applied.load(Ordering::Relaxed);
        self.recorded
            .load(Ordering::Relaxed)
            .saturating_sub(applied)
    }

    /// Requests that were recorded and are in no file yet.
    pub(super) fn unwritten(&self) -> u64 {
        let gone = self.written.load(Ordering::Relaxed) + self.lost.load(Ordering::Relaxed);
        self.recorded.load(Ordering::Relaxed).saturating_sub(gone)
    }

    pub(super) fn take_overflow(&self) -> Overflow {
        let overflow = self.overflow.lock();
        std::mem::take(&mut *overflow.unwrap_or_else(PoisonError::into_inner))
    }

    /// A journal of this process begins.
    pub(super) fn writes(&self, journal: &Arc<str>) {
        let journals = self.journals.lock();
        let mut journals = journals.unwrap_or_else(PoisonError::into_inner);
        journals.insert(Arc::clone(journal));
    }

    /// A journal is of this process.
    pub(super) fn wrote(&self, journal: &str) -> bool {
        let journals = self.journals.lock();
        let journals = journals.unwrap_or_else(PoisonError::into_inner);
        journals.contains(journal)
    }

    /// Has the owner compact, unless it is about to.
    pub(super) fn ask_compaction(&self, owner: &Sender<Work>) {
        if !self.compacting.swap(true, Ordering::AcqRel) {
            // A failed send means that the owner has ended.
            let _ = owner.send(Work::Compact(None));
        }
    }

    /// Wakes the journal's thread for a command that is no finished request: nobody shall wait for its nap to end.
    pub(super) fn nudge(&self) {
        if let Some(thread) = self.journal.get() {
            thread.unpark();
        }
    }

    /// Takes in how a write went.
    pub(super) fn report(&self, part: Part, now: Millis, result: Result<(), &str>) {
        let (waiting, lost) = (self.unwritten(), self.lost.load(Ordering::Relaxed));
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.report(part, now, result, waiting, lost);
    }
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
