//! What was asked and what was sent, as the simulated upstream saw it.
//!
//! Entries are a bounded ring; totals count every request. A request enters when its head and
//! body are read and is updated when it ends, in any way. The update is made before the last
//! bytes of an answer are written, so whoever has read the answer finds it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::Serialize;

use super::ticket::Ticket;

/// More distinct names than this are counted as `other`.
const MAX_NAMES: usize = 1_000;
/// The four counts, as put on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Without cached ones.
    pub input: u64,
    /// Known only when the answer ended.
    pub output: u64,
    /// Read from cache.
    pub cache_read: u64,
    /// Written to cache.
    pub cache_creation: u64,
}

/// One request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    /// From 1 on, in the order in which requests were read.
    pub seq: u64,
    /// ISO time of arrival.
    pub at: String,
    /// Unix milliseconds of arrival.
    pub at_ms: u64,
    /// Which connection, from 1 on.
    pub connection: u64,
    /// `1.0`, `1.1` or `2`.
    pub http: &'static str,
    /// As sent.
    pub method: String,
    /// Without query.
    pub path: String,
    /// With the values of key, api_key, token and password masked.
    pub query: String,
    /// Of a messages request that could be read.
    pub model: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Names in lower case, in the order sent.
    pub header_names: Vec<String>,
    /// Values of harmless headers.
    pub headers: BTreeMap<String, String>,
    /// Was there one?
    pub has_authorization: bool,
    /// Was there one?
    pub has_x_api_key: bool,
    /// Length of the body that came, or of what was declared when it was too large.
    pub body_bytes: u64,
    /// Lower-case hex.
    pub body_sha256: Option<String>,
    /// What happened since.
    #[serde(flatten)]
    pub progress: Progress,
}

/// The part of an entry that changes while it is answered.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Progress {
    /// Absent as long as no head was sent.
    pub status: Option<u16>,
    /// The fault's name.
    pub fault: Option<String>,
    /// Why a strict simulator refused the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The account that served.
    pub account: Option<String>,
    /// The last `message_start`'s, or the JSON answer's id.
    pub message_id: Option<String>,
    /// SSE events written.
    pub events: u64,
    /// Bytes of answer body written.
    pub bytes_out: u64,
    /// As far as they were written.
    pub tokens: Tokens,
    /// The whole answer was written, as it should be: no fault cut it short.
    pub finished: bool,
    /// The simulator is done with it.
    pub ended: bool,
    /// The other side left before the end.
    pub client_gone: bool,
    /// When, in milliseconds since arrival.
    pub gone_after_ms: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
}

/// Sums of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelTotals {
    /// Messages requests for it.
    pub requests: u64,
    /// Of them answered whole.
    pub finished: u64,
    /// Of them left by the client.
    pub client_gone: u64,
    /// As put on the wire, finished or not.
    pub tokens: Tokens,
}

/// Sums over all requests since the start or the last reset.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// All of them.
    pub requests: u64,
    /// Those that ended, in any way.
    pub ended: u64,
    /// Answered whole.
    pub finished: u64,
    /// Left by the client.
    pub client_gone: u64,
    /// Refused for breaking a rule of the real API.
    pub refused: u64,
    /// SSE events.
    pub events: u64,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Answer body bytes.
    pub bytes_out: u64,
    /// Over all models.
    pub tokens: Tokens,
    /// By `METHOD path`.
    pub routes: BTreeMap<String, u64>,
    /// By status.
    pub statuses: BTreeMap<u16, u64>,
    /// By fault.
    pub faults: BTreeMap<String, u64>,
    /// By model.
    pub models: BTreeMap<String, ModelTotals>,
}

/// Totals, and the entries that are still kept.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerView {
    /// Of all requests.
    pub totals: Totals,
    /// Entries that the ring has dropped.
    pub dropped: u64,
    /// Oldest first.
    pub entries: Vec<Entry>,
}

pub(super) struct Ledger {
    capacity: usize,
    keep_bodies: usize,
    /// Which reset this is; requests that began before the last one change nothing.
    epoch: u64,
    next: u64,
    entries: VecDeque<Entry>,
    bodies: VecDeque<(u64, Bytes)>,
    body_bytes: usize,
    totals: Totals,
}

fn slot<V: Default>(map: &mut BTreeMap<String, V>, name: &str) -> bool {
    map.contains_key(name) || map.len() < MAX_NAMES
}

fn named<'a, V: Default>(map: &'a mut BTreeMap<String, V>, name: &str) -> &'a mut V {
    let name = if slot(map, name) { name } else { "other" };
    map.entry(name.to_owned()).or_default()
}

/// Replaces `old` by `new` in a sum; sums stay exact whatever is reported in between.
fn swap(sum: &mut u64, old: u64, new: u64) {
    *sum = sum.wrapping_sub(old).wrapping_add(new);
}

fn swap_tokens(sum: &mut Tokens, old: Tokens, new: Tokens) {
    swap(&mut sum.input, old.input, new.input);
    swap(&mut sum.output, old.output, new.output);
    swap(&mut sum.cache_read, old.cache_read, new.cache_read);
    swap(
        &mut sum.cache_creation,
        old.cache_creation,
        new.cache_creation,
    );
}

impl Ledger {
    pub(super) fn new(capacity: usize, keep_bodies: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            keep_bodies,
            epoch: 0,
            next: 1,
            entries: VecDeque::new(),
            bodies: VecDeque::new(),
            body_bytes: 0,
            totals: Totals::default(),
        }
    }

    pub(super) fn reset(&mut self) {
        let epoch = self.epoch + 1;
        *self = Self::new(self.capacity, self.keep_bodies);
        self.epoch = epoch;
    }

    pub(super) fn begin(&mut self, mut entry: Entry, body: Bytes) -> (u64, u64) {
        entry.seq = self.next;
        self.next += 1;
        self.totals.requests += 1;
        self.totals.bytes_in += entry.body_bytes;
        let route = format!("{} {}", entry.method, entry.path);
        *named(&mut self.totals.routes, &route) += 1;
        if let Some(model) = &entry.model {
            named(&mut self.totals.models, model).requests += 1;
        }
        let seq = entry.seq;
        self.entries.push_back(entry);
        if self.entries.len() > self.capacity {
            self.entries.pop_front();
        }
        if self.keep_bodies > 0 && !body.is_empty() {
            self.body_bytes += body.len();
            self.bodies.push_back((seq, body));
            while self.body_bytes > self.keep_bodies {
                let Some((_, oldest)) = self.bodies.pop_front() else {
                    break;
                };
                self.body_bytes -= oldest.len();
            }
        }
        (seq, self.epoch)
    }

    pub(super) fn update(&mut self, ticket: &Ticket<'_>) {
        if ticket.epoch != self.epoch {
            return;
        }
        let (old, new) = (&ticket.reported, &ticket.progress);
        let sums = &mut self.totals;
        swap(&mut sums.ended, old.ended.into(), new.ended.into());
        swap(&mut sums.finished, old.finished.into(), new.finished.into());
        swap(
            &mut sums.client_gone,
            old.client_gone.into(),
            new.client_gone.into(),
        );
        let broke = |progress: &Progress| u64::from(progress.refused.is_some());
        swap(&mut sums.refused, broke(old), broke(new));
        swap(&mut sums.events, old.events, new.events);
        swap(&mut sums.bytes_out, old.bytes_out, new.bytes_out);
        swap_tokens(&mut sums.tokens, old.tokens, new.tokens);
        if old.status.is_none()
            && let Some(status) = new.status
        {
            *sums.statuses.entry(status).or_default() += 1;
        }
        if old.fault.is_none()
            && let Some(fault) = &new.fault
        {
            *named(&mut sums.faults, fault) += 1;
        }
        if let Some(model) = &ticket.model {
            let model = named(&mut sums.models, model);
            swap(
                &mut model.finished,
                old.finished.into(),
                new.finished.into(),
            );
            swap(
                &mut model.client_gone,
                old.client_gone.into(),
                new.client_gone.into(),
            );
            swap_tokens(&mut model.tokens, old.tokens, new.tokens);
        }
        let first = self.entries.front().map_or(0, |entry| entry.seq);
        let index = ticket.seq.checked_sub(first).map(|index| index as usize);
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.progress = new.clone();
        }
    }

    pub(super) fn view(&self, after: u64, limit: usize) -> LedgerView {
        let newer = self.entries.iter().filter(|entry| entry.seq > after);
        LedgerView {
            totals: self.totals.clone(),
            dropped: self.next - 1 - self.entries.len() as u64,
            entries: newer.take(limit).cloned().collect(),
        }
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn body(&self, seq: u64) -> Option<Bytes> {
        let mut bodies = self.bodies.iter();
        let found = bodies.find(|(kept, _)| *kept == seq);
        found.map(|(_, body)| body.clone())
    }
}
