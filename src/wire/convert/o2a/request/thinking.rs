//! Thinking and the tokens for it (contracts/conversion.md, section 1a).
//!
//! Invariants: a budget is at least 1024 and below `max_tokens`; the client's own limit is never raised.

use super::read::{Fields, Reader, must_be, short};
use crate::wire::convert::json::{self, Object, Writer};
use crate::wire::convert::{Capabilities, Rejection};

/// The least budget that Anthropic takes.
const BUDGET_MIN: u64 = 1024;
/// More than any model thinks.
const BUDGET_MAX: u64 = 1_000_000;
/// What an answer may say when nobody limits it, in tokens: lower defaults cut tool calls.
const ALLOWANCE: u64 = 32_000;
const ALLOWANCE_MIN: u64 = 8192;

/// Efforts, weakest first: OpenAI's name, the budget, Anthropic's name.
const EFFORTS: [(&str, u64, &str); 6] = [
    ("minimal", 1024, "low"),
    ("low", 2048, "low"),
    ("medium", 8192, "medium"),
    ("high", 16384, "high"),
    ("xhigh", 24576, "xhigh"),
    ("max", 32000, "max"),
];

fn effort(word: &str) -> Option<&'static (&'static str, u64, &'static str)> {
    EFFORTS.iter().find(|(name, ..)| *name == word)
}

/// What the client asks for.
#[derive(Debug, Default)]
pub struct Wish {
    kind: Kind,
    /// The field that it was asked with.
    field: &'static str,
    effort: Option<&'static str>,
    display: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Absent,
    Disabled,
    Budget(u64),
    Adaptive,
}

/// What is sent.
#[derive(Debug)]
pub struct Plan {
    pub max_tokens: u64,
    kind: Kind,
    display: Option<&'static str>,
    /// `output_config.effort`
    pub effort: Option<&'static str>,
}

/// What stands against thinking.
#[derive(Clone, Copy, Debug)]
pub struct Hindrances {
    /// A tool call is forced.
    pub forced: bool,
    /// The assistant's last turn is to be continued.
    pub prefilled: bool,
    /// Tool results follow calls that do not begin with signed thinking.
    pub unsigned_tool_turn: bool,
}

/// Reads `reasoning_effort` and the extensions `thinking` and `output_config.effort`; `thinking` wins.
///
/// # Errors
/// Unknown words, wrong types.
pub fn read(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Result<Wish, Rejection> {
    let capabilities = reader.capabilities;
    let mut wish = Wish::default();
    let config = match fields.get("output_config") {
        Some(raw) => Object::of(raw)
            .ok_or_else(|| Rejection::new("output_config", must_be("an object", raw)))?,
        None => Object::default(),
    };
    let mut configured = None;
    if let Some(raw) = config.get("effort") {
        let found = json::text(raw).and_then(|word| effort(&word).filter(|e| e.0 == e.2));
        configured = Some(found.ok_or_else(|| {
            Rejection::new(
                "output_config.effort",
                "Must be low, medium, high, xhigh or max.",
            )
        })?);
    }
    if let Some(raw) = fields.get("reasoning_effort") {
        let word = json::text(raw)
            .ok_or_else(|| Rejection::new("reasoning_effort", must_be("a string", raw)))?;
        if word != "none" {
            let asked = effort(&word).ok_or_else(|| {
                Rejection::new(
                    "reasoning_effort",
                    format!(
                        "\"{}\" is not known; use none, minimal, low, medium, high, xhigh or max.",
                        short(&word)
                    ),
                )
            })?;
            wish.field = "reasoning_effort";
            if capabilities.adaptive_thinking {
                wish.kind = Kind::Adaptive;
                wish.effort = Some(asked.2);
            } else {
                wish.kind = Kind::Budget(asked.1);
            }
        }
    }
    if let Some(raw) = fields.get("thinking") {
        let thinking =
            Object::of(raw).ok_or_else(|| Rejection::new("thinking", must_be("an object", raw)))?;
        extension(&thinking, configured.map(|e| e.1), capabilities, &mut wish)?;
    }
    if let Some(configured) = configured {
        wish.effort = Some(configured.2);
    }
    if wish.effort.is_some() && !capabilities.output_config {
        reader.warnings.add("effort", "dropped");
        wish.effort = None;
    }
    Ok(wish)
}

/// Anthropic's own `thinking`.
fn extension(
    thinking: &Object<'_>,
    configured: Option<u64>,
    capabilities: &Capabilities,
    wish: &mut Wish,
) -> Result<(), Rejection> {
    wish.field = "thinking";
    wish.display = match thinking.text("display").as_deref() {
        Some("summarized") => Some("summarized"),
        Some("omitted") => Some("omitted"),
        _ => None,
    };
    wish.kind = match thinking.text("type").as_deref() {
        Some("disabled") => {
            wish.effort = None;
            Kind::Disabled
        }
        Some("enabled") => {
            let budget = thinking
                .get("budget_tokens")
                .and_then(json::whole)
                .ok_or_else(|| {
                    Rejection::new("thinking.budget_tokens", "Must be a positive whole number.")
                })?;
            if capabilities.adaptive_thinking {
                wish.effort = EFFORTS
                    .iter()
                    .rfind(|(_, tokens, _)| *tokens <= budget)
                    .map(|(.., word)| *word)
                    .or(Some("low"));
                Kind::Adaptive
            } else {
                Kind::Budget(budget)
            }
        }
        Some("adaptive") if capabilities.adaptive_thinking => Kind::Adaptive,
        // As much as an adaptive model would think at this effort; high is Anthropic's default.
        Some("adaptive") => Kind::Budget(configured.unwrap_or(16384)),
        _ => {
            return Err(Rejection::new(
                "thinking.type",
                "Must be enabled, disabled or adaptive.",
            ));
        }
    };
    Ok(())
}

impl Wish {
    /// Weighs the wish against what stands in its way and against the limit of tokens.
    pub fn plan(self, limit: Option<u64>, against: Hindrances, reader: &mut Reader<'_>) -> Plan {
        let most = reader.capabilities.max_output;
        let mut kind = self.kind;
        let hindered = match kind {
            Kind::Absent | Kind::Disabled => false,
            Kind::Adaptive => against.forced || against.prefilled,
            Kind::Budget(_) => against.forced || against.prefilled || against.unsigned_tool_turn,
        };
        if hindered {
            reader.warnings.add(self.field, "dropped");
            kind = Kind::Absent;
        }
        let mut max_tokens = match (limit, most) {
            (Some(limit), Some(most)) if limit > most.max(1) => {
                reader.warnings.add("max_tokens", "clamped");
                most.max(1)
            }
            (Some(limit), _) => limit,
            (None, most) => most.unwrap_or(ALLOWANCE).max(ALLOWANCE_MIN),
        };
        if let Kind::Budget(asked) = kind {
            let unlimited = limit.is_none() && most.is_none();
            let budget = if unlimited {
                asked.min(BUDGET_MAX)
            } else {
                asked.min(share(max_tokens))
            };
            if budget < BUDGET_MIN {
                reader.warnings.add(self.field, "dropped");
                kind = Kind::Absent;
            } else {
                if unlimited {
                    max_tokens += budget;
                }
                if budget < asked {
                    reader.warnings.add(self.field, "clamped");
                }
                kind = Kind::Budget(budget);
            }
        }
        Plan {
            max_tokens,
            kind,
            display: self.display,
            effort: self.effort,
        }
    }
}

/// 80 % of a limit: the rest is for what is said.
const fn share(limit: u64) -> u64 {
    limit / 5 * 4 + limit % 5 * 4 / 5
}

impl Plan {
    pub const fn thinks(&self) -> bool {
        matches!(self.kind, Kind::Budget(_) | Kind::Adaptive)
    }

    pub fn write(&self, w: &mut Writer) {
        let kind = match self.kind {
            Kind::Absent => return,
            Kind::Disabled => "\"disabled\"",
            Kind::Budget(_) => "\"enabled\"",
            Kind::Adaptive => "\"adaptive\"",
        };
        w.key("thinking").open_object();
        w.key("type").raw(kind);
        if let Kind::Budget(budget) = self.kind {
            w.key("budget_tokens").number(budget);
        }
        if let Some(display) = self.display
            && self.thinks()
        {
            w.key("display").text(display);
        }
        w.close_object();
    }
}
