//! The little of a request's body that decides the answer.
//!
//! The body is walked without building a tree: bodies of megabytes are common in tests. Doubled keys behave as in
//! JavaScript, where the last one wins. `peek` reads the Anthropic dialect, `openai::peek` the other one.

use super::prompt;
use super::raw::Node;
use super::sample::is_schema;
use super::shape::Shape;

/// A longer last message is not searched for a wish for a tool, a longer system text not for a wish for JSON.
const MAX_LAST_MESSAGE: usize = 256 * 1024;
/// The real server's model when none is named.
const DEFAULT_MODEL: &str = "claude-3-5-sonnet-20241022";
/// So many opening braces of the system text are tried for a schema.
const MAX_BRACES: usize = 200;

/// A tool of the request.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) name: String,
    /// The JSON schema of its input, as sent.
    pub(super) schema: Option<String>,
}

/// What a tool said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) is_error: bool,
}

/// `tool_choice`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Choice {
    /// As the model likes.
    #[default]
    Free,
    /// No call.
    None,
    /// Some call.
    Any,
    /// A call of this one.
    Named(String),
}

/// What of a body decides the answer.
#[derive(Debug, Default)]
pub(super) struct Peek {
    pub(super) model: String,
    pub(super) has_messages: bool,
    pub(super) stream: bool,
    pub(super) max_tokens: Option<u64>,
    /// Texts of the last turn, when it is the user's; empty after a tool's result.
    pub(super) last_user: String,
    pub(super) message_count: usize,
    /// The tool that the last user text asks for.
    pub(super) wanted: Option<Tool>,
    /// Of the request's metadata, over that of its prompt.
    pub(super) shape: Shape,
    /// Is there an order in the last turn's texts?
    pub(super) ordered: bool,
    pub(super) tools: Vec<Tool>,
    /// The results that the last turn brings.
    pub(super) results: Vec<Outcome>,
    pub(super) images: usize,
    pub(super) documents: usize,
    /// JSON is demanded in the system text, with this schema if one is there.
    pub(super) json_by_text: Option<Option<String>>,
    /// JSON is demanded by a field of the request.
    pub(super) json_by_field: Option<Option<String>>,
    pub(super) choice: Choice,
    /// A choice that the system text makes in words.
    pub(super) choice_by_text: Choice,
    /// At most one call.
    pub(super) one_call: bool,
    /// Thinking is asked for, or forbidden, by a field of the request.
    pub(super) thinking: Option<bool>,
    pub(super) stops: Vec<String>,
    /// `stream_options.include_usage`.
    pub(super) include_usage: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum PeekError {
    /// Not JSON, or not an object or array: the HTML 400.
    Syntax(String),
    /// `metadata.sim` or the order in the prompt is wrong: the simulator's own complaint.
    Shape(String),
}

/// The body's top; empty bytes are an empty object, as for a foreign content type.
pub(super) fn top(text: &str) -> Result<Node<'_>, PeekError> {
    let first = text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .chars()
        .next();
    match first {
        None => Node::parse("{}").map_err(syntax),
        Some('{' | '[') => Node::parse(text).map_err(syntax),
        Some(other) => Err(PeekError::Syntax(format!(
            "Unexpected token '{other}' is not valid JSON"
        ))),
    }
}

fn syntax(error: serde_json::Error) -> PeekError {
    PeekError::Syntax(format!(
        "Unexpected token in JSON at line {} column {}",
        error.line(),
        error.column()
    ))
}

/// Reads a messages body.
pub(super) fn peek(body: &[u8]) -> Result<Peek, PeekError> {
    let text = String::from_utf8_lossy(body);
    let mut seen = Peek::default();
    let mut turn = Turn::default();
    let mut metadata = None;
    for (name, value) in top(&text)?.fields() {
        match name.as_str() {
            "model" => seen.model = model_name(value).unwrap_or_default(),
            "messages" => {
                let messages = value.items();
                seen.has_messages = messages.is_some();
                seen.message_count = messages.as_ref().map_or(0, Vec::len);
                let last = messages.and_then(|all| all.last().copied());
                turn = last.map(user_turn).unwrap_or_default();
            }
            "stream" => seen.stream = value.is_truthy(),
            "max_tokens" => seen.max_tokens = value.integer(),
            "tools" => seen.tools = tools(value),
            "metadata" => metadata = Some(value),
            "system" => {
                let text = system_text(value);
                seen.json_by_text = demand(&text);
                seen.choice_by_text = choice_in_words(&text);
            }
            "output_config" => {
                let format = value.get("format");
                let schema = format.and_then(|format| format.get("schema"));
                seen.json_by_field = schema.map(|schema| Some(schema.raw().to_owned()));
            }
            "tool_choice" => (seen.choice, seen.one_call) = choice(value),
            "thinking" => {
                seen.thinking = value.text_of("type").map(|kind| kind != "disabled");
            }
            "stop_sequences" => seen.stops = strings(value),
            _ => {}
        }
    }
    if seen.model.is_empty() {
        DEFAULT_MODEL.clone_into(&mut seen.model);
    }
    turn.into(&mut seen, metadata)?;
    Ok(seen)
}

/// What the last turn says.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) texts: Vec<String>,
    pub(super) results: Vec<Outcome>,
    pub(super) images: usize,
    pub(super) documents: usize,
}

impl Turn {
    /// Takes orders out of the texts and fills in what follows from all this.
    pub(super) fn into(self, seen: &mut Peek, metadata: Option<Node<'_>>) -> Result<(), PeekError> {
        let mut text = self.texts.join("\n");
        let mut results = self.results;
        let mut order = prompt::take(&mut text).map_err(PeekError::Shape)?;
        for result in &mut results {
            if order.is_none() {
                order = prompt::take(&mut result.text).map_err(PeekError::Shape)?;
            }
        }
        seen.ordered = order.is_some();
        seen.shape = metadata.map_or(Ok(Shape::default()), shape_of)?;
        if let Some(order) = order {
            seen.shape = std::mem::take(&mut seen.shape).over(&order);
        }
        if results.is_empty() {
            seen.wanted = wanted(&seen.tools, &text);
            seen.last_user = text;
        }
        seen.results = results;
        (seen.images, seen.documents) = (self.images, self.documents);
        Ok(())
    }
}

pub(super) fn model_name(raw: Node<'_>) -> Option<String> {
    match raw.text() {
        Some(name) => (!name.is_empty()).then_some(name),
        None => raw
            .is_truthy()
            .then(|| raw.raw().chars().take(200).collect()),
    }
}

pub(super) fn strings(list: Node<'_>) -> Vec<String> {
    let items = list.items().unwrap_or_default();
    items.into_iter().filter_map(Node::text).collect()
}

/// Does the text speak of pictures or documents at all? Parsing megabytes is worth avoiding.
pub(super) fn may_hold(raw: &str, word: &str) -> bool {
    memchr::memmem::find(raw.as_bytes(), word.as_bytes()).is_some()
}

fn user_turn(message: Node<'_>) -> Turn {
    let raw = message.raw();
    let mut turn = Turn::default();
    let small = raw.len() <= MAX_LAST_MESSAGE;
    if !small && !may_hold(raw, "\"image\"") && !may_hold(raw, "\"document\"") {
        return turn;
    }
    if message.text_of("role").as_deref() != Some("user") {
        return turn;
    }
    let Some(content) = message.get("content") else {
        return turn;
    };
    turn.texts.extend(content.text());
    for block in content.items().unwrap_or_default() {
        match block.text_of("type").as_deref() {
            Some("text") if small => turn.texts.extend(block.text_of("text")),
            Some("image") => turn.images += 1,
            Some("document") => turn.documents += 1,
            Some("tool_result") => {
                let mut outcome = Outcome {
                    id: block.text_of("tool_use_id").unwrap_or_default(),
                    text: String::new(),
                    is_error: block.get("is_error").is_some_and(Node::is_truthy),
                };
                let content = block.get("content");
                outcome.text.extend(content.and_then(Node::text));
                for part in content.and_then(Node::items).unwrap_or_default() {
                    match part.text_of("type").as_deref() {
                        Some("text") => outcome.text.extend(part.text_of("text")),
                        Some("image") => turn.images += 1,
                        Some("document") => turn.documents += 1,
                        _ => {}
                    }
                }
                turn.results.push(outcome);
            }
            _ => {}
        }
    }
    if !small {
        turn.texts.clear();
    }
    turn
}

fn tools(list: Node<'_>) -> Vec<Tool> {
    let tool = |raw: Node<'_>| {
        Some(Tool {
            name: raw.text_of("name")?,
            schema: raw.get("input_schema").map(|raw| raw.raw().to_owned()),
        })
    };
    let items = list.items().unwrap_or_default();
    items.into_iter().filter_map(tool).collect()
}

fn choice(raw: Node<'_>) -> (Choice, bool) {
    let one = raw.get("disable_parallel_tool_use");
    let choice = match raw.text_of("type").as_deref() {
        Some("none") => Choice::None,
        Some("any") => Choice::Any,
        Some("tool") => Choice::Named(raw.text_of("name").unwrap_or_default()),
        _ => Choice::Free,
    };
    (choice, one.is_some_and(Node::is_truthy))
}

/// `must call the tool "NAME"`, `must call ... one of the tools`: what a gateway says when it cannot force a call.
fn choice_in_words(text: &str) -> Choice {
    let Some((_, rest)) = text.split_once("must call ") else {
        return Choice::Free;
    };
    if let Some(name) = rest.strip_prefix("the tool ") {
        let mut names = serde_json::Deserializer::from_str(name).into_iter::<String>();
        return match names.next() {
            Some(Ok(name)) => Choice::Named(name),
            _ => Choice::Free,
        };
    }
    let clause = rest.split(['.', ';', '\n']).next().unwrap_or_default();
    match clause.contains("one of the tools") {
        true => Choice::Any,
        false => Choice::Free,
    }
}

pub(super) fn wanted(tools: &[Tool], text: &str) -> Option<Tool> {
    if text.is_empty() {
        return None;
    }
    let mut tools = tools.iter();
    let first = tools.clone().next();
    let named = tools.find(|tool| tool.name.len() >= 3 && text.contains(&tool.name));
    let asked = text.to_ascii_lowercase().contains("tool");
    named.or(first.filter(|_| asked)).cloned()
}

fn system_text(raw: Node<'_>) -> String {
    if raw.raw().len() > MAX_LAST_MESSAGE {
        return String::new();
    }
    let blocks = raw.items().unwrap_or_default();
    let texts = blocks.into_iter().filter_map(|block| block.text_of("text"));
    raw.text()
        .into_iter()
        .chain(texts)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Is JSON demanded? A text that has the word and a schema does so, and one that asks for a "JSON object".
fn demand(text: &str) -> Option<Option<String>> {
    if !text.contains("JSON") {
        return None;
    }
    for (at, _) in text.match_indices('{').take(MAX_BRACES) {
        let rest = text.get(at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        if let Some(Ok(value)) = values.next()
            && is_schema(&value)
        {
            let schema = rest.get(..values.byte_offset()).unwrap_or_default();
            return Some(Some(schema.to_owned()));
        }
    }
    text.contains("JSON object").then_some(None)
}

fn shape_of(metadata: Node<'_>) -> Result<Shape, PeekError> {
    let wrong = |error: String| PeekError::Shape(format!("metadata.sim: {error}"));
    // A foreign metadata of any form is none of our business.
    let Some(raw) = metadata.some("sim") else {
        return Ok(Shape::default());
    };
    let shape: Shape = serde_json::from_str(raw.raw()).map_err(|error| wrong(error.to_string()))?;
    shape.check().map_err(wrong)?;
    Ok(shape)
}
