#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::text::Counter;
use super::{CountError, REQUEST, estimate, input_tokens};
use crate::wire::convert::json::Object;

fn count(body: &Value) -> u64 {
    input_tokens(body.to_string().as_bytes()).unwrap()
}

fn said(content: &Value) -> u64 {
    count(&json!({"messages": [{"role": "user", "content": content}]}))
}

fn text(text: &str) -> u64 {
    let mut counter = Counter::default();
    counter.literal(&Value::from(text).to_string());
    counter.tokens()
}

#[test]
fn anthropics_own_examples() {
    let hello = json!({"system": "You are a scientist", "messages": [{"role": "user", "content": "Hello, Claude"}]});
    assert_eq!(count(&hello), 14);
    let weather = json!({
        "tools": [{
            "name": "get_weather",
            "description": "Get the current weather in a given location",
            "input_schema": {
                "type": "object",
                "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}},
                "required": ["location"],
            },
        }],
        "messages": [{"role": "user", "content": "What's the weather like in San Francisco?"}],
    });
    let count = count(&weather);
    assert!((395..=415).contains(&count), "{count}, documented is 403");
}

#[test]
fn what_is_no_request_is_told() {
    assert_eq!(input_tokens(b"[1]"), Err(CountError::NotJson));
    assert_eq!(input_tokens(b"{\"messages\":"), Err(CountError::NotJson));
    assert_eq!(input_tokens(b"{}"), Err(CountError::NoMessages));
    assert_eq!(
        input_tokens(br#"{"messages":"hi"}"#),
        Err(CountError::NoMessages)
    );
    assert_eq!(input_tokens(br#"{"messages":[]}"#), Ok(REQUEST));
    assert!(input_tokens(br#"{"messages":[1,null,{"content":7}]}"#).unwrap() >= REQUEST);
}

#[test]
fn escapes_are_what_they_stand_for() {
    let mut plain = Counter::default();
    plain.literal("\"größe\n\u{1f600} \\\"/\"");
    let mut escaped = Counter::default();
    escaped.literal(r#""gr\u00f6\u00DFe\n\ud83d\ude00 \"\/""#);
    let mut lone = Counter::default();
    lone.literal(r#""\ud83d\u12\q"#);
    assert_eq!(plain.tokens(), escaped.tokens());
}

#[test]
fn json_counts_the_same_however_it_is_laid_out() {
    let schema = json!({"a": [1, 2.5, "x y \" z", {"b": null}], "c": "  two  blanks  "});
    let mut compact = Counter::default();
    compact.json(&schema.to_string());
    let mut pretty = Counter::default();
    pretty.json(&serde_json::to_string_pretty(&schema).unwrap());
    assert_eq!(compact.tokens(), pretty.tokens());
}

#[test]
fn two_texts_cost_about_what_they_cost_alone() {
    let one = "The quick brown fox jumps over the lazy dog. ".repeat(40);
    let both = text(&one.repeat(200));
    let expected = text(&one) * 200;
    assert!(both.abs_diff(expected) * 50 < expected, "{both} {expected}");
}

#[test]
fn pictures_cost_by_size_and_unseen_ones_the_most() {
    // 200 x 200 in the head of a PNG.
    let png = "iVBORw0KGgoAAAANSUhEUgAAAMgAAADICAIAAAA=";
    let image = |data: &str| json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}]);
    let nothing = said(&json!([]));
    assert_eq!(said(&image(png)) - nothing, 54);
    for broken in [
        "",
        "iVBORw0KGgo",
        "AAAA",
        "/9j/",
        "////////////",
        "é",
        "\\\"",
    ] {
        assert_eq!(said(&image(broken)) - nothing, 1600, "{broken}");
    }
    let url = json!([{"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{png}")}}]);
    assert_eq!(said(&url) - nothing, 54);
    let url = json!([{"type": "image", "source": {"type": "url", "url": "https://a.example/b"}}]);
    assert_eq!(said(&url) - nothing, 1600);
}

#[test]
fn base64_is_not_read_as_text() {
    let pdf = json!([{"type": "document", "source":
        {"type": "base64", "media_type": "application/pdf", "data": "QUJD".repeat(100_000)}}]);
    let tokens = said(&pdf);
    assert!((2_000..20_000).contains(&tokens), "{tokens}");
}

#[test]
fn thinking_of_older_turns_is_not_counted() {
    let thought = json!({"type": "thinking", "thinking": "word ".repeat(500), "signature": "s"});
    let conversation = |last: Value| {
        json!({"messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [thought, {"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            last,
        ]})
    };
    let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]);
    let open = count(&conversation(json!({"role": "user", "content": result})));
    let over = count(&conversation(json!({"role": "user", "content": "ok"})));
    assert!(open > 500, "{open}");
    assert!(over < 100, "{over}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_costs_less_than_its_bytes_and_more_than_nothing(said in ".{1,60}") {
        let tokens = text(&said);
        prop_assert!(tokens >= 1);
        prop_assert!(tokens <= 2 * said.len() as u64 + 2, "{tokens}");
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), inner in ".{0,40}") {
        let _ = input_tokens(&body);
        let mut counter = Counter::default();
        counter.literal(&inner);
        counter.json(&inner);
        let _ = said(&json!([{"type": "image", "source": {"data": inner}}, {"type": inner}]));
    }
}

/// The rough number stays near the careful one, and costs no more for a longer text.
#[test]
fn the_sample_is_near_the_whole() {
    for (name, text) in [
        (
            "prose",
            "The quick brown fox jumps over 13 lazy dogs, and again. ",
        ),
        (
            "code",
            "fn main() {\\n    let x = vec![1, 2, 3];\\n    println!(\\\"{x:?}\\\");\\n}\\n",
        ),
        ("han", "今天的天气很好，我们去公园散步吧。"),
    ] {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#,
            text.repeat(2_000)
        );
        let careful = input_tokens(body.as_bytes()).unwrap();
        let rough = estimate(&Object::parse(body.as_bytes()).unwrap());
        let off = rough.abs_diff(careful) * 100 / careful;
        assert!(off <= 10, "{name}: {rough} for {careful}");
    }
}
