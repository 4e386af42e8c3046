//! The hold that a request in progress has on its ledger entry.

use super::ledger::{Entry, Progress};
use super::request::{Body, Request};
use super::{Sim, iso, now_ms};

/// Headers whose values are recorded; of all others only the name.
const SHOWN: [&str; 16] = [
    "accept",
    "accept-encoding",
    "anthropic-beta",
    "anthropic-version",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "openai-beta",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-request-id",
];

/// One request's hold on the ledger. Dropping it, for whatever reason, ends the entry.
pub(super) struct Ticket<'a> {
    sim: &'a Sim,
    pub(super) seq: u64,
    pub(super) epoch: u64,
    pub(super) model: Option<String>,
    began: u64,
    pub(super) reported: Progress,
    pub(super) progress: Progress,
}

impl<'a> Ticket<'a> {
    /// Enters a request; `model` and `stream` are known for messages only.
    pub(super) fn open(sim: &'a Sim, request: &Request, model: Option<&str>, stream: bool) -> Self {
        let began = now_ms();
        let body = request.bytes();
        let model = model.map(|name| name.chars().take(200).collect::<String>());
        let declared = match request.body {
            Body::TooLarge(declared) => declared.unwrap_or(0),
            _ => body.len() as u64,
        };
        let hashed = sim.config.hash_bodies && !body.is_empty();
        let shown = request.headers.iter();
        let shown = shown.filter(|(name, _)| SHOWN.contains(&name.as_str()));
        let entry = Entry {
            seq: 0,
            at: iso(began),
            at_ms: began,
            connection: request.connection,
            http: request.version.label(),
            method: request.method.clone(),
            path: request.path().to_owned(),
            query: masked(request.query()),
            model: model.clone(),
            stream,
            header_names: request
                .headers
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
            headers: shown.cloned().collect(),
            has_authorization: request.header("authorization").is_some(),
            has_x_api_key: request.header("x-api-key").is_some(),
            body_bytes: declared,
            body_sha256: hashed.then(|| sha256(&body)),
            progress: Progress::default(),
        };
        let (seq, epoch) = sim.ledger().begin(entry, body);
        sim.changed.send_modify(|count| *count += 1);
        Self {
            sim,
            seq,
            epoch,
            model,
            began,
            reported: Progress::default(),
            progress: Progress::default(),
        }
    }

    pub(super) fn began(&self) -> u64 {
        self.began
    }

    /// Puts what has happened into the ledger.
    pub(super) fn commit(&mut self) {
        self.sim.ledger().update(self);
        self.reported = self.progress.clone();
        self.sim.changed.send_modify(|count| *count += 1);
    }

    /// The answer is whole once the next bytes are out; say so before they are.
    pub(super) fn finish(&mut self) {
        self.progress.finished = true;
        self.end();
    }

    pub(super) fn end(&mut self) {
        self.progress.ended = true;
        self.progress.duration_ms = Some(now_ms().saturating_sub(self.began));
        self.commit();
    }

    /// The other side has left.
    pub(super) fn gone(&mut self) {
        self.progress.finished = false;
        self.progress.client_gone = true;
        self.progress.gone_after_ms = Some(now_ms().saturating_sub(self.began));
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.progress.ended || self.progress.client_gone != self.reported.client_gone {
            self.end();
        }
    }
}

fn masked(query: &str) -> String {
    let mask = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if matches!(name, "key" | "api_key" | "token" | "password") => {
            format!("{name}=***")
        }
        _ => pair.to_owned(),
    };
    query.split('&').map(mask).collect::<Vec<_>>().join("&")
}

/// Lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
