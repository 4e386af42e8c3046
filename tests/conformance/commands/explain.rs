//! `luna explain`.

use serde_json::json;

use super::Gateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_which_tier_a_request_would_get() {
    let gateway = Gateway::start().await;
    let key = gateway.create_key("alice").await;
    let told = gateway
        .cli(&["explain", "--model", "claude-3-5-sonnet-latest"])
        .await
        .expect(0);
    assert!(
        told.out
            .contains("claude-3-5-sonnet-latest is an alias of claude-sonnet-4-6"),
        "{}",
        told.out
    );
    let rows: Vec<&str> = told
        .out
        .lines()
        .filter(|line| line.contains(" default "))
        .collect();
    assert_eq!(rows.len(), 2, "{}", told.out);
    assert!(
        rows[0].contains("claude-sonnet-4-6") && rows[0].contains("yes"),
        "{}",
        told.out
    );
    assert!(rows[1].contains("gemini-3-flash"), "{}", told.out);

    // A tier without quota is no longer usable, and that is the reason.
    for account in gateway.sim.handle().accounts() {
        gateway
            .sim
            .handle()
            .set_quota(&account.email, "claude-sonnet-4-6", Some(0.0), None)
            .unwrap();
    }
    let poll = gateway
        .client
        .post(gateway.luna.url("/admin/fallback/poll"))
        .header("x-api-key", &gateway.admin);
    assert_eq!(poll.send().await.unwrap().status(), 200);
    assert_eq!(gateway.status(&key).await, 200, "the second tier answers");
    let json = gateway
        .cli(&[
            "explain",
            "--model",
            "claude-sonnet-4-6",
            "--format",
            "json",
        ])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&json["via"], &json["tiers"][0]["usable"]),
        (&json!("chain"), &json!(false)),
        "{json}"
    );
    assert_eq!(json["tiers"][1]["usable"], true, "{json}");
    let table = gateway
        .cli(&["explain", "--model", "claude-sonnet-4-6", "--key", "alice"])
        .await
        .expect(0);
    let first = table
        .out
        .lines()
        .find(|line| line.starts_with('1'))
        .unwrap();
    assert!(
        first.contains(" no ") && first.contains("quota"),
        "{}",
        table.out
    );
    gateway
        .cli(&["explain", "--model", "claude-sonnet-4-6", "--key", "nobody"])
        .await
        .expect(1);
    gateway.cli(&["explain"]).await.expect(2);
    gateway.stop().await;
}
