//! Takes a code fence off a text that comes in pieces.
//!
//! A model that is told by words to answer in JSON likes to put a fence around it: white space, three backticks, a
//! language word, a line break, the answer, a line break, three backticks, white space. What stands inside is not judged.
//! Invariants: where the pieces are cut never changes what goes out; held back is only what may still be the opening at
//! the very beginning, or the closing at the very end, and at most [`MAX_HELD`] bytes; everything else is untouched. The
//! opening goes as soon as it is whole: when words follow the closing, the closing stays and the opening is gone.
//! Only a whole line is a closing: a JSON string cannot hold a line break, so an answer that was broken off within a
//! string never loses backticks of the string.
//! Neighbour: `shown`, which lets text go through.

use memchr::memchr2;

/// An opening or closing that is longer, by its white space, is text.
const MAX_HELD: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// White space before the opening.
    Start,
    /// So many backticks of the opening.
    Opening(u8),
    /// Blanks in front of the language word.
    Gap,
    Word,
    /// Blanks after it.
    Tail,
    /// A CR that may end the opening's line.
    OpeningCr,
    /// Within the fence, nothing held.
    Inside,
    /// A CR that may be part of a line break.
    Cr,
    /// At the beginning of a line; the line break is held.
    Line,
    /// So many backticks at the beginning of a line.
    Closing(u8),
    /// The closing, and white space after it.
    Closed,
    /// There is no fence around the text.
    Off,
}

/// What becomes of a byte and of what is held in front of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// All of it is still held.
    Hold,
    /// All of it is text.
    Text,
    /// What is held is text but for so many bytes at its end; they and the byte are held.
    Anew(usize),
    /// All of it is the opening.
    Opened,
}

/// The state of one text.
#[derive(Debug)]
pub(super) struct Fence {
    state: State,
    held: String,
}

impl Fence {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            held: String::new(),
        }
    }

    /// There is no fence: whatever comes goes out as it is.
    pub(super) fn is_off(&self) -> bool {
        self.state == State::Off
    }

    /// Takes the next piece and appends to `out` what may go out.
    pub(super) fn push(&mut self, piece: &str, out: &mut String) {
        let mut text = std::mem::take(&mut self.held);
        let mut at = text.len();
        text.push_str(piece);
        // What stands before this has gone.
        let mut from = 0;
        while let Some(rest) = text.as_bytes().get(at..) {
            let skip = match self.state {
                State::Off => None,
                State::Inside => memchr2(b'\n', b'\r', rest),
                _ => Some(0),
            };
            let Some((at_byte, byte)) = skip.and_then(|skip| Some((at + skip, rest.get(skip)?)))
            else {
                break;
            };
            at = at_byte + 1;
            let held = text.get(from..at_byte).unwrap_or_default();
            let (mut state, mut verdict) = step(self.state, *byte, held);
            if verdict == Verdict::Hold && held.len() >= MAX_HELD {
                let open = matches!(state, State::Closed);
                state = if open { State::Inside } else { State::Off };
                verdict = Verdict::Text;
            }
            self.state = state;
            let (gone, to) = match verdict {
                // The byte may be within a character: text goes out in front of the next line break, or below.
                Verdict::Hold | Verdict::Text => continue,
                Verdict::Anew(keep) => (from..at_byte - keep, at_byte - keep),
                Verdict::Opened => (at..at, at),
            };
            out.push_str(text.get(gone).unwrap_or_default());
            from = to;
        }
        if matches!(self.state, State::Inside | State::Off) {
            out.push_str(text.get(from..).unwrap_or_default());
        } else {
            text.drain(..from);
            self.held = text;
        }
    }

    /// The text has ended: what is held is text after all, unless it is the closing.
    pub(super) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        match std::mem::replace(&mut self.state, State::Off) {
            State::Closed => String::new(),
            _ => held,
        }
    }
}

fn step(state: State, byte: u8, held: &str) -> (State, Verdict) {
    match (state, byte) {
        (State::Start, b' ' | b'\t' | b'\n' | b'\r') => (State::Start, Verdict::Hold),
        (State::Start, b'`') => (State::Opening(1), Verdict::Hold),
        (State::Opening(n @ 1..=2), b'`') => (State::Opening(n + 1), Verdict::Hold),
        (State::Opening(3) | State::Gap | State::Word | State::Tail, _) => first_line(state, byte),
        (State::OpeningCr, b'\n') => (State::Line, Verdict::Opened),
        (State::Start | State::Opening(_) | State::OpeningCr | State::Off, _) => {
            (State::Off, Verdict::Text)
        }
        (State::Cr, b'\n') => (State::Line, Verdict::Hold),
        (State::Line, b'`') => (State::Closing(1), Verdict::Hold),
        (State::Closing(1), b'`') => (State::Closing(2), Verdict::Hold),
        (State::Closing(_), b'`') => (State::Closed, Verdict::Hold),
        (State::Closed, b' ' | b'\t' | b'\n' | b'\r') => (State::Closed, Verdict::Hold),
        // Another fence: the line break in front of it may belong to the last one.
        (State::Closed, b'`') if held.ends_with("\r\n") => (State::Closing(1), Verdict::Anew(2)),
        (State::Closed, b'`') if held.ends_with('\n') => (State::Closing(1), Verdict::Anew(1)),
        (_, b'\n') => (State::Line, Verdict::Anew(0)),
        (_, b'\r') => (State::Cr, Verdict::Anew(0)),
        _ => (State::Inside, Verdict::Text),
    }
}

/// The rest of the line that opens the fence.
fn first_line(state: State, byte: u8) -> (State, Verdict) {
    match (state, byte) {
        (_, b'\n') => (State::Line, Verdict::Opened),
        (_, b'\r') => (State::OpeningCr, Verdict::Hold),
        (State::Opening(_) | State::Gap, b' ' | b'\t') => (State::Gap, Verdict::Hold),
        (State::Word | State::Tail, b' ' | b'\t') => (State::Tail, Verdict::Hold),
        (State::Tail, _) => (State::Off, Verdict::Text),
        (_, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'-' | b'.' | b'_' | b'#') => {
            (State::Word, Verdict::Hold)
        }
        _ => (State::Off, Verdict::Text),
    }
}

#[cfg(test)]
mod tests;
