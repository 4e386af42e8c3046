//! The SSE events of an answer, made one at a time: a stream of 50 MB needs no 50 MB
//! (antigravity.md section 8).

use super::answer::Answer;
use super::{Generation, js, js_opt};

/// What an event does to the content blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Start,
    Open(u64),
    Delta,
    Close,
    /// message_delta: the usage's second half.
    Usage,
    Stop,
}

pub(super) struct Event {
    pub(super) mark: Mark,
    /// As it goes out.
    pub(super) frame: String,
}

impl Event {
    fn new(mark: Mark, name: &str, data: &str) -> Self {
        let frame = frame(name, data);
        Self { mark, frame }
    }
}

pub(super) fn frame(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

pub(super) fn close(index: u64) -> Event {
    let data = format!("{{\"type\":\"content_block_stop\",\"index\":{index}}}");
    Event::new(Mark::Close, "content_block_stop", &data)
}

fn open(index: u64, block: &str) -> Event {
    let data =
        format!("{{\"type\":\"content_block_start\",\"index\":{index},\"content_block\":{block}}}");
    Event::new(Mark::Open(index), "content_block_start", &data)
}

fn delta(index: u64, delta: &str) -> Event {
    let data = format!("{{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{delta}}}");
    Event::new(Mark::Delta, "content_block_delta", &data)
}

pub(super) fn stop() -> Event {
    let data = "{\"type\":\"message_stop\"}";
    Event::new(Mark::Stop, "message_stop", data)
}

impl Answer {
    /// Deltas of the thinking block, its signature not counted.
    pub(super) fn thoughts(&self) -> impl Iterator<Item = &str> {
        let text = self.thinking.as_deref().unwrap_or_default();
        let middle = text.char_indices().nth(text.chars().count() / 2);
        let (first, second) = text.split_at(middle.map_or(0, |(index, _)| index));
        [first, second].into_iter().filter(|part| !part.is_empty())
    }

    fn text_index(&self) -> u64 {
        u64::from(self.thinking.is_some())
    }

    fn tool_index(&self) -> u64 {
        self.text_index() + u64::from(self.text.deltas() > 0)
    }

    /// Events before the first text delta.
    fn before_text(&self) -> u64 {
        if self.generation == Generation::OpenAi {
            return 1 + self.thoughts().count() as u64;
        }
        let thinking = match self.thinking {
            Some(_) => self.thoughts().count() as u64 + 3,
            None => 0,
        };
        1 + thinking + 1
    }

    pub(super) fn event_count(&self) -> u64 {
        if self.generation == Generation::OpenAi {
            return self.before_text() + self.chunks_after_thoughts();
        }
        let text = match self.text.deltas() {
            0 => 0,
            deltas => deltas + 2,
        };
        let tools = self.tools.iter();
        let fragments = tools.map(|tool| tool.fragments(self.fragment).count() as u64 + 2);
        self.before_text() - 1 + text + fragments.sum::<u64>() + 2
    }

    /// Where a fault in mid-stream happens: at `wanted`, else after the first text delta; at the
    /// latest before the last event, or it would be none.
    pub(super) fn fault_index(&self, wanted: Option<u32>) -> u64 {
        let index = wanted.map_or(self.before_text() + 1, u64::from);
        index.min(self.event_count() - 1)
    }

    pub(super) fn start(&self, id: &str) -> Event {
        let data = format!(
            "{{\"type\":\"message_start\",\"message\":{{\"id\":\"{id}\",\"type\":\"message\",\
             \"role\":\"assistant\",\"content\":[],\"model\":{},\"stop_reason\":null,\
             \"stop_sequence\":null,\"usage\":{}}}}}",
            js(self.model()),
            self.usage(0)
        );
        Event::new(Mark::Start, "message_start", &data)
    }

    pub(super) fn usage_event(&self, stop_reason: &str) -> Event {
        let data = format!(
            "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":{},\"stop_sequence\":{}}},\"usage\":{}}}",
            js(stop_reason),
            js_opt(self.stopped_by.as_deref()),
            self.delta_usage()
        );
        Event::new(Mark::Usage, "message_delta", &data)
    }

    /// All events of the stream under this message id.
    pub(super) fn events<'a>(&'a self, id: &str) -> Box<dyn Iterator<Item = Event> + Send + 'a> {
        match self.generation {
            Generation::OpenAi => Box::new(self.chunks(id)),
            _ => Box::new(self.blocks(id)),
        }
    }

    fn blocks<'a>(&'a self, id: &str) -> impl Iterator<Item = Event> + Send + use<'a> {
        let think = self.thinking.iter().flat_map(|_| {
            let thoughts = self.thoughts().map(|part| {
                let part = js(part);
                delta(
                    0,
                    &format!("{{\"type\":\"thinking_delta\",\"thinking\":{part}}}"),
                )
            });
            let sign = format!(
                "{{\"type\":\"signature_delta\",\"signature\":\"{}\"}}",
                self.signature()
            );
            std::iter::once(open(0, "{\"type\":\"thinking\",\"thinking\":\"\"}"))
                .chain(thoughts)
                .chain([delta(0, &sign), close(0)])
        });
        let (index, deltas) = (self.text_index(), self.text.deltas());
        let has_text = (deltas > 0).then_some(());
        let text_open = has_text.map(|()| open(index, "{\"type\":\"text\",\"text\":\"\"}"));
        let text = (0..deltas).map(move |n| {
            let part = js(&self.text_delta(n));
            delta(
                index,
                &format!("{{\"type\":\"text_delta\",\"text\":{part}}}"),
            )
        });
        let text_close = has_text.map(|()| close(index));
        let tools = (self.tool_index()..).zip(&self.tools);
        let tools = tools.flat_map(move |(index, tool)| {
            let fragments = tool.fragments(self.fragment).map(move |piece| {
                let piece = js(piece);
                delta(
                    index,
                    &format!("{{\"type\":\"input_json_delta\",\"partial_json\":{piece}}}"),
                )
            });
            let start = open(index, &format!("{{{}\"input\":{{}}}}", tool.head()));
            std::iter::once(start)
                .chain(fragments)
                .chain([close(index)])
        });
        std::iter::once(self.start(id))
            .chain(think)
            .chain(text_open)
            .chain(text)
            .chain(text_close)
            .chain(tools)
            .chain([self.usage_event(&self.stop_stream), stop()])
    }
}
