//! Watches an upstream's Anthropic event stream: what may be shown to the client, and when the attempt has failed.
//!
//! Says for each event whether the caller holds it, commits, passes it on or gives up (gateway contract, section 5,
//! "Commit point" and "After the commit"; the faults are those of the Antigravity contract, section 10). Keeps usage,
//! model and stop reason, but no bytes of the events: what is held, and its limit, is the caller's.
//! Invariants: never panics, whatever the bytes; exactly one `Commit` per stream; after the commit the events of content
//! are recognised by their first bytes and never parsed; no content of an event gets into an error text.
//! Neighbours: `sse` cuts the events, `answer` judges answers that do not stream, `usage` counts.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use self::event::{
    Body, Fields, Kind, Message, MessageDelta, content_of, decode, garbage, is_hot, part,
};
pub(super) use self::event::{Text, has_payload};
use super::sse::Event;
use super::usage::UsageSeen;

mod delta;
mod event;

pub use delta::{with_input_tokens, with_tool_use};

/// The text that Antigravity sends instead of an answer when its retries gave nothing (section 10, point 4).
pub const NO_RESPONSE: &str = "[No response after retries - please try again]";

/// A model name or stop reason longer than this is not kept.
const MAX_NAME: usize = 256;
/// Open tool calls before the commit; any real stream has committed at the first one's end.
const MAX_OPEN_TOOLS: usize = 256;

/// What the caller does with the event that was just shown to [`StreamWatch::on_event`].
#[derive(Debug)]
pub enum Step {
    /// Nothing to show yet: keep the event.
    Hold,
    /// The upstream began anew before the commit: drop what is held, keep this event.
    Restart,
    /// The first content: send what is held and this event. Happens once.
    Commit,
    /// Send it.
    Pass,
    /// Came after `message_stop`: drop it.
    Ignore,
    /// The attempt has failed; before the commit nothing was shown, after it the client's stream ends with an error.
    Fail(StreamFault),
}

/// Why a stream is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamFault {
    /// The upstream sent an error event; its data (JSON, the upstream's words).
    ErrorEvent(Bytes),
    /// An answer that says nothing (the empty rule of the gateway contract).
    Empty,
    /// The stream ended before `message_stop`.
    Cut,
    /// A second `message_start` after the commit: the upstream repeats itself.
    SecondStart,
    /// Not the event stream of the Messages API; what was wrong, in our words.
    Garbage(String),
    /// An event, or what is held before the commit, outgrew its limit. Set by the caller, never by [`StreamWatch`].
    TooLarge,
}

#[derive(Debug)]
enum Phase {
    Held,
    Committed,
    Finished,
    Failed(StreamFault),
}

/// The state of one attempt's stream.
#[derive(Debug)]
pub struct StreamWatch {
    phase: Phase,
    committed: bool,
    started: bool,
    text: Confession,
    /// Indices of tool calls that are open before the commit.
    open_tools: Vec<u64>,
    /// A block that is neither text nor thinking was opened: the answer is not empty.
    other_block: bool,
    usage: UsageSeen,
    model: Option<String>,
    stop_reason: Option<String>,
}

impl Default for StreamWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamWatch {
    pub fn new() -> Self {
        StreamWatch {
            phase: Phase::Held,
            committed: false,
            started: false,
            text: Confession::default(),
            open_tools: Vec::new(),
            other_block: false,
            usage: UsageSeen::default(),
            model: None,
            stop_reason: None,
        }
    }

    /// Tokens reported so far; after the end, the answer's.
    pub fn usage(&self) -> &UsageSeen {
        &self.usage
    }

    /// Whether content has been released to the client; stays so when the stream fails afterwards.
    pub fn committed(&self) -> bool {
        self.committed
    }

    /// Whether `message_stop` came: the answer is whole.
    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    /// The model as the upstream names it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The stop reason, once `message_delta` has told it.
    pub fn stop_reason(&self) -> Option<&str> {
        self.stop_reason.as_deref()
    }

    /// Judges the next event. After a fault every further event gives the same fault.
    pub fn on_event(&mut self, event: &Event) -> Step {
        let result = match &self.phase {
            Phase::Finished => return Step::Ignore,
            Phase::Failed(fault) => return Step::Fail(fault.clone()),
            Phase::Committed if is_hot(event) => return Step::Pass,
            Phase::Committed => self.after_commit(event),
            Phase::Held => self.before_commit(event),
        };
        match result {
            Ok(step) => {
                if matches!(step, Step::Commit) {
                    self.phase = Phase::Committed;
                    self.committed = true;
                    self.open_tools = Vec::new();
                }
                step
            }
            Err(fault) => {
                self.phase = Phase::Failed(fault.clone());
                Step::Fail(fault)
            }
        }
    }

    /// The upstream's bytes have ended.
    ///
    /// # Errors
    /// The fault that was found before; else, without `message_stop`, [`StreamFault::Empty`] when all that came was the
    /// confession [`NO_RESPONSE`], and [`StreamFault::Cut`].
    pub fn on_end(&mut self) -> Result<(), StreamFault> {
        let fault = match &self.phase {
            Phase::Finished => return Ok(()),
            Phase::Failed(fault) => fault.clone(),
            Phase::Held if self.text.is_whole() && !self.other_block => StreamFault::Empty,
            Phase::Held | Phase::Committed => StreamFault::Cut,
        };
        self.phase = Phase::Failed(fault.clone());
        Err(fault)
    }

    fn before_commit(&mut self, event: &Event) -> Result<Step, StreamFault> {
        let Some(data) = content_of(event) else {
            return no_content(event, Step::Hold);
        };
        let (kind, body) = decode(event, &data)?;
        let needs_start = !matches!(kind, Kind::MessageStart | Kind::Other);
        if needs_start && !self.started {
            return Err(garbage("an event of a message came before message_start"));
        }
        let commits = match kind {
            Kind::MessageStart if self.started => {
                *self = Self::new();
                self.on_message_start(&body)?;
                return Ok(Step::Restart);
            }
            Kind::MessageStart => {
                self.on_message_start(&body)?;
                false
            }
            Kind::BlockStart => self.block_start_has_content(&body)?,
            Kind::BlockDelta => self.delta_has_content(&body)?,
            Kind::BlockStop => self.ends_tool(&body),
            Kind::MessageDelta => {
                self.on_message_delta(&body)?;
                if self.is_empty_answer() {
                    return Err(StreamFault::Empty);
                }
                true
            }
            Kind::MessageStop => return Err(self.stopped_without_delta()),
            Kind::Other => false,
        };
        Ok(if commits { Step::Commit } else { Step::Hold })
    }

    fn after_commit(&mut self, event: &Event) -> Result<Step, StreamFault> {
        let Some(data) = content_of(event) else {
            return no_content(event, Step::Pass);
        };
        let (kind, body) = decode(event, &data)?;
        match kind {
            Kind::MessageStart => return Err(StreamFault::SecondStart),
            Kind::MessageDelta => self.on_message_delta(&body)?,
            Kind::MessageStop => self.phase = Phase::Finished,
            Kind::BlockStart | Kind::BlockDelta | Kind::BlockStop | Kind::Other => {}
        }
        Ok(Step::Pass)
    }

    fn on_message_start(&mut self, body: &Body<'_>) -> Result<(), StreamFault> {
        let message: Message<'_> = part(body.message, "message_start without a message")?;
        self.started = true;
        self.model = message.model.and_then(short);
        self.count(message.usage);
        Ok(())
    }

    fn on_message_delta(&mut self, body: &Body<'_>) -> Result<(), StreamFault> {
        if body.delta.is_some() {
            let delta: MessageDelta<'_> =
                part(body.delta, "message_delta with a delta that is no object")?;
            self.stop_reason = delta
                .stop_reason
                .and_then(short)
                .or(self.stop_reason.take());
        }
        self.count(body.usage);
        Ok(())
    }

    fn count(&mut self, usage: Option<&RawValue>) {
        if let Some(usage) = usage {
            self.usage.merge_anthropic(usage.get().as_bytes());
        }
    }

    /// The empty rule, at `message_delta` before the commit: nothing but the held text can have come by then.
    fn is_empty_answer(&self) -> bool {
        !self.other_block && self.text.is_nothing() && says_nothing(&self.usage, self.stop_reason())
    }

    /// `message_stop` before the commit: no `message_delta` came, so there is no answer to show.
    fn stopped_without_delta(&self) -> StreamFault {
        if !self.other_block && self.text.is_nothing() {
            StreamFault::Empty
        } else {
            garbage("message_stop without message_delta")
        }
    }

    fn block_start_has_content(&mut self, body: &Body<'_>) -> Result<bool, StreamFault> {
        let fields: Fields<'_> = part(
            body.content_block,
            "content_block_start without a content_block",
        )?;
        let kind = fields.text("type").unwrap_or_default();
        match kind.as_ref() {
            "text" => {
                Ok(fields.has_content(&["type", "text"])
                    || self.text.outgrown_by(fields.get("text")))
            }
            "thinking" => Ok(fields.has_content(&["type"])),
            "redacted_thinking" | "image" => Ok(true),
            kind => {
                self.other_block = true;
                if kind.ends_with("tool_use") {
                    if self.open_tools.len() >= MAX_OPEN_TOOLS {
                        return Err(garbage("too many open tool calls"));
                    }
                    self.open_tools.push(body.index.unwrap_or_default());
                    return Ok(fields.get("input").is_some_and(has_payload));
                }
                Ok(fields.has_content(&["type", "id", "name"]))
            }
        }
    }

    fn delta_has_content(&mut self, body: &Body<'_>) -> Result<bool, StreamFault> {
        let fields: Fields<'_> = part(body.delta, "content_block_delta without a delta")?;
        Ok(fields.has_content(&["type", "text"]) || self.text.outgrown_by(fields.get("text")))
    }

    fn ends_tool(&self, body: &Body<'_>) -> bool {
        self.open_tools.contains(&body.index.unwrap_or_default())
    }
}

/// A comment or an event without data means nothing; lines of another kind, such as HTML, are no event stream.
fn no_content(event: &Event, step: Step) -> Result<Step, StreamFault> {
    if event.is_foreign() {
        return Err(garbage("a line that is no field of an event"));
    }
    Ok(step)
}

/// How much of [`NO_RESPONSE`] the text of an answer is so far.
#[derive(Debug, Default)]
pub(super) struct Confession {
    matched: usize,
}

impl Confession {
    /// Takes the next piece of text (a JSON string) and tells whether the text now says more than a beginning of
    /// [`NO_RESPONSE`].
    pub(super) fn outgrown_by(&mut self, json: Option<&RawValue>) -> bool {
        let Some(json) = json.filter(|json| has_payload(json)) else {
            return false;
        };
        // Every character of the confession could come as an escape of six bytes; longer text is another one, and so is
        // text that cannot be decoded (half of a surrogate pair, which JavaScript sends when it cuts an emoji).
        let small = json.get().len() <= 2 + 6 * NO_RESPONSE.len();
        let Some(Text(text)) = small
            .then(|| serde_json::from_str(json.get()).ok())
            .flatten()
        else {
            return true;
        };
        let rest = NO_RESPONSE
            .as_bytes()
            .get(self.matched..)
            .unwrap_or_default();
        let goes_on = rest.starts_with(text.as_bytes());
        self.matched += if goes_on { text.len() } else { 0 };
        !goes_on
    }

    fn is_whole(&self) -> bool {
        self.matched == NO_RESPONSE.len()
    }

    /// No text at all, or just [`NO_RESPONSE`]. Means something only while the text has not outgrown it.
    pub(super) fn is_nothing(&self) -> bool {
        self.matched == 0 || self.is_whole()
    }
}

/// No tokens and an ordinary end: together with no content this is a failed attempt, not an answer.
pub(super) fn says_nothing(usage: &UsageSeen, stop_reason: Option<&str>) -> bool {
    usage.tokens.output == 0 && stop_reason == Some("end_turn")
}

/// Keeps a name of bounded length.
pub(super) fn short(name: Cow<'_, str>) -> Option<String> {
    (name.len() <= MAX_NAME).then(|| name.into_owned())
}

#[cfg(test)]
mod tests;
