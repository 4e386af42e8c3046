//! What the disk refuses: told in /health at once, and in the log once a minute.

use super::Millis;
use super::calendar::format_moment;

const LOG_EVERY_MS: u64 = 60_000;

/// Why usage is not being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since_ms: Millis,
    /// For the operator; names files.
    pub message: String,
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The journal's lines.
    Journal,
    /// Their way from the system's memory to the disk.
    Sync,
    /// Day files and totals.
    Files,
}

/// The state of every part.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    parts: [Option<Trouble>; 3],
    logged_at: Option<Millis>,
    lost_logged: u64,
    lost_at: Option<Millis>,
}

impl Troubles {
    /// What is wrong; the journal's trouble is the nearest to a loss.
    pub(super) fn current(&self) -> Option<&Trouble> {
        self.parts.iter().flatten().next()
    }

    /// Takes in how a write went. `waiting` requests are in memory only, `lost` are gone.
    pub(super) fn report(
        &mut self,
        part: Part,
        now: Millis,
        result: Result<(), &str>,
        waiting: u64,
        lost: u64,
    ) {
        let before = self.current().map(|trouble| trouble.since_ms);
        if let Some(slot) = self.parts.get_mut(part as usize) {
            *slot = result.err().map(|message| Trouble {
                since_ms: slot.as_ref().map_or(now, |past| past.since_ms),
                message: message.to_owned(),
            });
        }
        match (self.current(), before) {
            (None, None) => {}
            (None, Some(since)) => {
                log::info!(
                    "usage is written again, after {} s",
                    now.saturating_sub(since) / 1000
                );
                self.logged_at = None;
            }
            (Some(trouble), _) => {
                // A clock that was set back must not silence the log.
                let quiet = self
                    .logged_at
                    .is_some_and(|at| now.abs_diff(at) < LOG_EVERY_MS);
                if !quiet {
                    log::error!(
                        "usage is not written since {}: {}; {waiting} requests are kept in memory and written when \
                         this is mended, traffic goes on",
                        format_moment(trouble.since_ms),
                        trouble.message
                    );
                    self.logged_at = Some(now);
                }
            }
        }
        let quiet = self
            .lost_at
            .is_some_and(|at| now.abs_diff(at) < LOG_EVERY_MS);
        if lost != self.lost_logged && !quiet {
            log::error!(
                "usage of {} requests is lost: more waited for the disk than memory was set aside for",
                lost.wrapping_sub(self.lost_logged)
            );
            self.lost_logged = lost;
            self.lost_at = Some(now);
        }
    }
}
