//! The life of a key over the API.

use super::*;
use serde_json::json;

/// The fields of KEY in the contract.
const KEY: [&str; 12] = [
    "admin",
    "created_at",
    "enabled",
    "expires_at",
    "id",
    "last_used_at",
    "limits",
    "models",
    "name",
    "permissions",
    "prefix",
    "usage",
];
const USAGE: [&str; 9] = [
    "aborted",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cost_usd",
    "errors",
    "fallbacks",
    "input_tokens",
    "output_tokens",
    "requests",
];

fn fields(json: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

async fn create(house: &House, body: Value) -> Reply {
    house
        .admin("POST /admin/keys")
        .body(body.to_string())
        .send()
        .await
}

async fn may(house: &House, secret: &str) -> u16 {
    house.ask("/me").key(secret).send().await.status
}

#[tokio::test]
async fn a_key_from_its_making_to_its_end() {
    let house = House::new();
    let body = json!({"name": "alice", "models": ["claude-*"], "permissions": ["lark"], "limits": {},
                      "expires_at": "2099-01-01T00:00:00Z"});
    let made = create(&house, body).await;
    assert_eq!(made.status, 201);
    let mut made = made.json();
    let secret = made
        .as_object_mut()
        .unwrap()
        .remove("key")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        secret.len() == 48 && secret.starts_with("luna-"),
        "{secret}"
    );
    assert_eq!(fields(&made), KEY);
    assert_eq!(fields(&made["usage"]), USAGE);
    assert_eq!(made["usage"]["cost_usd"], Value::Null);
    assert_eq!(made["name"], "alice");
    assert_eq!(made["models"], json!(["claude-*"]));
    assert_eq!(made["expires_at"], "2099-01-01T00:00:00Z");
    assert_eq!(
        (&made["last_used_at"], &made["admin"]),
        (&Value::Null, &json!(false))
    );
    let id = made["id"].as_str().unwrap().to_owned();

    assert_eq!(may(&house, &secret).await, 200);
    let list = house.admin("/admin/keys").send().await;
    assert!(!list.text.contains(&secret));
    assert_eq!(list.json()["keys"][0]["id"], id.as_str());
    assert_eq!(fields(&list.json()["keys"][0]), KEY);
    for named in [&id, &secret] {
        let shown = house.admin(&format!("/admin/keys/{named}")).send().await;
        assert_eq!((shown.status, fields(&shown.json())), (200, KEY.to_vec()));
        assert!(!shown.text.contains(&secret) && !shown.json()["last_used_at"].is_null());
    }
    // As strict clients write it.
    let encoded = secret.replace('-', "%2D");
    assert_eq!(
        house
            .admin(&format!("/admin/keys/{encoded}"))
            .send()
            .await
            .status,
        200
    );

    for (act, enabled, status) in [("disable", false, 403), ("enable", true, 200)] {
        let reply = house
            .admin(&format!("POST /admin/keys/{secret}/{act}"))
            .send()
            .await;
        assert_eq!(
            (reply.status, &reply.json()["enabled"]),
            (200, &json!(enabled))
        );
        assert_eq!(may(&house, &secret).await, status);
    }

    let patch = json!({"name": "bob", "models": null, "expires_at": null}).to_string();
    let patched = house
        .admin(&format!("PATCH /admin/keys/{id}"))
        .body(patch)
        .send()
        .await
        .json();
    assert_eq!(patched["name"], "bob");
    assert_eq!(
        (&patched["models"], &patched["expires_at"]),
        (&json!([]), &Value::Null)
    );

    let rotate = format!("POST /admin/keys/{id}/rotate");
    let rotated = house
        .admin(&rotate)
        .body("{\"grace_s\": 3600}")
        .send()
        .await;
    assert_eq!(rotated.status, 200);
    let newer = rotated.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(
        (may(&house, &secret).await, may(&house, &newer).await),
        (200, 200)
    );
    let newest = house.admin(&rotate).send().await.json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        (may(&house, &secret).await, may(&house, &newer).await),
        (401, 401)
    );

    let gone = house
        .admin(&format!("DELETE /admin/keys/{newest}"))
        .send()
        .await;
    assert_eq!((gone.status, fields(&gone.json())), (200, KEY.to_vec()));
    assert_eq!(may(&house, &newest).await, 401);
    assert_eq!(
        house
            .admin(&format!("/admin/keys/{id}"))
            .send()
            .await
            .status,
        404
    );
    assert_eq!(
        house.admin("/admin/keys").send().await.json(),
        json!({"keys": []})
    );
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let house = House::new();
    assert_eq!(create(&house, json!({"name": "alice"})).await.status, 201);
    let second = create(&house, json!({"name": "alice"})).await;
    assert_eq!(
        (second.status, second.error().as_str()),
        (409, "invalid_request_error")
    );
    let admin = create(&house, json!({"name": "admin"})).await;
    assert_eq!(admin.status, 409);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_404_everywhere() {
    let house = House::new();
    for line in [
        "GET /admin/keys/none",
        "PATCH /admin/keys/none",
        "DELETE /admin/keys/none",
        "POST /admin/keys/none/disable",
        "POST /admin/keys/none/enable",
        "POST /admin/keys/none/rotate",
        "GET /admin/keys/none/usage",
        "GET /admin/usage/daily?key=none",
        "GET /admin/keys/%ff",
        // The admin key is not one of the list.
        "DELETE /admin/keys/admin",
    ] {
        let reply = house.admin(line).send().await;
        assert_eq!(
            (reply.status, reply.error().as_str()),
            (404, "not_found_error"),
            "{line}"
        );
    }
    let own = house
        .admin(&format!("DELETE /admin/keys/{ADMIN}"))
        .send()
        .await;
    assert_eq!(own.status, 404);
}

#[tokio::test]
async fn a_gateway_that_is_being_replaced_asks_to_wait() {
    let house = House::new();
    let (id, secret) = house.key("alice", &[]);
    house.state.keys.hand_over();
    for line in [
        "POST /admin/keys",
        "DELETE /admin/keys/ID",
        "POST /admin/keys/ID/disable",
    ] {
        let reply = house
            .admin(&line.replace("ID", &id))
            .body("{\"name\": \"b\"}")
            .send()
            .await;
        assert_eq!(
            (reply.status, reply.error().as_str()),
            (503, "api_error"),
            "{line}"
        );
        assert_eq!(reply.header("retry-after"), Some("6"));
    }
    assert_eq!(house.admin("/admin/keys").send().await.status, 200);
    assert_eq!(may(&house, &secret).await, 200);
}

#[tokio::test]
async fn a_key_file_that_cannot_be_read_is_a_500_without_its_path() {
    let house = House::new();
    let file = house.dir.path().join("data/keys.json");
    std::fs::write(&file, "{ edited by a cat").unwrap();
    let reply = create(&house, json!({"name": "b"})).await;
    assert_eq!((reply.status, reply.error().as_str()), (500, "api_error"));
    assert!(
        !reply
            .text
            .contains(file.parent().unwrap().to_str().unwrap()),
        "{}",
        reply.text
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ edited by a cat");
}

#[tokio::test]
async fn usage_of_a_key_is_the_newest() {
    let house = House::new();
    let (id, secret) = house.key("alice", &[]);
    house.used(&id, "claude-opus", NOON);
    let shown = house
        .admin(&format!("/admin/keys/{id}"))
        .send()
        .await
        .json();
    assert_eq!(shown["usage"]["requests"], 1);
    assert_eq!(
        house.admin("/admin/keys").send().await.json()["keys"][0]["usage"]["input_tokens"],
        10
    );
    let me = house.ask("/me").key(&secret).send().await.json();
    assert_eq!(me["usage"]["output_tokens"], 5);
    house.state.usage.stop().unwrap();
    let list = house.admin("/admin/keys").send().await;
    assert_eq!(
        (
            list.status,
            list.json()["keys"][0]["usage"]["requests"].as_u64()
        ),
        (200, Some(0))
    );
}

#[tokio::test]
async fn me_shows_ones_own_limits() {
    let house = House::new();
    let (id, secret) = house.key("alice", &["claude-*"]);
    let me = house.ask("/me").key(&secret).send().await.json();
    assert_eq!(
        (me["id"].as_str(), &me["name"]),
        (Some(id.as_str()), &json!("alice"))
    );
    assert_eq!(
        (&me["models"], &me["limits"]),
        (&json!(["claude-*"]), &json!({}))
    );
    assert_eq!(
        (&me["expires_at"], &me["permissions"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(fields(&me["usage"]), USAGE);
    let admin = house.admin("/me").send().await.json();
    assert_eq!(
        (&admin["id"], &admin["admin"]),
        (&json!("admin"), &json!(true))
    );
}
