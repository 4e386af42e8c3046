//! The journal's thread: the first to see a finished request, and the one that beats time for writing and compacting.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use jiff::civil::Date;

use crate::store::StoreError;

use super::super::calendar::Calendar;
use super::super::meter::{Command, Overflow, QUEUE_BOUND, Shared};
use super::super::owner::{Clock, Counted, Work};
use super::super::trouble::Part;
use super::super::{Counters, Finished, Millis};
use super::sync::Syncer;
use super::writer::{Writer, Written};
use super::{line, new_id, path};

/// Requests taken out of the queue before the clock is looked at again.
const BATCH: usize = 1024;

/// Lines kept for a disk that does not take them. More are not kept singly: their counts go on to the day files alone.
const PENDING_BYTES: usize = 16 * 1024 * 1024;

/// A journal of this size is closed even within its day, so that a start has little to replay.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A compaction more often than this would be all that the owner does.
const SHORTEST_BEAT: Duration = Duration::from_millis(50);

/// Numbers requests, renders their lines and writes them. No thread of its own, so that tests can stop it anywhere.
pub(in super::super) struct Recorder {
    dir: PathBuf,
    calendar: Calendar,
    date: Option<Date>,
    writer: Writer,
    seq: u64,
    /// Lines that are not in the file.
    pending: Vec<u8>,
    /// Requests handed on.
    taken: u64,
    /// Of these, up to here some are in no journal and safe only when compacted.
    hole: u64,
}

/// How a flush went.
pub(in super::super) enum Flush {
    /// There was nothing to write.
    Idle,
    /// All lines are in the file.
    Done(Written),
    Failed(StoreError),
}

impl Recorder {
    pub(in super::super) fn new(dir: PathBuf, calendar: Calendar) -> Self {
        let id = new_id(Date::default());
        Self {
            writer: Writer::new(path(&dir, &id), id),
            dir,
            calendar,
            date: None,
            seq: 0,
            pending: Vec::new(),
            taken: 0,
            hole: 0,
        }
    }

    pub(in super::super) fn count(&mut self, finished: &Finished) -> Counted {
        self.number(
            finished.time_ms,
            &finished.key_id,
            &finished.served_model,
            finished.counters(),
            |out, seq| line::render(out, seq, finished),
        )
    }

    /// Takes in requests that were added up because they could not wait singly.
    pub(in super::super) fn count_sum(
        &mut self,
        time_ms: Millis,
        key: &Arc<str>,
        model: &Arc<str>,
        sum: Counters,
    ) -> Counted {
        self.number(time_ms, key, model, sum, |out, seq| {
            line::render_sum(out, seq, time_ms, key, model, &sum);
        })
    }

    fn number(
        &mut self,
        time_ms: Millis,
        key: &Arc<str>,
        model: &Arc<str>,
        counters: Counters,
        render: impl FnOnce(&mut Vec<u8>, u64),
    ) -> Counted {
        self.seq += 1;
        self.taken += counters.requests;
        if self.pending.len() < PENDING_BYTES {
            render(&mut self.pending, self.seq);
        } else {
            self.hole = self.taken;
        }
        Counted {
            journal: Arc::clone(self.writer.id()),
            seq: self.seq,
            time_ms,
            key: Arc::clone(key),
            model: Arc::clone(model),
            counters,
        }
    }

    /// Writes what is pending, after a look whether it is time for a new file.
    pub(in super::super) fn flush(&mut self, now: Millis) -> Flush {
        if self.pending.is_empty() {
            return Flush::Idle;
        }
        let written = self.writer.append(&self.pending);
        match written {
            Ok(written) => {
                if written.vanished {
                    self.hole = self.taken;
                }
                self.pending.clear();
                self.pending.shrink_to(1024 * 1024);
                self.rotate(now);
                Flush::Done(written)
            }
            Err(error) => Flush::Failed(error),
        }
    }

    /// Begins a file with a new day, or when this one is large. Only between two lines, as lines belong to their file.
    fn rotate(&mut self, now: Millis) {
        let date = self.calendar.date_of(now);
        let same_day = self.date.is_none_or(|known| known == date);
        self.date = Some(date);
        if !(same_day && self.writer.len() < FILE_BYTES) {
            self.begin(date);
        }
    }

    fn begin(&mut self, date: Date) {
        let id = new_id(date);
        self.writer = Writer::new(path(&self.dir, &id), id);
        self.seq = 0;
    }

    /// Names the first file by the day; before the first line.
    pub(in super::super) fn start(&mut self, now: Millis) {
        let date = self.calendar.date_of(now);
        self.date = Some(date);
        self.begin(date);
    }

    /// Begins another file, if everything is in this one.
    fn begin_anew(&mut self, now: Millis) -> bool {
        let whole = self.pending.is_empty();
        if whole {
            self.start(now);
        }
        whole
    }

    fn id(&self) -> &Arc<str> {
        self.writer.id()
    }

    /// The file as it is being written.
    #[cfg(test)]
    pub(in super::super) fn file(&self) -> PathBuf {
        path(&self.dir, self.writer.id())
    }

    #[cfg(test)]
    pub(in super::super) fn pending(&self) -> &[u8] {
        &self.pending
    }

    #[cfg(test)]
    pub(in super::super) fn set_room(&mut self, room: Option<u64>) {
        self.writer.room = room;
    }
}

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
        })
    }

    pub(in super::super) fn run(mut self) {
        // What was replayed is compacted at once, and its journals go.
        let mut next_compaction = Instant::now();
        loop {
            let mut next = next_compaction;
            if !self.recorder.pending.is_empty() {
                next = next.min(self.due());
            }
            let wait = next.saturating_duration_since(Instant::now());
            let go_on = match self.queue.recv_timeout(wait) {
                Ok(command) => self.handle(command) && self.handle_waiting(),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
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
        self.write();
        // The owner's last compaction makes all of it durable; should that fail, the journal has to be.
        let Self { owner, syncer, .. } = self;
        drop(syncer);
        // A failed send means that the owner has ended already.
        let _ = owner.send(Work::Stop);
    }

    /// When pending lines are to be written: at once after a pause, else a beat after the last write.
    fn due(&self) -> Instant {
        self.flushed_at
            .map_or_else(Instant::now, |at| at + self.flush)
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
                self.send(Work::Counted(counted));
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

    fn send(&self, work: Work) {
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
            self.send(Work::Counted(counted));
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
