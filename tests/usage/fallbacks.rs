//! What is a fallback, in usage, journal and metrics alike: a tier passed over for another one that was asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use serde_json::{Value, json};

use crate::counting::{counted, faults, journal, sum};
use crate::support::eventually;
use crate::support::world::{World, ask};

/// One request and what it is counted as.
struct Case {
    about: &'static str,
    model: &'static str,
    faults: Value,
    /// Models without quota, all of them with a reset to come.
    empty: &'static [&'static str],
    headers: &'static [(&'static str, &'static str)],
    status: u16,
    /// One for each tier passed over.
    reasons: &'static [&'static str],
    to: &'static str,
}

const PLAIN: Case = Case {
    about: "the first tier answers",
    model: "claude-sonnet-4-6",
    faults: Value::Null,
    empty: &[],
    headers: &[],
    status: 200,
    reasons: &[],
    to: "none",
};

fn cases() -> Vec<Case> {
    let fails = |model: &str| json!([{"model": model, "fault": "overloaded_503"}]);
    vec![
        PLAIN,
        Case {
            about: "a chain of one tier fails",
            model: "gemini-3-flash",
            faults: fails("gemini-3-flash"),
            status: 529,
            ..PLAIN
        },
        Case {
            about: "a chain of one tier has no quota, and nobody is asked",
            model: "gemini-3-flash",
            empty: &["gemini-3-flash"],
            status: 429,
            ..PLAIN
        },
        Case {
            about: "no tier has quota, and nobody is asked",
            empty: &["claude-sonnet-4-6", "gemini-3-flash"],
            status: 429,
            ..PLAIN
        },
        Case {
            about: "the first tier fails, and the second has no quota: nobody else was asked",
            faults: fails("claude-sonnet-4-6"),
            empty: &["gemini-3-flash"],
            status: 429,
            ..PLAIN
        },
        Case {
            about: "the client wants no fallback",
            faults: fails("claude-sonnet-4-6"),
            headers: &[("x-luna-fallback", "off")],
            status: 529,
            ..PLAIN
        },
        Case {
            about: "the second tier answers after a failure",
            faults: fails("claude-sonnet-4-6"),
            reasons: &["overloaded"],
            to: "gemini-3-flash",
            ..PLAIN
        },
        Case {
            about: "the second tier answers, the first was not asked",
            empty: &["claude-sonnet-4-6"],
            reasons: &["quota"],
            to: "gemini-3-flash",
            ..PLAIN
        },
        Case {
            about: "the second tier fails as well",
            faults: json!([
                {"model": "claude-sonnet-4-6", "fault": "overloaded_503"},
                {"model": "gemini-3-flash", "fault": "overloaded_503"},
            ]),
            status: 529,
            reasons: &["overloaded", "overloaded"],
            ..PLAIN
        },
        Case {
            about: "the first is skipped, the second fails",
            empty: &["claude-sonnet-4-6"],
            faults: fails("gemini-3-flash"),
            status: 429,
            reasons: &["quota", "overloaded"],
            ..PLAIN
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_tier_passed_over_for_another_is_a_fallback() {
    for case in cases() {
        let about = case.about;
        let world = World::start().await;
        for model in case.empty {
            world
                .set_quota(model, 0.0, Some("2099-01-01T00:00:00Z"))
                .await;
        }
        if !case.faults.is_null() {
            world
                .handle()
                .set_faults(faults(case.faults.clone()))
                .unwrap();
        }
        let answer = world.post_with(&ask(case.model, true), case.headers).await;
        assert_eq!(answer.status, case.status, "{about}: {}", answer.text());
        let fell_back = !case.reasons.is_empty();
        let usage = counted(&world, 1).await;
        assert_eq!(
            usage["total"]["fallbacks"],
            u64::from(fell_back),
            "{about}: usage"
        );
        assert_eq!(
            answer.header("x-luna-fallback").is_empty(),
            !(fell_back && case.status == 200),
            "{about}: header"
        );
        eventually("the line", Duration::from_secs(5), || async {
            journal(&world).len() == 1
        })
        .await;
        assert_eq!(
            journal(&world)[0]["fallback_reasons"],
            json!(case.reasons),
            "{about}: journal"
        );
        let text = world.metrics().await;
        let changes = sum(&text, "luna_fallbacks_total", &["from="]);
        assert_eq!(changes, case.reasons.len() as u64, "{about}: metrics");
        let to = format!("to=\"{}\"", case.to);
        assert_eq!(
            sum(&text, "luna_fallbacks_total", &[&to]),
            changes,
            "{about}: {to}"
        );
        // The files say what the memory says.
        world.app.usage.flush().await.unwrap();
        let keys = std::fs::read(world.folder.path().join("data/keys.json")).unwrap();
        let keys: Value = serde_json::from_slice(&keys).unwrap();
        let of_keys: u64 = keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["usage"]["fallbacks"].as_u64().unwrap_or(0))
            .sum();
        assert_eq!(of_keys, u64::from(fell_back), "{about}: keys.json");
        world.stop().await;
    }
}
