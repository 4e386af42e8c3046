//! Tools there and back, pictures, JSON on demand, and the plain Anthropic API.

use serde_json::{Value, json};

use super::super::{Generation, Prediction, Running, predict};
use super::{Answer, PLAIN, ask, config, post, start};

async fn told(sim: &Running, body: &Value) -> Answer {
    ask(sim, &post(&body.to_string())).await.unwrap()
}

fn predicted(generation: Generation, body: &Value) -> Prediction {
    predict(&config(generation), body.to_string().as_bytes()).unwrap()
}

fn tools() -> Value {
    json!([{"name": "first", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}, {"name": "other", "input_schema": {"type": "object"}}])
}

const ORDER: &str = r#"go [[sim {"text":"","calls":[{"tool":"other","input":{"id":2512292042121000001,"s":"\u00e9"}},{"tool":0}]}]]"#;

#[tokio::test]
async fn ordered_calls_come_digit_for_digit_in_both_forms() {
    let sim = start(Generation::V2_7).await;
    for stream in [false, true] {
        let body = json!({"model": PLAIN, "stream": stream, "max_tokens": 100, "messages": [{"role": "user", "content": ORDER}], "tools": tools()});
        let answer = told(&sim, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let exact = r#"{"id":2512292042121000001,"s":"\u00e9"}"#;
        if stream {
            let events = answer.events();
            let blocks: Vec<&Value> = events
                .iter()
                .filter(|(name, _)| name == "content_block_start")
                .map(|(_, data)| data)
                .collect();
            assert_eq!(blocks.len(), 2);
            assert_eq!(
                (&blocks[0]["index"], &blocks[0]["content_block"]["name"]),
                (&json!(0), &json!("other"))
            );
            assert_eq!(
                (&blocks[1]["index"], &blocks[1]["content_block"]["name"]),
                (&json!(1), &json!("first"))
            );
            let inputs: Vec<&str> = events
                .iter()
                .filter_map(|(_, data)| data["delta"]["partial_json"].as_str())
                .collect();
            assert_eq!(inputs, [exact, "{\"n\":1}"]);
            let stop = events
                .iter()
                .find(|(name, _)| name == "message_delta")
                .unwrap();
            assert_eq!(stop.1["delta"]["stop_reason"], "tool_use");
        } else {
            assert!(
                answer.body.contains(&format!("\"input\":{exact}")),
                "{}",
                answer.body
            );
            let content = answer.json()["content"].clone();
            assert_eq!(content.as_array().unwrap().len(), 2);
            assert_ne!(content[0]["id"], content[1]["id"]);
        }
    }
}

#[tokio::test]
async fn inputs_can_be_cut_into_pieces() {
    let order =
        r#"[[sim {"text":"x","fragment_bytes":3,"calls":[{"tool":0,"input":{"a":"ééé"}}]}]]"#;
    let body = json!({"model": PLAIN, "stream": true, "max_tokens": 100, "messages": [{"role": "user", "content": order}], "tools": tools()});
    let sim = start(Generation::V2_0).await;
    let answer = told(&sim, &body).await;
    let events = answer.events();
    let pieces: Vec<&str> = events
        .iter()
        .filter_map(|(_, data)| data["delta"]["partial_json"].as_str())
        .collect();
    assert!(pieces.len() > 3, "{pieces:?}");
    assert_eq!(pieces.concat(), r#"{"a":"ééé"}"#);
    assert_eq!(
        predicted(Generation::V2_0, &body).events,
        events.len() as u64
    );
}

#[tokio::test]
async fn a_tool_that_is_not_offered_is_said() {
    let sim = start(Generation::V2_7).await;
    for order in [
        r#"[[sim {"calls":[{"tool":"nope"}]}]]"#,
        r#"[[sim {"calls":[{"tool":2}]}]]"#,
    ] {
        let body = json!({"model": PLAIN, "max_tokens": 100, "messages": [{"role": "user", "content": order}], "tools": tools()});
        let answer = told(&sim, &body).await;
        assert_eq!(answer.status, 400);
        assert!(
            answer
                .error()
                .1
                .contains("the request offers [\"first\", \"other\"]"),
            "{}",
            answer.body
        );
    }
    let body =
        json!({"model": PLAIN, "messages": [{"role": "user", "content": "[[sim {\"evnts\":1}]]"}]});
    assert!(told(&sim, &body).await.error().1.contains("evnts"));
}

fn after_results(results: Value, model: &str) -> Value {
    json!({"model": model, "max_tokens": 1000, "tools": tools(), "messages": [
        {"role": "user", "content": ORDER},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "first", "input": {}}]},
        {"role": "user", "content": results},
    ]})
}

#[test]
fn results_are_quoted_and_not_answered_with_another_call() {
    let results = json!([
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "12 degrees, use the tool first"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true, "content": [{"type": "text", "text": "no "}, {"type": "image", "source": {}}, {"type": "text", "text": "way"}]},
        {"type": "text", "text": "first"},
    ]);
    let told = predicted(Generation::V2_7, &after_results(results, PLAIN));
    assert_eq!(
        told.text,
        "Hello from gemini-2.5-flash-lite of the simulated Antigravity. toolu_1 said: 12 degrees, use the tool first toolu_2 failed with: no way Pictures: 1."
    );
    assert!(told.tools.is_empty());
    // An order in the result starts the next round.
    let next = json!([{"type": "tool_result", "tool_use_id": "toolu_1", "content": "[[sim {\"calls\":[{\"tool\":0}]}]]"}]);
    assert_eq!(
        predicted(Generation::V2_7, &after_results(next, PLAIN))
            .tools
            .len(),
        1
    );
    // Standing orders are not for the answer to results: an SDK's tool runner would never end.
    let mut body = after_results(
        json!([{"type": "tool_result", "tool_use_id": "toolu_1"}]),
        PLAIN,
    );
    body["metadata"] = json!({"sim": {"calls": [{"tool": 0}]}});
    assert!(predicted(Generation::V2_7, &body).tools.is_empty());
}

#[test]
fn pictures_and_documents_are_counted() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}});
    let count = |content: Value| {
        predicted(
            Generation::V2_7,
            &json!({"model": PLAIN, "messages": [{"role": "user", "content": content}]}),
        )
        .text
    };
    assert!(
        count(json!([image, image, {"type": "document"}, {"type": "text", "text": "see"}]))
            .ends_with("You wrote: see Pictures: 2. Documents: 1.")
    );
    let mut large = image.clone();
    large["source"]["data"] = json!("A".repeat(300_000));
    assert!(count(json!([large])).ends_with("Antigravity. Pictures: 1."));
}

#[test]
fn json_is_answered_where_the_system_text_demands_it() {
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"},"n":{"type":"integer"}},"required":["city"]}"#;
    let with = |system: Value| {
        let body = json!({"model": PLAIN, "system": system, "messages": [{"role": "user", "content": "hi"}]});
        predicted(Generation::V2_7, &body).text
    };
    assert_eq!(
        with(json!(format!(
            "Be {{kind}}. Answer in JSON by this schema:\n{schema}\nNothing else."
        ))),
        r#"{"city":"Oslo"}"#
    );
    assert_eq!(
        with(
            json!([{"type": "text", "text": "Be brief."}, {"type": "text", "text": format!("JSON: {schema}")}])
        ),
        r#"{"city":"Oslo"}"#
    );
    assert_eq!(
        with(json!("Answer with one JSON object.")),
        r#"{"answer":"Oslo"}"#
    );
    for plain in [
        "You may see JSON.",
        "JSON such as {\"type\":\"text\"}.",
        schema,
    ] {
        assert!(with(json!(plain)).starts_with("Hello"), "{plain}");
    }
    // The field is unknown to Antigravity.
    let format = json!({"format": {"type": "json_schema", "schema": {"type": "integer"}}});
    let body = json!({"model": "claude-sonnet-4-6", "output_config": format, "messages": [{"role": "user", "content": "hi"}]});
    assert!(predicted(Generation::V2_7, &body).text.starts_with("Hello"));
    assert_eq!(predicted(Generation::Anthropic, &body).text, "1");
}

#[test]
fn a_choice_in_words_is_followed_once() {
    let nested = json!({"type": "object", "properties": {"at": {"type": "object", "properties": {"n": {"type": "integer"}}}}});
    let tools = json!([{"name": "first", "input_schema": {"type": "object"}}, {"name": "other", "input_schema": nested}]);
    let with = |system: &str, messages: Value| {
        let body = json!({"model": PLAIN, "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": system}], "tools": tools, "messages": messages});
        predicted(Generation::V2_7, &body).tools
    };
    let asked = json!([{"role": "user", "content": "hi"}]);
    let named = "Your next reply must call the tool \"other\"; do not answer in words alone.";
    let other = ("other".to_owned(), r#"{"at":{"n":1}}"#.to_owned());
    assert_eq!(with(named, asked.clone()), [other]);
    let any =
        "Your next reply must call at least one of the tools that you have been given; no words.";
    assert_eq!(
        with(any, asked.clone()),
        [("first".to_owned(), "{}".to_owned())]
    );
    for plain in [
        "You must call your mother. She is one of the tools.",
        "must call the tool other",
        "must call the tool \"x\"",
    ] {
        assert!(with(plain, asked.clone()).is_empty(), "{plain}");
    }
    let results =
        json!([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]);
    assert!(with(named, results).is_empty());
}

#[tokio::test]
async fn the_plain_anthropic_api_obeys() {
    let sim = start(Generation::Anthropic).await;
    let mut body = json!({"model": "claude-sonnet-4-6", "max_tokens": 2000, "tools": tools(), "tool_choice": {"type": "tool", "name": "other"},
        "messages": [{"role": "user", "content": "hi"}]});
    let answer = told(&sim, &body).await;
    assert!(answer.header("request-id").is_some() && answer.header("etag").is_none());
    let got = answer.json();
    assert_eq!(
        (&got["content"][1]["name"], &got["stop_reason"]),
        (&json!("other"), &json!("tool_use"))
    );
    body["tool_choice"] = json!({"type": "none"});
    body["stop_sequences"] = json!(["simu"]);
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    let got = told(&sim, &body).await.json();
    assert_eq!(got["content"][0]["thinking"], "Let me think.");
    assert_eq!(
        got["content"][1]["text"],
        "Hello from claude-sonnet-4-6 of the "
    );
    assert_eq!(
        (&got["stop_reason"], &got["stop_sequence"]),
        (&json!("stop_sequence"), &json!("simu"))
    );
    body["stream"] = json!(true);
    let answer = told(&sim, &body).await;
    let last = answer
        .events()
        .into_iter()
        .find(|(name, _)| name == "message_delta")
        .unwrap()
        .1;
    assert_eq!(last["delta"]["stop_sequence"], "simu");
    assert!(last["usage"]["input_tokens"].as_u64().unwrap() > 0);
    body["model"] = json!("nope");
    let answer = told(&sim, &body).await;
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (404, "not_found_error")
    );
    assert_eq!(
        super::get(&sim, "/v1/models").await.json()["data"][0]["type"],
        "model"
    );
    assert_eq!(super::get(&sim, "/health").await.status, 404);
}
