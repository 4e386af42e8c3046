//! Questions to the owner, its state, and its end.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jiff::tz::TimeZone;
use tokio::sync::oneshot;

use super::meter::{Command, Done, Shared};
use super::owner::Clock;
use super::{
    DayRange, HourRange, KeyUsage, Prices, Query, QueryError, Series, Store, Totals, Trouble,
};

/// The last write at the end failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopError {
    /// Requests that are not in any file.
    pub unwritten: u64,
    /// Why, for the operator; names files.
    pub message: String,
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "usage of {} requests could not be written at the end: {}",
            self.unwritten, self.message
        )
    }
}

impl std::error::Error for StopError {}

/// Asks the owner. Every answer holds what was recorded before the question.
#[derive(Clone)]
pub struct UsageHandle {
    pub(super) queue: Sender<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    pub(super) zone: TimeZone,
    pub(super) clock: Clock,
}

impl fmt::Debug for UsageHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageHandle").finish_non_exhaustive()
    }
}

impl UsageHandle {
    /// `GET /admin/usage`
    pub async fn totals(&self) -> Result<Totals, QueryError> {
        self.ask(|store| store.totals()).await
    }

    /// `GET /admin/keys/{key}/usage` and `GET /me/usage`. A key without usage gets zeros; whether it exists is for
    /// `keys` to say. Days and hours are the last 30 and 24.
    pub async fn key(&self, id: &str, name: &str) -> Result<KeyUsage, QueryError> {
        let now = (self.clock)();
        let days = DayRange::parse(None, None, &self.zone, now)?;
        let hours = HourRange::parse(None, None, &self.zone, now)?;
        let (id, name) = (id.to_owned(), name.to_owned());
        self.ask(move |store| store.key(&id, &name, days, hours))
            .await?
    }

    /// The series of `GET /admin/usage/daily`: `Series::daily` or `Series::csv`.
    pub async fn daily(&self, query: Query) -> Result<Series, QueryError> {
        let (from, to) = (query.from.as_deref(), query.to.as_deref());
        let range = DayRange::parse(from, to, &self.zone, (self.clock)())?;
        self.ask(move |store| store.days(range, query.key.as_deref(), query.model.as_deref()))
            .await
    }

    /// The series of `GET /admin/usage/hourly`: `Series::hourly` or `Series::csv`.
    pub async fn hourly(&self, query: Query) -> Result<Series, QueryError> {
        let (from, to) = (query.from.as_deref(), query.to.as_deref());
        let range = HourRange::parse(from, to, &self.zone, (self.clock)())?;
        self.ask(move |store| store.hours(range, query.key.as_deref(), query.model.as_deref()))
            .await?
    }

    /// From the next answer on costs come from these.
    pub fn set_prices(&self, prices: Arc<Prices>) {
        let command = Command::Ask(Box::new(move |store| store.set_prices(prices)));
        // A failed send means that nothing will be asked any more.
        let _ = self.send(command);
    }

    /// Brings day files and totals up to date now, as every `compact`. The error is for the operator.
    pub async fn flush(&self) -> Result<(), String> {
        self.have_done(Command::Compact).await
    }

    /// Brings day files and totals up to date and leaves them to another process from then on: what is recorded
    /// afterwards goes to a new journal, which that one takes in. After an error everything is as before.
    pub async fn hand_over(&self) -> Result<(), String> {
        self.have_done(Command::HandOver).await
    }

    /// Day files and totals are this process's from now on: after [`Owner::start_waiting`](super::Owner::start_waiting),
    /// or when the process they were handed to came to nothing.
    pub fn take_over(&self) {
        // A failed send means that nothing will be written any more.
        let _ = self.send(Command::TakeOver);
    }

    async fn have_done(&self, command: impl FnOnce(Done) -> Command) -> Result<(), String> {
        let (done, result) = oneshot::channel();
        let stopped = || QueryError::Stopped.to_string();
        self.send(command(done)).map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }

    /// The gauge `luna_usage_unwritten`: requests recorded and in no file yet. Up to `flush_ms` worth of them is normal.
    pub fn unwritten(&self) -> u64 {
        self.shared.unwritten()
    }

    /// The counter `luna_usage_lost_total`: requests whose usage is gone, because more waited than memory was set aside for.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Why usage is not being written, if so: /health is degraded then.
    pub fn trouble(&self) -> Option<Trouble> {
        let troubles = self.shared.troubles.lock();
        let troubles = troubles.unwrap_or_else(PoisonError::into_inner);
        let trouble = troubles.current().cloned();
        drop(troubles);
        trouble.or_else(|| {
            self.shared.ended.load(Ordering::Relaxed).then(|| Trouble {
                since_ms: (self.clock)(),
                message: "a usage thread has ended".to_owned(),
            })
        })
    }

    /// Writes everything that was recorded before and ends the threads. Waits for the disk: not for an async thread.
    /// A second call does nothing.
    pub fn stop(&self) -> Result<(), StopError> {
        let threads = {
            let threads = self.threads.lock();
            std::mem::take(&mut *threads.unwrap_or_else(PoisonError::into_inner))
        };
        if threads.is_empty() {
            return Ok(());
        }
        // A failed send means that the thread has ended already.
        let _ = self.send(Command::Stop);
        let mut panicked = false;
        for thread in threads {
            panicked |= thread.join().is_err();
        }
        let troubles = self.shared.troubles.lock();
        let troubles = troubles.unwrap_or_else(PoisonError::into_inner);
        let message = match troubles.current() {
            _ if panicked => "a usage thread ended by a panic".to_owned(),
            Some(trouble) => trouble.message.clone(),
            None => return Ok(()),
        };
        drop(troubles);
        match self.unwritten() {
            // Day files are behind, and the next start brings them up to date from the journal.
            0 if !panicked => Ok(()),
            unwritten => Err(StopError { unwritten, message }),
        }
    }

    /// Sends a command that somebody waits for, and ends the nap of the thread that takes it.
    fn send(&self, command: Command) -> Result<(), QueryError> {
        self.queue.send(command).map_err(|_| QueryError::Stopped)?;
        self.shared.nudge();
        Ok(())
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let (answer, result) = oneshot::channel();
        let command = Command::Ask(Box::new(move |store| {
            // Whoever asked may have given up waiting.
            if !answer.is_closed() {
                let _ = answer.send(question(store));
            }
        }));
        self.send(command)?;
        result.await.map_err(|_| QueryError::Stopped)
    }
}
