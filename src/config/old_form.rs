//! The fallback.json of the system that Luna replaces: a map from model to tiers, at the top or under one of three
//! names. It is read as it is; the advice prints the same in the new form.

use std::path::Path;

use serde_json::json;

use super::fallback::Reader;
use super::json::{self, Members};
use super::problem::{hint, quoted};
use super::routes::Routes;

/// Where the map may be, if not at the top.
const CONTAINERS: [&str; 3] = ["fallback_chains", "models", "tiers"];
/// What may stand beside it.
const BESIDE: [&str; 4] = ["threshold", "recover", "aliases", "$schema"];

/// Whether a file is in the old form: it has no `chains`, and something that the new form does not know.
pub(super) fn is_old(members: &Members<'_>) -> bool {
    let percent =
        |key: &str, value| key == "threshold" && json::number(value).is_some_and(|n| n > 1.0);
    !members.iter().any(|(key, _)| key == "chains")
        && members
            .iter()
            .any(|(key, value)| !BESIDE.contains(&key.as_str()) || percent(key, value))
}

/// Reads the members of an old file.
pub(super) fn read<'a>(reader: &mut Reader<'a, '_>, members: &Members<'a>) {
    reader.once(members);
    let contained = members
        .iter()
        .any(|(key, _)| CONTAINERS.contains(&key.as_str()));
    for (key, value) in members {
        match key.as_str() {
            "threshold" | "recover" => reader.share(key, value, true),
            "aliases" => reader.aliases(value),
            "$schema" => {}
            name if CONTAINERS.contains(&name) => {
                let what = format!("`{name}`, a map from model to tiers,");
                for (model, tiers) in reader.object(value, &what).unwrap_or_default() {
                    reader.chain(model, tiers, tiers, None, &["model", "name"]);
                }
            }
            // Beside a container, or when it is no list, it is no chain either.
            _ if contained || json::kind(value) != "a list" => {
                let known = BESIDE.into_iter().chain(CONTAINERS).chain(["chains"]);
                let what = format!("`{}` cannot be read{}", quoted(key), hint(key, known));
                reader.problem(value, &what);
            }
            _ => reader.chain(key.clone(), value, value, None, &["model", "name"]),
        }
    }
    reader.thresholds(members);
}

/// The warning for an old file that could be read.
pub(super) fn advice(file: &Path, routes: &Routes) -> String {
    let mut out = format!(
        "{}: this is the old form, and is read as it is. The same in the new form:\n{}",
        file.display(),
        new_form(routes)
    );
    for (model, chain) in &routes.chains {
        if model != "*" && !chain.tiers.iter().any(|(tier, _)| tier == model) {
            out.push_str(&format!(
                "\nThe chain of `{model}` does not name `{model}` itself, so that is never asked; \
                 put it first if it should be."
            ));
        }
    }
    out
}

/// The routes as a file in the new form, one chain a line.
pub(super) fn new_form(routes: &Routes) -> String {
    let chain = |tiers: &[(String, Option<String>)]| -> String {
        let tiers: Vec<String> = tiers
            .iter()
            .map(|(model, upstream)| match upstream {
                Some(upstream) => {
                    format!(
                        "{{\"model\": {}, \"upstream\": {}}}",
                        json!(model),
                        json!(upstream)
                    )
                }
                None => json!(model).to_string(),
            })
            .collect();
        format!("[{}]", tiers.join(", "))
    };
    let chains: Vec<String> = routes
        .chains
        .iter()
        .map(|(model, c)| format!("   {}: {}", json!(model), chain(&c.tiers)))
        .collect();
    let aliases: Vec<String> = routes
        .aliases
        .iter()
        .map(|(alias, target)| format!("   {}: {}", json!(alias), json!(target)))
        .collect();
    let mut out = format!(
        "{{\"threshold\": {}, \"recover\": {}",
        routes.threshold, routes.recover
    );
    out.push_str(&format!(",\n \"chains\": {{\n{}}}", chains.join(",\n")));
    if !aliases.is_empty() {
        out.push_str(&format!(",\n \"aliases\": {{\n{}}}", aliases.join(",\n")));
    }
    out.push('}');
    out
}
