#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]
use super::*;

fn chain(tiers: &[&str]) -> ChainDef {
    ChainDef {
        tiers: tiers
            .iter()
            .map(|text| match text.split_once('@') {
                Some((model, upstream)) => TierDef {
                    model: model.to_owned(),
                    upstream: Some(upstream.to_owned()),
                },
                None => TierDef {
                    model: (*text).to_owned(),
                    upstream: None,
                },
            })
            .collect(),
        midstream: None,
    }
}

fn build(chains: &[(&str, &[&str])], aliases: &[(&str, &str)]) -> Result<Rules, Vec<RuleError>> {
    Rules::new(
        0.05,
        0.10,
        chains
            .iter()
            .map(|(n, t)| ((*n).to_owned(), chain(t)))
            .collect(),
        aliases
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect(),
        &["default".to_owned(), "openai-backup".to_owned()],
        "default",
    )
}

fn tiers(route: &Route) -> Vec<String> {
    let show = |t: &Tier| format!("{}@{}", t.model, t.upstream);
    route.tiers.iter().map(show).collect()
}

/// The example of gateway.md section 2.
fn example() -> Rules {
    build(
        &[
            (
                "claude-opus-4-6-thinking",
                &[
                    "claude-opus-4-6-thinking",
                    "claude-sonnet-4-6-thinking",
                    "gpt-5.2@openai-backup",
                ],
            ),
            (
                "claude-sonnet-4-6",
                &["claude-sonnet-4-6", "gemini-3-flash"],
            ),
            ("*", &["claude-sonnet-4-6", "gemini-3-flash"]),
        ],
        &[
            ("claude-3-5-sonnet-*", "claude-sonnet-4-6"),
            ("gpt-4o", "claude-sonnet-4-6"),
        ],
    )
    .unwrap()
}

#[test]
fn a_chain_of_that_name_decides() {
    let route = example().resolve("claude-opus-4-6-thinking");
    assert_eq!(route.via, Via::Chain);
    assert_eq!(
        tiers(&route),
        [
            "claude-opus-4-6-thinking@default",
            "claude-sonnet-4-6-thinking@default",
            "gpt-5.2@openai-backup"
        ]
    );
}

#[test]
fn the_long_context_suffix_is_stripped_once_and_first() {
    let rules = example();
    assert_eq!(rules.resolve("gpt-4o[1m]").via, Via::Alias);
    assert_eq!(&*rules.resolve("x[1m]").resolved, "x");
    assert_eq!(&*rules.resolve("x[1m][1m]").resolved, "x[1m]");
}

#[test]
fn aliases_exact_then_longest_pattern() {
    let rules = build(
        &[],
        &[
            ("a*", "short"),
            ("a-b*", "long"),
            ("a-b-c", "exact"),
            ("b*", "first"),
            ("*b", "second"),
        ],
    )
    .unwrap();
    for (name, expected) in [
        ("ax", "short"),
        ("a-bx", "long"),
        ("a-b-c", "exact"),
        ("a-b-c-d", "long"),
        ("bb", "first"),
    ] {
        let route = rules.resolve(name);
        assert_eq!(
            (&*route.resolved, route.via),
            (expected, Via::Alias),
            "{name}"
        );
    }
    assert_eq!(rules.resolve("c").via, Via::Default);
}

#[test]
fn an_alias_may_lead_to_an_alias_and_then_to_a_chain() {
    let rules = build(
        &[("m", &["m", "n"])],
        &[("a", "b"), ("b", "c-1"), ("c-*", "m")],
    )
    .unwrap();
    let route = rules.resolve("a");
    assert_eq!(
        (route.via, tiers(&route)),
        (Via::Alias, vec!["m@default".into(), "n@default".into()])
    );
    assert_eq!(route.alias.as_deref(), Some("a"));
}

#[test]
fn a_loop_is_an_error_wherever_it_is_entered() {
    for aliases in [
        &[("a", "a")][..],
        &[("a", "b"), ("b", "a")],
        &[("a", "b"), ("b", "c"), ("c", "b")],
        &[("a*", "b1"), ("b*", "a1")],
    ] {
        let errors = build(&[], aliases).unwrap_err();
        assert!(errors.iter().all(|e| e.what.contains("loop")), "{errors:?}");
        assert_eq!(errors.len(), aliases.len());
    }
}

#[test]
fn a_pattern_may_match_its_own_target() {
    let rules = build(&[], &[("claude-*", "claude-sonnet")]).unwrap();
    assert_eq!(rules.resolve("claude-opus").via, Via::Alias);
    let own = rules.resolve("claude-sonnet");
    assert_eq!(
        (own.via, &*own.resolved, own.alias),
        (Via::Default, "claude-sonnet", None)
    );
}

#[test]
fn an_unknown_model_goes_first_and_the_star_chain_follows_without_it() {
    let rules = example();
    assert_eq!(
        tiers(&rules.resolve("new-model")),
        [
            "new-model@default",
            "claude-sonnet-4-6@default",
            "gemini-3-flash@default"
        ]
    );
    let own = rules.resolve("gemini-3-flash");
    assert_eq!(
        tiers(&own),
        ["gemini-3-flash@default", "claude-sonnet-4-6@default"]
    );
    assert_eq!(own.via, Via::Default);
    // The same model elsewhere is another tier.
    let other = build(&[("*", &["m@openai-backup"])], &[]).unwrap();
    assert_eq!(tiers(&other.resolve("m")), ["m@default", "m@openai-backup"]);
    // Without a star chain it is alone, and nobody can ask for the chain `*` by its name.
    assert_eq!(tiers(&build(&[], &[]).unwrap().resolve("m")), ["m@default"]);
    assert_eq!(rules.resolve("*").via, Via::Default);
}

#[test]
fn midstream_comes_from_the_chain_else_from_the_setting() {
    let mut own = chain(&["m"]);
    own.midstream = Some("continue".to_owned());
    let rules = |own: ChainDef| {
        Rules::new(
            0.05,
            0.1,
            vec![("m".into(), own)],
            vec![],
            &["d".to_owned()],
            "d",
        )
        .unwrap()
    };
    let with = rules(own.clone());
    assert!(with.resolve("m").midstream_continue);
    assert!(!with.resolve("n").midstream_continue);
    own.midstream = Some("error".to_owned());
    let without = rules(own).midstream_default(Midstream::Continue);
    assert!(!without.resolve("m").midstream_continue);
    assert!(without.resolve("n").midstream_continue);
}

#[test]
fn errors_name_the_place_and_the_nearest_name() {
    for (chains, at, part) in [
        (&[("m", &[][..])][..], "m", "empty"),
        (&[("m", &["a", "b", "a"][..])], "m", "twice"),
        (&[("m", &["a", "a@default"][..])], "m", "twice"),
        (
            &[("m", &["a@openai-bakcup"][..])],
            "m",
            "did you mean \"openai-backup\"",
        ),
        (&[("m", &["a"][..]), ("m", &["b"][..])], "m", "given twice"),
        (&[("m", &["a*"][..])], "m", "`*`"),
        (&[("m-*", &["a"][..])], "m-*", "`*`"),
        (&[("m[1m]", &["a"][..])], "m[1m]", "never used"),
        (&[("m", &[""][..])], "m", "is empty"),
    ] {
        let errors = build(chains, &[]).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].at, At::Chain(at.to_owned()));
        assert!(errors[0].what.contains(part), "{errors:?}");
    }
    let errors = build(&[("m", &["a@x", "b@y"])], &[("k", ""), ("k", "v")]).unwrap_err();
    assert_eq!(errors.len(), 4, "all are told at once: {errors:?}");
}

#[test]
fn numbers_are_checked() {
    for (threshold, recover, at) in [
        (-0.1, 0.1, At::Threshold),
        (5.0, 0.1, At::Threshold),
        (f64::NAN, 0.1, At::Threshold),
        (0.1, 1.5, At::Recover),
        (0.1, 0.05, At::Recover),
    ] {
        let errors =
            Rules::new(threshold, recover, vec![], vec![], &["d".to_owned()], "d").unwrap_err();
        assert_eq!(errors[0].at, at);
    }
    let errors = Rules::new(0.0, 0.0, vec![], vec![], &[], "d").unwrap_err();
    assert_eq!(errors[0].at, At::DefaultUpstream);
}

#[test]
fn a_key_is_matched_against_the_resolved_name_or_the_exact_alias() {
    let rules = example();
    let allowed = |requested: &str, listed: &[&str]| {
        let listed: Vec<String> = listed.iter().map(|s| (*s).to_owned()).collect();
        model_allowed(&rules.resolve(requested), requested, &listed)
    };
    assert!(allowed("gpt-4o", &[]));
    assert!(allowed("gpt-4o", &["claude-sonnet-4-6"]));
    assert!(allowed("gpt-4o", &["claude-*"]));
    assert!(allowed("gpt-4o", &["gpt-4o"]));
    assert!(allowed("gpt-4o[1m]", &["gpt-4o"]));
    assert!(
        !allowed("gpt-4o", &["gpt-*"]),
        "a pattern does not reach an alias"
    );
    assert!(allowed("claude-3-5-sonnet-1", &["claude-3-5-sonnet-1"]));
    assert!(
        allowed("claude-3-5-sonnet-1", &["claude-3-5-sonnet-*"]),
        "the alias as configured"
    );
    assert!(!allowed("claude-3-5-sonnet-1", &["claude-3-5-*"]));
    assert!(!allowed("claude-opus-4-6-thinking", &["claude-sonnet-4-6"]));
    assert!(allowed(
        "claude-opus-4-6-thinking[1m]",
        &["claude-opus-4-6-thinking"]
    ));
    assert!(
        !allowed("other", &["claude-sonnet-4-6"]),
        "later tiers are not matched"
    );
}

#[test]
fn known_names_are_bounded_by_the_configuration() {
    let rules = example();
    let known = rules.known_models();
    let known: Vec<&str> = known.iter().map(|n| &**n).collect();
    assert_eq!(
        known,
        [
            "claude-opus-4-6-thinking",
            "claude-sonnet-4-6",
            "claude-sonnet-4-6-thinking",
            "gemini-3-flash",
            "gpt-5.2"
        ]
    );
    assert_eq!(rules.chains().len(), 3);
    assert_eq!(rules.aliases().len(), 2);
    assert_eq!(rules.tiers().len(), 5);
}

#[test]
fn configured_names_are_resolved_without_new_strings() {
    let rules = example();
    let (a, b) = (rules.resolve("gpt-4o"), rules.resolve("claude-sonnet-4-6"));
    assert!(Arc::ptr_eq(&a.tiers, &b.tiers));
    assert!(Arc::ptr_eq(&a.resolved, &b.resolved));
}
