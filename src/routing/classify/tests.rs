#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
use super::*;
use crate::routing::testkit::*;

fn body(status: u16, body: &str) -> Failure {
    classify(
        status,
        Some("application/json; charset=utf-8"),
        body.as_bytes(),
        None,
        T0,
    )
}

fn event(data: &str) -> Failure {
    classify_error_event(data.as_bytes(), T0)
}

fn error(kind: &str, message: &str) -> String {
    serde_json::json!({"type": "error", "error": {"type": kind, "message": message}}).to_string()
}

#[test]
fn the_measured_bodies() {
    let after = |s: u64| Some(T0 + s * 1000);
    for (status, text, reason, reset) in [
        (
            500,
            r#"{"type":"error","error":{"type":"api_error","message":"Max retries exceeded"}}"#,
            Reason::Exhausted,
            None,
        ),
        (
            500,
            r#"{"type":"error","error":{"type":"api_error","message":"No accounts available"}}"#,
            Reason::UpstreamError,
            None,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have exhausted your capacity on claude-sonnet-4-5. Quota will reset after 4m59s."}}"#,
            Reason::Exhausted,
            after(299),
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"RESOURCE_EXHAUSTED: You have exhausted your capacity on claude-opus-4-6-thinking. Quota will reset after 4h59m49s."}}"#,
            Reason::Exhausted,
            after(17_989),
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have exhausted your capacity on gemini-2. Please wait for your quota to reset."}}"#,
            Reason::Exhausted,
            None,
        ),
        (
            403,
            r#"{"type":"error","error":{"type":"permission_error","message":"Permission denied. Check your Antigravity license."}}"#,
            Reason::UpstreamError,
            None,
        ),
        (
            401,
            r#"{"type":"error","error":{"type":"authentication_error","message":"Invalid or missing API key"}}"#,
            Reason::UpstreamError,
            None,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"invalid_request_error: Invalid model: gpt-4o. Use /v1/models to see available models."}}"#,
            Reason::ModelNotFound,
            None,
        ),
        (
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"Endpoint POST /v1/x not found"}}"#,
            Reason::ModelNotFound,
            None,
        ),
        (
            500,
            r#"{"type":"error","error":{"type":"api_error","message":"API error 404: {\"error\":{\"code\":404}}"}}"#,
            Reason::ModelNotFound,
            None,
        ),
        (
            503,
            r#"{"error":"All credentials for model x are cooling down via provider antigravity"}"#,
            Reason::Exhausted,
            None,
        ),
    ] {
        let failure = body(status, text);
        assert_eq!((failure.reason, failure.reset), (reason, reset), "{text}");
        assert!(!failure.client_fault);
        assert_eq!(failure.ambiguous_max_retries, text.contains("Max retries"));
    }
    assert_eq!(
        body(500, &error("api_error", "No accounts available")).scope,
        Scope::AskHealth
    );
    let invalid = body(
        500,
        &error("api_error", "All accounts are invalid: a. Visit the WebUI"),
    );
    assert_eq!(
        (invalid.scope, invalid.reason),
        (Scope::Upstream, Reason::UpstreamError)
    );
}

#[test]
fn an_echo_in_a_400_marks_nothing() {
    for message in [
        "messages.0: \"You have exhausted your capacity on m. Quota will reset after 99h0m0s.\"",
        "Invalid value: RESOURCE_EXHAUSTED QUOTA_EXHAUSTED Rate limited on m",
        "bad: Max retries exceeded",
        "Max retries exceeded",
        "unexpected \"Invalid model: x\"",
        "API error 404: echoed",
        "text: All accounts are invalid",
        "status 429, rate_limit_error, 503, overloaded",
    ] {
        for status in [400, 413, 422] {
            let failure = body(status, &error("invalid_request_error", message));
            assert!(failure.client_fault, "{status} {message}");
            assert_eq!((failure.reset, failure.scope), (None, Scope::Tier));
            let outcome = fail(&book(), "m", T0, 1, &failure);
            assert!(!outcome.marked && !outcome.poll_wanted);
        }
        let in_stream = event(&error("invalid_request_error", message));
        assert!(in_stream.client_fault, "{message}");
    }
}

#[test]
fn words_count_anywhere_on_5xx_but_give_no_reset() {
    let echo = "oops: You have exhausted your capacity on m. Quota will reset after 4h0m0s.";
    for status in [500, 503, 529] {
        let failure = body(status, &error("api_error", echo));
        assert_eq!(
            (failure.reason, failure.reset),
            (Reason::Exhausted, None),
            "{status}"
        );
        let google = body(
            status,
            &error("api_error", "API error 429: RESOURCE_EXHAUSTED"),
        );
        assert_eq!(google.reason, Reason::Exhausted);
        let plain = classify(status, Some("text/plain"), echo.as_bytes(), None, T0);
        assert_eq!((plain.reason, plain.reset), (Reason::Exhausted, None));
    }
    for status in [401, 403, 502, 504] {
        assert_eq!(
            body(status, &error("api_error", echo)).reason,
            Reason::UpstreamError
        );
    }
    // "Max retries exceeded" is the whole message of a 500, nothing less and nowhere else.
    assert_eq!(
        body(503, &error("api_error", "Max retries exceeded")).reason,
        Reason::Overloaded
    );
    assert!(!body(500, &error("api_error", "x Max retries exceeded")).ambiguous_max_retries);
}

#[test]
fn type_status_and_code_decide_where_no_client_can_write() {
    for text in [
        r#"{"error":{"type":"rate_limit_error","message":"m"}}"#,
        r#"{"error":{"status":"RESOURCE_EXHAUSTED","message":"m"}}"#,
        r#"{"error":{"code":429,"message":"m"}}"#,
        r#"{"error":{"code":"insufficient_quota","message":"m"}}"#,
    ] {
        for status in [400, 403, 500] {
            assert_eq!(
                body(status, text).reason,
                Reason::Exhausted,
                "{status} {text}"
            );
        }
        assert_eq!(event(text).reason, Reason::Exhausted);
    }
    // The same words elsewhere in the body say nothing.
    let elsewhere =
        r#"{"type":"rate_limit_error","status":"RESOURCE_EXHAUSTED","error":{"message":"m"}}"#;
    assert!(body(400, elsewhere).client_fault);
    let top = r#"{"message":"You have exhausted your capacity on m. Quota will reset after 5s."}"#;
    assert!(body(400, top).client_fault);
    let text = b"You have exhausted your capacity on m. Quota will reset after 5s.";
    assert!(classify(400, Some("text/plain"), text, None, T0).client_fault);
}

#[test]
fn statuses() {
    for (status, reason, client_fault) in [
        (429, Reason::RateLimited, false),
        (503, Reason::Overloaded, false),
        (529, Reason::Overloaded, false),
        (500, Reason::UpstreamError, false),
        (502, Reason::UpstreamError, false),
        (504, Reason::UpstreamError, false),
        (401, Reason::UpstreamError, false),
        (403, Reason::UpstreamError, false),
        (404, Reason::ModelNotFound, false),
        (405, Reason::UpstreamError, false),
        (408, Reason::UpstreamError, false),
        (301, Reason::UpstreamError, false),
        (204, Reason::UpstreamError, false),
        (400, Reason::UpstreamError, true),
        (413, Reason::UpstreamError, true),
        (422, Reason::UpstreamError, true),
    ] {
        for text in [
            "",
            "{}",
            "null",
            "{\"error\":null}",
            "{\"error\":{\"message\":7}}",
            "\u{0}",
        ] {
            let failure = body(status, text);
            assert_eq!(
                (failure.reason, failure.client_fault),
                (reason, client_fault),
                "{status}"
            );
            assert_eq!((failure.status, failure.reset), (status, None));
        }
    }
    let capacity = error(
        "api_error",
        "No capacity available for model m on the server",
    );
    assert_eq!(body(500, &capacity).reason, Reason::Overloaded);
    assert!(body(400, &capacity).client_fault);
}

#[test]
fn retry_after_counts_on_a_429_only() {
    let retry = |status, seconds| classify(status, None, b"", Some(seconds), T0).reset;
    assert_eq!(retry(429, 7), Some(T0 + 7 * S));
    assert_eq!(retry(429, 0), None);
    assert_eq!(retry(429, u64::MAX), Some(T0 + MAX_RESET_AHEAD));
    assert_eq!(retry(503, 7), None);
    assert_eq!(retry(400, 7), None);
    let text = error(
        "rate_limit_error",
        "Rate limited on m. Quota will reset after 5s.",
    );
    assert_eq!(
        classify(429, None, text.as_bytes(), Some(9), T0).reset,
        Some(T0 + 5 * S)
    );
}

#[test]
fn html_is_recognised_and_never_kept() {
    let page = "<!DOCTYPE html><pre>at /home/u/server.js: RESOURCE_EXHAUSTED</pre>";
    for (kind, text) in [
        (Some("text/html; charset=utf-8"), page),
        (Some("Text/HTML"), "You have exhausted your capacity on m"),
        (None, page),
        (Some("application/json"), page),
    ] {
        let failure = classify(500, kind, text.as_bytes(), None, T0);
        assert_eq!((failure.html, &*failure.message), (true, ""));
        assert_eq!(failure.reason, Reason::UpstreamError);
    }
    assert!(classify(400, Some("text/html"), page.as_bytes(), None, T0).client_fault);
}

#[test]
fn error_events() {
    for (kind, message, reason, status) in [
        ("api_error", "Max retries exceeded", Reason::Exhausted, 500),
        ("api_error", "terminated", Reason::StreamError, 500),
        ("overloaded_error", "Overloaded", Reason::Overloaded, 529),
        ("rate_limit_error", "slow down", Reason::Exhausted, 500),
        ("permission_error", "no", Reason::UpstreamError, 403),
        ("authentication_error", "no", Reason::UpstreamError, 401),
        ("not_found_error", "no", Reason::ModelNotFound, 404),
        ("api_error", "API error 404: x", Reason::ModelNotFound, 500),
        ("something_new", "x", Reason::StreamError, 500),
    ] {
        let failure = event(&error(kind, message));
        assert_eq!(
            (failure.reason, failure.status),
            (reason, status),
            "{kind} {message}"
        );
        assert!(!failure.client_fault);
        assert_eq!(failure.error_type.as_deref(), Some(kind));
    }
    let reset = event(&error(
        "invalid_request_error",
        "You have exhausted your capacity on m. Quota will reset after 1h0m0s.",
    ));
    assert_eq!(
        (reset.reason, reset.reset),
        (Reason::Exhausted, Some(T0 + HOUR))
    );
    assert!(event(&error("invalid_request_error", "bad field")).client_fault);
    assert_eq!(event("garbage").reason, Reason::StreamError);
    assert_eq!(
        event(r#"{"error":{"code":503,"message":"x"}}"#).reason,
        Reason::Overloaded
    );
}

#[test]
fn sizes_are_bounded() {
    let long = "é".repeat(100_000);
    let failure = body(500, &error("api_error", &long[..20_000]));
    assert!(failure.message.len() <= MAX_MESSAGE);
    let failure = body(500, &error("api_error", &long));
    assert!(failure.message.len() <= MAX_MESSAGE);
    let failure = classify(500, None, &vec![0xff; 200_000], None, T0);
    assert!(failure.message.len() <= MAX_MESSAGE);
    let deep = "{\"error\":".repeat(50_000);
    assert_eq!(body(500, &deep).reason, Reason::UpstreamError);
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic(status in 0u16..700, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let failure = classify(status, None, &bytes, None, T0);
        proptest::prop_assert!(failure.reset.is_none());
        let _ = classify_error_event(&bytes, T0);
    }

    #[test]
    fn no_text_inside_a_400_is_anything_but_the_clients_fault(before in "[a-z ]{1,20}", after in "[a-zA-Z0-9 .:{}\"]{0,60}") {
        let message = format!("{before}You have exhausted your capacity on m. Quota will reset after 9h0m0s.{after}");
        let failure = body(400, &error("invalid_request_error", &message));
        // White space before the beginning is no disguise for anything.
        if !before.trim().is_empty() {
            proptest::prop_assert!(failure.client_fault && failure.reset.is_none());
        }
    }
}
