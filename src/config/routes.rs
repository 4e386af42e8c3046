//! Chains, aliases and thresholds as fallback.json gives them, and their way to `routing::Rules`: what those find wrong
//! is told with its line.

use std::collections::BTreeMap;
use std::path::Path;

use super::problem::{Problem, quoted};
use super::settings::Settings;
use crate::routing::{At, ChainDef, RuleError, Rules, TierDef};

const THRESHOLD: f64 = 0.05;
const RECOVER: f64 = 0.10;

/// Chains, aliases and thresholds as they were read.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    pub(super) threshold: f64,
    pub(super) recover: f64,
    pub(super) chains: Vec<(String, Chain)>,
    pub(super) aliases: Vec<(String, String)>,
    /// The line of each part: `threshold`, `recover`, `chains.NAME`, `chains.NAME[0]`, `aliases.NAME`.
    pub(super) lines: Lines,
}

/// A chain as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chain {
    /// (model, upstream)
    pub(super) tiers: Vec<(String, Option<String>)>,
    pub(super) midstream: Option<String>,
}

/// Lines by place.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(BTreeMap<String, (usize, String)>);

impl Lines {
    /// Remembers line and text of the place `at`.
    pub(super) fn insert(&mut self, at: String, line: usize, text: String) {
        self.0.insert(at, (line, text));
    }

    /// The problem `what` at the place `at` of `file`, with the text of that line.
    pub(super) fn problem(&self, file: Option<&Path>, at: &str, what: &str) -> Problem {
        let place = self.get(at);
        Problem {
            file: file.map(Path::to_path_buf),
            line: place.map(|(line, _)| *line),
            what: place.map_or_else(|| what.to_owned(), |(_, text)| with_line(what, text)),
        }
    }

    /// Line and text of the place `at`, or of the nearest place around it.
    fn get(&self, at: &str) -> Option<&(usize, String)> {
        let mut at = at;
        loop {
            if let Some(found) = self.0.get(at) {
                return Some(found);
            }
            at = at.get(..at.rfind(['[', '.'])?)?;
        }
    }
}

impl Routes {
    /// The place of what `Rules` says about the chain of `model`: the tier it is about, if that can be told, else the
    /// chain.
    fn tier_place(&self, model: &str, what: &str, upstreams: &[String]) -> String {
        let chain = format!("chains.{model}");
        let Some((_, found)) = self.chains.iter().find(|(name, _)| name == model) else {
            return chain;
        };
        let at_fault = found
            .tiers
            .iter()
            .enumerate()
            .position(|(index, (tier, upstream))| {
                let strange = upstream
                    .as_ref()
                    .is_some_and(|name| !upstreams.contains(name) && what.contains(name.as_str()));
                let before = found.tiers.iter().take(index);
                let default = |upstream: &Option<String>| {
                    upstream.clone().unwrap_or_else(|| "default".to_owned())
                };
                let again = before
                    .clone()
                    .any(|(other, there)| other == tier && default(there) == default(upstream));
                strange || (again && what.contains(tier.as_str()))
            });
        at_fault.map_or(chain.clone(), |index| format!("{chain}[{index}]"))
    }

    /// Compiles the routes, or tells the line of everything that is wrong with them.
    pub(super) fn compile(
        &self,
        upstreams: &[String],
        file: Option<&Path>,
        problems: &mut Vec<Problem>,
    ) -> Option<Rules> {
        let chains = self.chains.iter().map(|(model, chain)| {
            let tier = |(model, upstream): &(String, Option<String>)| TierDef {
                model: model.clone(),
                upstream: upstream.clone(),
            };
            let tiers = chain.tiers.iter().map(tier).collect();
            (
                model.clone(),
                ChainDef {
                    tiers,
                    midstream: chain.midstream.clone(),
                },
            )
        });
        let (chains, aliases) = (chains.collect(), self.aliases.clone());
        let default = Settings::DEFAULT_UPSTREAM;
        let errors = match Rules::new(
            self.threshold,
            self.recover,
            chains,
            aliases,
            upstreams,
            default,
        ) {
            Ok(rules) => return Some(rules),
            Err(errors) => errors,
        };
        for RuleError { at, what } in errors {
            let (place, what) = match &at {
                At::Threshold => ("threshold".to_owned(), what),
                At::Recover => ("recover".to_owned(), what),
                At::Chain(model) => {
                    let place = self.tier_place(model, &what, upstreams);
                    (place, format!("chain `{}`: {what}", quoted(model)))
                }
                At::Alias(name) => (
                    format!("aliases.{name}"),
                    format!("alias `{}`: {what}", quoted(name)),
                ),
                At::DefaultUpstream => (String::new(), what),
            };
            problems.push(self.lines.problem(file, &place, &what));
        }
        None
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            threshold: THRESHOLD,
            recover: RECOVER,
            chains: Vec::new(),
            aliases: Vec::new(),
            lines: Lines::default(),
        }
    }
}

/// A message with the line it is about.
pub(super) fn with_line(what: &str, line: &str) -> String {
    if line.is_empty() {
        what.to_owned()
    } else {
        format!("{what}, in `{line}`")
    }
}
