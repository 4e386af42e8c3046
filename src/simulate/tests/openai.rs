//! The OpenAI generation: answers in both forms, tools, usage, routes.

use serde_json::{Value, json};

use super::super::{Generation, Running, predict};
use super::{Answer, ask, config, get, post, request, start};

pub(super) const GPT: &str = "gpt-4o";

pub(super) fn chat(body: &Value) -> Vec<u8> {
    request("POST", "/v1/chat/completions", &body.to_string())
}

pub(super) async fn told(sim: &Running, body: &Value) -> Answer {
    ask(sim, &chat(body)).await.unwrap()
}

/// The chunks of a stream, and whether `[DONE]` ended it.
pub(super) fn chunks(answer: &Answer) -> (Vec<Value>, bool) {
    let frames: Vec<&str> = answer
        .body
        .split_terminator("\n\n")
        .map(|frame| frame.strip_prefix("data: ").unwrap())
        .collect();
    let done = frames.last() == Some(&"[DONE]");
    let frames = frames.iter().filter(|frame| **frame != "[DONE]");
    let read = |frame: &&str| serde_json::from_str(frame).unwrap();
    (frames.map(read).collect(), done)
}

pub(super) fn joined(chunks: &[Value], field: &str) -> String {
    let deltas = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"][field]);
    deltas.filter_map(Value::as_str).collect()
}

fn hello(stream: bool) -> Value {
    json!({"model": GPT, "stream": stream, "messages": [{"role": "user", "content": "hi there"}]})
}

#[tokio::test]
async fn a_whole_answer() {
    let sim = start(Generation::OpenAi).await;
    let answer = told(&sim, &hello(false)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
    assert_eq!(
        (answer.header("etag"), answer.header("x-powered-by")),
        (None, None)
    );
    let got = answer.json();
    assert_eq!(got["object"], "chat.completion");
    assert!(got["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(got["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &got["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    let text = "Hello from gpt-4o of the simulated OpenAI API. You wrote: hi there";
    assert_eq!(choice["message"]["content"], text);
    assert_eq!(choice["message"].get("reasoning_content"), None);
    assert_eq!(choice["message"].get("tool_calls"), None);
    let tokens = sim.handle().messages()[0].progress.tokens;
    let usage = &got["usage"];
    assert_eq!(usage["prompt_tokens"], tokens.input + tokens.cache_read);
    assert_eq!(
        usage["prompt_tokens_details"]["cached_tokens"],
        tokens.cache_read
    );
    assert_eq!(usage["completion_tokens"], tokens.output);
    let total = tokens.input + tokens.cache_read + tokens.output;
    assert_eq!(usage["total_tokens"], total);
    assert!(tokens.cache_read > 0 && tokens.output > 0);
    let predicted = predict(
        &config(Generation::OpenAi),
        hello(false).to_string().as_bytes(),
    );
    assert_eq!(
        (predicted.unwrap().text.as_str(), tokens.output),
        (text, 17)
    );
    let kept = sim.handle().body(1).unwrap();
    assert_eq!(kept, hello(false).to_string().as_bytes());
}

#[tokio::test]
async fn a_stream_with_and_without_usage() {
    let sim = start(Generation::OpenAi).await;
    let answer = told(&sim, &hello(true)).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    let (plain, done) = chunks(&answer);
    assert!(done);
    assert_eq!(
        plain[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": "", "refusal": null})
    );
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()));
    assert!(plain.iter().all(|chunk| chunk["id"] == plain[0]["id"]));
    let text = "Hello from gpt-4o of the simulated OpenAI API. You wrote: hi there";
    assert_eq!(joined(&plain, "content"), text);
    let last = plain.last().unwrap();
    assert_eq!(
        last["choices"][0],
        json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"})
    );

    let mut body = hello(true);
    body["stream_options"] = json!({"include_usage": true});
    let answer = told(&sim, &body).await;
    let (with, done) = chunks(&answer);
    assert!(done);
    let (usage, others) = with.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(
        others
            .iter()
            .all(|chunk| chunk.get("usage") == Some(&Value::Null))
    );
    let entries = sim.handle().messages();
    // What was not told does not count as told.
    assert_eq!(entries[0].progress.tokens.output, 0);
    assert_eq!(
        usage["usage"]["completion_tokens"],
        entries[1].progress.tokens.output
    );
    assert_eq!(entries[1].progress.events, with.len() as u64 + 1);
    let predicted = predict(&config(Generation::OpenAi), body.to_string().as_bytes()).unwrap();
    assert_eq!(predicted.events, entries[1].progress.events);
    assert!(entries.iter().all(|entry| entry.progress.finished));
}

#[tokio::test]
async fn calls_come_with_exact_arguments_in_pieces() {
    let sim = start(Generation::OpenAi).await;
    let order = r#"Do it. [[sim {"text":"Two.","calls":[{"tool":"get_weather","input":{"id":2512292042121000001,"x":1.0,"e":1e400}},{"tool":0,"id":"call_mine","arguments":""}]}]]"#;
    for stream in [false, true] {
        let body = json!({"model": GPT, "stream": stream, "messages": [{"role": "user", "content": [{"type": "text", "text": order}]}],
            "tools": [{"type": "function", "function": {"name": "first"}}, {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]});
        let answer = told(&sim, &body).await;
        let (calls, text, finish) = if stream {
            let (chunks, _) = chunks(&answer);
            let mut calls = vec![json!({}), json!({})];
            let mut pieces = 0;
            for chunk in &chunks {
                let Some(call) = chunk["choices"][0]["delta"]["tool_calls"].get(0) else {
                    continue;
                };
                let slot = &mut calls[call["index"].as_u64().unwrap() as usize];
                if call.get("id").is_some() {
                    *slot = call.clone();
                    assert_eq!(call["function"]["arguments"], "");
                } else {
                    pieces += 1;
                    let piece = call["function"]["arguments"].as_str().unwrap();
                    assert!(piece.len() <= 16 && !piece.is_empty());
                    let all = slot["function"]["arguments"].as_str().unwrap().to_owned() + piece;
                    slot["function"]["arguments"] = json!(all);
                }
            }
            assert_eq!(pieces, 3);
            let finish = chunks.last().unwrap()["choices"][0]["finish_reason"].clone();
            (Value::from(calls), joined(&chunks, "content"), finish)
        } else {
            let choice = answer.json()["choices"][0].clone();
            let text = choice["message"]["content"].as_str().unwrap().to_owned();
            (
                choice["message"]["tool_calls"].clone(),
                text,
                choice["finish_reason"].clone(),
            )
        };
        assert_eq!((text.as_str(), finish), ("Two.", json!("tool_calls")));
        assert_eq!(calls[0]["type"], "function");
        assert_eq!(calls[0]["function"]["name"], "get_weather");
        assert_eq!(
            calls[0]["function"]["arguments"],
            r#"{"id":2512292042121000001,"x":1.0,"e":1e400}"#
        );
        assert_eq!(calls[1]["id"], "call_mine");
        assert_eq!(
            calls[1]["function"],
            json!({"name": "first", "arguments": ""})
        );
        assert!(calls[0]["id"].as_str().unwrap().starts_with("call_"));
    }
}

#[tokio::test]
async fn tool_choice_and_parallel_calls_are_obeyed() {
    let ask_with = |extra: Value, text: &str| {
        let mut body = json!({"model": GPT, "messages": [{"role": "user", "content": text}],
            "tools": [{"type": "function", "function": {"name": "first"}}, {"type": "function", "function": {"name": "other"}}]});
        let fields = extra.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        let told = predict(&config(Generation::OpenAi), body.to_string().as_bytes()).unwrap();
        let names: Vec<String> = told.tools.into_iter().map(|(name, _)| name).collect();
        (names, told.stop_reason)
    };
    let none: Vec<String> = vec![];
    assert_eq!(
        ask_with(json!({}), "hi"),
        (none.clone(), "end_turn".to_owned())
    );
    assert_eq!(
        ask_with(json!({"tool_choice": "required"}), "hi"),
        (vec!["first".to_owned()], "tool_use".to_owned())
    );
    assert_eq!(ask_with(json!({"tool_choice": "none"}), "a tool").0, none);
    let named = json!({"tool_choice": {"type": "function", "function": {"name": "other"}}});
    // As OpenAI does: a forced function ends in stop.
    assert_eq!(
        ask_with(named, "hi"),
        (vec!["other".to_owned()], "end_turn".to_owned())
    );
    let two = r#"[[sim {"calls":[{"tool":0},{"tool":1}]}]]"#;
    assert_eq!(ask_with(json!({}), two).0.len(), 2);
    assert_eq!(
        ask_with(json!({"parallel_tool_calls": false}), two).0,
        ["first"]
    );
}

#[tokio::test]
async fn reasoning_stops_json_and_limits() {
    let sim = start(Generation::OpenAi).await;
    let user = json!([{"role": "user", "content": "hi"}]);
    let body = json!({"model": "gpt-5.2", "messages": user, "reasoning_effort": "low"});
    let got = told(&sim, &body).await.json();
    assert_eq!(
        got["choices"][0]["message"]["reasoning_content"],
        "Let me think."
    );
    assert_eq!(
        got["usage"]["completion_tokens_details"]["reasoning_tokens"],
        4
    );
    let body =
        json!({"model": "gpt-5.2", "messages": user, "reasoning_effort": "low", "stream": true});
    let (got, _) = chunks(&told(&sim, &body).await);
    assert_eq!(joined(&got, "reasoning_content"), "Let me think.");
    let body = json!({"model": GPT, "messages": user, "stop": [" of", "from"]});
    let got = told(&sim, &body).await.json();
    assert_eq!(got["choices"][0]["message"]["content"], "Hello ");
    assert_eq!(got["choices"][0]["finish_reason"], "stop");
    let body =
        json!({"model": GPT, "messages": user, "max_tokens": 50, "max_completion_tokens": 2});
    let got = told(&sim, &body).await.json();
    assert_eq!(got["choices"][0]["message"]["content"], "Hello fr");
    assert_eq!(got["choices"][0]["finish_reason"], "length");
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}, "city": {"enum": ["Bergen"]}}, "required": ["n", "city"]});
    let body = json!({"model": GPT, "messages": user, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
    let got = told(&sim, &body).await.json();
    let text = got["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(text).unwrap(),
        json!({"n": 1, "city": "Bergen"})
    );
    let body = json!({"model": GPT, "messages": user, "response_format": {"type": "json_object"}});
    let got = told(&sim, &body).await.json();
    let text = got["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap().is_object());
}

#[tokio::test]
async fn results_are_quoted_and_pictures_counted() {
    let sim = start(Generation::OpenAi).await;
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "first", "arguments": "{}"}});
    let mut messages = json!([
        {"role": "user", "content": "[[sim {\"calls\":[{\"tool\":0}]}]]"},
        {"role": "assistant", "content": null, "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "twelve degrees"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "ra"}, {"type": "text", "text": "in"}]},
    ]);
    let body = json!({"model": GPT, "messages": messages, "tools": [{"type": "function", "function": {"name": "first"}}],
        "metadata": {"sim": {"calls": [{"tool": 0}]}}});
    let got = told(&sim, &body).await.json();
    let hello = "Hello from gpt-4o of the simulated OpenAI API.";
    assert_eq!(
        got["choices"][0]["message"]["content"],
        format!("{hello} call_1 said: twelve degrees call_2 said: rain")
    );
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
    let user = json!({"role": "user", "content": [picture, {"type": "file", "file": {"file_id": "f"}}, picture, {"type": "text", "text": "look"}]});
    messages.as_array_mut().unwrap().push(user.clone());
    let body = json!({"model": GPT, "messages": messages});
    let got = told(&sim, &body).await.json();
    let text = got["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        text.contains("call_2 said: rain") && text.ends_with("Pictures: 2. Documents: 1."),
        "{text}"
    );
    let got = told(&sim, &json!({"model": GPT, "messages": [user]}))
        .await
        .json();
    assert_eq!(
        got["choices"][0]["message"]["content"],
        format!("{hello} You wrote: look Pictures: 2. Documents: 1.")
    );
}

#[tokio::test]
async fn routes_keys_and_errors_have_openais_shape() {
    let sim = start(Generation::OpenAi).await;
    let models = get(&sim, "/v1/models").await.json();
    assert_eq!(
        (&models["object"], &models["data"][3]["id"]),
        (&json!("list"), &json!(GPT))
    );
    assert_eq!(
        get(&sim, "/v1/models/gpt-4o").await.json()["object"],
        "model"
    );
    for path in [
        "/v1/models/nope",
        "/health",
        "/account-limits",
        "/v1/nothing",
    ] {
        let answer = get(&sim, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    let answer = ask(&sim, &post("{\"messages\":[]}")).await.unwrap();
    assert_eq!(answer.status, 404);
    let error = json!({"message": "Invalid URL (POST /v1/messages)", "type": "invalid_request_error", "param": null, "code": null});
    assert_eq!(answer.json(), json!({"error": error}));
    let answer = told(&sim, &json!({"model": "gpt-9", "messages": []})).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let answer = ask(&sim, &request("POST", "/v1/chat/completions", "{"))
        .await
        .unwrap();
    assert_eq!(
        (answer.status, &answer.json()["error"]["param"]),
        (400, &Value::Null)
    );

    let mut guarded = config(Generation::OpenAi);
    guarded.api_key = Some("sk-right".to_owned());
    let sim = super::super::spawn(guarded).await.unwrap();
    let with = |line: &str| {
        let body = hello(false).to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\n{line}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        head.into_bytes()
    };
    for (line, status) in [
        ("A: b", 401),
        ("x-api-key: sk-right", 401),
        ("Authorization: Bearer sk-right", 200),
    ] {
        let answer = ask(&sim, &with(line)).await.unwrap();
        assert_eq!(answer.status, status, "{line}");
        if status == 401 {
            assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
        }
    }
}

#[tokio::test]
async fn antigravity_has_no_chat_completions() {
    for generation in super::BOTH {
        let sim = start(generation).await;
        let answer = told(&sim, &hello(false)).await;
        assert_eq!(
            (answer.status, answer.error().0.as_str()),
            (404, "not_found_error")
        );
    }
}
