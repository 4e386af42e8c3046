//! What the request's filters and its [`BufferedSession`](super::buffered::BufferedSession) tell each other.
//!
//! pingora gives the filters the context and the session wrapper the socket,
//! and neither the other one. Both run in the same task, one after the other,
//! so relaxed atomics carry the few facts across; nothing here is contended.
//!
//! Times are milliseconds since [`Control::start`], so that one word holds a
//! deadline and a mid-air update cannot tear.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pingora::protocols::http::ServerSession;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// Why a wait on the client's socket ended the attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expired {
    /// The attempt's own limit (first event, whole answer, idle).
    Attempt,
    /// `server.request_s`, the limit of the whole request before its commit.
    Request,
}

/// Facts shared by the context and the wrapped session of one request.
pub(super) struct Control {
    start: Instant,
    attempt_deadline: AtomicU64,
    request_deadline: AtomicU64,
    idle_ms: AtomicU64,
    keepalive_ms: AtomicU64,
    extend_on_data_ms: AtomicU64,
    committed: AtomicBool,
    whole: AtomicBool,
    finished: AtomicBool,
    fault: AtomicBool,
    client_gone: AtomicBool,
    drains: AtomicBool,
    expired_attempt: AtomicBool,
    expired_request: AtomicBool,
    returned: Mutex<Option<Box<ServerSession>>>,
}

impl Control {
    pub(super) fn new(request_limit: Duration) -> Self {
        let control = Self {
            start: Instant::now(),
            attempt_deadline: AtomicU64::new(NEVER),
            request_deadline: AtomicU64::new(NEVER),
            idle_ms: AtomicU64::new(0),
            keepalive_ms: AtomicU64::new(0),
            extend_on_data_ms: AtomicU64::new(0),
            committed: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            fault: AtomicBool::new(false),
            client_gone: AtomicBool::new(false),
            drains: AtomicBool::new(false),
            expired_attempt: AtomicBool::new(false),
            expired_request: AtomicBool::new(false),
            returned: Mutex::new(None),
        };
        if !request_limit.is_zero() {
            control
                .request_deadline
                .store(millis(request_limit), Relaxed);
        }
        control
    }

    pub(super) fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }

    /// The moment `at` (as [`Control::now`] counts) on the runtime's clock.
    pub(super) fn instant(&self, at: u64) -> Instant {
        self.start + Duration::from_millis(at)
    }

    /// A new attempt begins: its limit until the commit, and the idle limit after it.
    pub(super) fn begin_attempt(&self, limit: Duration, idle: Duration, extend: Option<Duration>) {
        self.fault.store(false, Relaxed);
        self.expired_attempt.store(false, Relaxed);
        self.whole.store(false, Relaxed);
        self.attempt_deadline
            .store(self.now().saturating_add(millis(limit)), Relaxed);
        self.idle_ms.store(millis(idle), Relaxed);
        self.extend_on_data_ms
            .store(extend.map_or(0, millis), Relaxed);
    }

    /// The upstream sent something. After the commit this restarts the idle
    /// limit; before it only where the profile says that any event does.
    pub(super) fn upstream_spoke(&self) {
        let span = if self.committed() {
            self.idle_ms.load(Relaxed)
        } else {
            self.extend_on_data_ms.load(Relaxed)
        };
        if span > 0 {
            self.attempt_deadline
                .store(self.now().saturating_add(span), Relaxed);
        }
    }

    /// The earliest of the deadlines that apply now.
    pub(super) fn deadline(&self) -> Option<u64> {
        let attempt = self.attempt_deadline.load(Relaxed);
        let request = if self.committed() {
            NEVER
        } else {
            self.request_deadline.load(Relaxed)
        };
        let first = attempt.min(request);
        (first != NEVER).then_some(first)
    }

    /// Records which deadline has passed, if one has.
    pub(super) fn note_expiry(&self) -> Option<Expired> {
        let now = self.now();
        if !self.committed() && now >= self.request_deadline.load(Relaxed) {
            self.expired_request.store(true, Relaxed);
            return Some(Expired::Request);
        }
        if now >= self.attempt_deadline.load(Relaxed) {
            self.expired_attempt.store(true, Relaxed);
            return Some(Expired::Attempt);
        }
        None
    }

    pub(super) fn expired(&self) -> Option<Expired> {
        if self.expired_request.load(Relaxed) {
            Some(Expired::Request)
        } else if self.expired_attempt.load(Relaxed) {
            Some(Expired::Attempt)
        } else {
            None
        }
    }

    /// True once `server.request_s` is over; asked between attempts, where no socket is polled.
    pub(super) fn request_time_over(&self) -> bool {
        self.now() >= self.request_deadline.load(Relaxed)
    }

    /// Time left of `server.request_s`; None when there is no such limit.
    pub(super) fn request_time_left(&self) -> Option<Duration> {
        let at = self.request_deadline.load(Relaxed);
        (at != NEVER).then(|| Duration::from_millis(at.saturating_sub(self.now())))
    }

    pub(super) fn committed(&self) -> bool {
        self.committed.load(Relaxed)
    }

    /// The first byte of the answer is about to go to the client.
    pub(super) fn commit(&self) {
        self.committed.store(true, Relaxed);
        self.upstream_spoke();
    }

    /// The answer is held whole, so its exact length is known at the commit.
    pub(super) fn set_whole(&self) {
        self.whole.store(true, Relaxed);
    }

    pub(super) fn whole(&self) -> bool {
        self.whole.load(Relaxed)
    }

    /// The answer is complete by its own grammar. Only then may the client see a clean end.
    pub(super) fn finish(&self, grace: Duration) {
        if !self.finished.swap(true, Relaxed) {
            self.attempt_deadline
                .store(self.now().saturating_add(millis(grace)), Relaxed);
            self.idle_ms.store(0, Relaxed);
            self.keepalive_ms.store(0, Relaxed);
        }
    }

    pub(super) fn finished(&self) -> bool {
        self.finished.load(Relaxed)
    }

    /// A filter found the stream broken after its commit: what has passed is
    /// still written, then the session ends the attempt with an error.
    pub(super) fn set_fault(&self) {
        self.fault.store(true, Relaxed);
    }

    pub(super) fn fault(&self) -> bool {
        self.fault.load(Relaxed)
    }

    pub(super) fn set_client_gone(&self) {
        self.client_gone.store(true, Relaxed);
    }

    /// What the upstream still says to a client that has gone is read to its end, for its tokens.
    pub(super) fn set_drains(&self) {
        self.drains.store(true, Relaxed);
    }

    /// The client has gone and its answer is read on.
    pub(super) fn draining(&self) -> bool {
        self.client_gone() && self.drains.load(Relaxed)
    }

    pub(super) fn drains(&self) -> bool {
        self.drains.load(Relaxed)
    }

    pub(super) fn client_gone(&self) -> bool {
        self.client_gone.load(Relaxed)
    }

    /// Silence after which a comment goes to the client of a committed stream; zero is never.
    pub(super) fn set_keepalive(&self, every: Duration) {
        self.keepalive_ms.store(millis(every), Relaxed);
    }

    pub(super) fn keepalive(&self) -> Option<u64> {
        let every = self.keepalive_ms.load(Relaxed);
        (every > 0 && self.committed()).then_some(every)
    }

    /// Puts the client's real session where [`Control::take_returned`] finds it.
    pub(super) fn give_back(&self, session: Box<ServerSession>) {
        let mut slot = match self.returned.lock() {
            Ok(slot) => slot,
            Err(poisoned) => poisoned.into_inner(),
        };
        *slot = Some(session);
    }

    pub(super) fn take_returned(&self) -> Option<Box<ServerSession>> {
        match self.returned.lock() {
            Ok(mut slot) => slot.take(),
            Err(poisoned) => poisoned.into_inner().take(),
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_swaps_the_first_event_limit_for_the_idle_limit() {
        let c = Control::new(Duration::from_secs(900));
        c.begin_attempt(Duration::from_secs(25), Duration::from_secs(330), None);
        let before = c.deadline().unwrap();
        c.upstream_spoke();
        assert_eq!(
            c.deadline().unwrap(),
            before,
            "a held event must not extend the limit"
        );
        c.commit();
        assert!(c.deadline().unwrap() >= 330_000);
    }

    #[test]
    fn the_request_limit_ends_before_the_attempts_and_dies_with_the_commit() {
        let c = Control::new(Duration::from_millis(1));
        c.begin_attempt(Duration::from_secs(25), Duration::from_secs(330), None);
        assert!(c.deadline().unwrap() <= 1);
        std::thread::sleep(Duration::from_millis(3));
        assert_eq!(c.note_expiry(), Some(Expired::Request));
        c.commit();
        assert_eq!(c.note_expiry(), None);
    }

    #[test]
    fn profiles_whose_pings_count_extend_the_limit_before_the_commit() {
        let c = Control::new(Duration::ZERO);
        c.begin_attempt(
            Duration::from_millis(5),
            Duration::from_secs(9),
            Some(Duration::from_secs(120)),
        );
        c.upstream_spoke();
        assert!(c.deadline().unwrap() >= 100_000);
    }
}
