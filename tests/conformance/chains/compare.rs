//! What of two answers must be the same.

use serde_json::Value;

use super::Dialect::{self, Anthropic, OpenAi};
use crate::support::world::Answer;

/// Without what is another in every answer: ids and times.
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        let is_time = run.len() >= 10 && run.bytes().all(|byte| byte.is_ascii_digit());
        match run.len() >= 32 || is_time {
            true => out.push('#'),
            false => out.push_str(&run),
        }
        run.clear();
        out.push(c);
    }
    out
}

/// The text of an answer in either dialect, streamed or not, which must be whole.
pub fn text_of(client: Dialect, stream: bool, answer: &Answer) -> String {
    let text = answer.text();
    match (client, stream) {
        (Anthropic, true) => {
            let events = answer.events();
            assert_eq!(events.first().unwrap(), "message_start", "{text}");
            assert_eq!(events.last().unwrap(), "message_stop", "{text}");
            assert_eq!(
                events
                    .iter()
                    .filter(|event| *event == "message_start")
                    .count(),
                1
            );
            answer.content()
        }
        (Anthropic, false) => answer.content(),
        (OpenAi, true) => {
            assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
            let deltas = text.lines().filter_map(|line| {
                let chunk: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
                let delta = chunk.pointer("/choices/0/delta/content")?;
                delta.as_str().map(str::to_owned)
            });
            deltas.collect()
        }
        (OpenAi, false) => {
            let content = &answer.json()["choices"][0]["message"]["content"];
            content.as_str().unwrap().to_owned()
        }
    }
}
