//! The answer to a messages request: a pure function of configuration and body, but for its id.

use std::borrow::Cow;

use super::calls::{ToolCall, planned};
use super::ledger::Tokens;
use super::peek::{Choice, Peek, PeekError, peek};
use super::sample::sample;
use super::shape::{Shape, Thinking};
use super::text::{Text, cut, default_text};
use super::ticket::sha256;
use super::{Generation, SimConfig, js, js_opt, openai};

/// The text of an answer that came to nothing (antigravity.md section 10, 4).
pub(super) const NO_RESPONSE: &str = "[No response after retries - please try again]";
/// Bytes of text that make one token.
const TOKEN_BYTES: u64 = 4;
/// What the real server takes when max_tokens is missing or 0.
const DEFAULT_MAX_TOKENS: u64 = 4_096;
/// What OpenAI takes is the model's whole room.
const OPENAI_MAX_TOKENS: u64 = 128_000;

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
    /// Name and input (JSON text) of the first tool call.
    pub tool: Option<(String, String)>,
    /// The same of all calls, in their order.
    pub tools: Vec<(String, String)>,
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
    let peek = match config.generation {
        Generation::OpenAi => openai::peek(body),
        _ => peek(body),
    };
    let peek = peek.map_err(|error| match error {
        PeekError::Syntax(text) | PeekError::Shape(text) => text,
    })?;
    if !peek.has_messages {
        return Err("messages is required and must be an array".to_owned());
    }
    let answer = Answer::new(config, &peek, &peek.shape, body.len(), 0)?;
    let stop_reason = match peek.stream {
        true => &answer.stop_stream,
        false => &answer.stop_json,
    };
    let tools = answer.tools.iter();
    let tools: Vec<_> = tools
        .map(|tool| (tool.name.clone(), tool.input.clone()))
        .collect();
    Ok(Prediction {
        stream: peek.stream,
        thinking: answer.thinking.clone(),
        text: answer.text.whole().into_owned(),
        tool: tools.first().cloned(),
        tools,
        tokens: answer.tokens,
        stop_reason: stop_reason.clone(),
        events: answer.event_count(),
        model: peek.model,
    })
}

/// An answer, ready to be written in either form.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) id: String,
    model: String,
    pub(super) thinking: Option<String>,
    signature: String,
    pub(super) text: Text,
    pub(super) tools: Vec<ToolCall>,
    /// Inputs are streamed in pieces of so many bytes; absent: in one.
    pub(super) fragment: Option<usize>,
    pub(super) tokens: Tokens,
    /// The cache counts are left out of the usage of an answer that came to nothing.
    cache_fields: bool,
    pub(super) stop_stream: String,
    pub(super) stop_json: String,
    /// The stop sequence that ended the text.
    pub(super) stopped_by: Option<String>,
    pub(super) generation: Generation,
    /// Of the OpenAI dialect: a last chunk with the usage is wanted.
    pub(super) include_usage: bool,
}

/// Does the model think, by its name (antigravity.md section 6)?
fn thinks_by_name(model: &str) -> bool {
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

/// Cuts before the first stop sequence and says which that was.
fn stop_at(text: &mut String, stops: &[String]) -> Option<String> {
    let stops = stops.iter().filter(|stop| !stop.is_empty());
    let found = stops.filter_map(|stop| text.find(stop.as_str()).map(|at| (at, stop)));
    let (at, stop) = found.min_by_key(|(at, _)| *at)?;
    text.truncate(at);
    Some(stop.clone())
}

/// The text when no shape gives one.
fn usual_text(generation: Generation, peek: &Peek, tools: &[ToolCall]) -> String {
    if !tools.is_empty() {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        return format!("Calling {}.", names.join(", "));
    }
    let by_field = peek.json_by_field.as_ref();
    // Antigravity does not know the field.
    let by_field = by_field.filter(|_| generation.obeys());
    match by_field.or(peek.json_by_text.as_ref()) {
        Some(Some(schema)) => sample(schema),
        Some(None) => "{\"answer\":\"Oslo\"}".to_owned(),
        None => default_text(generation, peek),
    }
}

impl Answer {
    /// # Errors
    /// Says why an order cannot be followed.
    pub(super) fn new(
        config: &SimConfig,
        peek: &Peek,
        shape: &Shape,
        body_len: usize,
        seq: u64,
    ) -> Result<Self, String> {
        let generation = config.generation;
        let mut tools = planned(config, peek, shape, seq)?;
        let thinks = peek.thinking.filter(|_| generation.obeys());
        let thinks = thinks.unwrap_or_else(|| !generation.obeys() && thinks_by_name(&peek.model));
        let mut thinking = match &shape.thinking {
            Some(Thinking::Text(text)) => Some(text.clone()),
            Some(Thinking::On(on)) => on.then(|| "Let me think.".to_owned()),
            None => thinks.then(|| "Let me think.".to_owned()),
        };
        let given = peek.max_tokens.filter(|&tokens| tokens > 0);
        let mut room = given
            .unwrap_or(match generation {
                Generation::OpenAi => OPENAI_MAX_TOKENS,
                _ => DEFAULT_MAX_TOKENS,
            })
            .saturating_mul(TOKEN_BYTES);
        let (mut was_cut, mut stopped_by) = (false, None);
        let text = if let Some((bytes, events)) = shape.filler() {
            Text::Filler { bytes, events }
        } else {
            if let Some(thought) = &mut thinking {
                was_cut = cut(thought, room);
                room -= (thought.len() as u64)
                    .next_multiple_of(TOKEN_BYTES)
                    .min(room);
            }
            let usual = || usual_text(generation, peek, &tools);
            let mut text = shape.text.clone().unwrap_or_else(usual);
            if generation.obeys() {
                stopped_by = stop_at(&mut text, &peek.stops);
            }
            was_cut |= cut(&mut text, room);
            Text::plain(text, shape.events)
        };
        if was_cut || stopped_by.is_some() {
            tools.clear();
        }
        let stop = match (was_cut, tools.is_empty()) {
            (true, _) => "max_tokens",
            (false, false) => "tool_use",
            (false, true) if stopped_by.is_some() => "stop_sequence",
            (false, true) => "end_turn",
        };
        // OpenAI says so when the call was forced by name.
        let forced = generation == Generation::OpenAi && matches!(peek.choice, Choice::Named(_));
        let stop = if forced && stop == "tool_use" {
            "end_turn"
        } else {
            stop
        };
        let is_antigravity = !generation.obeys();
        let stop_json = if is_antigravity && stop == "tool_use" {
            "end_turn"
        } else {
            stop
        };
        let stop_of = |stop: &str| shape.stop_reason.clone().unwrap_or_else(|| stop.to_owned());
        let total = tokens_of(body_len as u64);
        let mut answer = Self {
            id: make_id(generation.id_prefix(), config.seed, seq),
            signature: sha256(format!("{}/{}", config.seed, peek.model).as_bytes()),
            model: peek.model.clone(),
            thinking: thinking.filter(|text| !text.is_empty()),
            text,
            tools,
            fragment: shape.fragment_bytes.map(|bytes| bytes as usize),
            tokens: Tokens::default(),
            cache_fields: true,
            stop_stream: stop_of(stop),
            stop_json: stop_of(stop_json),
            stopped_by: stopped_by.filter(|_| stop == "stop_sequence"),
            generation,
            include_usage: peek.include_usage,
        };
        answer.tokens = Tokens {
            input: shape.input_tokens.unwrap_or(total - total / 5),
            output: shape
                .output_tokens
                .unwrap_or_else(|| answer.output_tokens()),
            cache_read: shape.cache_read_input_tokens.unwrap_or(total / 5),
            cache_creation: shape.cache_creation_input_tokens.unwrap_or(0),
        };
        Ok(answer)
    }

    pub(super) fn thinking_tokens(&self) -> u64 {
        tokens_of(self.thinking.as_ref().map_or(0, |text| text.len() as u64))
    }

    fn output_tokens(&self) -> u64 {
        let tools = self.tools.iter();
        let tools: u64 = tools.map(|tool| tokens_of(tool.input.len() as u64)).sum();
        self.thinking_tokens() + tokens_of(self.text.len()) + tools
    }

    /// As if Google had said nothing at all.
    pub(super) fn into_empty(self) -> Self {
        Self {
            thinking: None,
            text: Text::plain(String::new(), None),
            tools: Vec::new(),
            stopped_by: None,
            tokens: Tokens {
                output: 0,
                ..self.tokens
            },
            stop_stream: "end_turn".to_owned(),
            stop_json: "end_turn".to_owned(),
            ..self
        }
    }

    /// As after Google's silence and two retries: the stream has the text, JSON has none. The plain APIs have none.
    pub(super) fn into_empty_text(self, stream: bool) -> Self {
        let told = stream && !self.generation.obeys();
        let text = if told { NO_RESPONSE } else { "" };
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
        self.tools.clear();
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
        // The real API repeats what message_start said; Antigravity does not.
        if self.generation == Generation::Anthropic {
            return self.usage(self.tokens.output);
        }
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
        if self.generation == Generation::OpenAi {
            return self.completion();
        }
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
        for tool in &self.tools {
            let input = tool.input_or_empty();
            content.push(format!("{{{}\"input\":{input}}}", tool.head()));
        }
        if content.is_empty() {
            content.push("{\"type\":\"text\",\"text\":\"\"}".to_owned());
        }
        format!(
            "{{\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{}],\
             \"model\":{},\"stop_reason\":{},\"stop_sequence\":{},\"usage\":{}}}",
            self.id,
            content.join(","),
            js(&self.model),
            js(&self.stop_json),
            js_opt(self.stopped_by.as_deref()),
            self.usage(self.tokens.output)
        )
    }
}
