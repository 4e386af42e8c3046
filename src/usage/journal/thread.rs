//! The journal's thread: the first to see a finished request, and the one that beats time for writing and compacting.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use super::super::calendar::Calendar;
use super::super::meter::{Command, Overflow, QUEUE_BOUND, Shared};
use super::super::owner::{Clock, Counted, Work};
use super::super::trouble::Part;
use super::recorder::{Flush, Recorder};
use super::sync::Syncer;

/// Requests taken out of the queue before the clock is looked at again.
const BATCH: usize = 1024;

/// Requests gather for so long before the thread looks: to wake for each of them cost more than to count it.
const NAP: Duration = Duration::from_millis(20);

/// A compaction more often than this would be all that the owner does.
const SHORTEST_BEAT: Duration = Duration::from_millis(50);

/// What the thread is given.
pub(in super::super) struct JournalParams {
    pub(in super::super) dir: PathBuf,
    pub(in super::super) flush: Duration,
    pub(in super::super) compact: Duration,
    pub(in super::super) clock: Clock,
    pub(in super::super) calendar: Calendar,
}

impl fmt::Debug for JournalParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalParams").finish_non_exhaustive()
    }
}

/// The thread between the request path and the owner.
pub(in super::super) struct Journal {
    recorder: Recorder,
    queue: Receiver<Command>,
    owner: Sender<Work>,
    shared: Arc<Shared>,
    syncer: Syncer,
    flush: Duration,
    compact: Duration,
    clock: Clock,
    flushed_at: Option<Instant>,
    failing: bool,
    /// The hole for which a compaction has been asked.
    asked_for: u64,
    /// Counted and not yet told to the owner.
    counted: Vec<Counted>,
}

impl Journal {
    pub(in super::super) fn new(
        params: JournalParams,
        queue: Receiver<Command>,
        owner: Sender<Work>,
        shared: Arc<Shared>,
    ) -> std::io::Result<Self> {
        let mut recorder = Recorder::new(params.dir, params.calendar);
        recorder.start((params.clock)());
        shared.writes(recorder.id());
        let syncer = {
            let (shared, clock, owner) = (
                Arc::clone(&shared),
                Arc::clone(&params.clock),
                owner.clone(),
            );
            Syncer::start(move |result| {
                let result = result.map_err(|error| format!("cannot sync the journal: {error}"));
                if result.is_err() {
                    // What the system could not bring to the disk it may have dropped: whole files are written anew.
                    shared.ask_compaction(&owner);
                }
                let result = result.as_ref().copied().map_err(String::as_str);
                shared.report(Part::Sync, clock(), result);
            })?
        };
        Ok(Self {
            recorder,
            queue,
            owner,
            shared,
            syncer,
            flush: params.flush,
            compact: params.compact.max(SHORTEST_BEAT),
            clock: params.clock,
            flushed_at: None,
            failing: false,
            asked_for: 0,
            counted: Vec::new(),
        })
    }

    pub(in super::super) fn run(mut self) {
        // A second thread for the same queue there never is.
        let _ = self.shared.journal.set(std::thread::current());
        let nap = self.nap();
        // What was replayed is compacted at once, and its journals go.
        let mut next_compaction = Instant::now();
        loop {
            let mut next = next_compaction;
            if !self.recorder.pending.is_empty() {
                next = next.min(self.due());
            }
            let go_on = match self.queue.try_recv() {
                Ok(command) => self.handle(command) && self.handle_waiting(),
                Err(TryRecvError::Empty) => {
                    let wait = next.saturating_duration_since(Instant::now());
                    std::thread::park_timeout(wait.min(nap));
                    true
                }
                Err(TryRecvError::Disconnected) => false,
            };
            self.tell();
            if !go_on {
                break;
            }
            let now = Instant::now();
            if now >= next_compaction {
                self.take_overflow(false);
                self.write();
                self.shared.ask_compaction(&self.owner);
                next_compaction = Instant::now() + self.compact;
            } else if !self.recorder.pending.is_empty() && now >= self.due() {
                self.take_overflow(false);
                self.write();
            }
        }
        while let Ok(command) = self.queue.try_recv() {
            self.handle(command);
        }
        self.take_overflow(true);
        self.tell();
        self.write();
        // The owner's last compaction makes all of it durable; should that fail, the journal has to be.
        let Self { owner, syncer, .. } = self;
        drop(syncer);
        // A failed send means that the owner has ended already.
        let _ = owner.send(Work::Stop);
    }

    /// When pending lines are to be written: at once after a pause, else a beat after the last write, less what the oldest of
    /// them has waited before it was seen.
    fn due(&self) -> Instant {
        self.flushed_at
            .map_or_else(Instant::now, |at| at + (self.flush - self.nap()))
    }

    fn nap(&self) -> Duration {
        NAP.min(self.flush / 4)
    }

    /// Tells the owner what has been counted since the last time.
    fn tell(&mut self) {
        if !self.counted.is_empty() {
            let counted = std::mem::take(&mut self.counted);
            // The owner only ends before this thread by a panic; `ended` tells of that.
            let _ = self.owner.send(Work::Counted(counted));
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
                Err(_) => break,
            }
        }
        true
    }

    fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::Finished(finished) => {
                let counted = self.recorder.count(&finished);
                self.counted.push(counted);
            }
            Command::Ask(question) => {
                self.take_overflow(true);
                self.send(Work::Ask(question));
            }
            Command::Compact(done) => {
                self.take_overflow(true);
                self.write();
                self.send(Work::Compact(Some(done)));
            }
            Command::HandOver(done) => {
                self.take_overflow(true);
                self.write();
                if self.recorder.begin_anew((self.clock)()) {
                    self.shared.writes(self.recorder.id());
                    self.send(Work::HandOver(done));
                } else {
                    // Whoever asked may have given up waiting.
                    let _ = done.send(Err("the journal cannot be written".to_owned()));
                }
            }
            Command::TakeOver => self.send(Work::TakeOver),
            Command::Stop => return false,
        }
        true
    }

    /// What was counted before comes first.
    fn send(&mut self, work: Work) {
        self.tell();
        // The owner only ends before this thread by a panic; `ended` tells of that.
        let _ = self.owner.send(work);
    }

    /// Takes in what did not fit the queue. While the owner hangs it is better kept there, where it is bounded.
    fn take_overflow(&mut self, all: bool) {
        if !all && self.shared.waiting() > QUEUE_BOUND {
            return;
        }
        let overflow = self.shared.take_overflow();
        for ((slot, key, model), sum) in overflow.cells {
            let time_ms = Overflow::time_of(slot);
            let counted = self.recorder.count_sum(time_ms, &key, &model, sum);
            self.counted.push(counted);
        }
    }

    fn write(&mut self) {
        let now = (self.clock)();
        let outcome = self.recorder.flush(now);
        self.flushed_at = Some(Instant::now());
        match outcome {
            Flush::Idle => {}
            Flush::Done(written) => {
                // It may have begun the next file, of which no line has been counted yet.
                self.shared.writes(self.recorder.id());
                self.syncer.want(written.file);
                let written_so_far = self.shared.written.load(Ordering::Relaxed);
                if self.recorder.hole > written_so_far {
                    // Not all of it is in a journal: it has to be in day files soon. A compaction that is on its way
                    // already would be too early.
                    if self.recorder.hole > self.asked_for {
                        self.asked_for = self.recorder.hole;
                        self.send(Work::Compact(None));
                    }
                } else {
                    self.shared
                        .written
                        .fetch_max(self.recorder.taken, Ordering::Relaxed);
                }
                self.shared.report(Part::Journal, now, Ok(()));
                self.failing = false;
            }
            Flush::Failed(error) => {
                if !self.failing {
                    // The folder may be gone, and with it lines that were written before.
                    self.failing = true;
                    self.send(Work::Compact(None));
                }
                self.shared
                    .report(Part::Journal, now, Err(&error.to_string()));
            }
        }
    }
}
