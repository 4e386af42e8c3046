#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop where it fails"
)]

use proptest::prelude::*;

use super::*;

fn asked(body: &str) -> (String, bool) {
    let (bytes, asked) = ask_for_usage(Bytes::copy_from_slice(body.as_bytes()));
    (String::from_utf8(bytes.to_vec()).unwrap(), asked)
}

#[test]
fn usage_is_asked_for_and_no_other_byte_changes() {
    for (body, sent) in [
        (
            r#" {"model":"m","n":1e400}"#,
            r#" {"stream_options":{"include_usage":true},"model":"m","n":1e400}"#,
        ),
        ("{ }", r#"{"stream_options":{"include_usage":true} }"#),
        (
            r#"{"stream_options": null ,"a":"stream_options"}"#,
            r#"{"stream_options": {"include_usage":true} ,"a":"stream_options"}"#,
        ),
        (
            r#"{"stream_options":{},"b":{"stream_options":{"include_usage":true}}}"#,
            r#"{"stream_options":{"include_usage":true},"b":{"stream_options":{"include_usage":true}}}"#,
        ),
        (
            r#"{"stream_options":{ "include_obfuscation" : false }}"#,
            r#"{"stream_options":{"include_usage":true, "include_obfuscation" : false }}"#,
        ),
        (
            r#"{"stream_options":{"include_usage": false}}"#,
            r#"{"stream_options":{"include_usage": true}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":null}}"#,
            r#"{"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream\u005foptions":{"include_usage":false}}"#,
            r#"{"stream\u005foptions":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true},"stream_options":null}"#,
            r#"{"stream_options":{"include_usage":true},"stream_options":{"include_usage":true}}"#,
        ),
    ] {
        assert_eq!(asked(body), (sent.to_owned(), false));
        assert_eq!(asked(sent), (sent.to_owned(), true));
    }
}

#[test]
fn what_the_upstream_will_refuse_is_left_to_it() {
    for body in [
        r#"{"stream_options":"x"}"#,
        r#"{"stream_options":[]}"#,
        r#"{"stream_options":{"include_usage":1}}"#,
        r#"{"stream_options":{"include_usage":"true"}}"#,
        "[1]",
        "{",
        "",
    ] {
        assert_eq!(asked(body), (body.to_owned(), true));
    }
}

proptest! {
    #[test]
    fn any_object_asks_afterwards_and_keeps_its_members(
        before in "(\"[a-z\\\\\\\\\"{}]{0,4}\":[0-9]{1,30},){0,3}",
        options in prop::option::of("(null|\\{\\}|\\{\"include_usage\":(true|false|null)\\}|\\{\"x\":\\{\"include_usage\":false\\}\\})"),
        after in "(,\"[a-z]{1,3}\":\"[a-z{}:, ]{0,5}\"){0,3}",
    ) {
        let options = options.map_or_else(|| "\"model\":1".to_owned(), |o| format!("\"stream_options\":{o}"));
        let body = format!("{{{before}{options}{after}}}");
        let valid = Object::parse(body.as_bytes()).is_ok();
        let (sent, told) = asked(&body);
        if !valid {
            prop_assert_eq!(sent, body);
        } else {
            let object = Object::parse(sent.as_bytes()).unwrap();
            let options = Object::of(object.get("stream_options").unwrap()).unwrap();
            prop_assert_eq!(options.get("include_usage").unwrap().get(), "true");
            prop_assert_eq!(told, sent == body);
            let end = format!("{after}}}");
            prop_assert!(sent.ends_with(&end));
        }
    }
}
