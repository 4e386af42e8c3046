//! What happens on one connection: how long it lives, what is told on it and when, and what of it
//! the upstream's side sees.

mod expect;
mod failed;
mod kept;
mod old;
mod refusals;
mod upstream;

use crate::support::h1::request;
use crate::support::world::World;

/// A small message whose answer repeats `words`.
fn message(stream: bool, words: &str) -> Vec<u8> {
    format!(
        r#"{{"model":"claude-sonnet-4-6","max_tokens":200,"stream":{stream},"messages":[{{"role":"user","content":"{words}"}}]}}"#
    )
    .into_bytes()
}

/// The whole request for [`message`].
fn post(world: &World, stream: bool, words: &str) -> Vec<u8> {
    let headers = [("x-api-key", world.key.as_str())];
    request("POST", "/v1/messages", &headers, &message(stream, words))
}
