//! Checks fallback.json and compiles it. Collects every error, each with the nearest known name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{At, Chain, ChainDef, LONG_CONTEXT, Midstream, RuleError, Rules, STAR, Tier, TierDef};
use crate::routing::pattern;

/// More tiers than a request could ever try within its time.
const MAX_TIERS: usize = 64;
/// The longest model name, in bytes.
const MAX_NAME: usize = 256;

pub(super) fn compile(
    threshold: f64,
    recover: f64,
    chains: Vec<(String, ChainDef)>,
    aliases: Vec<(String, String)>,
    upstreams: &[String],
    default_upstream: &str,
) -> Result<Rules, Vec<RuleError>> {
    let mut errors = Vec::new();
    limits(threshold, recover, &mut errors);
    if !upstreams.iter().any(|name| name == default_upstream) {
        errors.push(RuleError {
            at: At::DefaultUpstream,
            what: unknown("upstream", default_upstream, upstreams),
        });
    }
    let mut compiled: HashMap<Arc<str>, Chain> = HashMap::new();
    for (name, def) in chains {
        let before = errors.len();
        let mut wrong = |what: String| {
            errors.push(RuleError {
                at: At::Chain(name.clone()),
                what,
            });
        };
        if let Some(what) = bad_name(&name, name == STAR) {
            wrong(format!("the name of the chain {what}"));
        }
        if name.ends_with(LONG_CONTEXT) {
            wrong(never_used());
        }
        if compiled.contains_key(&*name) {
            wrong("given twice".to_owned());
        }
        let midstream = match def.midstream.as_deref() {
            None => None,
            Some("error") => Some(Midstream::Error),
            Some("continue") => Some(Midstream::Continue),
            Some(other) => {
                wrong(format!(
                    "midstream is \"error\" or \"continue\", not {other:?}"
                ));
                None
            }
        };
        let tiers = tiers(&def.tiers, upstreams, default_upstream, &mut wrong);
        if errors.len() == before {
            let name: Arc<str> = Arc::from(name);
            let chain = Chain {
                name: name.clone(),
                tiers: tiers.into(),
                midstream,
            };
            compiled.insert(name, chain);
        }
    }
    let (exact, patterns) = self::aliases(aliases, &mut errors);
    if errors.is_empty() {
        Ok(Rules {
            threshold,
            recover,
            default_upstream: Arc::from(default_upstream),
            chains: compiled,
            aliases: exact,
            patterns,
            midstream_continue: false,
        })
    } else {
        Err(errors)
    }
}

fn limits(threshold: f64, recover: f64, errors: &mut Vec<RuleError>) {
    let mut wrong = |at, what: String| errors.push(RuleError { at, what });
    if !(0.0..=1.0).contains(&threshold) {
        wrong(
            At::Threshold,
            format!("threshold is a fraction from 0 to 1, not {threshold}"),
        );
    } else if !(0.0..=1.0).contains(&recover) {
        wrong(
            At::Recover,
            format!("recover is a fraction from 0 to 1, not {recover}"),
        );
    } else if recover < threshold {
        wrong(
            At::Recover,
            format!(
                "recover ({recover}) is below threshold ({threshold}): make it at least as large"
            ),
        );
    }
}

fn tiers(
    defs: &[TierDef],
    upstreams: &[String],
    default_upstream: &str,
    wrong: &mut impl FnMut(String),
) -> Vec<Tier> {
    if defs.is_empty() {
        wrong("the chain is empty: name at least one model".to_owned());
    }
    if defs.len() > MAX_TIERS {
        wrong(format!(
            "{} tiers; at most {MAX_TIERS} are allowed",
            defs.len()
        ));
    }
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for def in defs.iter().take(MAX_TIERS) {
        let upstream = def.upstream.as_deref().unwrap_or(default_upstream);
        if let Some(what) = bad_name(&def.model, false) {
            wrong(format!("the model {:?} {what}", def.model));
        }
        if def.upstream.is_some() && !upstreams.iter().any(|name| name == upstream) {
            wrong(unknown("upstream", upstream, upstreams));
        }
        let tier = Tier::new(&def.model, upstream);
        if seen.insert(tier.clone()) {
            out.push(tier);
        } else {
            wrong(format!(
                "the tier {:?} on {upstream:?} is there twice",
                def.model
            ));
        }
    }
    out
}

/// Exact aliases, and patterns with the longest first, each with the name it leads to in the end.
type Aliases = (HashMap<Arc<str>, Arc<str>>, Vec<(Arc<str>, Arc<str>)>);

fn aliases(defs: Vec<(String, String)>, errors: &mut Vec<RuleError>) -> Aliases {
    let mut sound: Vec<(String, String)> = Vec::new();
    let mut names = HashSet::new();
    for (name, target) in defs {
        let before = errors.len();
        let mut wrong = |what: String| {
            errors.push(RuleError {
                at: At::Alias(name.clone()),
                what,
            });
        };
        if let Some(what) = bad_name(&name, true) {
            wrong(format!("the name of the alias {what}"));
        }
        if name.ends_with(LONG_CONTEXT) {
            wrong(never_used());
        }
        let target = super::strip(&target).to_owned();
        if let Some(what) = bad_name(&target, false) {
            wrong(format!("its target {target:?} {what}"));
        }
        if !names.insert(name.clone()) {
            wrong("given twice".to_owned());
        }
        if errors.len() == before {
            sound.push((name, target));
        }
    }
    let exact: HashMap<&str, &str> = sound
        .iter()
        .filter(|(name, _)| !name.contains('*'))
        .map(|(name, target)| (&**name, &**target))
        .collect();
    let mut patterns: Vec<(&str, &str)> = sound
        .iter()
        .filter(|(name, _)| name.contains('*'))
        .map(|(name, target)| (&**name, &**target))
        .collect();
    // Stable: of two patterns of one length the first in the file wins.
    patterns.sort_by_key(|(name, _)| std::cmp::Reverse(name.chars().count()));
    let step = |name: &str| -> Option<&str> {
        exact.get(name).copied().or_else(|| {
            let first = patterns.iter().find(|(p, _)| pattern::matches(p, name));
            // A pattern that matches its own target leads no further.
            first
                .map(|(_, target)| *target)
                .filter(|target| *target != name)
        })
    };
    let mut ends: HashMap<&str, Arc<str>> = HashMap::new();
    for (name, target) in &sound {
        let mut seen = HashSet::from([&**name]);
        let mut at: &str = target;
        loop {
            if !seen.insert(at) {
                errors.push(RuleError {
                    at: At::Alias(name.clone()),
                    what: format!("leads in a loop, over {target:?}: let one of them name a model"),
                });
                break;
            }
            let Some(next) = step(at) else {
                ends.insert(name, Arc::from(at));
                break;
            };
            at = next;
        }
    }
    let compiled = |name: &str| Some((Arc::from(name), ends.get(name)?.clone()));
    (
        exact.keys().filter_map(|name| compiled(name)).collect(),
        patterns
            .iter()
            .filter_map(|(name, _)| compiled(name))
            .collect(),
    )
}

fn never_used() -> String {
    format!("never used: a trailing {LONG_CONTEXT} is stripped first; leave it out")
}

/// Why `name` cannot be a model's name, to be read after a noun.
fn bad_name(name: &str, star_allowed: bool) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > MAX_NAME {
        Some("is longer than 256 bytes")
    } else if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Some("contains white space or control characters")
    } else if !star_allowed && name.contains('*') {
        Some("contains `*`, which stands for nothing here")
    } else {
        None
    }
}

fn unknown(kind: &str, name: &str, known: &[String]) -> String {
    let near = known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, near)) => format!("unknown {kind} {name:?}; did you mean {near:?}?"),
        None => format!("unknown {kind} {name:?}; known: {}", known.join(", ")),
    }
}
