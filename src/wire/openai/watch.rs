//! Watches an upstream's Chat Completions stream (gateway contract, section 5, "Commit point" and "After the commit").
//!
//! The first chunk commits that says something or has a `finish_reason`. One exception serves the empty rule: a chunk
//! that ends the answer with `stop` before anything was said is held until usage, `[DONE]` or the end tells whether
//! tokens were made; without any the attempt has failed.
//! Invariants: those of the parent. After the commit chunks of content are recognised, not parsed; one that carries
//! usage, an end or an error is always read.

use bytes::Bytes;

use super::chunk::{Chunk, DONE, is_hot};
use super::frame::Frame;
use crate::wire::anthropic::{Step, StreamFault, short};
use crate::wire::convert::json::Object;
use crate::wire::sse::Event;
use crate::wire::usage::UsageSeen;

/// Choices that are told apart; the others count as one.
const MAX_CHOICES: u64 = 63;

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
    hide_usage: bool,
    /// One bit per choice that has said something and not ended.
    open: u64,
    /// One bit per choice that has ended.
    ended: u64,
    usage: UsageSeen,
    model: Option<String>,
    /// Of the completion that the chunks belong to.
    id: Option<String>,
    finish_reason: Option<String>,
    /// How the upstream writes a chunk of text.
    frame: Option<Frame>,
    /// Chunks of text since the last one that fitted the frame.
    strange: u32,
}

impl StreamWatch {
    /// With `hide_usage` the chunk that carries only usage is not for the client, who did not ask for it.
    pub fn new(hide_usage: bool) -> Self {
        StreamWatch {
            phase: Phase::Held,
            committed: false,
            hide_usage,
            open: 0,
            ended: 0,
            usage: UsageSeen::default(),
            model: None,
            id: None,
            finish_reason: None,
            frame: None,
            strange: 0,
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

    /// Whether the answer is whole: `[DONE]` came, or the bytes ended after the end of every choice.
    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    /// The model as the upstream names it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The `finish_reason` of the first choice (of another one while the first has none).
    pub fn stop_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }

    /// Judges the next event. After a fault every further event gives the same fault.
    pub fn on_event(&mut self, event: &Event) -> Step {
        if matches!(self.phase, Phase::Committed) && self.is_plain(event) {
            return Step::Pass;
        }
        let result = match &self.phase {
            Phase::Finished => return Step::Ignore,
            Phase::Failed(fault) => return Step::Fail(fault.clone()),
            Phase::Held | Phase::Committed => self.judge(event),
        };
        match result {
            Ok(step) => {
                if matches!(step, Step::Commit) {
                    self.committed = true;
                    if matches!(self.phase, Phase::Held) {
                        self.phase = Phase::Committed;
                    }
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
    /// The fault that was found before; [`StreamFault::Empty`] when the answer ended without saying anything;
    /// [`StreamFault::Cut`] when it did not end.
    pub fn on_end(&mut self) -> Result<(), StreamFault> {
        let fault = match &self.phase {
            Phase::Finished => return Ok(()),
            Phase::Committed if self.has_ended() => {
                self.phase = Phase::Finished;
                return Ok(());
            }
            Phase::Failed(fault) => fault.clone(),
            Phase::Held if self.ended != 0 => StreamFault::Empty,
            Phase::Held | Phase::Committed => StreamFault::Cut,
        };
        self.phase = Phase::Failed(fault.clone());
        Err(fault)
    }

    /// Whether this chunk only goes on with the first choice. One that differs from such a chunk in its text alone is
    /// recognised by its frame; where no two chunks are alike a frame is made ever more rarely.
    fn is_plain(&mut self, event: &Event) -> bool {
        let frame = self.frame.as_ref();
        let fits = frame.is_some_and(|frame| frame.text_of(&event.raw).is_some());
        self.strange = if fits {
            0
        } else {
            self.strange.saturating_add(1)
        };
        if !fits {
            if !is_hot(event) {
                return false;
            }
            if self.strange.is_power_of_two()
                && let Some(data) = event.data()
                && let Ok(chunk) = Object::parse(&data)
            {
                self.frame = Frame::of(&event.raw, &chunk).or(self.frame.take());
            }
        }
        // Most of them say something.
        self.open |= 1;
        true
    }

    fn has_ended(&self) -> bool {
        self.ended != 0 && self.open & !self.ended == 0
    }

    fn judge(&mut self, event: &Event) -> Result<Step, StreamFault> {
        let Some(data) = event.data() else {
            if event.is_foreign() {
                return Err(garbage("a line that is no field of an event"));
            }
            return Ok(self.quiet());
        };
        let data = data.trim_ascii();
        if data.is_empty() {
            return Ok(self.quiet());
        }
        if data == DONE {
            return self.on_done();
        }
        let chunk = Chunk::read(data).ok_or_else(|| garbage("a chunk that is no JSON object"))?;
        if chunk.is_error || event.name() == Some(b"error") {
            let data = event.data_bytes().unwrap_or_default();
            return Err(StreamFault::ErrorEvent(trimmed(&data)));
        }
        if let Some(model) = chunk.model.filter(|model| !model.is_empty()) {
            self.model = self.model.take().or_else(|| short(model));
        }
        if let Some(usage) = chunk.usage {
            self.usage.merge_openai(usage.get().as_bytes());
        }
        // Some upstreams give every chunk an id of its own; another id that begins with a role is another answer.
        let begins = chunk.choices.iter().any(|choice| choice.begins);
        let mut restarts = false;
        if let Some(id) = chunk.id.and_then(short) {
            restarts = begins && self.id.as_ref().is_some_and(|first| *first != id);
            if begins || self.id.is_none() {
                self.id = Some(id);
            }
        }
        if restarts && self.committed {
            return Err(StreamFault::SecondStart);
        }
        let mut commits = false;
        for choice in &chunk.choices {
            let bit = 1 << choice.index.min(MAX_CHOICES);
            if choice.says {
                self.open |= bit;
                commits = true;
            }
            if let Some(finish) = &choice.finish {
                commits |= finish != "stop";
                self.ended |= bit;
                if choice.index == 0 || self.finish_reason.is_none() {
                    self.finish_reason = short(finish.clone());
                }
            }
        }
        let for_us = self.hide_usage
            && chunk.usage.is_some()
            && chunk.has_choices
            && chunk.choices.is_empty();
        if self.committed {
            return Ok(if for_us { Step::Ignore } else { Step::Pass });
        }
        // Said nothing, but made tokens: an answer all the same.
        commits |= self.ended != 0 && self.usage.tokens.output > 0;
        if !commits && self.ended != 0 && chunk.usage.is_some() {
            return Err(StreamFault::Empty);
        }
        Ok(match (commits, restarts) {
            (true, false) => Step::Commit,
            (false, false) => Step::Hold,
            // A first chunk that says something at once would have to restart and commit; it is rare, and a fault.
            (true, true) => return Err(StreamFault::SecondStart),
            (false, true) => Step::Restart,
        })
    }

    fn on_done(&mut self) -> Result<Step, StreamFault> {
        if self.committed {
            self.phase = Phase::Finished;
            return Ok(Step::Pass);
        }
        if self.usage.tokens.output == 0 {
            return Err(StreamFault::Empty);
        }
        self.phase = Phase::Finished;
        Ok(Step::Commit)
    }

    /// For what means nothing: comments, events without data.
    fn quiet(&self) -> Step {
        if self.committed {
            Step::Pass
        } else {
            Step::Hold
        }
    }
}

fn garbage(what: &str) -> StreamFault {
    StreamFault::Garbage(what.to_owned())
}

fn trimmed(data: &Bytes) -> Bytes {
    data.slice_ref(data.trim_ascii())
}

#[cfg(test)]
mod tests;
