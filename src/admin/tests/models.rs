//! /v1/models in both shapes.

use super::*;
use serde_json::json;

fn ids(reply: &Reply) -> Vec<String> {
    let json = reply.json();
    let data = json["data"].as_array().unwrap();
    data.iter()
        .map(|m| m["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn each_client_gets_its_shape() {
    let house = House::new();
    house.polled(&[("claude-opus", 0.5), ("claude-zeta", 0.0)]);
    for path in ["/v1/models", "/models?limit=2"] {
        let openai = house.admin(path).send().await;
        assert_eq!(openai.json()["object"], "list");
        assert_eq!(
            openai.json()["data"][0],
            json!({"id": "claude-opus", "object": "model", "created": 0, "owned_by": "luna"})
        );
        assert_eq!(
            ids(&openai),
            ["claude-opus", "claude-zeta", "far", "gpt-4o"]
        );
    }
    let anthropic = house
        .admin("/v1/models")
        .header("anthropic-version", "2023-06-01")
        .send()
        .await;
    let json = anthropic.json();
    assert_eq!(
        json["data"][3],
        json!({"type": "model", "id": "gpt-4o", "display_name": "gpt-4o", "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active"})
    );
    assert_eq!(
        (&json["first_id"], &json["last_id"], &json["has_more"]),
        (&json!("claude-opus"), &json!("gpt-4o"), &json!(false))
    );
    let one = house
        .admin("/v1/models/far")
        .header("anthropic-version", "x")
        .send()
        .await;
    assert_eq!(one.json()["type"], "model");
}

#[tokio::test]
async fn a_key_sees_what_it_may_use() {
    let house = House::new();
    house.polled(&[("claude-opus", 0.5), ("claude-zeta", 0.5), ("gemini", 0.5)]);
    house.polled_at("backup", &[("claude-elsewhere", 0.5)]);
    let (_, claude) = house.key("claude", &["claude-*"]);
    let (_, alias) = house.key("alias", &["gpt-4o"]);
    let (_, none) = house.key("none", &["x"]);
    let list = async |key: &str| ids(&house.ask("/v1/models").key(key).send().await);
    // gpt-4o leads to claude-opus.
    assert_eq!(
        list(&claude).await,
        ["claude-opus", "claude-zeta", "gpt-4o"]
    );
    assert_eq!(list(&alias).await, ["gpt-4o"]);
    assert_eq!(list(&none).await, Vec::<String>::new());
    let empty = house
        .ask("/v1/models")
        .key(&none)
        .header("anthropic-version", "x")
        .send()
        .await
        .json();
    assert_eq!(
        (&empty["first_id"], &empty["last_id"]),
        (&Value::Null, &Value::Null)
    );
    let one = async |key: &str, id: &str| {
        house
            .ask(&format!("/v1/models/{id}"))
            .key(key)
            .send()
            .await
            .status
    };
    assert_eq!(one(&claude, "claude-zeta").await, 200);
    assert_eq!(one(&claude, "claude-zeta%5B1m%5D").await, 200);
    assert_eq!(
        one(&claude, "claude-3-5-haiku").await,
        200,
        "by the pattern of an alias"
    );
    assert_eq!(one(&claude, "gemini").await, 404);
    assert_eq!(one(&claude, "nothing/at-all").await, 404);
    assert_eq!(one(&alias, "claude-opus").await, 404);
}

#[tokio::test]
async fn lists_are_counted_as_an_endpoint() {
    let house = House::new();
    let (_, secret) = house.key("alice", &[]);
    house.ask("/v1/models").key(&secret).send().await;
    house.ask("/v1/models/none").key(&secret).send().await;
    house.ask("/v1/models").send().await;
    let counted = |status| {
        house
            .state
            .metrics
            .requests
            .with_label_values(&["alice", "other", "models", status])
            .get()
    };
    assert_eq!((counted("200"), counted("404"), counted("401")), (1, 1, 0));
}
