//! Hostile and odd files.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("key"),
        Just("name"),
        Just("usage"),
        Just("keys"),
        Just("enabled"),
        Just("models"),
        Just("expires_at"),
        Just("sk-0123456789abcdef"),
        Just("requests"),
        Just("bob"),
        Just("true"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((word.clone(), inner), 0..6).prop_map(|pairs| pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any JSON is taken over or refused; what was taken over can be read again as it is.
    #[test]
    fn any_json_is_taken_over_or_refused(old in any_json()) {
        let home = Home::with(&old.to_string());
        match home.open_with(Some(ADMIN)) {
            Ok((store, _)) => {
                let list = store.list();
                drop(store);
                prop_assert_eq!(home.open().list(), list);
            }
            Err(_) => prop_assert_eq!(home.text(), old.to_string()),
        }
    }
}
