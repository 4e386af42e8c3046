//! An answer as a chat completion, whole or in chunks.

use super::super::answer::Answer;
use super::super::events::{Event, Mark};
use super::super::{js, js_opt, now_ms};

/// Arguments are streamed in pieces of so many bytes.
const FRAGMENT: usize = 16;

/// One SSE event, which has no name in this dialect.
pub(in super::super) fn frame(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// The last event.
pub(in super::super) fn done() -> Event {
    Event {
        mark: Mark::Stop,
        frame: frame("[DONE]"),
    }
}

/// What the other dialect's stop reasons are called here; anything else stays as it is.
fn finish_reason(stop: &str) -> &str {
    match stop {
        "end_turn" | "stop_sequence" | "pause_turn" => "stop",
        "tool_use" => "tool_calls",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "refusal" => "content_filter",
        other => other,
    }
}

impl Answer {
    /// Role chunk and thoughts left out: text, tools, finish, usage, `[DONE]`.
    pub(in super::super) fn chunks_after_thoughts(&self) -> u64 {
        let tools = self.tools.iter();
        let tools = tools.map(|tool| tool.fragments(self.fragment()).count() as u64 + 1);
        self.text.deltas() + tools.sum::<u64>() + 1 + u64::from(self.include_usage) + 1
    }

    fn fragment(&self) -> Option<usize> {
        self.fragment.or(Some(FRAGMENT))
    }

    fn completion_usage(&self) -> String {
        let tokens = self.tokens;
        let prompt = tokens.input + tokens.cache_read + tokens.cache_creation;
        let written = match tokens.cache_creation {
            0 => String::new(),
            written => format!(",\"cache_write_tokens\":{written}"),
        };
        format!(
            "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{output},\"total_tokens\":{total},\
             \"prompt_tokens_details\":{{\"cached_tokens\":{read},\"audio_tokens\":0{written}}},\
             \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning},\"audio_tokens\":0,\
             \"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}}}",
            output = tokens.output,
            total = prompt + tokens.output,
            read = tokens.cache_read,
            reasoning = self.thinking_tokens().min(tokens.output),
        )
    }

    /// All events of the stream under this id.
    pub(in super::super) fn chunks<'a>(
        &'a self,
        id: &str,
    ) -> impl Iterator<Item = Event> + Send + use<'a> {
        let head = format!(
            "{{\"id\":\"{id}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":{},\
             \"service_tier\":\"default\",\"system_fingerprint\":\"fp_simulated\",",
            now_ms() / 1_000,
            js(self.model())
        );
        let tail = if self.include_usage {
            ",\"usage\":null}"
        } else {
            "}"
        };
        let usage = self.include_usage.then(|| {
            let usage = self.completion_usage();
            let data = format!("{head}\"choices\":[],\"usage\":{usage}}}");
            Event {
                mark: Mark::Usage,
                frame: frame(&data),
            }
        });
        let chunk = move |delta: &str, finish: Option<&str>| {
            let finish = js_opt(finish);
            let data = format!(
                "{head}\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]{tail}"
            );
            Event {
                mark: Mark::Delta,
                frame: frame(&data),
            }
        };
        let role = "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}".to_owned();
        let thoughts = self
            .thoughts()
            .map(|part| format!("{{\"reasoning_content\":{}}}", js(part)));
        let text =
            (0..self.text.deltas()).map(|n| format!("{{\"content\":{}}}", js(&self.text_delta(n))));
        let tools = self.tools.iter().enumerate().flat_map(|(index, tool)| {
            let start = format!(
                "{{\"tool_calls\":[{{\"index\":{index},\"id\":{},\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":\"\"}}}}]}}",
                js(&tool.id),
                js(&tool.name)
            );
            let pieces = tool.fragments(self.fragment()).map(move |piece| {
                let piece = js(piece);
                format!("{{\"tool_calls\":[{{\"index\":{index},\"function\":{{\"arguments\":{piece}}}}}]}}")
            });
            std::iter::once(start).chain(pieces)
        });
        let deltas = std::iter::once(role)
            .chain(thoughts)
            .chain(text)
            .chain(tools);
        deltas
            .map(|delta| (delta, None))
            .chain([("{}".to_owned(), Some(finish_reason(&self.stop_stream)))])
            .map(move |(delta, finish)| chunk(&delta, finish))
            .chain(usage)
            .chain([done()])
    }

    /// The body of an answer that does not stream.
    pub(in super::super) fn completion(&self) -> String {
        let text = self.text.whole();
        let content = match text.is_empty() && !self.tools.is_empty() {
            true => "null".to_owned(),
            false => js(&text),
        };
        let reasoning = match &self.thinking {
            Some(thinking) => format!(",\"reasoning_content\":{}", js(thinking)),
            None => String::new(),
        };
        let calls: Vec<String> = self
            .tools
            .iter()
            .map(|tool| {
                format!(
                    "{{\"id\":{},\"type\":\"function\",\"function\":{{\"name\":{},\"arguments\":{}}}}}",
                    js(&tool.id),
                    js(&tool.name),
                    js(&tool.input)
                )
            })
            .collect();
        let calls = match calls.is_empty() {
            true => String::new(),
            false => format!(",\"tool_calls\":[{}]", calls.join(",")),
        };
        format!(
            "{{\"id\":\"{}\",\"object\":\"chat.completion\",\"created\":{},\"model\":{},\"choices\":[{{\"index\":0,\
             \"message\":{{\"role\":\"assistant\",\"content\":{content}{reasoning}{calls},\"refusal\":null,\"annotations\":[]}},\
             \"logprobs\":null,\"finish_reason\":{}}}],\"usage\":{},\"service_tier\":\"default\",\
             \"system_fingerprint\":\"fp_simulated\"}}",
            self.id,
            now_ms() / 1_000,
            js(self.model()),
            js(finish_reason(&self.stop_json)),
            self.completion_usage(),
        )
    }
}
