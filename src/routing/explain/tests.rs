#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]
use super::*;
use crate::routing::testkit::*;
use crate::routing::{ChainDef, TierDef};

fn rules() -> Rules {
    let tiers = ["a", "b", "c"].map(|model| TierDef {
        model: model.to_owned(),
        upstream: None,
    });
    let chain = ChainDef {
        tiers: tiers.to_vec(),
        midstream: None,
    };
    Rules::new(
        0.05,
        0.10,
        vec![("a".to_owned(), chain)],
        vec![("x".to_owned(), "a".to_owned())],
        &["up".to_owned()],
        "up",
    )
    .unwrap()
}

#[test]
fn the_fields_are_those_of_the_contract() {
    let book = book();
    poll(&book, T0, &[("a", 0.42, Some(T0 + HOUR)), ("z", 1.0, None)]);
    fail(&book, "b", T0, 1, &overloaded());
    let shown = fallback(
        &rules(),
        &book.snapshot(),
        [("up", "http://localhost:8080")],
        T0 + S,
    );
    let shown = serde_json::to_value(shown).unwrap();
    assert_eq!(
        shown,
        serde_json::json!({
            "polled_at": "2026-11-24T08:06:57Z", "stale": false, "threshold": 0.05, "recover": 0.10,
            "tiers": [
                {"model": "a", "upstream": "up", "remaining_fraction": 0.42,
                 "reset_time": "2026-11-24T09:06:57Z", "accounts": 1, "state": "usable",
                 "stale": false, "until": null, "reason": null},
                {"model": "b", "upstream": "up", "remaining_fraction": null, "reset_time": null,
                 "accounts": 0, "state": "cooldown", "stale": false,
                 "until": "2026-11-24T08:07:17Z", "reason": "overloaded"},
                {"model": "c", "upstream": "up", "remaining_fraction": null, "reset_time": null,
                 "accounts": 0, "state": "unknown", "stale": false, "until": null, "reason": null},
                {"model": "z", "upstream": "up", "remaining_fraction": 1.0, "reset_time": null,
                 "accounts": 1, "state": "usable", "stale": false, "until": null, "reason": null}
            ],
            "chains": {"a": [
                {"model": "a", "upstream": "up", "usable": true, "why": "usable: 42% left"},
                {"model": "b", "upstream": "up", "usable": false,
                 "why": "cooldown: overloaded, until 2026-11-24 08:07:17 UTC (in 19s); quota unknown"},
                {"model": "c", "upstream": "up", "usable": true, "why": "usable: quota unknown"}
            ]},
            "upstreams": {"up": {"url": "http://localhost:8080", "reachable": true,
                "polled_at": "2026-11-24T08:06:57Z", "stale": false,
                "accounts": [{"email": "a***@x", "status": "ok"}]}}
        })
    );
}

#[test]
fn explain_shows_the_route_in_order_and_the_last_resort() {
    let book = book();
    poll(
        &book,
        T0,
        &[
            ("a", 0.02, None),
            ("b", 0.0, Some(T0 + HOUR)),
            ("c", 0.03, None),
        ],
    );
    let shown = serde_json::to_value(explain(&rules(), &book.snapshot(), "x[1m]", T0)).unwrap();
    assert_eq!(shown["requested"], "x[1m]");
    assert_eq!(
        (&shown["resolved"], &shown["via"]),
        (&"a".into(), &"alias".into())
    );
    let tiers = shown["tiers"].as_array().unwrap();
    assert_eq!(tiers.len(), 3);
    assert!(
        tiers
            .iter()
            .all(|tier| tier["usable"] == false && tier.as_object().unwrap().len() == 6)
    );
    assert_eq!(
        tiers[0]["why"],
        "quota: 2% left, below 5% and not at 10% again"
    );
    assert_eq!(tiers[1]["until"], "2026-11-24T09:06:57Z");
    assert!(
        tiers[2]["why"]
            .as_str()
            .unwrap()
            .contains("tried all the same")
    );
}

#[test]
fn explaining_takes_no_probe() {
    let book = book();
    fail(&book, "a", T0, 1, &overloaded());
    let at = T0 + 20 * S;
    for _ in 0..2 {
        let shown = explain(&rules(), &book.snapshot(), "a", at);
        assert!(shown.tiers[0].usable && shown.tiers[0].why.contains("probes"));
    }
    let up = tier("a");
    let snapshot = book.snapshot();
    let held = snapshot.standing(&up, at).gate.probe();
    assert!(held.is_some());
    let shown = explain(&rules(), &snapshot, "a", at);
    assert!(!shown.tiers[0].usable && shown.tiers[0].why.starts_with("cooldown"));
}

#[test]
fn before_the_first_poll_nothing_is_stale() {
    let shown = fallback(&rules(), &book().snapshot(), [("up", "u")], T0);
    assert_eq!((shown.polled_at, shown.stale), (None, false));
    assert!(shown.upstreams["up"].reachable);
}
