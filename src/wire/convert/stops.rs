//! Cuts text at stop sequences for upstreams that do not.
//!
//! The text comes in pieces; what cannot become part of a stop sequence any more goes out at once. The sequence that
//! ends first counts, of two that end together the longer one, as if the model had stopped there.
//! Invariants: where the pieces are cut never changes what goes out; held back is exactly the longest end of the text
//! that is the beginning of a stop sequence; time is linear in the text, memory in the stop sequences. What goes out
//! begins and ends between characters, because stop sequences do.
//! Neighbour: `o2a`, whose answers are cut.

use std::collections::VecDeque;

/// The root of the tree of stop sequences, and "none" for links that never lead there.
const ROOT: u32 = 0;

/// One beginning of a stop sequence.
#[derive(Clone, Debug, Default)]
struct Node {
    byte: u8,
    /// First of the nodes that are one byte longer.
    child: u32,
    /// Next of the nodes with the same parent.
    sibling: u32,
    /// The longest proper end of this node that is a node too.
    fall: u32,
    /// Bytes from the root.
    depth: u32,
    /// Length of the longest stop sequence that ends here; 0 for none.
    hit: u32,
}

/// The state of one text.
#[derive(Clone, Debug)]
pub struct Stops {
    nodes: Vec<Node>,
    at: u32,
    /// What is held back stands here, from `gone` on; it is as long as `at` is deep.
    text: String,
    gone: usize,
    hit: bool,
}

impl Stops {
    /// Empty sequences are ignored. `None` when nothing is left to look for.
    pub fn new<'a>(stops: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut nodes = vec![Node::default()];
        for stop in stops {
            insert(&mut nodes, stop.as_bytes())?;
        }
        if nodes.len() == 1 {
            return None;
        }
        link(&mut nodes);
        Some(Self {
            nodes,
            at: ROOT,
            text: String::new(),
            gone: 0,
            hit: false,
        })
    }

    /// Takes the next piece and appends to `out` what may go out. True once a stop sequence has been found: nothing goes
    /// out from then on, whatever comes.
    pub fn push(&mut self, piece: &str, out: &mut String) -> bool {
        if self.hit {
            return true;
        }
        let before = self.text.len();
        self.text.push_str(piece);
        for (index, byte) in piece.bytes().enumerate() {
            self.at = step(&self.nodes, self.at, byte);
            let hit = node(&self.nodes, self.at).hit as usize;
            if hit > 0 {
                self.hit = true;
                self.release((before + index + 1).saturating_sub(hit), out);
                self.text = String::new();
                self.gone = 0;
                return true;
            }
        }
        let keep = node(&self.nodes, self.at).depth as usize;
        self.release(self.text.len().saturating_sub(keep), out);
        false
    }

    /// The text has ended: what was held back is text after all. Empty after a hit.
    pub fn finish(&mut self) -> String {
        self.at = ROOT;
        let held = self.text.split_off(self.gone.min(self.text.len()));
        self.text = String::new();
        self.gone = 0;
        held
    }

    /// Whether a stop sequence has been found.
    pub fn found(&self) -> bool {
        self.hit
    }

    /// Lets go what stands before `to`. What has gone is thrown away only now and then, so that holding a long text
    /// while it comes in small pieces costs linear time.
    fn release(&mut self, to: usize, out: &mut String) {
        out.push_str(self.text.get(self.gone..to).unwrap_or_default());
        self.gone = to;
        if self.gone > self.text.len() / 2 {
            self.text.drain(..self.gone);
            self.gone = 0;
        }
    }
}

fn node(nodes: &[Node], at: u32) -> &Node {
    static NOWHERE: Node = Node {
        byte: 0,
        child: ROOT,
        sibling: ROOT,
        fall: ROOT,
        depth: 0,
        hit: 0,
    };
    nodes.get(at as usize).unwrap_or(&NOWHERE)
}

fn child(nodes: &[Node], at: u32, byte: u8) -> Option<u32> {
    let mut next = node(nodes, at).child;
    while next != ROOT {
        let found = node(nodes, next);
        if found.byte == byte {
            return Some(next);
        }
        next = found.sibling;
    }
    None
}

/// Each step down was paid for by an earlier step up, so a text costs linear time.
fn step(nodes: &[Node], from: u32, byte: u8) -> u32 {
    let mut at = from;
    loop {
        if let Some(next) = child(nodes, at, byte) {
            return next;
        }
        if at == ROOT {
            return ROOT;
        }
        at = node(nodes, at).fall;
    }
}

/// `None` when the sequences together are longer than a number of 32 bits.
fn insert(nodes: &mut Vec<Node>, stop: &[u8]) -> Option<()> {
    let mut at = ROOT;
    for byte in stop {
        at = match child(nodes, at, *byte) {
            Some(next) => next,
            None => {
                let new = u32::try_from(nodes.len()).ok()?;
                let parent = nodes.get_mut(at as usize)?;
                let sibling = std::mem::replace(&mut parent.child, new);
                let depth = parent.depth + 1;
                nodes.push(Node {
                    byte: *byte,
                    sibling,
                    depth,
                    ..Node::default()
                });
                new
            }
        };
    }
    let last = nodes.get_mut(at as usize)?;
    last.hit = last.depth;
    Some(())
}

/// Sets the links of all nodes, the short ones first.
fn link(nodes: &mut [Node]) {
    let mut todo = VecDeque::from([ROOT]);
    while let Some(parent) = todo.pop_front() {
        let mut next = node(nodes, parent).child;
        while next != ROOT {
            let Node { byte, sibling, .. } = *node(nodes, next);
            let fall = if parent == ROOT {
                ROOT
            } else {
                step(nodes, node(nodes, parent).fall, byte)
            };
            let shorter = node(nodes, fall).hit;
            if let Some(node) = nodes.get_mut(next as usize) {
                node.fall = fall;
                node.hit = node.hit.max(shorter);
            }
            todo.push_back(next);
            next = sibling;
        }
    }
}

#[cfg(test)]
mod tests;
