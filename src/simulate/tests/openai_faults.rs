//! Every fault in the OpenAI dialect.

use serde_json::{Value, json};

use super::super::{Fault, FaultKind, Generation};
use super::openai::{GPT, chat, chunks, joined};
use super::{Answer, End, ask, start};

async fn under(fault: Fault, stream: bool) -> Result<Answer, End> {
    let sim = start(Generation::OpenAi).await;
    let kind = fault.fault;
    sim.handle().set_faults(vec![fault]).unwrap();
    let body = json!({"model": GPT, "stream": stream, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "hi"}]});
    let answer = ask(&sim, &chat(&body)).await;
    let entry = sim.handle().messages().remove(0);
    assert_eq!(entry.progress.fault, Some(kind.name()));
    answer
}

#[tokio::test]
async fn refusals_have_their_status_and_shape() {
    for (kind, status, name, code) in [
        (
            FaultKind::Exhausted400,
            429,
            "insufficient_quota",
            json!("insufficient_quota"),
        ),
        (FaultKind::Exhausted500, 500, "server_error", Value::Null),
        (FaultKind::MaxRetries, 500, "server_error", Value::Null),
        (FaultKind::NoAccounts, 500, "server_error", Value::Null),
        (
            FaultKind::RateLimit429,
            429,
            "requests",
            json!("rate_limit_exceeded"),
        ),
        (FaultKind::Overloaded503, 503, "server_error", Value::Null),
        (FaultKind::Overloaded529, 529, "server_error", Value::Null),
        (FaultKind::Status, 500, "server_error", Value::Null),
    ] {
        for stream in [false, true] {
            let answer = under(Fault::new("*", kind), stream).await.unwrap();
            assert_eq!(answer.status, status, "{kind:?}");
            let error = answer.json()["error"].clone();
            assert_eq!(
                (&error["type"], &error["code"]),
                (&json!(name), &code),
                "{kind:?}"
            );
            assert!(error["message"].is_string() && error.get("param") == Some(&Value::Null));
            let retry = answer.header("retry-after");
            assert_eq!(retry, (kind == FaultKind::RateLimit429).then_some("1"));
        }
    }
    for (code, kind) in [
        (401, "invalid_request_error"),
        (404, "invalid_request_error"),
        (400, "invalid_request_error"),
        (503, "server_error"),
    ] {
        let mut fault = Fault::new(GPT, FaultKind::Status);
        fault.code = Some(code);
        let answer = under(fault, true).await.unwrap();
        assert_eq!((answer.status, answer.error().0.as_str()), (code, kind));
    }
    let mut fault = Fault::new(GPT, FaultKind::RateLimit429);
    fault.retry_after = Some("17".to_owned());
    assert_eq!(
        under(fault, false).await.unwrap().header("retry-after"),
        Some("17")
    );
    assert_eq!(
        under(Fault::new("*", FaultKind::Html), false)
            .await
            .unwrap()
            .status,
        502
    );
}

#[tokio::test]
async fn errors_within_a_stream() {
    let answer = under(Fault::new("*", FaultKind::ExhaustedSse), true)
        .await
        .unwrap();
    let (got, done) = chunks(&answer);
    assert_eq!(
        (answer.status, answer.end, done, got.len()),
        (200, End::Whole, false, 1)
    );
    assert_eq!(got[0]["error"]["type"], "insufficient_quota");
    let answer = under(Fault::new("*", FaultKind::ErrorEvent), true)
        .await
        .unwrap();
    let (got, done) = chunks(&answer);
    assert!(!done && answer.end == End::Whole);
    // Role, one piece of text, the error.
    assert_eq!(got.len(), 3);
    assert_eq!(got[2]["error"]["message"], "terminated");
    assert_eq!(joined(&got, "content"), "Hello from gpt-4o ");
}

#[tokio::test]
async fn streams_that_do_not_end_well() {
    let cut = under(Fault::new("*", FaultKind::Cut), true).await.unwrap();
    assert_eq!((cut.end, chunks(&cut).0.len()), (End::Cut, 2));
    let reset = under(Fault::new("*", FaultKind::Reset), true).await;
    assert_eq!(reset.unwrap_err(), End::Reset);
    let early = under(Fault::new("*", FaultKind::EarlyEnd), true)
        .await
        .unwrap();
    let (got, done) = chunks(&early);
    assert_eq!((early.end, done, got.len()), (End::Whole, false, 2));
    assert!(
        got.iter()
            .all(|chunk| chunk["choices"][0]["finish_reason"].is_null())
    );
    let mut fault = Fault::new("*", FaultKind::EarlyEnd);
    fault.message = Some("[DONE]".to_owned());
    let (got, done) = chunks(&under(fault, true).await.unwrap());
    assert_eq!((done, got.len()), (true, 2));
    // Between the finish chunk and the usage: a fault at the last possible event leaves [DONE] out.
    let late = under(Fault::new("*", FaultKind::Cut).at_event(1_000), true)
        .await
        .unwrap();
    let (got, done) = chunks(&late);
    assert_eq!((late.end, done), (End::Cut, false));
    assert!(got.last().unwrap()["usage"].is_object());
    let twice = under(Fault::new("*", FaultKind::SecondStart), true)
        .await
        .unwrap();
    let (got, done) = chunks(&twice);
    let roles = got
        .iter()
        .filter(|chunk| chunk["choices"][0]["delta"]["role"] == "assistant");
    assert_eq!((roles.count(), done), (2, true));
    assert_ne!(got.first().unwrap()["id"], got.last().unwrap()["id"]);
}

#[tokio::test]
async fn answers_without_substance() {
    let empty = under(Fault::new("*", FaultKind::Empty), true)
        .await
        .unwrap();
    let (got, done) = chunks(&empty);
    assert_eq!(
        (joined(&got, "content").as_str(), done, got.len()),
        ("", true, 3)
    );
    let nothing = under(Fault::new("*", FaultKind::Empty).at_event(0), true)
        .await
        .unwrap();
    assert_eq!((nothing.status, nothing.body.as_str()), (200, ""));
    for kind in [FaultKind::Empty, FaultKind::EmptyText] {
        let got = under(Fault::new("*", kind), false).await.unwrap().json();
        assert_eq!(got["choices"][0]["message"]["content"], "", "{kind:?}");
        assert_eq!(got["choices"][0]["finish_reason"], "stop");
    }
    let half = under(Fault::new("*", FaultKind::Cut), false).await.unwrap();
    assert!(half.end == End::Cut && !half.body.is_empty());
}
