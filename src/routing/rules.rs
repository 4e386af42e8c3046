//! fallback.json, compiled: from the name that a client asks for to the tiers in order.
//!
//! Resolution (gateway.md section 2): strip a trailing `[1m]`; alias (exact, else the longest
//! matching pattern, followed to its end); the chain of that name; else the model itself followed
//! by the `*` chain without itself, or alone. All names that the rules know are resolved when they
//! are compiled, so a request for one of them only clones `Arc`s.

mod compile;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::{Tier, pattern};

/// What Claude Code appends to a model name for the long context.
const LONG_CONTEXT: &str = "[1m]";
/// The chain for models that have none of their own.
const STAR: &str = "*";

/// One tier as it is written in fallback.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierDef {
    /// The model's name.
    pub model: String,
    /// The upstream's name; the default one when it is not given.
    pub upstream: Option<String>,
}

/// One chain as it is written in fallback.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainDef {
    /// The tiers, first to last.
    pub tiers: Vec<TierDef>,
    /// `error` or `continue`; the general setting when it is not given.
    pub midstream: Option<String>,
}

/// What happens to a stream that breaks after its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Midstream {
    /// The client gets an error event.
    Error,
    /// Another tier carries on.
    Continue,
}

/// Where in fallback.json an error stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The number `threshold`.
    Threshold,
    /// The number `recover`.
    Recover,
    /// The chain of this name.
    Chain(String),
    /// The alias of this name.
    Alias(String),
    /// The default upstream, which luna.toml gives.
    DefaultUpstream,
}

/// One thing wrong in fallback.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Where.
    pub at: At,
    /// What, and what to do.
    pub what: String,
}

/// What decided the tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The name is an alias.
    Alias,
    /// There is a chain of that name.
    Chain,
    /// Neither: the model itself, and the `*` chain if there is one.
    Default,
}

impl Via {
    /// The word of POST /admin/explain.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alias => "alias",
            Self::Chain => "chain",
            Self::Default => "default",
        }
    }
}

/// The tiers of one request, in order: never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The name after `[1m]` and aliases.
    pub resolved: Arc<str>,
    /// What decided.
    pub via: Via,
    /// The tiers, first to last, each once.
    pub tiers: Arc<[Tier]>,
    /// Whether a stream that breaks after its commit is carried on from another tier.
    pub midstream_continue: bool,
    /// The alias (name or pattern, as configured) that the requested name matched.
    pub alias: Option<Arc<str>>,
}

/// Compiled fallback.json; immutable.
#[derive(Clone, Debug)]
pub struct Rules {
    threshold: f64,
    recover: f64,
    default_upstream: Arc<str>,
    chains: HashMap<Arc<str>, Chain>,
    aliases: HashMap<Arc<str>, Arc<str>>,
    /// Longest first; of equals the first in the file.
    patterns: Vec<(Arc<str>, Arc<str>)>,
    midstream_continue: bool,
}

#[derive(Clone, Debug)]
struct Chain {
    name: Arc<str>,
    tiers: Arc<[Tier]>,
    midstream: Option<Midstream>,
}

impl Rules {
    /// Compiles and checks. `chains` and `aliases` are in file order; `upstreams` are the
    /// configured names. Midstream defaults to `error`, see [`Rules::midstream_default`].
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn new(
        threshold: f64,
        recover: f64,
        chains: Vec<(String, ChainDef)>,
        aliases: Vec<(String, String)>,
        upstreams: &[String],
        default_upstream: &str,
    ) -> Result<Self, Vec<RuleError>> {
        compile::compile(
            threshold,
            recover,
            chains,
            aliases,
            upstreams,
            default_upstream,
        )
    }

    /// The same rules, with `streams.midstream` of luna.toml for chains that do not say.
    #[must_use]
    pub fn midstream_default(mut self, default: Midstream) -> Self {
        self.midstream_continue = default == Midstream::Continue;
        self
    }

    /// Which tiers a request for `requested` goes through.
    #[must_use]
    pub fn resolve(&self, requested: &str) -> Route {
        let name = strip(requested);
        let (alias, resolved) = match self.alias_of(name) {
            // A pattern whose target matches it leads nowhere else.
            Some((alias, target)) if &**target != name => (Some(alias), Some(target)),
            _ => (None, None),
        };
        let name = resolved.map_or(name, |target| target);
        let own = self.chains.get(name).filter(|_| name != STAR);
        let via = match (alias, own) {
            (Some(_), _) => Via::Alias,
            (None, Some(_)) => Via::Chain,
            (None, None) => Via::Default,
        };
        let star = || self.chains.get(STAR);
        let (resolved, tiers) = match own {
            Some(chain) => (chain.name.clone(), chain.tiers.clone()),
            None => {
                let model = resolved.cloned().unwrap_or_else(|| Arc::from(name));
                let first = Tier {
                    model: model.clone(),
                    upstream: self.default_upstream.clone(),
                };
                let rest = star().map_or(&[][..], |chain| &chain.tiers);
                let rest = rest.iter().filter(|tier| **tier != first).cloned();
                let tiers = std::iter::once(first.clone()).chain(rest).collect();
                (model, tiers)
            }
        };
        let midstream = own.or_else(star).and_then(|chain| chain.midstream);
        Route {
            resolved,
            via,
            tiers,
            midstream_continue: midstream
                .map_or(self.midstream_continue, |m| m == Midstream::Continue),
            alias: alias.cloned(),
        }
    }

    /// The alias that `name` matches and where it leads in the end.
    fn alias_of(&self, name: &str) -> Option<(&Arc<str>, &Arc<str>)> {
        self.aliases.get_key_value(name).or_else(|| {
            self.patterns
                .iter()
                .find(|(pattern, _)| pattern::matches(pattern, name))
                .map(|(pattern, target)| (pattern, target))
        })
    }

    /// Below this fraction a tier is skipped.
    #[must_use]
    pub const fn threshold(&self) -> f64 {
        self.threshold
    }

    /// From this fraction on a skipped tier is used again.
    #[must_use]
    pub const fn recover(&self) -> f64 {
        self.recover
    }

    /// Every chain with its tiers, sorted by name, `*` included.
    #[must_use]
    pub fn chains(&self) -> Vec<(&Arc<str>, &[Tier])> {
        let mut all: Vec<_> = self.chains.values().map(|c| (&c.name, &*c.tiers)).collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// Every alias (name or pattern) and the name that it leads to in the end, sorted.
    #[must_use]
    pub fn aliases(&self) -> Vec<(&Arc<str>, &Arc<str>)> {
        let mut all: Vec<_> = self.aliases.iter().collect();
        all.extend(
            self.patterns
                .iter()
                .map(|(pattern, target)| (pattern, target)),
        );
        all.sort();
        all
    }

    /// Every tier of any chain, once, sorted.
    #[must_use]
    pub fn tiers(&self) -> Vec<&Tier> {
        let mut all: Vec<_> = self.chains.values().flat_map(|c| c.tiers.iter()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Every model name that the configuration knows: tiers, chains (not `*`), targets of
    /// aliases. For metric labels and for [`super::Book::set_known`]; sorted, once each.
    #[must_use]
    pub fn known_models(&self) -> Vec<Arc<str>> {
        let chains = self.chains.values();
        let mut all: Vec<Arc<str>> = chains
            .flat_map(|c| {
                c.tiers
                    .iter()
                    .map(|t| t.model.clone())
                    .chain([c.name.clone()])
            })
            .chain(self.aliases().into_iter().map(|(_, target)| target.clone()))
            .filter(|name| &**name != STAR)
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

fn strip(name: &str) -> &str {
    name.strip_suffix(LONG_CONTEXT).unwrap_or(name)
}

/// Whether a key with the list `patterns` may use this route: the resolved name matches a pattern,
/// or the alias itself (the requested name, or the alias as configured) is listed exactly. An
/// empty list allows everything. The later tiers are the operator's choice and are not matched.
#[must_use]
pub fn model_allowed(route: &Route, requested: &str, patterns: &[String]) -> bool {
    let name = strip(requested);
    patterns.is_empty()
        || patterns.iter().any(|listed| {
            pattern::matches(listed, &route.resolved)
                || route
                    .alias
                    .as_deref()
                    .is_some_and(|alias| listed == name || listed == alias)
        })
}
