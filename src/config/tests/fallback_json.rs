//! fallback.json in its new and its old form.

use super::{Place, assert_problems};
use crate::config::Settings;

fn tiers(settings: &Settings, model: &str) -> Vec<String> {
    let route = settings.rules.resolve(model);
    route
        .tiers
        .iter()
        .map(|tier| format!("{}@{}", tier.model, tier.upstream))
        .collect()
}

#[test]
fn the_new_form_is_read() {
    let place = Place::with_fallback(
        r#"{"$schema": "x", "threshold": 0.05, "recover": 0.10,
            "chains": {
              "opus": ["opus", "sonnet", {"model": "gpt", "upstream": "backup"}],
              "sonnet": {"tiers": ["sonnet", "flash"], "midstream": "error"},
              "*": ["sonnet", "flash"]},
            "aliases": {"claude-3-5-*": "sonnet", "gpt-4o": "sonnet"}}"#,
    );
    let settings = place.good();
    assert_eq!(
        tiers(&settings, "opus"),
        ["opus@default", "sonnet@default", "gpt@backup"]
    );
    assert_eq!(
        tiers(&settings, "claude-3-5-x[1m]"),
        ["sonnet@default", "flash@default"]
    );
    assert_eq!(
        tiers(&settings, "other"),
        ["other@default", "sonnet@default", "flash@default"]
    );
    assert_eq!(
        (settings.fallback.threshold, settings.fallback.recover),
        (0.05, 0.10)
    );
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert_eq!(
        settings.sources,
        [
            place.path("conf/luna.toml"),
            place.path("conf/fallback.json")
        ]
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let place = Place::with_fallback(
        r#"{
  "treshold": 0.05,
  "threshold": 5,
  "recover": "high",
  "chains": {
    "empty": [],
    "twice": [
      "a",
      "b",
      "a"
    ],
    "strange": [
      "a",
      {"model": "b", "upstream": "bakup"}
    ],
    "later": ["a", {"model": "b", "upstream": "gpt"}],
    "rescue": {"tiers": ["a"], "midstream": "continue"},
    "typo": {"tier": ["a"]},
    "number": 5,
    "odd": ["a", 7, {"modle": "x"}, {"model": 3}]
  },
  "aliases": {
    "x": "y",
    "y": "x",
    "n": 1
  }
}"#,
    );
    let found = place.bad();
    for wanted in [
        "conf/fallback.json:2: unknown setting `treshold`, did you mean `threshold`?, in `\"treshold\": 0.05,`",
        "conf/fallback.json:3: threshold must be a fraction between 0 and 1, in",
        "conf/fallback.json:4: recover must be a fraction between 0 and 1, in",
        "conf/fallback.json:6: chain `empty`: the chain is empty",
        "conf/fallback.json:10: chain `twice`: ",
        "conf/fallback.json:14: chain `strange`: ",
        "conf/fallback.json:17: midstream = \"continue\" is not available in this version",
        "conf/fallback.json:18: unknown setting `tier` of a chain, did you mean `tiers`?",
        "conf/fallback.json:18: the chain of `typo` has no `tiers`",
        "conf/fallback.json:19: the chain of `number` must be a list of tiers, not a number",
        "conf/fallback.json:20: a tier must be a model's name or an object, not a number",
        "conf/fallback.json:20: unknown setting `modle` of a tier, did you mean `model`?",
        "conf/fallback.json:20: a tier needs `model`",
        "conf/fallback.json:20: `model` of a tier must be text, not a number",
        "conf/fallback.json:23: alias `x`: ",
        "conf/fallback.json:24: alias `y`: ",
        "conf/fallback.json:25: an alias must lead to a model's name, not a number",
    ] {
        assert!(
            found.lines().any(|line| line.starts_with(wanted)),
            "no `{wanted}` in\n{found}"
        );
    }
    assert!(
        found
            .lines()
            .any(|line| line.contains("`backup`") || line.contains("backup")),
        "{found}"
    );
}

#[test]
fn broken_json_is_told_with_its_line() {
    let found = Place::with_fallback("{\n \"chains\": {\n  \"a\": [\"a\",]\n }\n}").bad();
    assert_problems(
        &found,
        &["conf/fallback.json:3: not valid JSON: expected value, in `\"a\": [\"a\",]`"],
    );
    assert_problems(
        &Place::with_fallback("").bad(),
        &["conf/fallback.json:1: not valid JSON: "],
    );
    assert_problems(
        &Place::with_fallback("[]").bad(),
        &["conf/fallback.json:1: must be an object, not a list"],
    );
    let deep = format!(
        "{{\"chains\": {}{}}}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    assert!(
        Place::with_fallback(&deep)
            .bad()
            .starts_with("conf/fallback.json:1: ")
    );
}

#[test]
fn a_key_given_twice_is_an_error() {
    for text in [
        "{\"threshold\": 0.1,\n \"threshold\": 0.1}",
        "{\"chains\": {\"a\": [\"a\"],\n \"a\": [\"b\"]}}",
        "{\"chains\": {\"a\": [\"a\"],\n \"\\u0061\": [\"b\"]}}",
        "{\"aliases\": {\"a\": \"b\",\n \"a\": \"b\"}}",
        "{\"chains\": {\"a\": [{\"model\": \"b\",\n \"model\": \"b\"}]}}",
        "{\"models\": {\"a\": [\"a\"],\n \"a\": [\"b\"]}}",
    ] {
        let found = Place::with_fallback(text).bad();
        assert!(
            found
                .lines()
                .any(|line| line.starts_with("conf/fallback.json:2: ")
                    && line.contains("given twice")),
            "{found}"
        );
    }
}

#[test]
fn a_missing_file_matters_only_when_it_was_named() {
    assert_eq!(Place::with_toml("").good().fallback.file, None);
    let place = Place::with_toml("[fallback]\nfile = 'chains.json'\n");
    assert_problems(
        &place.bad(),
        &["conf/luna.toml:2: fallback.file: conf/chains.json cannot be read: "],
    );
    let place = Place::new().var("FALLBACK_CONFIG", "none.json");
    assert_problems(
        &place.bad(),
        &["FALLBACK_CONFIG: fallback.file: none.json cannot be read: "],
    );
    // Empty means none, even where one would be found.
    let place = Place::with_toml("[fallback]\nfile = ''\n").file("conf/fallback.json", "{");
    assert_eq!(place.good().fallback.file, None);
}

#[test]
fn without_a_luna_toml_the_file_is_found_all_the_same() {
    let text = r#"{"chains": {"a": ["a", "b"]}}"#;
    let place = Place::new().file("conf/fallback.json", text);
    assert_eq!(
        place.good().fallback.file,
        Some(place.path("conf/fallback.json"))
    );
    let place = place.file("fallback.json", text);
    assert_eq!(
        place.good().fallback.file,
        Some(place.path("fallback.json"))
    );
}

#[test]
fn thresholds_stand_alone_or_together() {
    let settings = Place::with_fallback(r#"{"threshold": 0.2}"#).good();
    assert_eq!(
        (settings.fallback.threshold, settings.fallback.recover),
        (0.2, 0.2)
    );
    let found = Place::with_fallback("{\"threshold\": 0.2,\n\"recover\": 0.1}").bad();
    assert_problems(&found, &["conf/fallback.json:2: recover"]);
    assert_problems(
        &Place::with_fallback(r#"{"threshold": -1}"#).bad(),
        &["conf/fallback.json:1: threshold must be"],
    );
}

const OLD: &str = r#"["opus", {"model": "sonnet"}, {"name": "flash", "upstream": "backup"}]"#;

#[test]
fn each_old_form_is_read_as_it_is() {
    for text in [
        format!("{{\"opus\": {OLD}, \"threshold\": 5}}"),
        format!("{{\"fallback_chains\": {{\"opus\": {OLD}}}, \"threshold\": 5, \"recover\": 10}}"),
        format!("{{\"models\": {{\"opus\": {OLD}}}, \"threshold\": 0.05}}"),
        format!("{{\"tiers\": {{\"opus\": {OLD}}}}}"),
    ] {
        let settings = Place::with_fallback(&text).good();
        assert_eq!(
            tiers(&settings, "opus"),
            ["opus@default", "sonnet@default", "flash@backup"],
            "{text}"
        );
        assert_eq!(
            (settings.fallback.threshold, settings.fallback.recover),
            (0.05, 0.1),
            "{text}"
        );
        assert_eq!(settings.warnings.len(), 1);
    }
    let settings = Place::with_fallback("{\"threshold\": 20}").good();
    assert_eq!(settings.fallback.threshold, 0.2);
}

#[test]
fn the_advice_is_the_same_in_the_new_form() {
    let old = Place::with_fallback(&format!(
        "{{\"models\": {{\"opus\": {OLD}, \"*\": [\"a\\\"b\"]}}, \"threshold\": 7, \"aliases\": {{\"x\": \"opus\"}}}}"
    ))
    .good();
    let warning = &old.warnings[0];
    let (sentence, new) = warning.split_once('\n').unwrap();
    assert!(
        sentence.contains("conf/fallback.json: this is the old form"),
        "{sentence}"
    );
    let new = Place::with_fallback(new).good();
    assert!(new.warnings.is_empty(), "{:?}", new.warnings);
    let mut reload = Settings::diff(&old, &new);
    reload.changed.retain(|name| name != "fallback.file");
    assert!(reload.changed.is_empty(), "{reload:?}");
    // A chain that leaves its own model out may be a list of fallbacks alone: the advice asks.
    let old = Place::with_fallback(r#"{"opus": ["sonnet"]}"#).good();
    assert_eq!(tiers(&old, "opus"), ["sonnet@default"]);
    assert!(
        old.warnings[0].contains("`opus` itself"),
        "{}",
        old.warnings[0]
    );
}

#[test]
fn what_cannot_be_read_of_an_old_file_is_quoted() {
    for (text, wanted) in [
        (
            "{\"opus\": [\"a\"],\n\"note\": \"x\"}",
            "conf/fallback.json:2: `note` cannot be read, in `\"note\": \"x\"}`",
        ),
        (
            "{\"chain\":\n {\"a\": [\"a\"]}}",
            "conf/fallback.json:2: `chain` cannot be read, did you mean `chains`?",
        ),
        (
            "{\"tiers\": [\"a\"]}",
            "conf/fallback.json:1: `tiers`, a map from model to tiers, must be an object, not a list",
        ),
        (
            "{\"models\": {\"a\": \"b\"}}",
            "conf/fallback.json:1: the chain of `a` must be a list of tiers, not text, in",
        ),
        (
            "{\"models\": {\"a\": [{\"id\": 1, \"model\": \"a\"}]}}",
            "conf/fallback.json:1: unknown setting `id` of a tier, in",
        ),
        (
            "{\"models\": {}, \"b\": [\"b\"]}",
            "conf/fallback.json:1: `b` cannot be read",
        ),
        (
            "{\"threshold\": 500}",
            "conf/fallback.json:1: threshold must be",
        ),
        (
            "{\"models\": {\"a\": [{\"model\": \"a\", \"name\": \"b\"}]}}",
            "conf/fallback.json:1: the tier names its model twice",
        ),
    ] {
        let found = Place::with_fallback(text).bad();
        assert_problems(&found, &[wanted]);
    }
}

#[test]
fn large_files_are_read_at_once_and_larger_ones_refused() {
    let aliases: Vec<String> = (0..9_000)
        .map(|n| format!("\"alias-{n}\": \"opus\""))
        .collect();
    let text = format!("{{\"aliases\": {{{}}}}}", aliases.join(", "));
    assert_eq!(
        Place::with_fallback(&text)
            .good()
            .rules
            .resolve("alias-8999")
            .resolved
            .as_ref(),
        "opus"
    );
    let found = Place::with_fallback(&" ".repeat((1 << 20) + 1)).bad();
    assert!(found.contains("is larger than 1048576 bytes"), "{found}");
}
