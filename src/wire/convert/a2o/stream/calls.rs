//! Puts the fragments of tool calls together and sends them one call after the other.
//!
//! The first call that is not over is the current one: its fragments go out at once. Fragments of later calls wait. A call
//! is over when its object of arguments is complete and another call waits, when text follows, or at the end.
//! Invariants: what waits is at most `MAX_WAITING`; calls are sent in the order in which they began, but one that is not
//! complete when text comes is sent after it.

use std::collections::HashSet;

use super::arguments::{Beginning, Scan};
use super::blocks::{Blocks, Kind};
use super::{MAX_WAITING, garbage};
use crate::wire::anthropic::StreamFault;
use crate::wire::convert::Facts;
use crate::wire::convert::a2o::answer::parts::{Called, input_of_text, tool_id};
use crate::wire::convert::json::{self, Object};
use crate::wire::convert::literal::{Literals, decode, inside};
use crate::wire::convert::names::Names;

/// Calls of one answer.
const MAX_CALLS: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Calls {
    all: Vec<Call>,
    /// The ids that the client knows.
    ids: HashSet<String>,
    /// Bytes that wait in all calls.
    waiting: usize,
    /// The arguments of a call stopped in the middle.
    is_broken: bool,
}

#[derive(Debug, Default)]
struct Call {
    /// As the upstream numbers it.
    index: Option<u64>,
    id: String,
    name: String,
    /// The one of `function_call`, which never has an id.
    legacy: bool,
    /// Arguments that have not been sent, as the inside of a literal.
    pending: Vec<u8>,
    literals: Literals,
    scan: Scan,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Open,
    Over,
}

impl Call {
    /// The block can be opened: the call has a name and an id.
    fn is_known(&self) -> bool {
        !self.name.is_empty() && (self.legacy || !self.id.is_empty())
    }

    fn is_nothing(&self) -> bool {
        self.name.is_empty() && self.id.is_empty() && self.scan.beginning() == Beginning::Blank
    }
}

impl Calls {
    /// What the client has seen.
    pub(super) fn called(&self) -> Called {
        match () {
            () if self.ids.is_empty() => Called::Nothing,
            () if self.is_broken => Called::Partly,
            () => Called::Wholly,
        }
    }

    /// Takes an element of `delta.tool_calls`, which stands at `place` in it.
    pub(super) fn fragment(
        &mut self,
        fragment: &Object<'_>,
        place: usize,
        blocks: &mut Blocks,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        let index = fragment.get("index").and_then(json::whole);
        let id = fragment.text("id").unwrap_or_default();
        let function = fragment
            .get("function")
            .and_then(Object::of)
            .unwrap_or_default();
        let name = function.text("name").unwrap_or_default();
        let says = || {
            let arguments = function.get("arguments");
            arguments.is_some_and(|raw| !is_blank(inside(raw).unwrap_or(raw.get()).as_bytes()))
        };
        let at = match self.find(index, &id, &name, place, says) {
            Some(at) => at,
            None => self.push(Call {
                index,
                ..Call::default()
            })?,
        };
        self.add(at, &id, &name, &function, blocks, out)
    }

    /// Takes `delta.function_call`.
    pub(super) fn legacy(
        &mut self,
        function: &Object<'_>,
        blocks: &mut Blocks,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        let name = function.text("name").unwrap_or_default();
        let at = match self.all.iter().position(|call| call.legacy) {
            Some(at) => at,
            None => self.push(Call {
                legacy: true,
                ..Call::default()
            })?,
        };
        self.add(at, "", &name, function, blocks, out)
    }

    /// The call that a fragment belongs to; `None` when it begins a new one. `says` tells whether it has arguments.
    fn find(
        &self,
        index: Option<u64>,
        id: &str,
        name: &str,
        place: usize,
        says: impl Fn() -> bool,
    ) -> Option<usize> {
        let last = self.all.iter().rposition(|call| !call.legacy);
        let at = match index {
            Some(_) => self.all.iter().rposition(|call| call.index == index)?,
            None => last?,
        };
        let call = self.all.get(at)?;
        if id.is_empty() {
            let named = !name.is_empty() && !call.name.is_empty();
            // Without index and id only another name, or another place in the same chunk, tells calls apart.
            let other = index.is_none() && (place > 0 || name != call.name);
            // Some upstreams give all calls one index and no id; a named one with more arguments than fit is the next.
            let next = || call.id.is_empty() && call.scan.is_complete() && says();
            return (!named || !other && !next()).then_some(at);
        }
        if call.id == id {
            return Some(at);
        }
        let same = |call: &Call| call.id == id && (index.is_none() || call.index == index);
        if let Some(known) = self.all.iter().rposition(same) {
            return Some(known);
        }
        // An id that comes late belongs to the call that has none.
        let renamed = !name.is_empty() && !call.name.is_empty();
        let late = call.id.is_empty() && (!renamed || index.is_some() && name == call.name);
        late.then_some(at)
    }

    fn push(&mut self, call: Call) -> Result<usize, StreamFault> {
        if self.all.len() >= MAX_CALLS {
            return Err(StreamFault::TooLarge);
        }
        self.all.push(call);
        Ok(self.all.len() - 1)
    }

    fn add(
        &mut self,
        at: usize,
        id: &str,
        name: &str,
        function: &Object<'_>,
        blocks: &mut Blocks,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        let Some(call) = self.all.get_mut(at) else {
            return Ok(());
        };
        // Later fragments may repeat them, or have them blank.
        for (kept, new) in [(&mut call.id, id), (&mut call.name, name)] {
            if kept.is_empty() && !new.is_empty() {
                new.clone_into(kept);
                self.waiting += new.len();
            }
        }
        if let Some(arguments) = function.get("arguments") {
            let written;
            let text = match json::kind(arguments) {
                json::Kind::String => inside(arguments).unwrap_or_default(),
                // Some upstreams forget to make a string of it.
                _ => {
                    written = serde_json::to_string(arguments.get()).unwrap_or_default();
                    unquoted(&written)
                }
            };
            call.scan.read(text);
            let before = call.pending.len();
            call.literals.copy(text, &mut call.pending);
            self.waiting += call.pending.len() - before;
            if call.state == State::Over {
                if !is_blank(&call.pending) {
                    return Err(garbage("arguments for a tool call that was over"));
                }
                self.waiting -= call.pending.len();
                call.pending.clear();
            }
        }
        if call.state == State::Open {
            self.drain(at, blocks, out);
        }
        if self.waiting > MAX_WAITING {
            return Err(StreamFault::TooLarge);
        }
        Ok(())
    }

    /// Sends what an open call has pending, once it is known to be an object.
    fn drain(&mut self, at: usize, blocks: &mut Blocks, out: &mut Vec<u8>) {
        if let Some(call) = self.all.get_mut(at)
            && call.scan.beginning() == Beginning::Object
        {
            self.waiting = self.waiting.saturating_sub(call.pending.len());
            blocks.say_plain(Kind::Tool, &call.pending, out);
            call.pending = Vec::new();
        }
    }

    /// Opens what can be opened now.
    pub(super) fn advance(
        &mut self,
        blocks: &mut Blocks,
        names: &Names,
        facts: &Facts,
        out: &mut Vec<u8>,
    ) {
        while let Some(next) = self.next_waiting() {
            if !self.all.get(next).is_some_and(Call::is_known) {
                break;
            }
            if let Some(open) = self.open_call() {
                let over = self
                    .all
                    .get(open)
                    .is_some_and(|call| call.scan.is_complete());
                if !over {
                    break;
                }
                self.close(open, blocks, out);
            }
            self.open(next, blocks, names, facts, out);
        }
    }

    /// Text follows: the open call is over, and so are those behind it that are complete.
    pub(super) fn leave(
        &mut self,
        blocks: &mut Blocks,
        names: &Names,
        facts: &Facts,
        out: &mut Vec<u8>,
    ) {
        if let Some(open) = self.open_call() {
            self.close(open, blocks, out);
        }
        while let Some(next) = self.next_waiting() {
            let ready = self
                .all
                .get(next)
                .is_some_and(|call| call.is_known() && call.scan.is_complete());
            if !ready {
                break;
            }
            self.open(next, blocks, names, facts, out);
            self.close(next, blocks, out);
        }
    }

    /// The answer is over: sends all that waits.
    ///
    /// # Errors
    /// A call never got its name.
    pub(super) fn finish(
        &mut self,
        blocks: &mut Blocks,
        names: &Names,
        facts: &Facts,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        if let Some(open) = self.open_call() {
            self.close(open, blocks, out);
        }
        while let Some(next) = self.next_waiting() {
            let Some(call) = self.all.get_mut(next) else {
                break;
            };
            if call.is_nothing() {
                call.state = State::Over;
                continue;
            }
            if call.name.is_empty() {
                return Err(garbage("a tool call without a name"));
            }
            self.open(next, blocks, names, facts, out);
            self.close(next, blocks, out);
        }
        Ok(())
    }

    fn next_waiting(&self) -> Option<usize> {
        self.all
            .iter()
            .position(|call| call.state == State::Waiting)
    }

    fn open_call(&self) -> Option<usize> {
        self.all.iter().rposition(|call| call.state == State::Open)
    }

    fn open(
        &mut self,
        at: usize,
        blocks: &mut Blocks,
        names: &Names,
        facts: &Facts,
        out: &mut Vec<u8>,
    ) {
        let Some(call) = self.all.get_mut(at) else {
            return;
        };
        call.state = State::Open;
        let id = tool_id(Some(&call.id), &self.ids, facts);
        blocks.open_tool(&id, names.client(&call.name), out);
        self.ids.insert(id);
        self.drain(at, blocks, out);
    }

    fn close(&mut self, at: usize, blocks: &mut Blocks, out: &mut Vec<u8>) {
        let Some(call) = self.all.get_mut(at) else {
            return;
        };
        call.literals.finish(&mut call.pending);
        let pending = std::mem::take(&mut call.pending);
        call.state = State::Over;
        self.waiting = self.waiting.saturating_sub(pending.len());
        match call.scan.beginning() {
            Beginning::Blank => {}
            Beginning::Object => {
                self.is_broken |= !call.scan.is_complete();
                blocks.say_plain(Kind::Tool, &pending, out);
            }
            Beginning::Other => {
                let input = input_of_text(&decode(&pending));
                if input != "{}" {
                    let literal = serde_json::to_string(&input).unwrap_or_default();
                    blocks.say_plain(Kind::Tool, unquoted(&literal).as_bytes(), out);
                }
            }
        }
        blocks.close(out);
    }
}

fn unquoted(literal: &str) -> &str {
    let inside = literal.strip_prefix('"').unwrap_or(literal);
    inside.strip_suffix('"').unwrap_or(inside)
}

fn is_blank(inside: &[u8]) -> bool {
    decode(inside).trim().is_empty()
}
