//! Every SDK against one upstream of each kind, and what these upstreams were asked.

use std::time::Duration;

use serde_json::{Value, json};

use super::trio::{CELLS, Cell, Trio, cells};
use super::{Sdk, run};

/// What the scripts have the upstreams call; digits, escapes and the order of keys must survive.
const ORDER_INPUT: &str = r#"{"order":2512292042121000001,"ratio":1.0,"note":"\u00e9 \ud83d\ude00 \"x\"","z":{"b":1,"a":[]}}"#;
const WEATHER_INPUT: &str = r#"{"city":"Zürich","days":9007199254740993}"#;
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

async fn all_that_works(sdk: Sdk) {
    let trio = Trio::start().await;
    let told = run(&trio.world, sdk.script("cells"), &[&cells()]).await;
    for cell in &CELLS {
        let told = &told["cells"][cell.name];
        let usage = &told["plain"]["usage"];
        let expected = match sdk.is_openai() {
            true => json!({"prompt": 23, "cached": 7, "written": 5, "completion": 3, "total": 26}),
            false => json!({
                "input_tokens": 11, "output_tokens": 3,
                "cache_read_input_tokens": 7, "cache_creation_input_tokens": 5,
            }),
        };
        assert_eq!(*usage, expected, "{}", cell.name);
        let asked = trio.asked(cell.name);
        let converts = sdk.is_openai() != (cell.name == "other");
        let bodies: Vec<&str> = asked.iter().map(|(_, body)| body.as_str()).collect();
        went_up(sdk, cell, &bodies);
        came_back(sdk, cell, told, &bodies, converts);
        for (entry, _) in &asked {
            assert!(
                !entry.has_authorization && !entry.has_x_api_key,
                "{entry:?}"
            );
        }
        both_left(&trio, cell).await;
    }
    trio.stop().await;
}

/// The system texts, the picture and the document, as this kind of upstream reads them.
fn went_up(sdk: Sdk, cell: &Cell, bodies: &[&str]) {
    let has = |part: &str| {
        let found = bodies.iter().any(|body| body.contains(part));
        assert!(found, "{sdk:?} {}: {part}", cell.name);
    };
    has("Answer in rhymes.");
    if sdk.is_openai() {
        has("And in prose.");
    }
    match cell.name {
        "other" => {
            has(&format!("data:image/png;base64,{PIXEL}"));
            has("data:application/pdf;base64,");
        }
        _ => {
            has(&format!(r#""data":"{PIXEL}""#));
            has(r#""media_type":"application/pdf""#);
        }
    }
    for body in bodies {
        let body: Value = serde_json::from_str(body).unwrap();
        let model = body["model"].as_str().unwrap();
        let known = [
            "claude-sonnet-4-6",
            "claude-opus-4-6-thinking",
            "gpt-4o",
            "gpt-5.2",
        ];
        assert!(known.contains(&model), "{model}");
        if cell.name != "other" {
            continue;
        }
        // The clients of the other dialect always need the usage; those of the same get it from the gateway's question.
        if body["stream"] == json!(true) {
            assert_eq!(body["stream_options"]["include_usage"], true, "{body}");
        }
        for message in body["messages"].as_array().unwrap() {
            assert!(message.get("cache_control").is_none(), "{message}");
        }
    }
}

/// The calls' inputs and ids went back to the upstream that had made them, digit for digit.
fn came_back(sdk: Sdk, cell: &Cell, told: &Value, bodies: &[&str], converts: bool) {
    let ids: Vec<&str> = told["tools"]["ids"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(ids.len(), 4);
    for pair in ids.chunks(2) {
        let rounds: Vec<&&str> = bodies
            .iter()
            .filter(|body| pair.iter().all(|id| body.contains(&format!("\"{id}\""))))
            .collect();
        assert_eq!(rounds.len(), 1, "{pair:?}");
        let round = rounds[0];
        for id in pair {
            // Once in the call, once in its result.
            assert_eq!(round.matches(&format!("\"{id}\"")).count(), 2, "{round}");
        }
        for input in [ORDER_INPUT, WEATHER_INPUT] {
            let holds = match (sdk, cell.name) {
                // The SDK has made a double of the number, and spells it in its own way.
                (Sdk::NodeAnthropic, _) => continue,
                (Sdk::PythonAnthropic, _) => digits(input)
                    .iter()
                    .all(|digits| round.contains(digits.as_str())),
                (_, "other") => {
                    round.contains(&json!(input).to_string())
                        || !converts && same_arguments(round, input)
                }
                _ => round.contains(&format!("\"input\":{input}")),
            };
            assert!(holds, "{sdk:?} {}: {input} in {round}", cell.name);
        }
    }
    if sdk.is_openai() && converts {
        // The names that this upstream would refuse never reached it.
        let names = told["tools"]["names"].as_array().unwrap();
        for body in bodies {
            let body: Value = serde_json::from_str(body).unwrap();
            for tool in body["tools"].as_array().into_iter().flatten() {
                assert!(!names.contains(&tool["name"]), "{tool}");
            }
        }
    }
}

/// The arguments as text, however the SDK has escaped it.
fn same_arguments(round: &str, input: &str) -> bool {
    let body: Value = serde_json::from_str(round).unwrap();
    let messages = body["messages"].as_array().unwrap();
    messages
        .iter()
        .filter_map(|message| message["tool_calls"].as_array())
        .flatten()
        .any(|call| call["function"]["arguments"] == input)
}

fn digits(input: &str) -> Vec<String> {
    input
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| digits.len() > 8)
        .map(str::to_owned)
        .collect()
}

/// The two streams that the client left in their midst were ended at the upstream, too.
async fn both_left(trio: &Trio, cell: &Cell) {
    let handle = trio.handle(cell.name);
    let gone = handle
        .wait(Duration::from_secs(10), |totals| {
            totals.client_gone == 2 && totals.ended == totals.requests
        })
        .await;
    let totals = handle.totals();
    assert!(gone, "{}: {totals:?}", cell.name);
    let lost = handle
        .ledger()
        .entries
        .into_iter()
        .filter(|entry| entry.method == "POST" && !entry.progress.finished);
    assert_eq!(
        lost.count(),
        2,
        "{}: all others came to their end",
        cell.name
    );
}

with_each_sdk!(all_that_works);
