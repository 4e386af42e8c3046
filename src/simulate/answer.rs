//! The answer to a messages request: a pure function of configuration and body, but for its id.

use std::borrow::Cow;

use super::ledger::Tokens;
use super::peek::{Peek, PeekError, Tool, peek};
use super::shape::{Shape, Thinking};
use super::text::{Text, cut, default_text, tool_input};
use super::ticket::sha256;
use super::{SimConfig, js};

/// The text of an answer that came to nothing (antigravity.md section 10, 4).
pub(super) const NO_RESPONSE: &str = "[No response after retries - please try again]";
/// Bytes of text that make one token.
const TOKEN_BYTES: u64 = 4;
/// What the real server takes when max_tokens is missing or 0.
const DEFAULT_MAX_TOKENS: u64 = 4_096;

/// What the simulator answers to a body when no fault and no quota is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The model that was asked for.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The thinking block's text.
    pub thinking: Option<String>,
    /// The text block's text, filler included.
    pub text: String,
    /// Name and input (JSON text) of the tool call.
    pub tool: Option<(String, String)>,
    /// The usage that is reported.
    pub tokens: Tokens,
    /// As the stream says it, or the JSON answer (which calls a tool call `end_turn`).
    pub stop_reason: String,
    /// How many SSE events a stream has.
    pub events: u64,
}

/// The answer to `body`, without what `PUT /__sim/answers` would add to its shape.
///
/// # Errors
/// Says why the body gets a 400 instead.
pub fn predict(config: &SimConfig, body: &[u8]) -> Result<Prediction, String> {
    let peek = peek(body).map_err(|error| match error {
        PeekError::Syntax(text) | PeekError::Shape(text) => text,
    })?;
    if !peek.has_messages {
        return Err("messages is required and must be an array".to_owned());
    }
    let answer = Answer::new(config, &peek, &peek.shape, body.len(), 0);
    let stop_reason = match peek.stream {
        true => &answer.stop_stream,
        false => &answer.stop_json,
    };
    Ok(Prediction {
        stream: peek.stream,
        thinking: answer.thinking.clone(),
        text: answer.text.whole().into_owned(),
        tool: answer.tool.clone().map(|tool| (tool.name, tool.input)),
        tokens: answer.tokens,
        stop_reason: stop_reason.clone(),
        events: answer.event_count(),
        model: peek.model,
    })
}

#[derive(Clone, Debug)]
pub(super) struct ToolCall {
    id: String,
    pub(super) name: String,
    /// JSON text.
    pub(super) input: String,
}

/// An answer, ready to be written in either form.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) id: String,
    model: String,
    pub(super) thinking: Option<String>,
    signature: String,
    pub(super) text: Text,
    pub(super) tool: Option<ToolCall>,
    pub(super) tokens: Tokens,
    /// The cache counts are left out of the usage of an answer that came to nothing.
    cache_fields: bool,
    pub(super) stop_stream: String,
    pub(super) stop_json: String,
}

/// Does the model think, by its name (antigravity.md section 6)?
fn thinks(model: &str) -> bool {
    let gemini = model.strip_prefix("gemini-");
    let major: Option<u32> = gemini.and_then(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits?.parse().ok()
    });
    (model.contains("claude") && model.contains("thinking")) || major >= Some(3)
}

fn tokens_of(bytes: u64) -> u64 {
    bytes.div_ceil(TOKEN_BYTES)
}

/// `prefix` and 32 hex digits.
pub(super) fn make_id(prefix: &str, seed: u64, seq: u64) -> String {
    let digest = sha256(format!("{prefix}/{seed}/{seq}").as_bytes());
    format!("{prefix}{}", digest.get(..32).unwrap_or_default())
}

impl Answer {
    pub(super) fn new(
        config: &SimConfig,
        peek: &Peek,
        shape: &Shape,
        body_len: usize,
        seq: u64,
    ) -> Self {
        let wanted = shape.tool.as_ref().map(|name| Tool {
            name: name.clone(),
            schema: None,
        });
        let wanted = wanted.or_else(|| peek.wanted.clone());
        let mut thinking = match &shape.thinking {
            Some(Thinking::Text(text)) => Some(text.clone()),
            Some(Thinking::On(on)) => on.then(|| "Let me think.".to_owned()),
            None => thinks(&peek.model).then(|| "Let me think.".to_owned()),
        };
        let given = peek.max_tokens.filter(|&tokens| tokens > 0);
        let mut room = given
            .unwrap_or(DEFAULT_MAX_TOKENS)
            .saturating_mul(TOKEN_BYTES);
        let mut was_cut = false;
        let text = if let Some((bytes, events)) = shape.filler() {
            Text::Filler { bytes, events }
        } else {
            if let Some(thought) = &mut thinking {
                was_cut = cut(thought, room);
                room -= (thought.len() as u64)
                    .next_multiple_of(TOKEN_BYTES)
                    .min(room);
            }
            let mut text = shape.text.clone().unwrap_or_else(|| match &wanted {
                Some(tool) => format!("Calling {}.", tool.name),
                None => default_text(&peek.model, &peek.last_user),
            });
            was_cut |= cut(&mut text, room);
            Text::plain(text, shape.events)
        };
        let tool = wanted.filter(|_| !was_cut).map(|tool| ToolCall {
            id: make_id("toolu_", config.seed, seq),
            input: tool_input(tool.schema.as_deref()),
            name: tool.name,
        });
        let stop = match (was_cut, &tool) {
            (true, _) => "max_tokens",
            (false, Some(_)) => "tool_use",
            (false, None) => "end_turn",
        };
        let stop_json = if stop == "tool_use" { "end_turn" } else { stop };
        let total = tokens_of(body_len as u64);
        let mut answer = Self {
            id: make_id("msg_", config.seed, seq),
            signature: sha256(format!("{}/{}", config.seed, peek.model).as_bytes()),
            model: peek.model.clone(),
            thinking: thinking.filter(|text| !text.is_empty()),
            text,
            tool,
            tokens: Tokens::default(),
            cache_fields: true,
            stop_stream: shape.stop_reason.clone().unwrap_or_else(|| stop.to_owned()),
            stop_json: shape
                .stop_reason
                .clone()
                .unwrap_or_else(|| stop_json.to_owned()),
        };
        answer.tokens = Tokens {
            input: shape.input_tokens.unwrap_or(total - total / 5),
            output: shape
                .output_tokens
                .unwrap_or_else(|| answer.output_tokens()),
            cache_read: shape.cache_read_input_tokens.unwrap_or(total / 5),
            cache_creation: shape.cache_creation_input_tokens.unwrap_or(0),
        };
        answer
    }

    fn output_tokens(&self) -> u64 {
        let thinking = self.thinking.as_ref().map_or(0, |text| text.len() as u64);
        let tool = self.tool.as_ref().map_or(0, |tool| tool.input.len() as u64);
        tokens_of(thinking) + tokens_of(self.text.len()) + tokens_of(tool)
    }

    /// As if Google had said nothing at all.
    pub(super) fn into_empty(self) -> Self {
        Self {
            thinking: None,
            text: Text::plain(String::new(), None),
            tool: None,
            tokens: Tokens {
                output: 0,
                ..self.tokens
            },
            stop_stream: "end_turn".to_owned(),
            stop_json: "end_turn".to_owned(),
            ..self
        }
    }

    /// As after Google's silence and two retries: the stream has the text, JSON has none.
    pub(super) fn into_empty_text(self, stream: bool) -> Self {
        let text = if stream { NO_RESPONSE } else { "" };
        Self {
            text: Text::Plain(text.to_owned(), vec![text.len()]),
            tokens: Tokens::default(),
            cache_fields: false,
            ..self.into_empty()
        }
    }

    /// Half the text, as if that were all.
    pub(super) fn into_half(mut self) -> Self {
        let mut text = self.text.whole().into_owned();
        let half = text.len() as u64 / 2;
        cut(&mut text, half);
        self.text = Text::plain(text, None);
        self.tool = None;
        self.tokens.output = self.output_tokens();
        self.stop_json = "end_turn".to_owned();
        self
    }

    fn cache_usage(&self) -> String {
        if !self.cache_fields {
            return String::new();
        }
        format!(
            ",\"cache_read_input_tokens\":{},\"cache_creation_input_tokens\":{}",
            self.tokens.cache_read, self.tokens.cache_creation
        )
    }

    pub(super) fn usage(&self, output: u64) -> String {
        let (input, cache) = (self.tokens.input, self.cache_usage());
        format!("{{\"input_tokens\":{input},\"output_tokens\":{output}{cache}}}")
    }

    pub(super) fn delta_usage(&self) -> String {
        format!(
            "{{\"output_tokens\":{}{}}}",
            self.tokens.output,
            self.cache_usage()
        )
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn signature(&self) -> &str {
        &self.signature
    }

    pub(super) fn text_delta(&self, index: u64) -> Cow<'_, str> {
        self.text.delta(index)
    }

    /// The body of an answer that does not stream.
    pub(super) fn json(&self) -> String {
        let mut content = Vec::new();
        if let Some(thinking) = &self.thinking {
            content.push(format!(
                "{{\"type\":\"thinking\",\"thinking\":{},\"signature\":\"{}\"}}",
                js(thinking),
                self.signature
            ));
        }
        let text = self.text.whole();
        if !text.is_empty() {
            content.push(format!("{{\"type\":\"text\",\"text\":{}}}", js(&text)));
        }
        if let Some(tool) = &self.tool {
            content.push(format!("{{{}\"input\":{}}}", tool.head(), tool.input));
        }
        if content.is_empty() {
            content.push("{\"type\":\"text\",\"text\":\"\"}".to_owned());
        }
        format!(
            "{{\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{}],\
             \"model\":{},\"stop_reason\":{},\"stop_sequence\":null,\"usage\":{}}}",
            self.id,
            content.join(","),
            js(&self.model),
            js(&self.stop_json),
            self.usage(self.tokens.output)
        )
    }
}

impl ToolCall {
    /// The block's fields before its input.
    pub(super) fn head(&self) -> String {
        let (id, name) = (&self.id, js(&self.name));
        format!("\"type\":\"tool_use\",\"id\":\"{id}\",\"name\":{name},")
    }
}
