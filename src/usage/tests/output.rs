//! What users see: JSON, CSV and the table.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn example(dir: &Path) -> Store {
    let mut store = open(dir);
    let mut failed = request(NOW, "key_b", "sonnet");
    failed.error = true;
    failed.aborted = true;
    failed.fallback_reasons = vec!["quota", "cooldown"];
    store.apply(&failed);
    store.apply(&request(NOW, "key_a", "sonnet"));
    store.apply(&request(NOW - DAY, "key_a", "opus"));
    store
}

fn usage(requests: u64, failed: u64) -> serde_json::Value {
    json!({
        "requests": requests, "errors": failed, "fallbacks": failed, "aborted": failed,
        "input_tokens": 10 * requests, "output_tokens": 3 * requests,
        "cache_read_input_tokens": 100 * requests, "cache_creation_input_tokens": 7 * requests,
        "cost_usd": null,
    })
}

fn json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn json_is_the_contract_s() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = example(dir.path());
    let expected = json!({
        "total": usage(3, 1),
        "keys": {"key_a": usage(2, 0), "key_b": usage(1, 1)},
        "models": {"opus": usage(1, 0), "sonnet": usage(2, 1)},
    });
    assert_eq!(json(store.totals()), expected);
    let expected = json!({"days": [
        {"date": "2026-11-23", "total": usage(1, 0), "models": {"opus": usage(1, 0)}, "keys": {"key_a": usage(1, 0)}},
        {"date": "2026-11-24", "total": usage(2, 1), "models": {"sonnet": usage(2, 1)},
         "keys": {"key_a": usage(1, 0), "key_b": usage(1, 1)}},
    ]});
    assert_eq!(json(all_days(&store)), expected);
    let expected = json!({"hours": [
        {"hour": "2026-11-24T08:00:00Z", "total": usage(2, 1), "models": {"sonnet": usage(2, 1)},
         "keys": {"key_a": usage(1, 0), "key_b": usage(1, 1)}},
    ]});
    assert_eq!(
        json(hours(&mut store, "2026-11-24", "2026-11-24")),
        expected
    );
    let days = DayRange::parse(None, None, store.zone(), NOW).unwrap();
    let hours = HourRange::parse(None, None, store.zone(), NOW).unwrap();
    let expected = json!({
        "id": "key_a", "name": "Alice", "total": usage(2, 0),
        "models": {"opus": usage(1, 0), "sonnet": usage(1, 0)},
        "days": {"2026-11-23": usage(1, 0), "2026-11-24": usage(1, 0)},
        "hours": {"2026-11-24T08:00:00Z": usage(1, 0)},
    });
    assert_eq!(
        json(store.key("key_a", "Alice", days, hours).unwrap()),
        expected
    );
}

#[test]
fn usage_keeps_the_contract_s_order() {
    let text = serde_json::to_string(&Usage::default()).unwrap();
    let expected = r#"{"requests":0,"errors":0,"fallbacks":0,"aborted":0,"input_tokens":0,"output_tokens":0,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"cost_usd":null}"#;
    assert_eq!(text, expected);
}

#[test]
fn a_finished_request_is_a_journal_line() {
    let mut finished = request(NOW, "key_a", "opus");
    finished.fallback_reasons = vec!["quota"];
    let expected = json!({
        "time_ms": NOW, "request_id": "req_1", "key_id": "key_a", "requested_model": "asked", "served_model": "opus",
        "upstream": "default", "endpoint": "messages", "stream": true, "status": 200, "error": false, "aborted": false,
        "fallback_reasons": ["quota"],
        "tokens": {"input": 10, "output": 3, "cache_read": 100, "cache_creation": 7},
        "estimated": false, "duration_ms": 1200, "ttfe_ms": 300,
    });
    assert_eq!(json(finished), expected);
    for endpoint in [
        Endpoint::Messages,
        Endpoint::ChatCompletions,
        Endpoint::Responses,
    ] {
        assert_eq!(json(endpoint), endpoint.as_str());
    }
}

#[test]
fn json_as_text_is_that_of_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = example(dir.path());
    store.apply(&request(NOW, "key_a", "a \"b\", c"));
    let range = DayRange::parse(None, None, store.zone(), NOW).unwrap();
    for key in [None, Some("key_b"), Some("nobody")] {
        let days = store.days(range, key, None);
        let whole = serde_json::to_vec(&days.daily()).unwrap();
        assert_eq!(days.json(), whole, "{key:?}");
    }
    let range = HourRange::parse(None, None, store.zone(), NOW).unwrap();
    let hours = store.hours(range, None, None).unwrap();
    let whole = serde_json::to_vec(&hours.hourly()).unwrap();
    assert_eq!(hours.json(), whole);
}

#[test]
fn csv_has_one_row_for_each_key_and_model() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = example(dir.path());
    store.apply(&request(NOW, "key_a", "=cmd|' /C calc'!A0"));
    store.apply(&request(NOW, "key_a", "a \"b\", c"));
    let range = DayRange::parse(None, None, store.zone(), NOW).unwrap();
    let head = "key,model,requests,errors,fallbacks,aborted,input_tokens,output_tokens,cache_read_input_tokens,\
                cache_creation_input_tokens,cost_usd";
    let expected = format!(
        "date,{head}\n\
         2026-11-23,key_a,opus,1,0,0,0,10,3,100,7,\n\
         2026-11-24,key_a,\"'=cmd|' /C calc'!A0\",1,0,0,0,10,3,100,7,\n\
         2026-11-24,key_a,\"a \"\"b\"\", c\",1,0,0,0,10,3,100,7,\n\
         2026-11-24,key_a,sonnet,1,0,0,0,10,3,100,7,\n\
         2026-11-24,key_b,sonnet,1,1,1,1,10,3,100,7,\n"
    );
    assert_eq!(store.days(range, None, None).csv(), expected);
    let range = HourRange::parse(None, None, store.zone(), NOW).unwrap();
    let hours = store.hours(range, Some("key_b"), Some("sonnet")).unwrap();
    let expected = format!("hour,{head}\n2026-11-24T08:00:00Z,key_b,sonnet,1,1,1,1,10,3,100,7,\n");
    assert_eq!(hours.csv(), expected);
    let nothing = store.hours(range, Some("nobody"), None).unwrap();
    assert_eq!(nothing.csv(), format!("hour,{head}\n"));
}

fn names() -> BTreeMap<String, String> {
    BTreeMap::from([("key_a".to_owned(), "Alice".to_owned())])
}

#[test]
fn the_table_is_aligned() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = example(dir.path());
    let mut big = request(NOW, "key_b", "opus");
    big.tokens.input = 1_234_567;
    store.apply(&big);
    let summary = Summary::new(By::Key, &json(store.totals()), &names()).unwrap();
    let expected = "\
KEY    REQUESTS  ERRORS  FALLBACKS  ABORTED      INPUT  OUTPUT  CACHE READ  CACHE WRITE
key_b         2       1          1        1  1,234,577       6         200           14
Alice         2       0          0        0         20       6         200           14
---------------------------------------------------------------------------------------
total         4       1          1        1  1,234,597      12         400           28
";
    assert_eq!(summary.table(), expected);
}

#[test]
fn every_answer_sums_up_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = example(dir.path());
    let zone = store.zone().clone();
    let days = DayRange::parse(None, None, &zone, NOW).unwrap();
    let hours = HourRange::parse(Some("2026-11-23"), None, &zone, NOW).unwrap();
    let daily = json(all_days(&store));
    let hourly = json(store.hours(hours, None, None).unwrap().hourly());
    let key = json(store.key("key_a", "Alice", days, hours).unwrap());
    let totals = json(store.totals());
    let cases = [
        (By::Day, &daily, "2026-11-23,1,0|2026-11-24,2,1"),
        (
            By::Hour,
            &hourly,
            "2026-11-23T08:00:00Z,1,0|2026-11-24T08:00:00Z,2,1",
        ),
        (By::Key, &daily, "Alice,2,0|key_b,1,1"),
        (By::Model, &hourly, "sonnet,2,1|opus,1,0"),
        (By::Model, &totals, "sonnet,2,1|opus,1,0"),
        (By::Model, &key, "opus,1,0|sonnet,1,0"),
        (By::Day, &key, "2026-11-23,1,0|2026-11-24,1,0"),
        (
            By::Hour,
            &key,
            "2026-11-23T08:00:00Z,1,0|2026-11-24T08:00:00Z,1,0",
        ),
    ];
    for (by, answer, expected) in cases {
        let csv = Summary::new(by, answer, &names()).unwrap().csv();
        let rows = csv.lines().skip(1);
        let rows: Vec<_> = rows
            .map(|row| row.splitn(4, ',').take(3).collect::<Vec<_>>().join(","))
            .collect();
        assert_eq!(rows.join("|"), expected, "{by:?}");
    }
    for bad in [
        json!({}),
        json!({"days": 1}),
        json!({"days": [{"total": {}}]}),
        json!(null),
    ] {
        Summary::new(By::Day, &bad, &names()).unwrap_err();
        Summary::new(By::Key, &bad, &names()).unwrap_err();
    }
    let empty = Summary::new(By::Day, &json!({"days": []}), &names()).unwrap();
    assert_eq!(empty.table(), "no usage in this time\n");
}

#[test]
fn costs_and_odd_names_in_the_table() {
    let mut priced = usage(1, 0);
    priced["cost_usd"] = json!(1.239);
    let answer = json!({"total": priced, "models": {"a\u{1b}[31m": priced, "free": usage(1, 0)}});
    let table = Summary::new(By::Model, &answer, &names()).unwrap().table();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].ends_with("COST USD"), "{table}");
    assert!(
        lines[1].starts_with("a?[31m ") && lines[1].ends_with("    1.24"),
        "{table}"
    );
    assert!(lines[2].ends_with("       -"), "{table}");
    assert!(
        lines.iter().all(|line| line.len() == lines[0].len()),
        "{table}"
    );
}
