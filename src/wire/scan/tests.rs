#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value};

fn scan(body: &[u8]) -> Result<Head, ScanError> {
    scan_cut(body, &[])
}

/// Feeds the body in pieces of these sizes, repeated; without sizes in one piece.
fn scan_cut(body: &[u8], sizes: &[usize]) -> Result<Head, ScanError> {
    let mut scanner = Scanner::new();
    let mut rest = body;
    for size in sizes.iter().cycle() {
        if sizes.is_empty() || rest.is_empty() {
            break;
        }
        let (chunk, tail) = rest.split_at((*size).min(rest.len()));
        scanner.feed(chunk)?;
        rest = tail;
    }
    scanner.feed(rest)?;
    scanner.finish()
}

fn name(body: &str) -> Option<String> {
    scan(body.as_bytes()).unwrap().model.map(|model| model.name)
}

/// If both parsers accept, they agree, and the range is the literal.
fn agree(body: &[u8], head: &Head) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let model = value.get("model").filter(|model| !model.is_null());
    assert_eq!(
        model.map(|model| model.as_str().expect("a string")),
        head.model.as_ref().map(|model| model.name.as_str())
    );
    let stream = value.get("stream").filter(|stream| !stream.is_null());
    assert_eq!(
        stream.is_some_and(|stream| stream.as_bool().expect("a bool")),
        head.stream
    );
    if let Some(model) = &head.model {
        let literal = &body[model.start..model.end];
        assert_eq!(
            serde_json::from_slice::<String>(literal).unwrap(),
            model.name
        );
    }
}

#[test]
fn finds_the_top_level_only() {
    let body = r#" {"a":{"model":"no","stream":true},"b":[{"model":"no"}],"model" : "yes" } "#;
    let head = scan(body.as_bytes()).unwrap();
    let model = head.model.unwrap();
    assert_eq!(model.name, "yes");
    assert_eq!(&body[model.start..model.end], "\"yes\"");
    assert!(!head.stream);
    assert!(scan(br#"{"stream":true}"#).unwrap().stream);
    assert!(!scan(br#"{"stream":null,"model":null}"#).unwrap().stream);
    assert!(scan(b"{}").unwrap().model.is_none());
}

#[test]
fn unescapes_as_serde_json_does() {
    assert_eq!(name(r#"{"mod\u0065l":"a\/\u0062"}"#).unwrap(), "a/b");
    assert_eq!(name(r#"{"model":"\ud83d\ude00"}"#).unwrap(), "\u{1f600}");
    assert_eq!(name(r#"{"model":"a\\","x":"\\\""}"#).unwrap(), "a\\");
    assert_eq!(name(r#"{"Model":"x"}"#), None);
}

#[test]
fn refuses_a_field_given_twice() {
    for (body, field) in [
        (r#"{"model":"a","model":"a"}"#, "model"),
        (r#"{"model":"a","m\u006fdel":"b"}"#, "model"),
        (r#"{"model":null,"model":"b"}"#, "model"),
        (r#"{"stream":true,"x":[],"\u0073tream":false}"#, "stream"),
    ] {
        assert_eq!(
            scan(body.as_bytes()).unwrap_err(),
            ScanError::Duplicate { field },
            "{body}"
        );
    }
    assert_eq!(
        ScanError::Duplicate { field: "model" }.to_string(),
        "model: given twice"
    );
}

#[test]
fn refuses_wrong_types() {
    for value in ["1", "true", "[]", "{}", "-1.5", "false"] {
        let body = format!(r#"{{"model":{value}}}"#);
        assert_eq!(scan(body.as_bytes()).unwrap_err(), WRONG_MODEL, "{body}");
    }
    for value in ["1", "\"true\"", "[]", "{}"] {
        let body = format!(r#"{{"stream":{value}}}"#);
        assert_eq!(scan(body.as_bytes()).unwrap_err(), WRONG_STREAM, "{body}");
    }
}

#[test]
fn refuses_what_is_not_an_object() {
    for body in [
        &b""[..],
        b"  ",
        b"[]",
        b"\"model\"",
        b"null",
        b"\xef\xbb\xbf{}",
        b"{",
        b"{}x",
        b"{}{}",
        b"{,}",
        b"{\"a\":1,}",
        b"{\"a\"}",
        b"{\"a\":}",
        b"{\"a\":1 \"b\":2}",
        b"{\"a\":[}",
        b"{\"a\":[}]}",
        b"{\"a\":{]}",
        b"{\"a\":[1]",
        b"{\"a\":\"x}",
        b"{\"a\":\"x\\\"}",
        b"{\"a\":tru}",
        b"{\"a\":truest}",
        b"{\"stream\":trues}",
        b"{\"stream\":falsehood}",
        b"{\"model\":nul}",
        b"{'a':1}",
        b"{\"a\":[/* \" */]}",
        b"{/**/}",
        b"{\"a\":['\"']}",
        b"{\"model\":\"\\ud800\"}",
        b"{\"model\":\"\\x\"}",
        b"{\"model\":\"a\nb\"}",
        b"{\"model\":\"\xff\"}",
        b"{\"\xff\":1}",
        b"{\"\\ud800\":1}",
        b"{\"a\nb\":1}",
    ] {
        let text = String::from_utf8_lossy(body);
        match scan(body) {
            Err(ScanError::Json { offset, .. }) => assert!(offset <= body.len(), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(scan(br#"{"model":"a\u0000b"}"#).is_err());
}

#[test]
fn sizes_are_bounded() {
    let deep = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(scan(deep(DEPTH_MAX).as_bytes()).is_ok());
    assert!(scan(deep(DEPTH_MAX + 1).as_bytes()).is_err());

    let named = |length: usize| format!(r#"{{"model":"{}"}}"#, "m".repeat(length));
    assert!(scan(named(MODEL_NAME_MAX).as_bytes()).is_ok());
    assert_eq!(
        scan(named(MODEL_NAME_MAX + 1).as_bytes()).unwrap_err(),
        LONG_MODEL
    );
    let escaped = format!(r#"{{"model":"{}"}}"#, "\\u006d".repeat(511));
    assert_eq!(name(&escaped).unwrap().len(), 511);

    // An endless model is refused before its end.
    let mut scanner = Scanner::new();
    scanner.feed(b"{\"model\":\"").unwrap();
    let refused = (0..10_000).any(|_| scanner.feed(&[b'm'; 100]).is_err());
    assert!(refused && scanner.literal.capacity() <= 4 * MODEL_RAW_MAX);

    // A long key is nobody's, whatever its first bytes.
    let long = format!(r#"{{"model{}":1,"model":"x"}}"#, "l".repeat(KEY_RAW_MAX));
    assert_eq!(name(&long).unwrap(), "x");
}

#[test]
fn an_error_stays() {
    let mut scanner = Scanner::new();
    assert!(scanner.feed(b"[").is_err());
    assert!(scanner.feed(b"{}").is_err());
    assert!(scanner.finish().is_err());
}

#[test]
fn joins_without_a_copy_when_it_can() {
    let chunk = Bytes::from(vec![1, 2, 3]);
    let pointer = chunk.as_ptr();
    assert_eq!(join(vec![chunk], None).as_ptr(), pointer);
    assert!(join(Vec::new(), None).is_empty());
    assert_eq!(join(Vec::new(), Some((3..9, b"x"))), "x");
    assert_eq!(json_string("a\"\n"), r#""a\"\n""#);
}

/// A string literal in which any character may be escaped.
fn literal(text: &str, escapes: &[bool]) -> String {
    let mut out = String::from("\"");
    for (c, escape) in text.chars().zip(escapes.iter().cycle()) {
        if *escape || c < ' ' || c == '"' || c == '\\' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

fn json_value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("model".to_owned()),
        Just("stream".to_owned()),
        "[a-z\"\\\\\n{}\\[\\]]{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\"\\\\{}\\[\\],:]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A valid body with shuffled keys, blanks and escapes, and what it says.
fn body() -> impl Strategy<Value = (String, Option<String>, bool)> {
    let others = prop::collection::vec(("[a-zA-Z\"\\\\\u{e9}]{0,7}", json_value()), 0..5);
    let model = prop::option::of("[^\\p{Cc}]{0,40}");
    let stream = prop::option::of(any::<bool>());
    let escapes = prop::collection::vec(any::<bool>(), 1..9);
    let blanks = prop::collection::vec("[ \t\r\n]{0,3}", 1..9);
    (others, model, stream, escapes, blanks, any::<bool>()).prop_flat_map(
        |(others, model, stream, escapes, blanks, pretty)| {
            let mut fields: Vec<(String, String)> = others
                .into_iter()
                .filter(|(key, _)| key != "model" && key != "stream")
                .map(|(key, value)| {
                    let text = if pretty {
                        serde_json::to_string_pretty(&value)
                    } else {
                        serde_json::to_string(&value)
                    };
                    (key, text.unwrap())
                })
                .collect();
            if let Some(model) = &model {
                fields.push(("model".into(), literal(model, &escapes)));
            }
            if let Some(stream) = stream {
                fields.push(("stream".into(), stream.to_string()));
            }
            Just(fields).prop_shuffle().prop_map(move |fields| {
                let mut blank = blanks.iter().cycle().map(String::as_str);
                let mut text = String::new();
                let mut put = |token: &str| {
                    text.push_str(blank.next().unwrap());
                    text.push_str(token);
                };
                put("{");
                for (index, (key, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        put(",");
                    }
                    put(&literal(key, &escapes));
                    put(":");
                    put(value);
                }
                put("}");
                put("");
                (text, model.clone(), stream == Some(true))
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn reads_every_valid_body(
        (text, model, stream) in body(),
        sizes in prop::collection::vec(1usize..9, 1..6),
    ) {
        for head in [scan(text.as_bytes()), scan_cut(text.as_bytes(), &sizes)] {
            let head = head.unwrap();
            prop_assert_eq!(head.model.as_ref().map(|found| &found.name), model.as_ref());
            prop_assert_eq!(head.stream, stream);
            agree(text.as_bytes(), &head);
        }
    }

    #[test]
    fn agrees_on_mutated_bodies(
        (text, ..) in body(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0u8..3, prop::sample::select(
                b"\"\\{}[],: \nntfu0d8model\xff\xc3\x1f".to_vec())),
            1..4,
        ),
        sizes in prop::collection::vec(1usize..9, 1..6),
    ) {
        let mut bytes = text.into_bytes();
        for (index, edit, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        let whole = scan(&bytes);
        if let Ok(head) = &whole {
            agree(&bytes, head);
        }
        let cut = scan_cut(&bytes, &sizes);
        prop_assert_eq!(whole.is_ok(), cut.is_ok());
        if let (Ok(whole), Ok(cut)) = (whole, cut) {
            prop_assert_eq!(whole.stream, cut.stream);
            prop_assert_eq!(whole.model.map(|m| (m.name, m.start, m.end)),
                cut.model.map(|m| (m.name, m.start, m.end)));
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(
        prop::sample::select(b"\"\\{}[],: nulltrefasmodel1\xff".to_vec()), 0..60))
    {
        if let Ok(head) = scan(&bytes) {
            agree(&bytes, &head);
        }
    }

    #[test]
    fn join_is_concatenation(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..6),
        bounds in any::<(prop::sample::Index, prop::sample::Index)>(),
        with in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let chunks: Vec<Bytes> = parts.iter().cloned().map(Bytes::from).collect();
        let mut flat = parts.concat();
        prop_assert_eq!(&join(chunks.clone(), None)[..], &flat[..]);
        let (a, b) = (bounds.0.index(flat.len() + 1), bounds.1.index(flat.len() + 1));
        let range = a.min(b)..a.max(b);
        flat.splice(range.clone(), with.iter().copied());
        prop_assert_eq!(&join(chunks, Some((range, &with)))[..], &flat[..]);
    }
}
