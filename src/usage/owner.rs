//! The thread that owns the store: takes requests out of the queue, answers questions, writes every `compact`.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::store::create_folder;

use super::calendar::format_moment;
use super::handle::{Trouble, UsageHandle};
use super::meter::{Meter, Overflow, Shared};
use super::{Counters, Finished, Millis, OpenError, Store, StoreParams};

/// Tells the time; injected, so that tests can.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Takes the running totals of the keys that have changed, and makes them durable before it returns. Called on the owner's
/// thread with the time. What it refuses is offered again, with what came since, at the next compaction. Ids that it does
/// not know (deleted keys) are none of its business.
pub type TotalsSink = Box<dyn FnMut(&[(Arc<str>, Counters)], Millis) -> Result<(), String> + Send>;

/// How usage is kept: `[usage]` of the configuration, the folder and the clock.
#[derive(Clone)]
pub struct Params {
    /// The folder `usage/` in the data folder.
    pub dir: PathBuf,
    /// `usage.timezone`, an IANA name.
    pub timezone: String,
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
            .field("compact", &self.compact)
            .field("keep_hours_days", &self.keep_hours_days)
            .field("keep_days", &self.keep_days)
            .finish_non_exhaustive()
    }
}

/// A compaction more often than this would be all that the owner does.
const SHORTEST_BEAT: Duration = Duration::from_millis(50);

/// Requests taken out of the queue before the owner looks at its clock again.
const BATCH: usize = 1024;

const LOG_EVERY_MS: u64 = 60_000;

/// The last write is tried this often: keys.json may just have been changed by somebody else.
const LAST_TRIES: usize = 3;

/// What comes through the queue.
pub(super) enum Command {
    Finished(Box<Finished>),
    Ask(Box<dyn FnOnce(&mut Store) + Send>),
    Compact(oneshot::Sender<Result<(), String>>),
    Stop,
}

/// The owner of all usage.
pub struct Owner {
    store: Store,
    queue: Receiver<Command>,
    shared: Arc<Shared>,
    sink: TotalsSink,
    compact: Duration,
    clock: Clock,
    /// Requests in the store.
    applied: u64,
    logged_at: Option<Millis>,
    lost_logged: u64,
}

impl Owner {
    /// Opens the files and starts the thread. `known` are the running totals by key.
    pub fn start<'a>(
        params: Params,
        known: impl IntoIterator<Item = (&'a str, Counters)>,
        sink: TotalsSink,
    ) -> Result<(Meter, UsageHandle), OpenError> {
        create_folder(&params.dir).map_err(OpenError::Io)?;
        let store = Store::open(
            StoreParams {
                dir: params.dir,
                timezone: params.timezone,
                keep_hours_days: params.keep_hours_days,
                keep_days: params.keep_days,
            },
            known,
        )?;
        let zone = store.zone().clone();
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = channel();
        let owner = Self {
            store,
            queue: receiver,
            shared: Arc::clone(&shared),
            sink,
            compact: params.compact.max(SHORTEST_BEAT),
            clock: Arc::clone(&params.clock),
            applied: 0,
            logged_at: None,
            lost_logged: 0,
        };
        let thread = std::thread::Builder::new()
            .name("usage".to_owned())
            .spawn(move || owner.run())
            .map_err(OpenError::Thread)?;
        let meter = Meter {
            queue: sender.clone(),
            shared: Arc::clone(&shared),
        };
        let handle = UsageHandle {
            queue: sender,
            shared,
            thread: Arc::new(Mutex::new(Some(thread))),
            zone,
            clock: params.clock,
        };
        Ok((meter, handle))
    }

    fn run(mut self) {
        let _ended = Ended(Arc::clone(&self.shared));
        let mut next = Instant::now() + self.compact;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            let go_on = match self.queue.recv_timeout(wait) {
                Ok(command) => self.handle(command) && self.handle_waiting(),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !go_on {
                break;
            }
            if Instant::now() >= next {
                let _ = self.write();
                next = Instant::now() + self.compact;
            }
        }
        for _ in 0..LAST_TRIES {
            while let Ok(command) = self.queue.try_recv() {
                self.handle(command);
            }
            if self.write().is_ok() {
                break;
            }
        }
    }

    /// False when it is time to stop.
    fn handle_waiting(&mut self) -> bool {
        for _ in 0..BATCH {
            match self.queue.try_recv() {
                Ok(command) => {
                    if !self.handle(command) {
                        return false;
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        self.take_overflow();
        true
    }

    fn handle(&mut self, command: Command) -> bool {
        match command {
            // The journal (issue 3) writes its line here, before the request is added up.
            Command::Finished(finished) => {
                self.store.apply(&finished);
                self.count_applied(1);
            }
            Command::Ask(question) => {
                self.take_overflow();
                question(&mut self.store);
            }
            Command::Compact(done) => {
                let _ = done.send(self.write());
            }
            Command::Stop => return false,
        }
        true
    }

    fn take_overflow(&mut self) {
        let overflow = {
            let overflow = self.shared.overflow.lock();
            std::mem::take(&mut *overflow.unwrap_or_else(PoisonError::into_inner))
        };
        for ((slot, key, model), counters) in overflow.cells {
            let time_ms = Overflow::time_of(slot);
            self.store.apply_sum(time_ms, &key, &model, &counters);
        }
        self.count_applied(overflow.requests);
    }

    fn count_applied(&mut self, requests: u64) {
        self.applied = self.applied.wrapping_add(requests);
        self.shared.applied.fetch_add(requests, Ordering::Relaxed);
    }

    fn write(&mut self) -> Result<(), String> {
        self.take_overflow();
        let now = (self.clock)();
        let result = self.store.compact(now, &mut self.sink);
        if result.is_ok() {
            self.shared.written.store(self.applied, Ordering::Relaxed);
        }
        self.report(now, &result);
        result
    }

    /// Keeps the state of trouble for /health, and tells the log once a minute.
    fn report(&mut self, now: Millis, result: &Result<(), String>) {
        let waiting = self.shared.unwritten();
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let trouble = self.shared.trouble.lock();
        let mut trouble = trouble.unwrap_or_else(PoisonError::into_inner);
        match (result, trouble.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(past)) => {
                let seconds = now.saturating_sub(past.since_ms) / 1000;
                log::info!("usage is written again, after {seconds} s");
                self.logged_at = None;
            }
            (Err(message), past) => {
                let since_ms = past.map_or(now, |past| past.since_ms);
                // A clock that was set back must not silence the log.
                let quiet = self
                    .logged_at
                    .is_some_and(|at| now.abs_diff(at) < LOG_EVERY_MS);
                if !quiet {
                    self.logged_at = Some(now);
                    log::error!(
                        "usage is not written since {}: {message}; {waiting} requests are kept in memory and written \
                         when this is mended, traffic goes on",
                        format_moment(since_ms)
                    );
                }
                *trouble = Some(Trouble {
                    since_ms,
                    message: message.clone(),
                });
            }
        }
        if lost != self.lost_logged {
            log::error!(
                "usage of {} requests is lost: more waited for the disk than memory was set aside for",
                lost.wrapping_sub(self.lost_logged)
            );
            self.lost_logged = lost;
        }
    }
}

/// Says that the thread has ended, even by a panic.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}
