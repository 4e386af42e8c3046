//! Requests that nobody should send: right names with values of any kind.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn snippet() -> impl Strategy<Value = String> {
    let fixed = [
        "null",
        "true",
        "false",
        "0",
        "1",
        "-1",
        "1.5",
        "1e400",
        "4096",
        "\"\"",
        "\" \"",
        "\"a\"",
        "\"auto\"",
        "\"none\"",
        "\"required\"",
        "\"high\"",
        "\"default\"",
        "[]",
        "{}",
        "[\"a\",\" \"]",
        "[null]",
        r#""\ud800""#,
        r#"{"type":"text"}"#,
        r#"{"type":"json_object"}"#,
        r#"{"type":"json_schema","json_schema":{"schema":{"type":"object"}}}"#,
        r#"{"type":"enabled","budget_tokens":5000}"#,
        r#"{"type":"disabled"}"#,
        r#"{"type":"adaptive"}"#,
        r#"{"effort":"max"}"#,
        r#"{"include_usage":true}"#,
        r#"{"type":"ephemeral"}"#,
        r#"{"type":"function","function":{"name":"f"}}"#,
        r#"{"name":"f"}"#,
        r#"[{"type":"function","function":{"name":"f"}}]"#,
        r#"[{"name":"f","parameters":{"type":null}}]"#,
        r#"[{"type":"function","function":{"name":"g g","parameters":{},"strict":true}}]"#,
        r#"{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}"#,
        r#"[{"type":"text","text":"x "}]"#,
        r#"[{"type":"image_url","image_url":{"url":"https://a/b"}}]"#,
        r#"[{"type":"image_url","image_url":{"url":"data:image/jpg;base64,AAAA"}}]"#,
        r#"[{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,AAAA"}}]"#,
        r#"[{"type":"file","file":{"file_data":"data:text/plain;base64,ICAg"}}]"#,
        r#"[{"type":"refusal","refusal":"no\n"}]"#,
        r#"{"name":"f","arguments":"{\"a\":1}"}"#,
        r#"[{"id":"a","function":{"name":"f","arguments":""}}]"#,
        r#"[{"id":"b c","function":{"name":"é"}}]"#,
        r#"[{"type":"thinking","thinking":"t","signature":"s"}]"#,
    ];
    select(fixed.map(str::to_owned).to_vec())
}

/// A member that a client may well send; what belongs together by luck is often refused all the same.
fn plausible(name: &str) -> Vec<&'static str> {
    match name {
        "tools" => vec![
            "[]",
            r#"[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g g","parameters":{},"strict":true}}]"#,
        ],
        "functions" => vec![r#"[{"name":"f","parameters":{"type":null}}]"#, "[]"],
        "tool_choice" => vec![
            "\"auto\"",
            "\"none\"",
            "\"required\"",
            r#"{"type":"function","function":{"name":"g g"}}"#,
            r#"{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}"#,
            r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"function":{"name":"f"}}]}}"#,
        ],
        "function_call" => vec!["\"auto\"", "\"none\"", r#"{"name":"f"}"#],
        "response_format" => vec![
            r#"{"type":"json_object"}"#,
            r#"{"type":"json_schema","json_schema":{"schema":{"type":"object"},"description":"d"}}"#,
            r#"{"type":"json_schema","json_schema":{"schema":{}}}"#,
        ],
        "max_tokens" | "max_completion_tokens" => vec!["1", "1279", "1280", "4096", "99999999999"],
        "temperature" | "top_p" => vec!["0", "1", "0.5", "1.0", "0.97"],
        "thinking" => vec![
            r#"{"type":"enabled","budget_tokens":5000}"#,
            r#"{"type":"enabled","budget_tokens":99999999999}"#,
            r#"{"type":"enabled","budget_tokens":3}"#,
            r#"{"type":"disabled"}"#,
            r#"{"type":"adaptive","display":"omitted"}"#,
        ],
        "reasoning_effort" => vec!["\"none\"", "\"minimal\"", "\"max\""],
        "output_config" => vec![
            r#"{"effort":"max"}"#,
            r#"{"format":{"type":"json_schema","schema":{"type":"object"}}}"#,
        ],
        "stop" => vec!["[]", "\"\"", "\"a\"", r#"["a"," ","\u0062"]"#],
        "user" | "safety_identifier" => vec!["\"\"", "\"a\"", "\"a@b\"", "\"é\""],
        "service_tier" => vec!["\"auto\"", "\"default\"", "\"flex\""],
        "cache_control" => vec![r#"{"type":"ephemeral"}"#],
        "stream_options" => vec![r#"{"include_usage":true}"#, "{}"],
        "stream" | "parallel_tool_calls" | "store" => vec!["true", "false"],
        "top_k" => vec!["0", "40"],
        "n" => vec!["1"],
        _ => vec!["null"],
    }
}

fn member(name: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        40 => select(plausible(name)).prop_map(str::to_owned),
        1 => snippet(),
    ]
    .prop_map(move |value| format!(",\"{name}\":{value}"))
}

fn members(names: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    subsequence(names.to_vec(), 0..=most).prop_flat_map(|names| {
        let members: Vec<_> = names.into_iter().map(member).collect();
        members.prop_map(|members| members.concat())
    })
}

/// A message of any kind with values of any kind.
fn wild_message() -> impl Strategy<Value = String> {
    const NAMES: [&str; 10] = [
        "content",
        "name",
        "refusal",
        "tool_calls",
        "function_call",
        "tool_call_id",
        "audio",
        "reasoning_content",
        "thinking_blocks",
        "cache_control",
    ];
    let role = select(vec!["system", "user", "assistant", "tool", "function", "x"]);
    let members = prop::collection::vec((select(NAMES.to_vec()), snippet()), 0..3);
    (role, members).prop_map(|(role, members)| {
        let members: String = members
            .iter()
            .map(|(name, value)| format!(",\"{name}\":{value}"))
            .collect();
        format!("{{\"role\":\"{role}\"{members}}}")
    })
}

/// Messages, some of them a call and its results.
fn group() -> impl Strategy<Value = String> {
    const TURNS: [&str; 12] = [
        r#"{"role":"user","content":"x "}"#,
        r#"{"role":"user","content":" "}"#,
        r#"{"role":"user","content":[{"type":"text","text":"y"},{"type":"image_url","image_url":{"url":"HTTPS://a/b"}}]}"#,
        r#"{"role":"user","content":[{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,ICAg"}}]}"#,
        r#"{"role":"assistant","content":"y "}"#,
        r#"{"role":"assistant","content":[{"type":"refusal","refusal":"no\n"}],"cache_control":{"type":"ephemeral"}}"#,
        r#"{"role":"assistant","content":null,"thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"}]}"#,
        r#"{"role":"system","content":"z"}"#,
        r#"{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":" "}"#,
        r#"{"role":"assistant","content":"w","thinking_blocks":[{"type":"redacted_thinking","data":"d"}],"tool_calls":[{"id":"a","function":{"name":"f","arguments":""}},{"id":"a b","function":{"name":"é","arguments":"{ }"}}]},{"role":"developer","content":"z"},{"role":"tool","tool_call_id":"a b","content":[{"type":"text","text":"r"}]},{"role":"user","content":"go"},{"role":"tool","tool_call_id":"a","content":"1"}"#,
        r#"{"role":"assistant","function_call":{"name":"f","arguments":"{\"a\":1}"}},{"role":"function","name":"f","content":"1"}"#,
        r#"{"role":"assistant","tool_calls":[{"id":"b","function":{"name":"f","arguments":"{}"}}]}"#,
    ];
    prop_oneof![
        30 => select(TURNS.to_vec()).prop_map(str::to_owned),
        1 => wild_message(),
    ]
}

pub(super) fn wild_request() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "parallel_tool_calls",
        "response_format",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "thinking",
        "reasoning_effort",
        "output_config",
        "cache_control",
        "stop",
        "n",
        "logprobs",
        "top_logprobs",
        "user",
        "safety_identifier",
        "service_tier",
        "stream",
        "stream_options",
        "seed",
        "store",
        "modalities",
        "audio",
        "unknown",
    ];
    let messages = prop::collection::vec(group(), 1..6);
    (messages, members(NAMES, 8)).prop_map(|(messages, members)| {
        format!(
            r#"{{"model":"m","messages":[{}]{members}}}"#,
            messages.join(",")
        )
    })
}
