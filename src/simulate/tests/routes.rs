//! Every route as the real server answers it.

use super::super::{Generation, SimAccount, SimConfig, predict, spawn};
use super::{BOTH, End, MODEL, ask, body, config, get, post, request, start};

#[tokio::test]
async fn json_answers_have_expresss_headers() {
    for generation in BOTH {
        let sim = spawn(SimConfig::new(generation)).await.unwrap();
        let answer = get(&sim, "/health").await;
        let names: Vec<&str> = answer
            .head
            .lines()
            .skip(1)
            .map(|line| line.split(':').next().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "X-Powered-By",
                "Access-Control-Allow-Origin",
                "Content-Type",
                "Content-Length",
                "ETag",
                "Date",
                "Connection",
                "Keep-Alive"
            ]
        );
        assert_eq!(answer.header("keep-alive"), Some("timeout=5"));
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/json; charset=utf-8"));
        let tag = answer.header("etag").unwrap();
        let prefix = format!("W/\"{:x}-", answer.body.len());
        assert!(
            tag.starts_with(&prefix) && tag.len() == prefix.len() + 28,
            "{tag}"
        );
    }
}

#[tokio::test]
async fn streams_have_their_own_headers_and_no_keep_alive() {
    for generation in BOTH {
        let sim = start(generation).await;
        let answer = ask(&sim, &post(&body(MODEL, true))).await.unwrap();
        let mut lines: Vec<&str> = answer.head.lines().collect();
        lines.retain(|line| !line.starts_with("Date: "));
        assert_eq!(
            lines,
            [
                "HTTP/1.1 200 OK",
                "X-Powered-By: Express",
                "Access-Control-Allow-Origin: *",
                "Content-Type: text/event-stream",
                "Cache-Control: no-cache",
                "Connection: keep-alive",
                "X-Accel-Buffering: no",
                "Transfer-Encoding: chunked"
            ]
        );
        assert_eq!(answer.end, End::Whole);
    }
}

#[tokio::test]
async fn a_stream_is_what_was_predicted() {
    for generation in BOTH {
        let sim = start(generation).await;
        let sent = body(MODEL, true);
        let answer = ask(&sim, &post(&sent)).await.unwrap();
        let predicted = predict(&config(generation), sent.as_bytes()).unwrap();
        assert_eq!(answer.text(), predicted.text);
        let events = answer.events();
        assert_eq!(events.len() as u64, predicted.events);
        for (name, data) in &events {
            assert_eq!(data["type"], name.as_str());
        }
        let start = &events[0].1["message"];
        assert_eq!(start["model"], MODEL);
        assert_eq!(start["usage"]["input_tokens"], predicted.tokens.input);
        assert_eq!(start["usage"]["output_tokens"], 0);
        let delta = &events[events.len() - 2].1;
        assert_eq!(delta["usage"]["output_tokens"], predicted.tokens.output);
        assert!(delta["usage"].get("input_tokens").is_none());
        assert_eq!(delta["delta"]["stop_reason"], "end_turn");
        let signature = events
            .iter()
            .find_map(|(_, data)| data["delta"]["signature"].as_str());
        assert!(signature.unwrap().len() >= 50);
        let entry = sim.handle().messages().remove(0);
        assert_eq!(entry.progress.events, predicted.events);
        assert_eq!(entry.progress.bytes_out, answer.body.len() as u64);
        assert_eq!(entry.progress.tokens, predicted.tokens);
        assert!(entry.progress.finished && !entry.progress.client_gone);
        assert_eq!(entry.progress.message_id.as_deref(), start["id"].as_str());
    }
}

#[tokio::test]
async fn a_json_answer_is_what_was_predicted() {
    for generation in BOTH {
        let sim = start(generation).await;
        let sent = body(MODEL, false);
        let answer = ask(&sim, &post(&sent)).await.unwrap();
        let predicted = predict(&config(generation), sent.as_bytes()).unwrap();
        let json = answer.json();
        assert_eq!(json["content"][0]["thinking"], "Let me think.");
        assert_eq!(json["content"][1]["text"], predicted.text.as_str());
        assert_eq!(json["usage"]["input_tokens"], predicted.tokens.input);
        assert_eq!(json["usage"]["output_tokens"], predicted.tokens.output);
        let id = json["id"].as_str().unwrap();
        assert!(id.starts_with("msg_") && id.len() == 36);
        let entry = sim.handle().messages().remove(0);
        assert_eq!(entry.progress.tokens, predicted.tokens);
        assert_eq!(
            entry.body_sha256.unwrap(),
            super::super::ticket::sha256(sent.as_bytes())
        );
        assert_eq!(sim.handle().body(entry.seq).unwrap(), sent.as_bytes());
    }
}

#[tokio::test]
async fn a_tool_call_is_end_turn_in_json_and_tool_use_in_a_stream() {
    let sim = start(Generation::V2_7).await;
    for stream in [false, true] {
        let sent = format!(
            r#"{{"model":"{MODEL}","stream":{stream},"messages":[{{"role":"user","content":"use the tool"}}],"tools":[{{"name":"get_weather","input_schema":{{"type":"object","properties":{{"city":{{"type":"string"}},"n":{{"type":"number"}}}},"required":["city"]}}}}]}}"#
        );
        let answer = ask(&sim, &post(&sent)).await.unwrap();
        if stream {
            let events = answer.events();
            let part = events
                .iter()
                .find_map(|(_, data)| data["delta"]["partial_json"].as_str());
            assert_eq!(part, Some("{\"city\":\"Oslo\"}"));
            assert_eq!(
                events[events.len() - 2].1["delta"]["stop_reason"],
                "tool_use"
            );
        } else {
            let json = answer.json();
            assert_eq!(json["stop_reason"], "end_turn");
            assert_eq!(json["content"][2]["input"]["city"], "Oslo");
        }
    }
}

#[tokio::test]
async fn models_are_listed_until_no_account_can() {
    for generation in BOTH {
        let sim = start(generation).await;
        let json = get(&sim, "/v1/models").await.json();
        let ids: Vec<&str> = json["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, generation.default_models());
        assert_eq!(json["data"][0]["owned_by"], "anthropic");
        sim.handle().set_accounts(&[]).unwrap();
        let answer = get(&sim, "/v1/models").await;
        assert_eq!(answer.status, 503);
        let error = ("api_error".to_owned(), "No accounts available".to_owned());
        assert_eq!(answer.error(), error);
    }
}

#[tokio::test]
async fn small_routes() {
    for generation in BOTH {
        let sim = start(generation).await;
        let count = request("POST", "/v1/messages/count_tokens", "{}");
        let answer = ask(&sim, &count).await.unwrap();
        assert_eq!(
            (answer.status, answer.error().0.as_str()),
            (501, "not_implemented")
        );
        let answer = ask(&sim, &request("POST", "/v1/chat/completions", "{}"))
            .await
            .unwrap();
        assert_eq!(
            answer.body,
            r#"{"type":"error","error":{"type":"not_found_error","message":"Endpoint POST /v1/chat/completions not found"}}"#
        );
        assert_eq!(answer.status, 404);
        assert_eq!(get(&sim, "/v1/messages").await.status, 404);
        let answer = ask(&sim, &request("OPTIONS", "/v1/messages", ""))
            .await
            .unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        let origin = answer.header("access-control-allow-origin");
        assert_eq!(origin, Some("*"));
        let config = get(&sim, "/api/config").await.json();
        assert_eq!(config["version"], generation.version());
        let limits = get(&sim, "/account-limits").await.json();
        assert_eq!(limits["totalAccounts"], 2);
        assert_eq!(limits["accounts"][0]["enabled"], true);
        let table = get(&sim, "/account-limits?format=table").await;
        assert_eq!(
            table.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        let mut client = super::Client::connect(&sim).await;
        client.send(&request("HEAD", "/v1/models", "")).await;
        assert!(client.until("Keep-Alive: timeout=30000\r\n\r\n").await);
        assert_eq!(sim.handle().totals().routes["HEAD /v1/models"], 1);
    }
}

#[tokio::test]
async fn an_etag_that_still_holds_is_304() {
    let sim = start(Generation::V2_0).await;
    let tag = get(&sim, "/api/config")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    let request = format!("GET /api/config HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n");
    let answer = ask(&sim, request.as_bytes()).await.unwrap();
    assert_eq!(
        (answer.status, answer.header("etag")),
        (304, Some(tag.as_str()))
    );
    assert_eq!(answer.header("content-length"), None);
}

#[tokio::test]
async fn bad_bodies() {
    for generation in BOTH {
        let sim = start(generation).await;
        for text in ["{bad", "\"s\"", "{\"a\":1"] {
            let answer = ask(&sim, &post(text)).await.unwrap();
            assert_eq!(answer.status, 400);
            assert_eq!(
                answer.header("content-type"),
                Some("text/html; charset=utf-8")
            );
            assert_eq!(answer.header("etag"), None);
            let page = &answer.body;
            assert!(page.starts_with("<!DOCTYPE html>\n") && page.contains("<pre>SyntaxError: "));
        }
        let text = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
        for bytes in [
            text.as_bytes().to_vec(),
            post("{}"),
            post("[]"),
            post("{\"messages\":1}"),
        ] {
            let answer = ask(&sim, &bytes).await.unwrap();
            assert_eq!(answer.status, 400);
            assert_eq!(
                answer.error().1,
                "messages is required and must be an array"
            );
        }
        let gzip = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(ask(&sim, gzip.as_bytes()).await.unwrap().status, 415);
    }
}

#[tokio::test]
async fn a_bearer_key_wins_over_x_api_key() {
    let mut config = config(Generation::V2_0);
    config.api_key = Some("right".to_owned());
    let sim = spawn(config).await.unwrap();
    for (headers, status) in [
        ("", 401),
        ("x-api-key: wrong\r\n", 401),
        ("x-api-key: right\r\n", 200),
        ("Authorization: Bearer right\r\n", 200),
        ("Authorization: Bearer wrong\r\nx-api-key: right\r\n", 401),
    ] {
        let request = format!("GET /v1/models HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let answer = ask(&sim, request.as_bytes()).await.unwrap();
        assert_eq!(answer.status, status, "{headers}");
        if status == 401 {
            assert_eq!(
                answer.body,
                r#"{"type":"error","error":{"type":"authentication_error","message":"Invalid or missing API key"}}"#
            );
        }
    }
    // The body parser comes first.
    assert_eq!(ask(&sim, &post("{bad")).await.unwrap().status, 400);
    assert_eq!(ask(&sim, &post("{}")).await.unwrap().status, 401);
    assert_eq!(get(&sim, "/health").await.status, 200);
    let ledger = serde_json::to_string(&sim.handle().ledger()).unwrap();
    assert!(!ledger.contains("right") && !ledger.contains("wrong"));
    assert!(sim.handle().ledger().entries[4].has_authorization);
}

#[tokio::test]
async fn the_password_guards_health_but_not_the_configuration() {
    let mut config = config(Generation::V2_7);
    config.webui_password = Some("p w".to_owned());
    let sim = spawn(config).await.unwrap();
    let answer = get(&sim, "/health").await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.body,
        r#"{"status":"error","error":"Unauthorized: Password required"}"#
    );
    assert_eq!(get(&sim, "/health?password=p%20w").await.status, 200);
    assert_eq!(get(&sim, "/account-limits?password=no").await.status, 401);
    let request = "GET /health HTTP/1.1\r\nHost: x\r\nx-webui-password: p w\r\n\r\n";
    assert_eq!(ask(&sim, request.as_bytes()).await.unwrap().status, 200);
    assert_eq!(get(&sim, "/api/accounts").await.status, 401);
    let open = get(&sim, "/api/config").await;
    assert!(open.status == 200 && open.body.contains("p w"));
    let ledger = serde_json::to_string(&sim.handle().ledger()).unwrap();
    assert!(!ledger.contains("p w") && !ledger.contains("p%20w"));
}

#[tokio::test]
async fn unknown_models_fail_as_the_generation_does() {
    let sim = start(Generation::V2_7).await;
    for stream in [false, true] {
        let answer = ask(&sim, &post(&body("gpt-4o", stream))).await.unwrap();
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.error().1,
            "invalid_request_error: Invalid model: gpt-4o. Use /v1/models to see available models."
        );
    }
    let sim = start(Generation::V2_0).await;
    let answer = ask(&sim, &post(&body("gpt-4o", false))).await.unwrap();
    assert!(answer.status == 500 && answer.error().1.starts_with("API error 404: "));
    let answer = ask(&sim, &post(&body("gpt-4o", true))).await.unwrap();
    assert_eq!(
        (answer.status, answer.names()),
        (200, vec!["error".to_owned()])
    );
}

#[tokio::test]
async fn count_alone_is_answered_with_nothing_by_2_7() {
    for (generation, empty) in [(Generation::V2_0, false), (Generation::V2_7, true)] {
        let sim = start(generation).await;
        let sent = body(MODEL, false).replace("\"hi\"", "\"count\"");
        let answer = ask(&sim, &post(&sent)).await.unwrap();
        assert_eq!(answer.body == "{}", empty);
    }
}

#[tokio::test]
async fn accounts_without_any_model_listing_still_appear() {
    let mut config = config(Generation::V2_0);
    config.accounts = vec![SimAccount::new("z@x"), SimAccount::new("a@x")];
    let sim = spawn(config).await.unwrap();
    let json = get(&sim, "/health").await.json();
    assert_eq!(json["accounts"][0]["email"], "z@x");
    assert_eq!(json["accounts"][1]["email"], "a@x");
}
