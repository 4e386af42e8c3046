//! Streams: many at once, event by event, silent ones, and those whose client goes away.

mod gone;
mod large;
mod many;
mod pace;
mod silent;

use std::time::Duration;

use luna::simulate::Shape;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::world::World;

/// A request whose answer has this shape.
fn shaped(stream: bool, shape: &Shape) -> Value {
    json!({
        "model": "claude-sonnet-4-6",
        "max_tokens": 200,
        "stream": stream,
        "messages": [{"role": "user", "content": "Hello"}],
        "metadata": {"sim": shape},
    })
}

/// The whole frames of a stream, comments included; nothing may be left over.
fn frames(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).unwrap();
    let whole = text.strip_suffix("\n\n").unwrap_or_else(|| {
        let tail: Vec<char> = text.chars().rev().take(80).collect();
        panic!(
            "ends in mid-frame: {}",
            tail.into_iter().rev().collect::<String>()
        )
    });
    whole.split("\n\n").map(str::to_owned).collect()
}

/// The text of the text deltas among `frames`.
fn text_of(frames: &[String]) -> String {
    let data = frames
        .iter()
        .filter_map(|frame| frame.split_once("\ndata: "));
    data.filter_map(|(_, data)| {
        let data: Value = serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}"));
        Some(data.pointer("/delta/text")?.as_str()?.to_owned())
    })
    .collect()
}

/// No request is in flight any more, and none of their memory is held.
async fn all_is_given_back(world: &World) {
    eventually("all is given back", Duration::from_secs(5), async || {
        world.app.gateway.in_flight() == 0
            && world.app.gateway.body_bytes() == 0
            && world.metric("luna_in_flight").await == 0.0
    })
    .await;
}
