//! Recent fallbacks, marks and errors: a bounded ring for `/admin/events`, and a live feed.
//!
//! Events are rare (a mark, a change of tier, a failed request), so a short
//! mutex over the ring is enough; requests that go well never come here.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

/// Events kept for `/admin/events`.
const RING: usize = 512;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A request was answered by another tier than its first.
    Fallback,
    /// A tier or an upstream was marked.
    Mark,
    /// A request ended with an error.
    Error,
    /// A poll failed, or an upstream came back.
    Upstream,
    /// The configuration was read again.
    Reload,
}

/// One line of `/admin/events`. All texts have passed `wire::text::clean`.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Rises by one with each event since the start of the process.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub time: String,
    pub kind: EventKind,
    /// Of the request that it belongs to, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The key's name, never the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The model that answered instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    /// A label of the closed set of reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Event {
    /// An event of `kind` with nothing else known yet.
    pub fn new(kind: EventKind) -> Self {
        Self {
            seq: 0,
            time: jiff::Timestamp::now().to_string(),
            kind,
            request_id: None,
            key: None,
            model: None,
            upstream: None,
            served: None,
            reason: None,
            detail: None,
        }
    }
}

/// The ring and its live feed.
pub struct Events {
    ring: Mutex<(u64, VecDeque<Event>)>,
    live: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            ring: Mutex::new((0, VecDeque::with_capacity(RING))),
            live: broadcast::Sender::new(128),
        }
    }
}

impl Events {
    /// Adds an event, dropping the oldest when the ring is full.
    pub fn push(&self, mut event: Event) {
        let mut ring = self.ring();
        ring.0 += 1;
        event.seq = ring.0;
        if ring.1.len() == RING {
            ring.1.pop_front();
        }
        ring.1.push_back(event.clone());
        drop(ring);
        // Nobody listening is the usual case, not an error.
        let _ = self.live.send(event);
    }

    /// The events that are kept, oldest first.
    pub fn recent(&self) -> Vec<Event> {
        self.ring().1.iter().cloned().collect()
    }

    /// Events from now on. A listener that falls behind misses the oldest and is told so.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.live.subscribe()
    }

    fn ring(&self) -> MutexGuard<'_, (u64, VecDeque<Event>)> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_and_counts_all() {
        let events = Events::default();
        for _ in 0..RING + 10 {
            events.push(Event::new(EventKind::Mark));
        }
        let recent = events.recent();
        assert_eq!(recent.len(), RING);
        assert_eq!(recent.first().map(|e| e.seq), Some(11));
        assert_eq!(recent.last().map(|e| e.seq), Some(RING as u64 + 10));
    }

    #[test]
    fn a_listener_sees_what_is_pushed() {
        let events = Events::default();
        let mut live = events.subscribe();
        events.push(Event::new(EventKind::Reload));
        assert_eq!(live.try_recv().unwrap().kind, EventKind::Reload);
    }
}
