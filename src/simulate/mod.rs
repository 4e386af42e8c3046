//! The simulated Antigravity: a server that speaks `contracts/antigravity.md` byte for byte, for
//! both upstream generations, with scriptable quotas and faults and a ledger of its own. As further
//! generations it can be the plain Anthropic API or the OpenAI API, with the same faults and ledger.
//!
//! It is the upstream of `luna demo`, the whole of `luna simulate`, and what the tests compare
//! the gateway with. It never talks to anything else, and knows no other module of Luna.
//!
//! Invariants: an answer is a pure function of configuration, model and request body
//! ([`predict`]), but for the ids; every request but those under `/__sim/` is in the ledger once;
//! totals never lose what the bounded ring of entries drops; no secret is recorded.
//!
//! # Shaping an answer
//!
//! A request may carry `metadata.sim`, which the real server would silently drop; or its last turn
//! `[[sim SHAPE]]` in a text or a tool's result, which survives a conversion of the request; or
//! `PUT /__sim/answers {"MODEL or *": SHAPE}` sets the same for a model. The metadata's fields win
//! over the prompt's, these over the model's. All fields are optional, delays are scaled by `time_scale`:
//!
//! | field | meaning |
//! |---|---|
//! | `text` | the answer's text instead of the default one |
//! | `thinking` | `true`, `false` or the text of the thinking block; default by the model's name, from the plain APIs when it is asked for |
//! | `events`, `event_bytes`, `answer_bytes` | filler text: that many text deltas, of that many bytes (256) each or in total; see [`filler`]. With `text`, `events` is the number of deltas that it is cut into |
//! | `first_ms`, `interval_ms` | wait before the first event, and before each later one |
//! | `tool` | answer with a call of this tool, whether asked for or not |
//! | `calls` | call tools that the request offers: `[{"tool": NAME or INDEX, "input": {..}, "id": ".."}]`, inputs byte for byte; see [`Call`]. Not after the tools' results, unless these hold the order |
//! | `fragment_bytes` | stream tool inputs in pieces of that size (OpenAI: 16; else one piece) |
//! | `input_tokens`, `output_tokens`, `cache_read_input_tokens`, `cache_creation_input_tokens` | the usage to report |
//! | `stop_reason` | the stop reason to report |
//!
//! Without a shape: the text names the model and echoes the start of the last user text;
//! a token is four bytes, input tokens come from the body's length with a fifth of them cached;
//! `max_tokens` cuts default and given text, never filler. When tools are given and the last user
//! text has the word "tool" or a tool's name in it, the answer calls that tool. After tools' results it
//! quotes them (`ID said: TEXT`); pictures and documents of the last turn are counted (`Pictures: 2.`).
//! A system text that has the word JSON and a schema in it, or `JSON object`, gets the smallest value
//! that fits, as do `response_format` and the plain Anthropic API's `output_config.format`. Antigravity calls a tool
//! that the system text says it `must call`, the plain APIs what `tool_choice` says.
//!
//! # Being strict
//!
//! With [`SimConfig::strict`] a request that the real API would refuse is refused with 400 before any
//! fault, and counted ([`Totals::refused`]): a test that ends with 0 there has sent nothing wrong.
//!
//! # Not simulated
//!
//! gzip request bodies (415 instead); the web UI and its changing routes (404); the loss of
//! whitespace-only chunks in 2.0.4; a token that turns invalid in two polls; Google itself. A client
//! that closes its sending side only is taken for gone once it has sent its request.

mod accounts;
mod answer;
mod apis;
mod calls;
mod control;
mod events;
mod faults;
mod generation;
mod head;
mod health;
mod http1;
mod http2;
mod ledger;
mod messages;
mod openai;
mod orders;
mod page;
mod peek;
mod prompt;
mod raw;
mod refusals;
mod request;
mod routes;
mod sample;
mod server;
mod shape;
mod strict;
mod text;
mod ticket;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use accounts::{AccountStatus, Quota, SimAccount};
pub use answer::{Prediction, predict};
pub use control::{ControlError, Handle};
pub use faults::{Fault, FaultKind, FaultState};
pub use generation::Generation;
pub use ledger::{Entry, LedgerView, ModelTotals, Progress, Tokens, Totals};
pub use server::{
    ResetFlag, Running, SimIo, serve, serve_connection, serve_connection_with, spawn,
};
pub use shape::{Call, Json, Shape, Thinking, Which, filler};

/// How a simulated Antigravity is set up. Start from [`SimConfig::new`].
#[derive(Clone)]
pub struct SimConfig {
    /// Which upstream to be.
    pub generation: Generation,
    /// Every delay is multiplied by this; 0 means at once.
    pub time_scale: f64,
    /// `API_KEY`: guards `/v1/*`.
    pub api_key: Option<String>,
    /// `WEBUI_PASSWORD`: guards `/health`, `/account-limits` and `/api/*` but `/api/config`.
    pub webui_password: Option<String>,
    /// In the order of `accounts.json`. An account without quotas gets every model, full.
    pub accounts: Vec<SimAccount>,
    /// What Google lists; of the plain APIs all that they serve.
    pub models: Vec<String>,
    /// Refuse with 400 what the real Anthropic or OpenAI API refuses; the message names the rule, and the ledger has
    /// it in [`Progress::refused`].
    pub strict: bool,
    /// Makes ids and signatures; two simulators with one seed give the same ids in the same order.
    pub seed: u64,
    /// After this idle time (scaled) a connection is closed; the real server says 5 s.
    pub keep_alive_ms: u64,
    /// Also take HTTP/2 by prior knowledge, or by ALPN behind a TLS acceptor. The real one cannot.
    pub http2: bool,
    /// Largest request body in bytes; more is answered 413 with HTML.
    pub body_limit: usize,
    /// What a served request takes from its account's quota of its model, as a fraction.
    pub drain: f64,
    /// Keep request bodies for [`Handle::body`], the newest ones up to this many bytes; 0: none.
    pub keep_bodies: usize,
    /// Put the SHA-256 of each request body into the ledger.
    pub hash_bodies: bool,
    /// How many ledger entries are kept; totals count all.
    pub ledger_capacity: usize,
}

impl SimConfig {
    /// Two healthy accounts with every documented model at full quota, real timing, no key.
    pub fn new(generation: Generation) -> Self {
        Self {
            generation,
            time_scale: 1.0,
            api_key: None,
            webui_password: None,
            accounts: vec![
                SimAccount::new("alice@example.com"),
                SimAccount::new("bob@example.com"),
            ],
            models: generation.default_models(),
            strict: false,
            seed: 1,
            keep_alive_ms: 5_000,
            http2: false,
            body_limit: 50 * 1024 * 1024,
            drain: 0.0,
            keep_bodies: 0,
            hash_bodies: true,
            ledger_capacity: 10_000,
        }
    }

    /// A delay of `ms` milliseconds of the real server, scaled.
    pub(crate) fn scaled(&self, ms: u64) -> Duration {
        let scaled = ms as f64 / 1_000.0 * self.time_scale.max(0.0);
        Duration::try_from_secs_f64(scaled).unwrap_or(Duration::from_secs(86_400))
    }
}

impl std::fmt::Debug for SimConfig {
    // By hand, because key and password must not appear.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimConfig")
            .field("generation", &self.generation)
            .field("time_scale", &self.time_scale)
            .field("accounts", &self.accounts.len())
            .field("models", &self.models)
            .field("seed", &self.seed)
            .field("http2", &self.http2)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

/// What the control changes.
struct State {
    accounts: Vec<accounts::Account>,
    faults: Vec<faults::Active>,
    answers: BTreeMap<String, Shape>,
    drain: f64,
}

/// The state of one simulated Antigravity, shared by all its connections.
pub struct Sim {
    config: SimConfig,
    state: Mutex<State>,
    ledger: Mutex<ledger::Ledger>,
    /// Bumped at each change of the ledger, for [`Handle::wait`].
    changed: tokio::sync::watch::Sender<u64>,
    connections: AtomicU64,
    open_connections: AtomicU64,
}

impl Sim {
    /// A fresh simulator; nothing runs until [`serve`] or [`serve_connection`].
    pub fn new(config: SimConfig) -> Arc<Self> {
        let state = State::fresh(&config);
        let ledger = ledger::Ledger::new(config.ledger_capacity, config.keep_bodies);
        Arc::new(Self {
            config,
            state: Mutex::new(state),
            ledger: Mutex::new(ledger),
            changed: tokio::sync::watch::Sender::new(0),
            connections: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
        })
    }

    /// In-process control, equal to the HTTP control under `/__sim/`.
    pub fn handle(self: &Arc<Self>) -> Handle {
        Handle::new(Arc::clone(self))
    }

    /// How it was set up.
    pub fn config(&self) -> &SimConfig {
        &self.config
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, ledger::Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fresh(config: &SimConfig) -> Self {
        Self {
            accounts: accounts::fresh(&config.accounts, &config.models),
            faults: Vec::new(),
            answers: BTreeMap::new(),
            drain: config.drain,
        }
    }
}

/// Why a strict simulator of this generation would refuse `body`; none: the real API would take it.
pub fn strict_refusal(generation: Generation, body: &[u8]) -> Option<String> {
    let checked = strict::check(generation, body);
    checked.err().map(|broken| broken.to_string())
}

/// Unix time in milliseconds.
fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// As JavaScript's `toISOString`: milliseconds, `Z`.
fn iso(ms: u64) -> String {
    let stamp = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX))
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    stamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// A string as a JSON literal.
fn js(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

fn js_opt(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), js)
}

/// A number as JavaScript prints it: whole numbers without a fraction.
fn js_number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}
