//! Usage over the API.

use std::collections::HashMap;

use super::*;
use serde_json::json;

const DAY: u64 = 24 * 3600 * 1000;

fn house() -> (House, String, String) {
    let house = House::new();
    let (alice, secret) = house.key("alice", &[]);
    let (bob, _) = house.key("bob", &[]);
    house.used(&alice, "claude-opus", NOON);
    house.used(&alice, "claude-sonnet", NOON - DAY);
    house.used(&bob, "claude-opus", NOON);
    house.used("gone", "claude-opus", NOON);
    house.used("admin", "claude-opus", NOON);
    (house, alice, secret)
}

#[tokio::test]
async fn totals_by_key_and_model() {
    let (house, alice, _) = house();
    let json = house.admin("/admin/usage").send().await.json();
    assert_eq!(json["total"]["requests"], 5);
    assert_eq!(json["total"]["cost_usd"], Value::Null);
    assert_eq!(json["keys"][&alice]["requests"], 2);
    assert_eq!(json["models"]["claude-opus"]["input_tokens"], 40);
}

#[tokio::test]
async fn every_key_has_its_row_from_its_first_moment_on() {
    let (house, ..) = house();
    let rows = async || {
        let json = house.admin("/admin/usage").send().await.json();
        let rows = json["keys"].as_object().unwrap().clone();
        let of = |(id, usage): (String, Value)| (id, usage["requests"].as_u64().unwrap());
        rows.into_iter().map(of).collect::<HashMap<_, _>>()
    };
    let before = rows().await;
    assert_eq!((before["gone"], before["admin"], before.len()), (1, 1, 4));
    let (idle, _) = house.key("idle", &[]);
    let with = rows().await;
    assert_eq!((with[&idle], with.len()), (0, 5));
    let deleted = house.admin(&format!("DELETE /admin/keys/{idle}"));
    assert_eq!(deleted.send().await.status, 200);
    assert_eq!(rows().await, before, "nothing is left to show of it");
    // Nobody has asked yet.
    let house = House::new();
    let json = house.admin("/admin/usage").send().await.json();
    assert_eq!(json["keys"]["admin"]["requests"], 0);
    assert_eq!(json["keys"]["admin"]["cost_usd"], Value::Null);
}

#[tokio::test]
async fn lost_requests_have_a_metric() {
    let (house, ..) = house();
    let scrape = async || {
        let request = Request::builder().uri("/metrics").body(Body::empty());
        let router = crate::admin::metrics_router(house.state.clone());
        let answer = router.oneshot(request.unwrap()).await.unwrap();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
        String::from_utf8(bytes.unwrap().to_vec()).unwrap()
    };
    assert!(scrape().await.contains("\nluna_usage_lost_total 0\n"));
    house.state.usage.stop().unwrap();
    // Nobody takes them in any more.
    house.used("alice", "claude-opus", NOON);
    house.used("alice", "claude-opus", NOON);
    let text = scrape().await;
    assert!(text.contains("\nluna_usage_lost_total 2\n"), "{text}");
    assert!(
        scrape().await.contains("\nluna_usage_lost_total 2\n"),
        "not again"
    );
}

#[tokio::test]
async fn one_key_for_the_admin_and_for_itself() {
    let (house, alice, secret) = house();
    let seen = house
        .admin(&format!("/admin/keys/{alice}/usage"))
        .send()
        .await
        .json();
    assert_eq!(
        (seen["id"].as_str(), &seen["name"]),
        (Some(alice.as_str()), &json!("alice"))
    );
    assert_eq!(seen["total"]["requests"], 2);
    assert_eq!(seen["models"]["claude-sonnet"]["requests"], 1);
    assert_eq!(seen["days"]["2026-11-24"]["requests"], 1);
    assert_eq!(seen["days"]["2026-11-23"]["requests"], 1);
    assert_eq!(seen["hours"]["2026-11-24T08:00:00Z"]["requests"], 1);
    assert_eq!(
        house.ask("/me/usage").key(&secret).send().await.json(),
        seen
    );
    assert_eq!(
        house
            .admin(&format!("/admin/keys/{secret}/usage"))
            .send()
            .await
            .json(),
        seen
    );
    let admin = house.admin("/admin/keys/admin/usage").send().await.json();
    assert_eq!(admin["total"]["requests"], 1);
}

#[tokio::test]
async fn days_and_hours_with_filters() {
    let (house, alice, secret) = house();
    let ask = async |query: &str| {
        house
            .admin(&format!("/admin/usage/{query}"))
            .send()
            .await
            .json()
    };
    let days = ask("daily").await;
    assert_eq!(days["days"][0]["date"], "2026-11-23");
    assert_eq!(days["days"][1]["total"]["requests"], 4);
    assert_eq!(days["days"][1]["models"]["claude-opus"]["requests"], 4);
    assert_eq!(days["days"][1]["keys"][&alice]["requests"], 1);
    assert_eq!(
        ask("daily?from=2026-11-24").await["days"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(ask("daily?to=2026-11-22").await, json!({"days": []}));
    assert_eq!(ask("daily?to=&from=").await, days);
    let own = ask(&format!("daily?key={alice}")).await;
    assert_eq!(own["days"][1]["total"]["requests"], 1);
    assert_eq!(ask(&format!("daily?key={secret}")).await, own);
    assert_eq!(
        ask("daily?key=gone").await["days"][0]["total"]["requests"],
        1
    );
    assert_eq!(
        ask("daily?key=admin").await["days"][0]["total"]["requests"],
        1
    );
    assert_eq!(
        ask("daily?model=claude-sonnet").await["days"][0]["date"],
        "2026-11-23"
    );
    let hours = ask("hourly").await;
    assert_eq!(hours["hours"][0]["hour"], "2026-11-24T08:00:00Z");
    assert_eq!(hours["hours"][0]["total"]["requests"], 4);
    let long = ask("hourly?from=2026-11-23T00:00:00Z&model=claude-sonnet").await;
    assert_eq!(long["hours"][0]["hour"], "2026-11-23T08:00:00Z");
}

#[tokio::test]
async fn csv_has_a_header_and_a_row_for_each() {
    let (house, alice, _) = house();
    let reply = house
        .admin(&format!("/admin/usage/daily?format=csv&key={alice}"))
        .send()
        .await;
    assert_eq!(
        reply.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    assert!(
        reply
            .header("content-disposition")
            .unwrap()
            .contains("luna-usage-daily.csv")
    );
    let lines: Vec<&str> = reply.text.lines().collect();
    let header = "date,key,model,requests,errors,fallbacks,aborted,input_tokens,output_tokens,\
                  cache_read_input_tokens,cache_creation_input_tokens,cost_usd";
    assert_eq!(lines[0], header);
    assert_eq!(
        lines[2],
        format!("2026-11-24,{alice},claude-opus,1,0,0,0,10,5,0,0,")
    );
    assert_eq!(lines.len(), 3);
    let hours = house
        .admin("/admin/usage/hourly?format=csv")
        .send()
        .await
        .text;
    assert!(hours.starts_with("hour,key,model,requests"), "{hours}");
    assert!(
        hours.contains("2026-11-24T08:00:00Z,gone,claude-opus,1,"),
        "{hours}"
    );
    let json = house.admin("/admin/usage/daily?format=json").send().await;
    assert_eq!(json.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_wrong_parameter_is_400_and_named() {
    let (house, ..) = house();
    for (query, named) in [
        ("daily?from=yesterday", "from"),
        ("daily?from=2026-11-24&to=2026-11-01", "from"),
        ("daily?format=xml", "format"),
        ("daily?keys=x", "keys"),
        ("daily?key=a&key=b", "key"),
        ("hourly?to=8", "to"),
        ("hourly?from=2020-01-01", "from"),
    ] {
        let reply = house.admin(&format!("/admin/usage/{query}")).send().await;
        assert_eq!(
            (reply.status, reply.error().as_str()),
            (400, "invalid_request_error"),
            "{query}"
        );
        assert!(
            reply.message().starts_with(named),
            "{query}: {}",
            reply.message()
        );
    }
    let totals = house.admin("/admin/usage?from=2026-11-01").send().await;
    assert_eq!(totals.status, 400);
}

#[tokio::test]
async fn when_usage_has_ended_the_answer_is_503() {
    let (house, ..) = house();
    house.state.usage.stop().unwrap();
    let reply = house.admin("/admin/usage").send().await;
    assert_eq!(
        (status(&reply), reply.error().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "api_error")
    );
}

#[tokio::test]
async fn the_admin_key_has_usage_before_its_first_request() {
    let house = House::new();
    let reply = house.admin("/admin/usage/daily?key=admin").send().await;
    assert_eq!((reply.status, reply.json()), (200, json!({"days": []})));
}
