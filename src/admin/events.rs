//! `/admin/events`: what happened lately, as JSON or live.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::AdminState;
use super::fault::{Answer, Fault};
use crate::telemetry::{Event, Events};
use crate::wire::error::ErrorKind;

/// A comment is sent after so much silence, so that proxies between keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(State(state): State<AdminState>, headers: HeaderMap) -> Answer {
    if !wants_feed(&headers) {
        return Ok(Json(json!({"events": state.events.recent()})).into_response());
    }
    let Ok(place) = Arc::clone(&state.feeds).try_acquire_owned() else {
        let message =
            "too many listeners to events; close one, or ask without Accept: text/event-stream";
        return Err(Fault::new(503, ErrorKind::Api, message));
    };
    Ok(live(&state, last_seen(&headers), place, KEEP_ALIVE))
}

/// Whether the client asks for a stream, in whatever case and company.
fn wants_feed(headers: &HeaderMap) -> bool {
    let lines = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or("");
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// The last event that a listener had before its connection broke.
fn last_seen(headers: &HeaderMap) -> Option<u64> {
    headers
        .get("last-event-id")?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

struct Feed {
    events: Arc<Events>,
    live: Receiver<Event>,
    ends: watch::Receiver<bool>,
    /// The newest that was sent.
    last: u64,
    /// To be sent before what is live, the newest first.
    backlog: Vec<Event>,
    _place: OwnedSemaphorePermit,
}

pub(super) fn live(
    state: &AdminState,
    last_seen: Option<u64>,
    place: OwnedSemaphorePermit,
    keep_alive: Duration,
) -> Response {
    let mut feed = Feed {
        live: state.events.subscribe(),
        events: Arc::clone(&state.events),
        ends: state.life.watch_feeds_end(),
        last: 0,
        backlog: Vec::new(),
        _place: place,
    };
    // Subscribed first and then read, so that nothing falls between.
    let recent = state.events.recent();
    let newest = recent.last().map_or(0, |event| event.seq);
    // A number from before a restart says nothing about ours.
    feed.last = last_seen.map_or(newest, |seen| if seen > newest { 0 } else { seen });
    feed.catch_up();
    let mut response = Sse::new(feed.frames())
        .keep_alive(KeepAlive::new().interval(keep_alive))
        .into_response();
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Feed {
    fn frames(self) -> impl Stream<Item = Result<Frame, Infallible>> {
        stream::unfold(self, |mut feed| async move {
            let event = feed.next().await?;
            Some((Ok(frame(&event)), feed))
        })
    }

    /// The next event; None when the process is going to end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.backlog.pop() {
                self.last = event.seq;
                return Some(event);
            }
            let came = tokio::select! {
                biased;
                _ = self.ends.wait_for(|ends| *ends) => return None,
                came = self.live.recv() => came,
            };
            match came {
                // Was in the backlog already.
                Ok(event) if event.seq <= self.last => {}
                Ok(event) => {
                    self.last = event.seq;
                    return Some(event);
                }
                // The ring remembers more than the channel.
                Err(RecvError::Lagged(_)) => self.catch_up(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn catch_up(&mut self) {
        let missed = self
            .events
            .recent()
            .into_iter()
            .filter(|event| event.seq > self.last);
        self.backlog = missed.collect();
        self.backlog.reverse();
    }
}

fn frame(event: &Event) -> Frame {
    let data = serde_json::to_value(event).unwrap_or_default();
    let kind = data
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or("event")
        .to_owned();
    // JSON escapes line breaks, so the data is always one line.
    Frame::default()
        .id(event.seq.to_string())
        .event(kind)
        .data(data.to_string())
}
