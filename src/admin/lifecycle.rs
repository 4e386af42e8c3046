//! Where the process stands: starting, ready, draining.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long readiness waits for the first poll (gateway.md section 3, GET /ready).
const FIRST_POLL: Duration = Duration::from_secs(1);

/// Set by whoever starts and stops the process, read by `/ready`, `/health` and the event feed.
#[derive(Debug)]
pub struct Lifecycle {
    started: Instant,
    ready: AtomicBool,
    draining: AtomicBool,
    handing_over: AtomicBool,
    feeds_end: watch::Sender<bool>,
}

/// What `/ready` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Starting,
    Ready,
    Draining,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// The process starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            handing_over: AtomicBool::new(false),
            feeds_end: watch::Sender::new(false),
        }
    }

    /// The listeners are open.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The process is going to end, or (`false`) goes on after all. Event feeds end with it, so
    /// that no dashboard holds up the drain.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
        self.feeds_end.send_replace(draining);
    }

    /// A successor takes over: nothing is changed any more by this process. `false` when it came
    /// to nothing.
    pub fn set_handing_over(&self, handing_over: bool) {
        self.handing_over.store(handing_over, Ordering::Release);
    }

    /// The successor has taken over. The address is as ready as ever, so only the event feeds end.
    pub fn set_handed_over(&self) {
        self.set_handing_over(true);
        self.feeds_end.send_replace(true);
    }

    /// Whether changes are the successor's.
    #[must_use]
    pub fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::Acquire)
    }

    /// Whether the listeners are open.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether the process is going to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn watch_feeds_end(&self) -> watch::Receiver<bool> {
        self.feeds_end.subscribe()
    }

    pub(super) fn stage(&self, first_poll_done: bool) -> Stage {
        if self.is_draining() {
            Stage::Draining
        } else if self.is_ready() && (first_poll_done || self.uptime() >= FIRST_POLL) {
            Stage::Ready
        } else {
            Stage::Starting
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn readiness_waits_for_the_first_poll_but_not_for_long() {
        let mut life = Lifecycle::new();
        life.started = Instant::now() + Duration::from_secs(3600);
        assert_eq!(life.stage(true), Stage::Starting);
        life.set_ready();
        assert_eq!(life.stage(false), Stage::Starting);
        assert_eq!(life.stage(true), Stage::Ready);
        life.started = Instant::now().checked_sub(FIRST_POLL).unwrap();
        assert_eq!(life.stage(false), Stage::Ready);
        life.set_draining(true);
        assert_eq!(life.stage(true), Stage::Draining);
    }
}
