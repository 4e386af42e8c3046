//! Sample values for schemas, and orders in the prompt, without sockets.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{prompt, sample::sample};

fn of(schema: Value) -> Value {
    serde_json::from_str(&sample(&schema.to_string())).unwrap()
}

#[test]
fn every_simple_type() {
    for (schema, value) in [
        (json!({"type": "string"}), json!("Oslo")),
        (json!({"type": "string", "minLength": 6}), json!("Oslooo")),
        (json!({"type": "integer"}), json!(1)),
        (json!({"type": "number", "minimum": 18.5}), json!(18.5)),
        (json!({"type": "boolean"}), json!(true)),
        (json!({"type": ["null", "string"]}), json!(null)),
        (json!({"enum": ["b", "a"]}), json!("b")),
        (json!({"const": [1]}), json!([1])),
        (
            json!({"type": "array", "items": {"type": "integer"}}),
            json!([]),
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 2}),
            json!([1, 1]),
        ),
        (
            json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            json!(1),
        ),
        (json!({"type": "object"}), json!({})),
        (json!({}), json!("Oslo")),
    ] {
        assert_eq!(of(schema.clone()), value, "{schema}");
    }
}

#[test]
fn objects_have_what_is_required_and_references_are_followed() {
    let schema = json!({
        "$defs": {"Step": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}, "minItems": 1}, "first": {"$ref": "#/$defs/Step"}, "note": {"type": "string"}},
        "required": ["steps", "first"],
    });
    assert_eq!(of(schema), json!({"steps": [{"n": 1}], "first": {"n": 1}}));
    let open = json!({"properties": {"a": {"type": "boolean"}}});
    assert_eq!(of(open), json!({"a": true}));
}

#[test]
fn loops_and_floods_end() {
    let endless = json!({"$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "#/$defs/A"}}}}, "$ref": "#/$defs/A"});
    assert!(sample(&endless.to_string()).len() < 100_000);
    let wide = json!({"type": "array", "minItems": u64::MAX, "items": {"type": "array", "minItems": u64::MAX}});
    assert!(sample(&wide.to_string()).len() < 10_000_000);
}

#[test]
fn an_order_is_taken_out_of_the_text() {
    let mut text = "a [[sim {\"text\":\"]] {\"} ]] b".to_owned();
    let shape = prompt::take(&mut text).unwrap().unwrap();
    assert_eq!(
        (shape.text.as_deref(), text.as_str()),
        (Some("]] {"), "a  b")
    );
    let mut plain = "nothing [[simple]] here".to_owned();
    assert_eq!(prompt::take(&mut plain), Ok(None));
    assert_eq!(plain, "nothing [[simple]] here");
    for wrong in [
        "[[sim ]]",
        "[[sim {}",
        "[[sim {\"x\":1}]]",
        "[[sim {\"calls\":[{}]}]]",
        "[[sim {\"event_bytes\":0}]]",
        "[[sim ",
    ] {
        assert!(prompt::take(&mut wrong.to_owned()).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn neither_panics(text in "\\PC{0,60}", tail in "[\\[\\]{}a-z\":,#/$ ]{0,60}") {
        let _ = prompt::take(&mut format!("{text}[[sim {tail}"));
        let _ = sample(&tail);
    }
}
