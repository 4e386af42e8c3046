//! The smallest value that satisfies a simple JSON schema: what a model that was told to answer in JSON says.
//!
//! Read are `const`, `enum`, `default`-less `type` (also as a list), `properties` with `required`, `items` with
//! `minItems`, `minLength`, `minimum`, `anyOf`, `oneOf`, `allOf` of one, and `$ref` within the document.
//! Invariant: depth and size are bounded whatever the schema.

use serde_json::{Value, json};

/// Deeper values become null.
const MAX_DEPTH: u32 = 16;
/// At most so many values in all.
const MAX_VALUES: u32 = 4_000;
/// Longest string and list that a minimum may ask for.
const MAX_LENGTH: u64 = 1_000;
/// The usual string.
const WORD: &str = "Oslo";

struct Sampler<'a> {
    root: &'a Value,
    left: u32,
}

/// The value as JSON text.
pub(super) fn sample(schema: &str) -> String {
    let root: Value = serde_json::from_str(schema).unwrap_or_default();
    let left = MAX_VALUES;
    let mut sampler = Sampler { root: &root, left };
    sampler.value(&root, 0).to_string()
}

/// Is this object a schema, and not some other object in a text?
pub(super) fn is_schema(value: &Value) -> bool {
    const TYPES: [&str; 7] = [
        "object", "array", "string", "integer", "number", "boolean", "null",
    ];
    let kind = value.get("type").and_then(Value::as_str);
    let is_object = |key: &str| value.get(key).is_some_and(Value::is_object);
    kind.is_some_and(|kind| TYPES.contains(&kind)) || is_object("properties") || is_object("$defs")
}

impl Sampler<'_> {
    fn value(&mut self, schema: &Value, depth: u32) -> Value {
        if depth > MAX_DEPTH || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap_or(target);
            return match self.root.pointer(pointer) {
                Some(found) => self.value(found, depth + 1),
                None => Value::Null,
            };
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        if let Some(first) = schema.get("enum").and_then(|all| all.get(0)) {
            return first.clone();
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = schema.get(key).and_then(|all| all.get(0)) {
                return self.value(first, depth + 1);
            }
        }
        let kind = schema.get("type");
        let listed = kind.and_then(|kinds| kinds.get(0));
        let at_least = |key: &str| schema.get(key).and_then(Value::as_u64).unwrap_or(0);
        match listed.or(kind).and_then(Value::as_str) {
            Some("string") => {
                let wanted = at_least("minLength").min(MAX_LENGTH);
                let missing = usize::try_from(wanted).unwrap_or(0);
                json!(format!("{WORD:o<missing$}"))
            }
            Some("integer" | "number") => {
                let least = schema.get("minimum").cloned();
                least
                    .filter(|least| least.as_f64() > Some(1.0))
                    .unwrap_or_else(|| json!(1))
            }
            Some("boolean") => json!(true),
            Some("null") => Value::Null,
            Some("array") => {
                let count = at_least("minItems").min(MAX_LENGTH);
                let item = schema.get("items").unwrap_or(&Value::Null);
                (0..count).map(|_| self.value(item, depth + 1)).collect()
            }
            Some("object") => self.object(schema, depth),
            _ if schema.get("properties").is_some() => self.object(schema, depth),
            _ => json!(WORD),
        }
    }

    /// The required properties, or all when none is required.
    fn object(&mut self, schema: &Value, depth: u32) -> Value {
        let required = schema.get("required").and_then(Value::as_array);
        let required = required.filter(|names| !names.is_empty());
        let wanted = |name: &str| {
            required.is_none_or(|names| names.iter().any(|other| other.as_str() == Some(name)))
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let fields = properties.into_iter().flatten();
        let fields = fields.filter(|(name, _)| wanted(name.as_str()));
        let made: serde_json::Map<String, Value> = fields
            .map(|(name, property)| (name.clone(), self.value(property, depth + 1)))
            .collect();
        Value::Object(made)
    }
}
