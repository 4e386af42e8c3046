//! What the conversion of the answer is told.

use super::{converted, hi};
use crate::wire::convert::Capabilities;
use crate::wire::convert::o2a::JsonAnswer;

const SCHEMA: &str = r#","response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}}"#;
const TOOL_PROFILE: Capabilities = Capabilities {
    output_config: false,
    ..Capabilities::ANTHROPIC
};

#[test]
fn streams_tell_their_usage_only_when_asked() {
    let full = &Capabilities::ANTHROPIC;
    let back = converted(&hi(r#","stream_options":{"include_usage":true}"#), full).back;
    assert!(!back.stream && !back.include_usage);
    let back = converted(&hi(r#","stream":true"#), full).back;
    assert!(back.stream && !back.include_usage);
    let asked = hi(r#","stream":true,"stream_options":{"include_usage":true}"#);
    let back = converted(&asked, full).back;
    assert!(back.stream && back.include_usage);
}

#[test]
fn functions_are_answered_in_their_own_way_unless_there_are_tools() {
    let full = &Capabilities::ANTHROPIC;
    let functions = r#","functions":[{"name":"f"}]"#;
    assert!(converted(&hi(functions), full).back.legacy_functions);
    let both = format!(r#"{functions},"tools":[{{"type":"function","function":{{"name":"f"}}}}]"#);
    let both = converted(&hi(&both), full);
    assert!(!both.back.legacy_functions);
    let body = String::from_utf8(both.body).unwrap();
    assert_eq!(body.matches("\"name\":\"f\"").count(), 1, "{body}");
    assert!(
        !converted(&hi(r#","functions":[]"#), full)
            .back
            .legacy_functions
    );
}

#[test]
fn the_way_to_json_is_told() {
    let way = |more: &str, on| converted(&hi(more), on).back.json;
    assert_eq!(way(SCHEMA, &Capabilities::ANTHROPIC), JsonAnswer::Plain);
    assert_eq!(way(SCHEMA, &Capabilities::ANTIGRAVITY), JsonAnswer::Fenced);
    let tool = JsonAnswer::Tool("json_answer".to_owned());
    assert_eq!(way(SCHEMA, &TOOL_PROFILE), tool);
    let object = r#","response_format":{"type":"json_object"}"#;
    assert_eq!(way(object, &Capabilities::ANTHROPIC), JsonAnswer::Fenced);
    assert_eq!(way("", &Capabilities::ANTHROPIC), JsonAnswer::Plain);
}

#[test]
fn the_forced_tool_has_a_name_of_its_own() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hi"},{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"json_answer","arguments":""}}]},{"role":"tool","tool_call_id":"a","content":"1"}]"#;
    let back = converted(&format!("{body}{SCHEMA}}}"), &TOOL_PROFILE).back;
    assert_eq!(back.json, JsonAnswer::Tool("json_answer_".to_owned()));
}

#[test]
fn stops_are_cut_here_only_where_the_upstream_does_not() {
    let stop = hi(r#","stop":["E\u004eD"," "]"#);
    assert!(
        converted(&stop, &Capabilities::ANTHROPIC)
            .back
            .stops
            .is_empty()
    );
    assert_eq!(
        converted(&stop, &Capabilities::ANTIGRAVITY).back.stops,
        ["END"]
    );
}

#[test]
fn names_find_their_way_back() {
    let tools = hi(
        r#","tools":[{"type":"function","function":{"name":"a.b"}},{"type":"function","function":{"name":"ok"}}]"#,
    );
    let names = converted(&tools, &Capabilities::ANTIGRAVITY).back.names;
    assert_eq!(names.client(names.sent("a.b")), "a.b");
    assert_ne!(names.sent("a.b"), "a.b");
    assert_eq!(names.client("ok"), "ok");
}

#[test]
fn a_plain_name_that_looks_like_a_made_one_is_told_apart() {
    let tool = |name: &str| format!(r#"{{"type":"function","function":{{"name":"{name}"}}}}"#);
    let full = &Capabilities::ANTHROPIC;
    let alone = converted(&hi(&format!(r#","tools":[{}]"#, tool("a.b"))), full);
    let made = alone.back.names.sent("a.b").to_owned();
    let twins = hi(&format!(r#","tools":[{},{}]"#, tool("a.b"), tool(&made)));
    let converted = converted(&twins, full);
    let names = converted.back.names;
    assert_ne!(names.sent("a.b"), made);
    assert_eq!(names.client(&made), made);
    assert_eq!(names.client(names.sent("a.b")), "a.b");
    let body = String::from_utf8(converted.body).unwrap();
    assert!(body.contains(names.sent("a.b")), "{body}");
}
