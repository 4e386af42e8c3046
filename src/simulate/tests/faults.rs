//! Every fault, in both generations, streaming and not.

use super::super::{Fault, FaultKind, Generation};
use super::{Answer, BOTH, Client, End, PLAIN, ask, body, post, start};

fn one(kind: FaultKind) -> Vec<Fault> {
    vec![Fault::new(PLAIN, kind)]
}

pub(super) async fn under(
    generation: Generation,
    fault: Fault,
    stream: bool,
) -> Result<Answer, End> {
    let sim = start(generation).await;
    let kind = fault.fault;
    sim.handle().set_faults(vec![fault]).unwrap();
    let answer = ask(&sim, &post(&body(PLAIN, stream))).await;
    let entry = sim.handle().messages().remove(0);
    assert_eq!(entry.progress.fault, Some(kind.name()));
    assert!(entry.progress.ended, "{kind:?}");
    answer
}

/// What a JSON answer to `kind` is: status and start of the message.
fn refusal(kind: FaultKind) -> Option<(u16, &'static str, &'static str)> {
    Some(match kind {
        FaultKind::Exhausted400 => (400, "invalid_request_error", ""),
        FaultKind::Exhausted500 => (500, "api_error", ""),
        FaultKind::RateLimit429 => (429, "rate_limit_error", "Rate limited"),
        FaultKind::Overloaded503 => (503, "overloaded_error", "The model"),
        FaultKind::Overloaded529 => (529, "overloaded_error", "Overloaded"),
        FaultKind::Status => (500, "api_error", "Simulated"),
        FaultKind::MaxRetries => (500, "api_error", "Max retries exceeded"),
        _ => return None,
    })
}

#[tokio::test]
async fn refusals_have_their_status_in_both_forms() {
    for generation in BOTH {
        for kind in FaultKind::ALL {
            let Some((status, name, text)) = refusal(kind) else {
                continue;
            };
            for stream in [false, true] {
                let answer = under(generation, Fault::new(PLAIN, kind), stream)
                    .await
                    .unwrap();
                if kind == FaultKind::MaxRetries && stream && generation == Generation::V2_0 {
                    assert_eq!(
                        (answer.status, answer.names()),
                        (200, vec!["error".to_owned()])
                    );
                    assert!(answer.body.contains(text));
                    continue;
                }
                assert_eq!(answer.status, status, "{kind:?}");
                let (got, message) = answer.error();
                assert_eq!(got, name);
                assert!(message.starts_with(text), "{message}");
                assert_eq!(answer.header("retry-after"), None);
                let exhausted = matches!(kind, FaultKind::Exhausted400 | FaultKind::Exhausted500);
                assert_eq!(
                    message.contains("You have exhausted your capacity on"),
                    exhausted
                );
                let prefixed = message.starts_with("RESOURCE_EXHAUSTED: ");
                assert_eq!(prefixed, exhausted && generation == Generation::V2_7);
            }
        }
    }
}

#[tokio::test]
async fn exhausted_sse_is_an_error_in_a_200() {
    for generation in BOTH {
        let fault = || Fault::new("*", FaultKind::ExhaustedSse);
        let answer = under(generation, fault(), true).await.unwrap();
        assert_eq!((answer.status, answer.end), (200, End::Whole));
        assert_eq!(answer.names(), ["error"]);
        assert!(answer.body.contains("exhausted your capacity"));
        assert_eq!(under(generation, fault(), false).await.unwrap().status, 400);
    }
}

#[tokio::test]
async fn text_type_status_and_retry_after_can_be_set() {
    let mut fault = Fault::new(PLAIN, FaultKind::Status);
    fault.code = Some(418);
    fault.message = Some("tea".to_owned());
    fault.error_type = Some("pot".to_owned());
    fault.retry_after = Some("7".to_owned());
    let answer = under(Generation::V2_7, fault, true).await.unwrap();
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (418, Some("7"))
    );
    assert_eq!(answer.error(), ("pot".to_owned(), "tea".to_owned()));
    let mut fault = Fault::new(PLAIN, FaultKind::Html);
    fault.code = Some(504);
    let answer = under(Generation::V2_7, fault, false).await.unwrap();
    assert_eq!(answer.status, 504);
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
}

#[tokio::test]
async fn hang_sends_nothing_and_notices_the_client_leave() {
    for generation in BOTH {
        for stream in [false, true] {
            let sim = start(generation).await;
            sim.handle().set_faults(one(FaultKind::Hang)).unwrap();
            let mut client = Client::connect(&sim).await;
            client.send(&post(&body(PLAIN, stream))).await;
            let seen = |totals: &super::super::Totals| totals.faults.contains_key("hang");
            assert!(sim.handle().wait(super::GUARD, seen).await);
            let read = client.stream.try_read(&mut [0; 1]);
            assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
            drop(client);
            assert!(
                sim.handle()
                    .wait(super::GUARD, |totals| totals.client_gone == 1)
                    .await
            );
            let entry = sim.handle().messages().remove(0);
            assert!(entry.progress.gone_after_ms.is_some() && entry.progress.status.is_none());
        }
    }
}

#[tokio::test]
async fn stall_stops_after_so_many_events() {
    for generation in BOTH {
        let sim = start(generation).await;
        let fault = Fault::new(PLAIN, FaultKind::Stall).at_event(2);
        sim.handle().set_faults(vec![fault]).unwrap();
        let mut client = Client::connect(&sim).await;
        client.send(&post(&body(PLAIN, true))).await;
        assert!(client.until("event: content_block_start").await);
        let seen = |totals: &super::super::Totals| totals.events == 2;
        assert!(sim.handle().wait(super::GUARD, seen).await);
        drop(client);
        assert!(
            sim.handle()
                .wait(super::GUARD, |totals| totals.client_gone == 1)
                .await
        );
        let entry = sim.handle().messages().remove(0);
        assert_eq!(entry.progress.events, 2);
        assert!(entry.progress.tokens.input > 0 && entry.progress.tokens.output == 0);

        sim.handle().set_faults(one(FaultKind::Stall)).unwrap();
        let mut client = Client::connect(&sim).await;
        client.send(&post(&body(PLAIN, false))).await;
        assert!(client.until("\"type\":\"message\"").await);
        drop(client);
        assert!(
            sim.handle()
                .wait(super::GUARD, |totals| totals.client_gone == 2)
                .await
        );
    }
}

#[tokio::test]
async fn cut_is_an_end_without_last_chunk() {
    for generation in BOTH {
        for at in [1, 3, 5] {
            let fault = Fault::new(PLAIN, FaultKind::Cut).at_event(at);
            let answer = under(generation, fault, true).await.unwrap();
            assert_eq!((answer.status, answer.end), (200, End::Cut));
            assert_eq!(answer.names().len(), at as usize);
        }
        let fault = Fault::new(PLAIN, FaultKind::Cut);
        let answer = under(generation, fault.clone(), true).await.unwrap();
        assert!(!answer.text().is_empty() && answer.end == End::Cut);
        let answer = under(generation, fault, false).await.unwrap();
        assert_eq!((answer.status, answer.end), (200, End::Cut));
        assert!(!answer.body.is_empty());
        // Far beyond the end still strikes before the last event.
        let fault = Fault::new(PLAIN, FaultKind::Cut).at_event(9_999);
        let answer = under(generation, fault, true).await.unwrap();
        assert_eq!(answer.names().last().unwrap(), "message_delta");
    }
    let fault = || Fault::new(PLAIN, FaultKind::Cut).at_event(0);
    let answer = under(Generation::V2_0, fault(), true).await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.end),
        (200, "", End::Cut)
    );
    let nothing = under(Generation::V2_7, fault(), true).await;
    assert_eq!(nothing.unwrap_err(), End::Cut);
}

#[tokio::test]
async fn reset_is_a_tcp_reset() {
    for generation in BOTH {
        for stream in [false, true] {
            let fault = Fault::new(PLAIN, FaultKind::Reset);
            assert_eq!(
                under(generation, fault, stream).await.unwrap_err(),
                End::Reset
            );
            let fault = Fault::new(PLAIN, FaultKind::Reset).at_event(3);
            match under(generation, fault, stream).await {
                Ok(answer) => assert_eq!(answer.end, End::Reset),
                // The kernel may throw away what was still under way.
                Err(end) => assert_eq!(end, End::Reset),
            }
        }
    }
}

#[tokio::test]
async fn error_event_after_content_then_a_clean_end() {
    for generation in BOTH {
        let fault = || Fault::new(PLAIN, FaultKind::ErrorEvent);
        let answer = under(generation, fault(), true).await.unwrap();
        assert_eq!((answer.status, answer.end), (200, End::Whole));
        assert!(!answer.text().is_empty());
        let (name, data) = answer.events().pop().unwrap();
        assert_eq!(
            (name.as_str(), &data["error"]["message"]),
            ("error", &"terminated".into())
        );
        let first = under(generation, fault().at_event(0), true).await.unwrap();
        assert_eq!(first.names(), ["error"]);
        let json = under(generation, fault(), false).await.unwrap();
        assert_eq!((json.status, json.error().1.as_str()), (500, "terminated"));
    }
}

#[tokio::test]
async fn second_start_repeats_the_stream_under_a_new_id() {
    for generation in BOTH {
        let fault = Fault::new(PLAIN, FaultKind::SecondStart);
        let answer = under(generation, fault.clone(), true).await.unwrap();
        let starts: Vec<_> = answer
            .events()
            .into_iter()
            .filter(|(name, _)| name == "message_start")
            .collect();
        assert_eq!((starts.len(), answer.end), (2, End::Whole));
        assert_ne!(starts[0].1["message"]["id"], starts[1].1["message"]["id"]);
        assert_eq!(answer.names().last().unwrap(), "message_stop");
        assert!(answer.text().matches("Hello from").count() == 2);
        assert_eq!(under(generation, fault, false).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn empty_answers() {
    for generation in BOTH {
        let fault = || Fault::new(PLAIN, FaultKind::Empty);
        let answer = under(generation, fault(), true).await.unwrap();
        assert_eq!(
            answer.names(),
            ["message_start", "message_delta", "message_stop"]
        );
        assert_eq!(answer.events()[1].1["usage"]["output_tokens"], 0);
        let nothing = under(generation, fault().at_event(0), true).await.unwrap();
        assert_eq!((nothing.body.as_str(), nothing.end), ("", End::Whole));
        let json = under(generation, fault(), false).await.unwrap().json();
        assert_eq!(
            json["content"],
            serde_json::json!([{"type": "text", "text": ""}])
        );
        assert_eq!(json["usage"]["output_tokens"], 0);

        let fault = || Fault::new(PLAIN, FaultKind::EmptyText);
        let answer = under(generation, fault(), true).await.unwrap();
        assert_eq!(
            answer.text(),
            "[No response after retries - please try again]"
        );
        let events = answer.events();
        assert_eq!(
            events[0].1["message"]["usage"],
            serde_json::json!({"input_tokens": 0, "output_tokens": 0})
        );
        assert_eq!(
            events[4].1["usage"],
            serde_json::json!({"output_tokens": 0})
        );
        let json = under(generation, fault(), false).await.unwrap().json();
        assert_eq!(json["content"][0]["text"], "");
    }
}

#[tokio::test]
async fn early_end_looks_complete() {
    for generation in BOTH {
        let fault = || Fault::new(PLAIN, FaultKind::EarlyEnd);
        let whole = super::super::predict(&super::config(generation), body(PLAIN, true).as_bytes());
        let whole = whole.unwrap();
        let answer = under(generation, fault(), true).await.unwrap();
        let names = answer.names();
        assert_eq!(
            &names[names.len() - 3..],
            ["content_block_stop", "message_delta", "message_stop"]
        );
        assert!(whole.text.starts_with(&answer.text()) && answer.text().len() < whole.text.len());
        assert_eq!(answer.end, End::Whole);
        let first = under(generation, fault().at_event(0), true).await.unwrap();
        assert_eq!(
            first.names(),
            ["message_start", "message_delta", "message_stop"]
        );
        let json = under(generation, fault(), false).await.unwrap().json();
        let text = json["content"][0]["text"].as_str().unwrap();
        assert!(whole.text.starts_with(text) && text.len() < whole.text.len());
    }
}

#[tokio::test]
async fn slow_waits_before_every_event() {
    for generation in BOTH {
        for stream in [false, true] {
            let mut fault = Fault::new(PLAIN, FaultKind::Slow);
            fault.delay_ms = Some(5_000);
            let began = std::time::Instant::now();
            let answer = under(generation, fault, stream).await.unwrap();
            let waits = if stream { answer.names().len() } else { 1 };
            assert!(began.elapsed().as_millis() >= 10 * waits as u128);
            assert_eq!((answer.status, answer.end), (200, End::Whole));
        }
    }
}
