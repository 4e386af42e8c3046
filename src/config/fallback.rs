//! fallback.json: thresholds, chains and aliases, with the line of each. What they become is in `routes`;
//! the old form of the file is in `old_form`.

use std::path::Path;

use super::json::{self, Members, Text, Value};
use super::old_form;
use super::problem::{Problem, hint, quoted};
use super::refuse::not_yet;
use super::routes::{Chain, Routes, with_line};

/// Largest fallback.json that is read, in bytes.
pub(super) const MAX_FILE: u64 = 1 << 20;
/// Most chains.
const MAX_CHAINS: usize = 1000;
/// Most aliases.
const MAX_ALIASES: usize = 10_000;

/// Reads the text of fallback.json in either form. Problems and warnings are added; what could be read is returned.
pub(super) fn read(
    file: &Path,
    text: &str,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Routes {
    let text = Text::new(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut reader = Reader {
        file,
        text,
        problems,
        routes: Routes::default(),
    };
    let root = match reader.text.root() {
        Ok(root) => root,
        Err((line, what)) => {
            reader.at_line(line, &what);
            return reader.routes;
        }
    };
    let Some(members) = json::members(root) else {
        reader.problem(
            root,
            &format!("must be an object, not {}", json::kind(root)),
        );
        return reader.routes;
    };
    if old_form::is_old(&members) {
        let before = reader.problems.len();
        old_form::read(&mut reader, &members);
        if reader.problems.len() == before {
            warnings.push(old_form::advice(file, &reader.routes));
        }
    } else {
        reader.new_form(&members);
    }
    reader.routes
}

/// A reading under way.
pub(super) struct Reader<'a, 'p> {
    pub(super) file: &'a Path,
    pub(super) text: Text<'a>,
    pub(super) problems: &'p mut Vec<Problem>,
    pub(super) routes: Routes,
}

impl<'a> Reader<'a, '_> {
    pub(super) fn problem(&mut self, value: Value<'_>, what: &str) {
        self.at_line(self.text.line(value), what);
    }

    fn at_line(&mut self, line: usize, what: &str) {
        let what = with_line(what, &self.text.quote(line));
        self.problems.push(Problem {
            file: Some(self.file.to_path_buf()),
            line: Some(line),
            what,
        });
    }

    fn remember(&mut self, at: String, value: Value<'_>) {
        let line = self.text.line(value);
        self.routes.lines.insert(at, line, self.text.quote(line));
    }

    /// An object's members, or a problem that says `what` it should have been.
    pub(super) fn object(&mut self, value: Value<'a>, what: &str) -> Option<Members<'a>> {
        let Some(members) = json::members(value) else {
            self.problem(
                value,
                &format!("{what} must be an object, not {}", json::kind(value)),
            );
            return None;
        };
        self.once(&members);
        Some(members)
    }

    pub(super) fn once(&mut self, members: &Members<'a>) {
        if let Some((key, value)) = json::repeated(members) {
            self.problem(value, &format!("`{}` is given twice", quoted(key)));
        }
    }

    fn new_form(&mut self, members: &Members<'a>) {
        self.once(members);
        for (key, value) in members {
            match key.as_str() {
                "threshold" | "recover" => self.share(key, value, false),
                "aliases" => self.aliases(value),
                "chains" => self.chains(value),
                "$schema" => {}
                _ => {
                    let hint = hint(key, ["threshold", "recover", "chains", "aliases"]);
                    self.problem(value, &format!("unknown setting `{}`{hint}", quoted(key)));
                }
            }
        }
        self.thresholds(members);
    }

    /// `threshold` or `recover`; in the old form a number above 1 is a percentage.
    pub(super) fn share(&mut self, key: &str, value: Value<'_>, percent: bool) {
        self.remember(key.to_owned(), value);
        let share = json::number(value).map(|n| if percent && n > 1.0 { n / 100.0 } else { n });
        match share.filter(|share| (0.0..=1.0).contains(share)) {
            Some(share) if key == "threshold" => self.routes.threshold = share,
            Some(share) => self.routes.recover = share,
            None => self.problem(value, &format!("{key} must be a fraction between 0 and 1")),
        }
    }

    /// A threshold above the default of `recover` raises that, unless the file gives it too.
    pub(super) fn thresholds(&mut self, members: &Members<'a>) {
        if !members.iter().any(|(key, _)| key == "recover") {
            self.routes.recover = self.routes.recover.max(self.routes.threshold);
        }
    }

    pub(super) fn aliases(&mut self, value: Value<'a>) {
        let Some(members) = self.object(value, "aliases") else {
            return;
        };
        if members.len() > MAX_ALIASES {
            self.problem(value, &format!("more than {MAX_ALIASES} aliases"));
            return;
        }
        for (alias, target) in members {
            self.remember(format!("aliases.{alias}"), target);
            match json::text(target) {
                Some(name) => self.routes.aliases.push((alias, name)),
                None => self.problem(
                    target,
                    &format!(
                        "an alias must lead to a model's name, not {}",
                        json::kind(target)
                    ),
                ),
            }
        }
    }

    fn chains(&mut self, value: Value<'a>) {
        let Some(members) = self.object(value, "chains") else {
            return;
        };
        for (model, value) in members {
            let mut midstream = None;
            let mut tiers = Some(value);
            if json::kind(value) == "an object" {
                tiers = None;
                for (key, inner) in self.object(value, "a chain").unwrap_or_default() {
                    match key.as_str() {
                        "tiers" => tiers = Some(inner),
                        "midstream" => midstream = self.midstream(inner),
                        _ => {
                            let hint = hint(&key, ["tiers", "midstream"]);
                            self.problem(
                                inner,
                                &format!("unknown setting `{}` of a chain{hint}", quoted(&key)),
                            );
                        }
                    }
                }
                if tiers.is_none() {
                    self.problem(
                        value,
                        &format!("the chain of `{}` has no `tiers`", quoted(&model)),
                    );
                }
            }
            if let Some(tiers) = tiers {
                self.chain(model, value, tiers, midstream, &["model"]);
            }
        }
    }

    fn midstream(&mut self, value: Value<'_>) -> Option<String> {
        let text = json::text(value).unwrap_or_default();
        match text.as_str() {
            "error" => return Some(text),
            "continue" => self.problem(
                value,
                &not_yet(
                    "midstream = \"continue\"",
                    "write \"error\" or leave it out",
                ),
            ),
            _ => {
                let hint = hint(&text, ["error", "continue"]);
                self.problem(
                    value,
                    &format!("midstream must be \"error\" or \"continue\"{hint}"),
                );
            }
        }
        None
    }

    /// A chain whose tiers are strings, or objects with the model under one of `model_keys`.
    pub(super) fn chain(
        &mut self,
        model: String,
        value: Value<'a>,
        tiers: Value<'a>,
        midstream: Option<String>,
        model_keys: &[&str],
    ) {
        self.remember(format!("chains.{model}"), value);
        let Some(items) = json::items(tiers) else {
            let what = format!(
                "the chain of `{}` must be a list of tiers, not {}",
                quoted(&model),
                json::kind(tiers)
            );
            return self.problem(tiers, &what);
        };
        if self.routes.chains.len() >= MAX_CHAINS {
            return self.problem(value, &format!("more than {MAX_CHAINS} chains"));
        }
        let mut chain = Chain {
            tiers: Vec::new(),
            midstream,
        };
        for (index, item) in items.into_iter().enumerate() {
            self.remember(format!("chains.{model}[{index}]"), item);
            chain.tiers.extend(self.tier(item, model_keys));
        }
        self.routes.chains.push((model, chain));
    }

    fn tier(&mut self, item: Value<'a>, model_keys: &[&str]) -> Option<(String, Option<String>)> {
        if let Some(model) = json::text(item) {
            return Some((model, None));
        }
        if json::kind(item) != "an object" {
            self.problem(
                item,
                &format!(
                    "a tier must be a model's name or an object, not {}",
                    json::kind(item)
                ),
            );
            return None;
        }
        let (mut model, mut upstream) = (None, None);
        for (key, value) in self.object(item, "a tier")? {
            let slot = match key.as_str() {
                key if model_keys.contains(&key) => &mut model,
                "upstream" => &mut upstream,
                _ => {
                    let hint = hint(&key, model_keys.iter().copied().chain(["upstream"]));
                    self.problem(
                        value,
                        &format!("unknown setting `{}` of a tier{hint}", quoted(&key)),
                    );
                    continue;
                }
            };
            if slot.is_some() {
                self.problem(value, "the tier names its model twice");
            }
            match json::text(value) {
                Some(text) => *slot = Some(text),
                None => self.problem(
                    value,
                    &format!("`{key}` of a tier must be text, not {}", json::kind(value)),
                ),
            }
        }
        match model {
            Some(model) => Some((model, upstream)),
            None => {
                self.problem(
                    item,
                    &format!("a tier needs `{}`", model_keys.join("` or `")),
                );
                None
            }
        }
    }
}
