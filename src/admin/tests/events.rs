//! /admin/events, as JSON and live.

use super::*;
use crate::telemetry::{Event, EventKind};
use axum::body::BodyDataStream;
use futures_util::{FutureExt, StreamExt};

fn event(detail: &str) -> Event {
    Event {
        detail: Some(detail.to_owned()),
        ..Event::new(EventKind::Fallback)
    }
}

async fn feed(house: &House, last: Option<&str>) -> BodyDataStream {
    let mut ask = house
        .admin("/admin/events")
        .header("accept", "application/json;q=0.1, Text/Event-Stream");
    if let Some(last) = last {
        ask = ask.header("last-event-id", last);
    }
    let response = ask.response().await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    response.into_body().into_data_stream()
}

async fn frame(feed: &mut BodyDataStream) -> Option<String> {
    let bytes = feed.next().await?.unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn json_holds_what_is_kept() {
    let house = House::new();
    house.state.events.push(event("one"));
    house.state.events.push(event("two"));
    let json = house.admin("/admin/events").send().await.json();
    assert_eq!(json["events"][1]["detail"], "two");
    assert_eq!(
        (&json["events"][0]["kind"], &json["events"][0]["seq"]),
        (&"fallback".into(), &1.into())
    );
}

#[tokio::test]
async fn a_feed_brings_events_as_they_come() {
    let house = House::new();
    house.state.events.push(event("before"));
    let mut live = feed(&house, None).await;
    house.state.events.push(event("line\nbreak"));
    let text = frame(&mut live).await.unwrap();
    assert!(
        text.contains("id: 2\n") && text.contains("event: fallback\n"),
        "{text}"
    );
    let data = text.lines().find_map(|l| l.strip_prefix("data: ")).unwrap();
    let json: Value = serde_json::from_str(data).unwrap();
    assert_eq!(json["detail"], "line\nbreak");
}

#[tokio::test]
async fn a_feed_goes_on_where_it_broke_and_survives_a_flood() {
    let house = House::new();
    for n in 1..=5 {
        house.state.events.push(event(&n.to_string()));
    }
    let mut live = feed(&house, Some("3")).await;
    assert!(frame(&mut live).await.unwrap().contains("id: 4\n"));
    // More than the channel holds, less than the ring does.
    for n in 6..=300 {
        house.state.events.push(event(&n.to_string()));
    }
    for n in 5..=300 {
        let text = frame(&mut live).await.unwrap();
        assert!(text.contains(&format!("id: {n}\n")), "{n}: {text}");
    }
    // What the ring gave does not come a second time from the channel.
    assert_eq!(frame(&mut live).now_or_never(), None);
    house.state.events.push(event("301"));
    let text = frame(&mut live).await.unwrap();
    assert!(text.contains("id: 301\n"), "{text}");
    let mut restarted = feed(&house, Some("999999")).await;
    assert!(frame(&mut restarted).await.unwrap().contains("id: 1\n"));
}

#[tokio::test]
async fn a_feed_ends_when_the_process_drains() {
    let house = House::new();
    let mut live = feed(&house, None).await;
    house.state.life.set_draining(true);
    assert_eq!(frame(&mut live).await, None);
}

#[tokio::test]
async fn silence_is_broken_by_comments() {
    let house = House::new();
    let place = Arc::clone(&house.state.feeds).try_acquire_owned().unwrap();
    let interval = std::time::Duration::from_millis(1);
    let response = super::super::events::live(&house.state, None, place, interval);
    let mut live = response.into_body().into_data_stream();
    for _ in 0..2 {
        assert!(frame(&mut live).await.unwrap().starts_with(':'));
    }
}

#[tokio::test]
async fn feeds_are_bounded() {
    let house = House::new();
    let mut feeds = Vec::new();
    for _ in 0..MAX_FEEDS {
        feeds.push(feed(&house, None).await);
    }
    let refused = house
        .admin("/admin/events")
        .header("accept", "text/event-stream")
        .send()
        .await;
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (503, "api_error")
    );
    feeds.pop();
    feeds.push(feed(&house, None).await);
}
