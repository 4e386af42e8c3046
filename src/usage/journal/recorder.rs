//! Numbers requests and writes their lines; which file they go to.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;

use crate::store::StoreError;

use super::super::calendar::Calendar;
use super::super::owner::Counted;
use super::super::{Counters, Finished, Millis};
use super::writer::{Writer, Written};
use super::{line, new_id, path};

/// Lines kept for a disk that does not take them. More are not kept singly: their counts go on to the day files alone.
const PENDING_BYTES: usize = 16 * 1024 * 1024;

/// A journal of this size is closed even within its day, so that a start has little to replay.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Numbers requests, renders their lines and writes them. No thread of its own, so that tests can stop it anywhere.
pub(in super::super) struct Recorder {
    dir: PathBuf,
    calendar: Calendar,
    date: Option<Date>,
    writer: Writer,
    seq: u64,
    /// Lines that are not in the file.
    pub(super) pending: Vec<u8>,
    /// Requests handed on.
    pub(super) taken: u64,
    /// Of these, up to here some are in no journal and safe only when compacted.
    pub(super) hole: u64,
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
    pub(super) fn begin_anew(&mut self, now: Millis) -> bool {
        let whole = self.pending.is_empty();
        if whole {
            self.start(now);
        }
        whole
    }

    pub(super) fn id(&self) -> &Arc<str> {
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
