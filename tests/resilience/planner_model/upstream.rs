//! What the simulated Antigravity (generation 2.7) makes of a request, and how the contract reads it.

use std::collections::BTreeMap;

use luna::simulate::FaultKind;

use super::script::{Line, Step};

/// An attempt that failed, as far as routing goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    pub reason: &'static str,
    pub status: u16,
    /// A reset was named.
    pub reset: bool,
    /// "Max retries exceeded".
    pub ambiguous: bool,
    /// A 400 that is no exhaustion.
    pub clients: bool,
}

impl Failed {
    fn new(reason: &'static str, status: u16) -> Self {
        Self {
            reason,
            status,
            reset: false,
            ambiguous: false,
            clients: false,
        }
    }
}

/// Quota as the two accounts have it: what is left, and whether there is a reset.
pub type Quota = ([Option<f64>; 2], bool);

#[derive(Debug, Default)]
pub struct Upstream {
    lines: Vec<(Line, u64, u64)>,
    pub quotas: BTreeMap<&'static str, Quota>,
}

impl Upstream {
    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Quota {
                model,
                left,
                reset_h,
            } => {
                self.quotas.insert(model, (*left, reset_h.is_some()));
            }
            Step::Faults(lines) => {
                self.lines = lines.iter().map(|line| (line.clone(), 0, 0)).collect();
            }
            _ => {}
        }
    }

    /// Full until the script says otherwise, with a reset in five hours.
    pub fn quota(&self, model: &str) -> Quota {
        self.quotas
            .get(model)
            .copied()
            .unwrap_or(([Some(1.0); 2], true))
    }

    pub fn ask(&mut self, model: &str, stream: bool) -> Result<(), Failed> {
        if let Some(line) = self.fault(model) {
            return Err(failure(&line, stream));
        }
        let (left, has_reset) = self.quota(model);
        let out = left
            .iter()
            .all(|left| left.map_or(has_reset, |left| left <= 0.0));
        if out {
            let reset = has_reset;
            return Err(Failed {
                reset,
                ..Failed::new("exhausted", 400)
            });
        }
        Ok(())
    }

    /// The first line that matches and is not used up takes the request, or lets it pass to the next.
    fn fault(&mut self, model: &str) -> Option<Line> {
        for (line, seen, applied) in &mut self.lines {
            let matches = line.model.is_none_or(|wanted| wanted == model);
            if !matches || line.times.is_some_and(|times| *applied >= times) {
                continue;
            }
            *seen += 1;
            if *seen > line.after {
                *applied += 1;
                return Some(line.clone());
            }
        }
        None
    }
}

/// contracts/antigravity.md section 11.
fn failure(line: &Line, stream: bool) -> Failed {
    match line.kind {
        FaultKind::Exhausted400 => Failed {
            reset: true,
            ..Failed::new("exhausted", 400)
        },
        FaultKind::Exhausted500 => Failed {
            reset: true,
            ..Failed::new("exhausted", 500)
        },
        FaultKind::MaxRetries => Failed {
            ambiguous: true,
            ..Failed::new("exhausted", 500)
        },
        FaultKind::RateLimit429 => Failed::new("rate_limited", 429),
        FaultKind::Overloaded503 => Failed::new("overloaded", 503),
        FaultKind::Overloaded529 => Failed::new("overloaded", 529),
        FaultKind::Html => Failed::new("upstream_error", 502),
        FaultKind::Cut => Failed::new("stream_error", 0),
        FaultKind::ErrorEvent if stream => Failed::new("stream_error", 500),
        FaultKind::ErrorEvent => Failed::new("upstream_error", 500),
        FaultKind::Empty | FaultKind::EmptyText => Failed::new("empty", 0),
        _ => match line.code {
            Some(404) => Failed::new("model_not_found", 404),
            Some(400) => Failed {
                clients: true,
                ..Failed::new("upstream_error", 400)
            },
            code => Failed::new("upstream_error", code.unwrap_or(500)),
        },
    }
}
