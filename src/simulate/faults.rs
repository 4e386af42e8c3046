//! Scripted faults: what may go wrong, when, and how often.

use serde::{Deserialize, Serialize};

use super::State;

/// Most faults in one script.
const MAX_FAULTS: usize = 1_000;
/// Longest unscaled delay.
const MAX_DELAY_MS: u64 = 86_400_000;
/// Longest message or model name.
const MAX_TEXT: usize = 65_536;

/// What goes wrong. "JSON" is the answer to a request that does not stream.
///
/// The OpenAI generation has all of them in its own form, event 0 being the role chunk and `at_event` being by default
/// after the first text: errors as `{"error": ..}`, within a stream as a chunk and then no `[DONE]`. `exhausted_400` and
/// `exhausted_sse` are `insufficient_quota` there (429, or a 200 with that chunk), `early_end` is a clean end of the body
/// without a finish chunk (with `message` `[DONE]` that still comes), `no_accounts` a 500. From both plain APIs
/// `rate_limit_429` has `retry-after: 1` unless another is given, `status` the error type of its code, and unknown
/// models are 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 400 with the generation's exhaustion text, whether it streams or not.
    #[serde(rename = "exhausted_400")]
    Exhausted400,
    /// 500 api_error that says so in words.
    #[serde(rename = "exhausted_500")]
    Exhausted500,
    /// A 200 whose only event is the error; JSON: as `exhausted_400`.
    ExhaustedSse,
    /// "Max retries exceeded": 2.0 after 20.1 s, in a 200 if it streams; 2.7 a 500 at once.
    MaxRetries,
    /// 429 rate_limit_error (other upstreams; Antigravity never says it).
    #[serde(rename = "rate_limit_429")]
    RateLimit429,
    /// 503 overloaded_error.
    #[serde(rename = "overloaded_503")]
    Overloaded503,
    /// 529 overloaded_error.
    #[serde(rename = "overloaded_529")]
    Overloaded529,
    /// The status `code`, by default 500, with an api_error.
    Status,
    /// An HTML page with status `code`, by default 502.
    Html,
    /// No byte, until the client leaves.
    Hang,
    /// Stops before event `at_event` (default 4) and stays silent; JSON: after half the body.
    Stall,
    /// Waits `delay_ms` (default 1000) before every event; JSON: once, before the answer.
    Slow,
    /// The connection ends before event `at_event` (default 4), without the last chunk; JSON: after
    /// half the body.
    Cut,
    /// TCP reset: before any byte, or with `at_event` before that event; JSON: after half the body.
    Reset,
    /// The error event comes instead of event `at_event` (default 4), then a clean end; JSON: 500.
    ErrorEvent,
    /// Before event `at_event` (default 4) the stream starts over with a second message_start.
    /// JSON: no fault.
    SecondStart,
    /// An answer without content; with `at_event` 0 a 200 without any event (JSON: no body).
    Empty,
    /// The text `[No response after retries - please try again]`; JSON: an empty text block.
    EmptyText,
    /// Before event `at_event` (default 4) everything is closed as if it were the end; JSON: half
    /// the text.
    EarlyEnd,
    /// As without accounts: 2.0 after 10.5 s, 2.7 never answers, unless `delay_ms` is given.
    /// On `/v1/models` a 503.
    NoAccounts,
    /// `/health` answers `code`, by default 503.
    HealthError,
    /// `/health` answers after `delay_ms`, by default 3000.
    HealthSlow,
}

impl FaultKind {
    /// The name in scripts and in the ledger.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }

    /// Every kind, for tests that go through all.
    pub const ALL: [FaultKind; 22] = [
        Self::Exhausted400,
        Self::Exhausted500,
        Self::ExhaustedSse,
        Self::MaxRetries,
        Self::RateLimit429,
        Self::Overloaded503,
        Self::Overloaded529,
        Self::Status,
        Self::Html,
        Self::Hang,
        Self::Stall,
        Self::Slow,
        Self::Cut,
        Self::Reset,
        Self::ErrorEvent,
        Self::SecondStart,
        Self::Empty,
        Self::EmptyText,
        Self::EarlyEnd,
        Self::NoAccounts,
        Self::HealthError,
        Self::HealthSlow,
    ];
}

fn any_model() -> String {
    "*".to_owned()
}

/// One line of a script. The first line that matches a request and is not used up is applied;
/// a request that an earlier line took is not seen by the later ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// A model, `*` for every model, or a path such as `/health` or `/v1/models` (there `status`,
    /// `html`, `hang`, `slow`, `cut`, `reset`, `rate_limit_429` and the overloads apply).
    /// `health_error` and `health_slow` are for `/health` whatever stands here.
    #[serde(default = "any_model")]
    pub model: String,
    /// What goes wrong.
    pub fault: FaultKind,
    /// Let this many matching requests pass first.
    #[serde(default)]
    pub after: u64,
    /// Then apply to this many; absent: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Index of the SSE event, message_start being 0, before which it happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_event: Option<u32>,
    /// Replaces the delay that the fault has of itself; scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// The status of `status`, `html`, `health_error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Replaces the error's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Replaces the error's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// A Retry-After header, which Antigravity never sends but other upstreams do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// Only requests that stream, or only those that do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
}

impl Fault {
    /// This fault for every request of `model`, for ever.
    pub fn new(model: &str, fault: FaultKind) -> Self {
        Self {
            model: model.to_owned(),
            fault,
            after: 0,
            times: None,
            at_event: None,
            delay_ms: None,
            code: None,
            message: None,
            error_type: None,
            retry_after: None,
            stream: None,
        }
    }

    /// For `times` requests only.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// At this event.
    #[must_use]
    pub fn at_event(self, index: u32) -> Self {
        Self {
            at_event: Some(index),
            ..self
        }
    }

    fn check(&self) -> Result<(), String> {
        let codes = [FaultKind::Status, FaultKind::Html, FaultKind::HealthError];
        match self.code {
            Some(_) if !codes.contains(&self.fault) => {
                return Err("code goes with status, html and health_error only".to_owned());
            }
            Some(code) if !(200..=599).contains(&code) => {
                return Err("code must be 200 to 599".to_owned());
            }
            _ => {}
        }
        if self.times == Some(0) {
            return Err("times must be at least 1; leave it out for always".to_owned());
        }
        if self.delay_ms > Some(MAX_DELAY_MS) {
            return Err(format!("delay_ms must be at most {MAX_DELAY_MS}"));
        }
        if self.model.is_empty() {
            return Err("model must be a model, a path or \"*\"".to_owned());
        }
        let texts = [&self.message, &self.error_type, &self.retry_after];
        let mut lengths = texts.into_iter().flatten().map(String::len);
        if self.model.len() > MAX_TEXT || lengths.any(|len| len > MAX_TEXT) {
            return Err(format!("texts must be at most {MAX_TEXT} bytes"));
        }
        let header = self.retry_after.as_deref().unwrap_or_default();
        if !header.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err("retry_after must be printable ASCII".to_owned());
        }
        Ok(())
    }

    fn is_health(&self) -> bool {
        matches!(self.fault, FaultKind::HealthError | FaultKind::HealthSlow)
    }
}

/// A line of the script with its counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultState {
    /// The line.
    #[serde(flatten)]
    pub fault: Fault,
    /// Requests that matched it.
    pub seen: u64,
    /// Requests that it was applied to.
    pub applied: u64,
}

pub(super) type Active = FaultState;

/// Turns lines into a script with fresh counters, or says which line is wrong.
pub(super) fn script(faults: Vec<Fault>) -> Result<Vec<Active>, String> {
    if faults.len() > MAX_FAULTS {
        return Err(format!("at most {MAX_FAULTS} faults"));
    }
    let check = |(index, fault): (usize, Fault)| match fault.check() {
        Ok(()) => Ok(FaultState {
            fault,
            seen: 0,
            applied: 0,
        }),
        Err(error) => Err(format!("fault {index}: {error}")),
    };
    faults.into_iter().enumerate().map(check).collect()
}

impl State {
    /// The fault for a request of `model`, which for other routes is their path.
    pub(super) fn take_fault(&mut self, model: &str, stream: bool) -> Option<Fault> {
        let is_path = model.starts_with('/');
        for active in &mut self.faults {
            let fault = &active.fault;
            let matches = match fault.is_health() {
                true => model == "/health",
                false => fault.model == model || (fault.model == "*" && !is_path),
            };
            let wanted = fault.stream.is_none_or(|wanted| wanted == stream);
            let spent = fault.times.is_some_and(|times| active.applied >= times);
            if !matches || !wanted || spent {
                continue;
            }
            active.seen += 1;
            if active.seen > fault.after {
                active.applied += 1;
                return Some(fault.clone());
            }
        }
        None
    }
}
