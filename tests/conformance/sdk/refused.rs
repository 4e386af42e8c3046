//! What the gateway itself refuses, and which class of exception that raises.

use luna::app::now;
use luna::keys::NewKey;
use serde_json::{Value, json};

use super::Sdk;
use super::failing::{Told, check, raise, told};
use super::trio::{CELLS, Trio};

/// Refused before any upstream is asked.
async fn the_gateways_own_refusals(sdk: Sdk) {
    let trio = Trio::with("max_body_bytes = 20000", json!({})).await;
    let narrow = NewKey {
        models: vec!["gemini-*".into()],
        ..NewKey::named("narrow")
    };
    let (_, narrow) = trio.world.app.keys.create(narrow, now()).unwrap();
    let unknown = "luna-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let kind = |openai, anthropic| if sdk.is_openai() { openai } else { anthropic };
    let bad = told(400, "BadRequestError", "invalid_request_error");
    let large = kind(
        told(413, "APIError", "invalid_request_error"),
        told(413, "ContentTooLargeError", "request_too_large"),
    );
    let mut table = vec![
        (
            json!({"key": unknown}),
            told(401, "AuthenticationError", "authentication_error"),
            Value::Null,
        ),
        (
            json!({"key": narrow.reveal()}),
            told(403, "PermissionDeniedError", "permission_error"),
            Value::Null,
        ),
        (json!({"fields": {"messages": []}}), bad, json!("messages")),
        (json!({"prompt": "x".repeat(30_000)}), large, Value::Null),
    ];
    if sdk.is_openai() {
        let parameters = json!({"type": "object", "properties": {}});
        let tool =
            json!({"type": "function", "function": {"name": "look", "parameters": parameters}});
        let other = json!({"type": "function", "function": {"name": "leap"}});
        for (fields, param) in [
            (json!({"n": 2}), "n"),
            (json!({"logprobs": true}), "logprobs"),
            (json!({"temperature": 2.5}), "temperature"),
            (json!({"max_completion_tokens": 0}), "max_completion_tokens"),
            (json!({"reasoning_effort": "huge"}), "reasoning_effort"),
            (
                json!({"tools": [tool], "tool_choice": other}),
                "tool_choice.function.name",
            ),
            (
                json!({"messages": [{"role": "clown", "content": "x"}]}),
                "messages[0].role",
            ),
            (
                json!({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}),
                "messages[0].tool_call_id",
            ),
        ] {
            table.push((json!({"fields": fields}), bad, json!(param)));
        }
    }
    // Relayed requests are the upstream's to judge; the same dialect is left out for what only a conversion refuses.
    let models = match sdk.is_openai() {
        true => ["claude-sonnet-4-6", "plain-sonnet"],
        false => ["gpt", "gpt-thinks"],
    };
    let mut cases = Vec::new();
    let mut expected = Vec::new();
    for (case, told, param) in &table {
        for model in models {
            for how in ["create", "stream"] {
                let mut case = case.clone();
                case["model"] = json!(model);
                case["how"] = json!(how);
                cases.push(case);
                expected.push((*told, param));
            }
        }
    }
    let errors = raise(&trio, sdk, &cases).await;
    for ((case, error), (told, param)) in cases.iter().zip(&errors).zip(&expected) {
        check(sdk, case, error, *told);
        if sdk.is_openai() {
            assert_eq!(error["param"], **param, "{case} {error:#}");
        }
    }
    for cell in CELLS {
        assert_eq!(trio.asked(cell.name).len(), 0, "{}", cell.name);
    }
    // No upstream knows the model: only then 404.
    let unknown = [json!({"how": "create", "model": "no-such-model"})];
    let gone = kind(
        Told {
            code: Some("model_not_found"),
            ..told(404, "NotFoundError", "invalid_request_error")
        },
        told(404, "NotFoundError", "not_found_error"),
    );
    let errors = raise(&trio, sdk, &unknown).await;
    check(sdk, &unknown[0], &errors[0], gone);
    trio.stop().await;
}

with_each_sdk!(the_gateways_own_refusals);
