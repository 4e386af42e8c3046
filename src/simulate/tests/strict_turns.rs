//! Rules of the Anthropic API about turns, and requests that break none.

use serde_json::{Value, json};

use super::super::{Generation, strict};
use super::strict::{assistant, call, good, result, text, told, tools, turns, user, with};

#[test]
fn what_the_api_takes_passes() {
    let thinking = json!({"type": "thinking", "thinking": "", "signature": "abc"});
    for body in [
        good(),
        turns(json!([
            user(json!("a")),
            user(json!([text("b")])),
            assistant(json!("c")),
            assistant(json!([text("d")])),
            user(json!("e"))
        ])),
        turns(json!([
            user(json!("a")),
            assistant(json!([text("b"), call("t1"), call("t2")])),
            user(json!([result("t2"), result("t1"), text("c")]))
        ])),
        // Results spread over two messages of one turn.
        turns(json!([
            user(json!("a")),
            assistant(json!([call("t1"), call("t2")])),
            user(json!([result("t2")])),
            user(json!([result("t1")]))
        ])),
        turns(json!([user(json!("a")), assistant(json!("{"))])),
        with(
            json!({"tools": tools(), "tool_choice": {"type": "any"}, "temperature": 0, "top_k": 3, "stop_sequences": ["x"], "system": "s", "stream": true, "metadata": {"user_id": "u", "sim": {}}}),
        ),
        with(
            json!({"tools": tools(), "tool_choice": {"type": "auto"}, "thinking": {"type": "enabled", "budget_tokens": 1024}, "temperature": 1}),
        ),
        with(
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "messages": [user(json!("a")), assistant(json!([thinking, call("t")])), user(json!([result("t")]))]}),
        ),
        turns(json!([user(
            json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}, {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}])
        )])),
        with(
            json!({"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}}}),
        ),
    ] {
        assert_eq!(told(&body), None, "{body}");
    }
    // Numbers beyond any type, and depth, are none of its business.
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let body = turns(json!([
        user(json!("a")),
        assistant(json!([call("t")])),
        user(json!([result("t")]))
    ]));
    let body = body
        .to_string()
        .replace("\"n\":1", &format!("\"n\":1e400,\"d\":{deep}"));
    assert_eq!(strict::check(Generation::V2_7, body.as_bytes()), Ok(()));
}

#[test]
fn each_rule_about_turns() {
    let asked = user(json!("a"));
    let image = |media: &str, data: &str| json!([{"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}]);
    for (messages, says) in [
        (json!([]), "messages: at least one"),
        (json!("x"), "messages: a list"),
        (
            json!([assistant(json!("x")), asked]),
            "messages: the first message",
        ),
        (
            json!([{"role": "system", "content": "x"}, asked]),
            "messages.0.role",
        ),
        (
            json!([asked, {"role": "tool", "content": "x"}]),
            "messages.1.role",
        ),
        (json!([user(json!(""))]), "messages.0.content: all messages"),
        (
            json!([user(json!(" \n"))]),
            "messages.0.content: all messages",
        ),
        (json!([user(json!([]))]), "messages.0.content: all messages"),
        (json!([user(json!(null))]), "messages.0.content: must be"),
        (
            json!([user(json!([text("a"), text(" ")]))]),
            "messages.0.content.1: text content",
        ),
        (
            json!([{"role": "user", "content": "x", "name": "n"}]),
            "messages.0.name: Extra",
        ),
        (
            json!([user(json!([{"type": "image_url"}]))]),
            "messages.0.content.0: there is no block",
        ),
        (
            json!([user(image("image/jpg", "AA==").clone())]),
            "messages.0.content.0.source.base64.media_type",
        ),
        (
            json!([user(image("image/png", "A*=="))]),
            "messages.0.content.0.source.base64.data",
        ),
        (
            json!([user(json!([call("t")]))]),
            "messages.0.content.0: tool_use blocks",
        ),
        (
            json!([asked, assistant(json!([result("t")])), asked]),
            "messages.1.content.0: tool_result blocks",
        ),
        (
            json!([asked, assistant(json!([call("t")])), user(json!("b"))]),
            "messages.2: tool_use ids without tool_result blocks right after them: t",
        ),
        (
            json!([asked, assistant(json!([call("t")]))]),
            "messages: tool_use ids without",
        ),
        (
            json!([
                asked,
                assistant(json!([call("t"), call("u")])),
                user(json!([result("t")]))
            ]),
            "messages.2: tool_use ids without tool_result blocks right after them: u",
        ),
        (
            json!([user(json!([result("t")]))]),
            "messages.0.content.0.tool_use_id: tool_result without",
        ),
        (
            json!([
                asked,
                assistant(json!([call("t")])),
                user(json!([result("t"), result("u")]))
            ]),
            "messages.2.content.1.tool_use_id",
        ),
        (
            json!([
                asked,
                assistant(json!([call("t")])),
                user(json!([result("t"), result("t")]))
            ]),
            "messages.2.content.1: each tool_use",
        ),
        (
            json!([
                asked,
                assistant(json!([call("t")])),
                user(json!([text("b"), result("t")]))
            ]),
            "messages.2.content.1: tool_result blocks must come first",
        ),
        (
            json!([
                asked,
                assistant(json!([call("t")])),
                user(json!("b")),
                user(json!([result("t")]))
            ]),
            "messages.3.content.0: tool_result blocks must come first",
        ),
        (
            json!([
                asked,
                assistant(json!([call("t"), call("t")])),
                user(json!([result("t")]))
            ]),
            "messages.1.content.1.id: tool_use ids must be unique",
        ),
        (
            json!([
                asked,
                assistant(json!([call("t")])),
                user(json!([result("t")])),
                assistant(json!([call("t")])),
                user(json!([result("t")]))
            ]),
            "messages.3.content.0.id: tool_use ids",
        ),
        (
            json!([
                asked,
                assistant(json!([call("a.b")])),
                user(json!([result("a.b")]))
            ]),
            "messages.1.content.0.id: must match",
        ),
        (
            json!([
                asked,
                assistant(json!([{"type": "tool_use", "id": "t", "name": "a b", "input": {}}]))
            ]),
            "messages.1.content.0.name",
        ),
        (
            json!([
                asked,
                assistant(json!([{"type": "tool_use", "id": "t", "name": "a", "input": "{}"}]))
            ]),
            "messages.1.content.0.input",
        ),
        (
            json!([
                asked,
                assistant(
                    json!([{"type": "thinking", "thinking": "x", "signature": ""}, text("y")])
                )
            ]),
            "messages.1.content.0.signature",
        ),
        (
            json!([asked, assistant(json!("x "))]),
            "messages.1: final assistant",
        ),
        (
            json!([asked, assistant(json!([text("x"), text("y\n")]))]),
            "messages.1: final assistant",
        ),
    ] {
        let got = told(&turns(messages.clone()));
        assert!(
            got.as_deref().is_some_and(|got| got.starts_with(says)),
            "{messages}\n{got:?}\n{says}"
        );
    }
}

#[test]
fn system_messages_are_for_the_plain_api_and_in_their_place() {
    let system = json!({"role": "system", "content": "x"});
    let check = |messages: Value| {
        let body = turns(messages).to_string();
        strict::check(Generation::Anthropic, body.as_bytes()).is_ok()
    };
    let asked = user(json!("a"));
    assert!(check(json!([asked, system])));
    assert!(check(json!([asked, system, assistant(json!("b")), asked])));
    assert!(!check(json!([system, asked])));
    assert!(!check(json!([asked, system, system])));
    assert!(!check(json!([asked, system, asked])));
}
