//! The thread that owns the store: takes in what the journal has numbered, answers questions, compacts when it is told to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::store::create_folder;

use super::handle::UsageHandle;
use super::journal::{self, Journal, JournalParams};
use super::meter::{Done, Meter, Question, Shared};
use super::trouble::Part;
use super::{Counters, Known, Millis, OpenError, Store, StoreParams};

/// Tells the time; injected, so that tests can.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Running totals for keys.json.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    /// The totals of the keys that have changed. Ids that the sink does not know (deleted keys) are none of its business.
    pub totals: &'a [(Arc<str>, Counters)],
    /// Up to which line of each journal all totals hold everything; kept with them, in the same rename.
    pub through: &'a BTreeMap<Arc<str>, u64>,
    /// The time.
    pub now: Millis,
}

/// Takes changed totals and makes them durable before it returns. Called on the owner's thread. What it refuses is offered
/// again, with what came since, at the next compaction.
pub type TotalsSink = Box<dyn FnMut(Changed<'_>) -> Result<(), String> + Send>;

/// How usage is kept: `[usage]` of the configuration, the folder and the clock.
#[derive(Clone)]
pub struct Params {
    /// The folder `usage/` in the data folder.
    pub dir: PathBuf,
    /// `usage.timezone`, an IANA name.
    pub timezone: String,
    /// `usage.flush_ms`
    pub flush: Duration,
    /// `usage.compact_s`
    pub compact: Duration,
    /// `usage.keep_hours_days`
    pub keep_hours_days: u32,
    /// `usage.keep_days`
    pub keep_days: u32,
    /// The time.
    pub clock: Clock,
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("dir", &self.dir)
            .field("timezone", &self.timezone)
            .field("flush", &self.flush)
            .field("compact", &self.compact)
            .field("keep_hours_days", &self.keep_hours_days)
            .field("keep_days", &self.keep_days)
            .finish_non_exhaustive()
    }
}

/// The last write is tried this often: keys.json may just have been changed by somebody else.
const LAST_TRIES: usize = 3;

/// A request, or several, as the journal has numbered them.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) journal: Arc<str>,
    pub(super) seq: u64,
    pub(super) time_ms: Millis,
    pub(super) key: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) counters: Counters,
}

/// What comes from the journal.
pub(super) enum Work {
    /// In the order in which they were recorded.
    Counted(Vec<Counted>),
    Ask(Question),
    /// Every line before it has been written, if the disk took it.
    Compact(Option<Done>),
    /// Compact; from then on the files are another process's. Every line before it has been written, and those after it
    /// go to another journal.
    HandOver(Done),
    /// The files are ours.
    TakeOver,
    Stop,
}

/// The owner of all usage.
pub struct Owner {
    store: Store,
    work: Receiver<Work>,
    shared: Arc<Shared>,
    sink: TotalsSink,
    clock: Clock,
    /// Requests in the store.
    applied: u64,
    /// The journal that is being written.
    current: Option<Arc<str>>,
    /// Day files and totals are ours to write. In an upgrade they are so in one process at a time.
    ours: bool,
}

impl Owner {
    /// Opens the files, replays the journals and starts the threads.
    pub fn start(
        params: Params,
        known: Known,
        sink: TotalsSink,
    ) -> Result<(Meter, UsageHandle), OpenError> {
        Self::begin(params, known, sink, true)
    }

    /// The same for a successor: no file is written before [`UsageHandle::take_over`].
    pub fn start_waiting(
        params: Params,
        known: Known,
        sink: TotalsSink,
    ) -> Result<(Meter, UsageHandle), OpenError> {
        Self::begin(params, known, sink, false)
    }

    fn begin(
        params: Params,
        known: Known,
        sink: TotalsSink,
        ours: bool,
    ) -> Result<(Meter, UsageHandle), OpenError> {
        create_folder(&params.dir).map_err(OpenError::Io)?;
        let mut store = Store::open(
            StoreParams {
                dir: params.dir.clone(),
                timezone: params.timezone,
                keep_hours_days: params.keep_hours_days,
                keep_days: params.keep_days,
            },
            known,
        )?;
        store.read_recent_hours()?;
        journal::cut(store.cuts());
        let zone = store.zone().clone();
        let shared = Arc::new(Shared::default());
        let (sender, queue) = channel();
        let (to_owner, work) = channel();
        let journal = JournalParams {
            dir: params.dir,
            flush: params.flush,
            compact: params.compact,
            clock: Arc::clone(&params.clock),
            calendar: store.calendar.clone(),
        };
        let journal = Journal::new(journal, queue, to_owner, Arc::clone(&shared))
            .map_err(OpenError::Thread)?;
        let owner = Self {
            store,
            work,
            shared: Arc::clone(&shared),
            sink,
            clock: Arc::clone(&params.clock),
            applied: 0,
            current: None,
            ours,
        };
        let ended = Ended(Arc::clone(&shared));
        let journal = std::thread::Builder::new()
            .name("usage-journal".to_owned())
            .spawn(move || {
                let _ended = ended;
                journal.run();
            })
            .map_err(OpenError::Thread)?;
        let ended = Ended(Arc::clone(&shared));
        let owner = std::thread::Builder::new()
            .name("usage".to_owned())
            .spawn(move || {
                let _ended = ended;
                owner.run();
            })
            .map_err(OpenError::Thread)?;
        let meter = Meter {
            queue: sender.clone(),
            shared: Arc::clone(&shared),
        };
        let handle = UsageHandle {
            queue: sender,
            shared,
            threads: Arc::new(Mutex::new(vec![journal, owner])),
            zone,
            clock: params.clock,
        };
        Ok((meter, handle))
    }

    fn run(mut self) {
        while let Ok(work) = self.work.recv() {
            match work {
                Work::Counted(all) => all.iter().for_each(|counted| self.count(counted)),
                Work::Ask(question) => {
                    if self.ours && self.store.follows() {
                        // What is wrong with it is told at the next compaction.
                        let _ = self.store.read_on();
                    }
                    question(&mut self.store);
                }
                Work::HandOver(done) => {
                    // The lines that come from now on are in a journal that this one does not remove.
                    self.current = None;
                    let written = self.write();
                    self.ours = written.is_err();
                    // Who asked may have given up, and goes on as before.
                    if done.send(written).is_err() {
                        self.ours = true;
                    }
                }
                Work::TakeOver => {
                    self.ours = true;
                    // What is wrong with the disk has been reported.
                    let _ = self.write();
                }
                Work::Compact(done) => {
                    // Before the work and not after it: whoever asks meanwhile has something new.
                    self.shared.compacting.store(false, Ordering::Release);
                    let written = self.write();
                    if let Some(done) = done {
                        // Whoever asked may have given up waiting.
                        let _ = done.send(written);
                    }
                }
                Work::Stop => break,
            }
        }
        // Nothing is written to the journal any more, so it may go with the others.
        self.current = None;
        for _ in 0..LAST_TRIES {
            if !self.ours || self.write().is_ok() {
                break;
            }
        }
    }

    fn count(&mut self, counted: &Counted) {
        self.store.take(counted);
        if self.current.as_ref() != Some(&counted.journal) {
            self.current = Some(Arc::clone(&counted.journal));
        }
        let requests = counted.counters.requests;
        self.applied = self.applied.wrapping_add(requests);
        self.shared.applied.fetch_add(requests, Ordering::Relaxed);
    }

    fn write(&mut self) -> Result<(), String> {
        if !self.ours {
            return Err("the usage files belong to another process now".to_owned());
        }
        let now = (self.clock)();
        let followed = self.store.follow(|id| self.shared.wrote(id));
        let mut result = self.store.compact(now, &mut self.sink);
        if result.is_ok() {
            self.shared
                .written
                .fetch_max(self.applied, Ordering::Relaxed);
            // A journal that cannot be read stays.
            result = followed.map_err(|error| error.to_string());
            result = result.and_then(|()| self.store.drop_journals(self.current.as_ref()));
        }
        self.shared.report(
            Part::Files,
            now,
            result.as_ref().copied().map_err(String::as_str),
        );
        result
    }
}

/// Says that a thread has ended, even by a panic.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}
