//! What a key may ask for: allow-lists, aliases, `[1m]`.

use luna::app::now;
use luna::keys::NewKey;

use super::{curl, hello};
use crate::support::world::World;

fn key_for(world: &World, name: &str, models: &[&str]) -> String {
    let new = NewKey {
        models: models.iter().map(|m| (*m).to_owned()).collect(),
        ..NewKey::named(name)
    };
    let (_, secret) = world.app.keys.create(new, now()).unwrap();
    secret.reveal().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_gets_the_models_of_its_list() {
    let world = World::start().await;
    let cases: [(&[&str], &[&str], &[&str]); 5] = [
        // An alias leads to a model that is listed.
        (
            &["gemini-3-flash"],
            &["gemini-3-flash", "fast", "gemini-3-flash[1m]"],
            &[
                "claude-sonnet-4-6",
                "claude-opus-4-6-thinking",
                "gemini-3",
                "gemini-3-flash-agent",
            ],
        ),
        // An alias is listed: it alone.
        (
            &["fast"],
            &["fast", "fast[1m]"],
            &["gemini-3-flash", "claude-sonnet-4-6"],
        ),
        (
            &["claude-*"],
            &[
                "claude-sonnet-4-6",
                "claude-opus-4-6-thinking",
                "claude-3-5-sonnet-latest",
            ],
            &["gemini-3-flash", "fast"],
        ),
        (&["*"], &["claude-sonnet-4-6", "fast"], &[]),
        (&[], &["claude-sonnet-4-6", "fast"], &[]),
    ];
    for (n, (listed, may, may_not)) in cases.into_iter().enumerate() {
        let key = key_for(&world, &format!("key {n}"), listed);
        for (models, status) in [(may, 200), (may_not, 403)] {
            for model in models {
                let body = hello(model);
                let answer =
                    curl(world.app.address, "POST", "/v1/messages", &key, Some(&body)).await;
                assert_eq!(
                    answer.status,
                    status,
                    "{listed:?} {model}: {}",
                    answer.text()
                );
                if status == 403 {
                    assert_eq!(
                        answer.json()["error"]["type"],
                        "permission_error",
                        "{model}"
                    );
                    assert_eq!(answer.header("x-luna-requested-model"), *model);
                }
            }
        }
        let shown = curl(world.app.address, "GET", "/v1/models", &key, None)
            .await
            .json();
        let shown: Vec<&str> = shown["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|m| m["id"].as_str())
            .collect();
        for model in may
            .iter()
            .filter(|m| !m.contains("[1m]") && !m.contains("latest"))
        {
            assert!(shown.contains(model), "{listed:?} {model}: {shown:?}");
        }
        for model in may_not {
            assert!(!shown.contains(model), "{listed:?} {model}: {shown:?}");
        }
    }
    world.stop().await;
}

/// The later tiers are the operator's choice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_tier_needs_no_listing() {
    let world = World::start().await;
    let key = key_for(&world, "sonnet only", &["claude-sonnet-4-6"]);
    world.set_quota("claude-sonnet-4-6", 0.01, None).await;
    let body = hello("claude-sonnet-4-6");
    let answer = curl(world.app.address, "POST", "/v1/messages", &key, Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-luna-served-model"), "gemini-3-flash");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_and_1m_lead_to_the_model_that_the_upstream_knows() {
    let world = World::start().await;
    for (asked, served) in [
        ("claude-3-5-sonnet-20241022", "claude-sonnet-4-6"),
        ("claude-3-5-sonnet-latest[1m]", "claude-sonnet-4-6"),
        ("claude-sonnet-4-6[1m]", "claude-sonnet-4-6"),
        ("claude-opus-4-6-thinking[1m]", "claude-opus-4-6-thinking"),
        ("fast", "gemini-3-flash"),
        // Neither in a chain nor an alias: its own tier.
        ("gemini-2.5-flash", "gemini-2.5-flash"),
    ] {
        let body = hello(asked);
        let key = world.key.as_str();
        let answer = curl(world.app.address, "POST", "/v1/messages", key, Some(&body)).await;
        assert_eq!(answer.status, 200, "{asked}: {}", answer.text());
        assert_eq!(answer.header("x-luna-requested-model"), asked);
        assert_eq!(answer.header("x-luna-served-model"), served, "{asked}");
        assert_eq!(answer.header("x-luna-tier"), "1", "{asked}");
        assert_eq!(answer.header("x-luna-fallback"), "", "{asked}");
        assert_eq!(answer.json()["model"], served, "{asked}");
        let entry = world.handle().messages().pop().unwrap();
        let got = world.handle().body(entry.seq).unwrap();
        assert_eq!(got, hello(served).as_bytes(), "{asked}");
    }
    world.stop().await;
}
