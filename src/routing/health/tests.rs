#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly"
)]
use super::*;

const NOW: Millis = 1_795_507_617_117;

fn report(body: &str) -> Report {
    match parse(body.as_bytes(), NOW).unwrap() {
        Health::Known(report) => report,
        Health::Unknown => panic!("quotas are unknown"),
    }
}

/// The measured body of antigravity.md section 3.
const MEASURED: &str = r#"{"status":"ok","timestamp":"2026-11-24T08:06:57.117Z","latencyMs":27,
 "summary":"2 total, 2 available, 0 rate-limited, 0 invalid",
 "counts":{"total":2,"available":2,"rateLimited":0,"invalid":0},
 "accounts":[
  {"email":"alice@example.com","lastUsed":null,"modelRateLimits":{},"rateLimitCooldownRemaining":0,"status":"ok",
   "models":{"claude-sonnet-4-5":{"remaining":"3%","remainingFraction":0.03,"resetTime":"2030-01-01T00:00:00Z"},
             "gemini-3-flash":{"remaining":"N/A","remainingFraction":null,"resetTime":"2030-01-01T00:00:00Z"}}},
  {"email":"bob@example.com","lastUsed":"2026-11-24T08:07:59.285Z","status":"rate-limited",
   "modelRateLimits":{"claude-sonnet-4-5":{"isRateLimited":true,"resetTime":1795507689293},
                      "old":{"isRateLimited":false,"resetTime":null}},
   "rateLimitCooldownRemaining":9989,
   "models":{"claude-sonnet-4-5":{"remaining":"0%","remainingFraction":0,"resetTime":"2026-11-24T13:07:36Z"}}}]}"#;

#[test]
fn the_measured_body_is_read() {
    let report = report(MEASURED);
    let reset = 1_893_456_000_000;
    assert_eq!(
        report.models["claude-sonnet-4-5"],
        [
            Reading {
                fraction: Some(0.03),
                reset: Some(reset)
            },
            Reading {
                fraction: Some(0.0),
                reset: Some(1_795_525_656_000)
            }
        ]
    );
    assert_eq!(
        report.models["gemini-3-flash"],
        [Reading {
            fraction: Some(0.0),
            reset: Some(reset)
        }]
    );
    assert_eq!(report.accounts[0].email, "a***@example.com");
    assert_eq!(report.accounts[1].status, "rate-limited");
    assert_eq!(
        report.accounts[1].limited,
        [("claude-sonnet-4-5".to_owned(), Some(1_795_507_689_293))]
    );
}

#[test]
fn null_without_a_reset_is_unknown_and_with_one_is_zero() {
    for (quota, expected) in [
        (
            r#"{"remainingFraction":null,"resetTime":null}"#,
            (None, None),
        ),
        (r#"{"remainingFraction":null}"#, (None, None)),
        (
            r#"{"resetTime":"1970-01-01T00:00:01Z"}"#,
            (Some(0.0), Some(1000)),
        ),
        (
            r#"{"remainingFraction":null,"resetTime":1000}"#,
            (Some(0.0), Some(1000)),
        ),
        (
            r#"{"remainingFraction":null,"resetTime":"soon"}"#,
            (None, None),
        ),
        (
            r#"{"remainingFraction":1,"resetTime":null}"#,
            (Some(1.0), None),
        ),
        (r#"{"remainingFraction":0}"#, (Some(0.0), None)),
        (r#"{"remainingFraction":7.5}"#, (Some(1.0), None)),
        (r#"{"remainingFraction":-2}"#, (Some(0.0), None)),
        (r#"{"remainingFraction":"0.5"}"#, (None, None)),
        (r#"{"remainingFraction":{}}"#, (None, None)),
    ] {
        let body = format!(r#"{{"accounts":[{{"status":"ok","models":{{"m":{quota}}}}}]}}"#);
        let reading = report(&body).models["m"][0];
        assert_eq!((reading.fraction, reading.reset), expected, "{quota}");
    }
}

#[test]
fn accounts_in_error_say_nothing_and_models_may_be_missing() {
    let report = report(
        r#"{"accounts":[
        {"email":"a@x","status":"error","error":"E","models":{"m":{"remainingFraction":1}}},
        {"email":"b@x","status":"invalid","error":"E","models":{}},
        {"email":"c@x","status":"banned"},
        {"email":"d@x","status":"error","error":"...","modelRateLimits":{}},
        {"email":"e@x","status":"ok"},
        {"email":"f@x","status":"ok","models":{"m":null,"n":7}},
        7, null]}"#,
    );
    assert!(report.models.is_empty());
    assert_eq!(report.accounts.len(), 6);
    assert_eq!(report.accounts.iter().filter(|a| a.works()).count(), 2);
}

#[test]
fn without_an_accounts_array_quotas_are_unknown() {
    for body in [
        r#"{"status":"ok","version":"4.1.0"}"#,
        r#"{"accounts":null}"#,
        r#"{"accounts":{"a":1}}"#,
        "{}",
    ] {
        assert_eq!(parse(body.as_bytes(), NOW), Ok(Health::Unknown), "{body}");
    }
    assert_eq!(report(r#"{"accounts":[]}"#), Report::default());
}

#[test]
fn what_is_no_json_object_is_an_error_that_does_not_quote_it() {
    for body in [
        "",
        "<html>secret</html>",
        "[1]",
        "\"secret\"",
        "{\"accounts\":[",
        "\u{0}",
    ] {
        let error = parse(body.as_bytes(), NOW).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn counts_and_names_are_bounded() {
    let long = "m".repeat(300);
    let models: Vec<String> = (0..2000)
        .map(|i| format!(r#""m{i}":{{"remainingFraction":1}}"#))
        .collect();
    let account = format!(
        r#"{{"status":"ok","email":"{long}@x","models":{{"{long}":{{"remainingFraction":1}},{}}}}}"#,
        models.join(",")
    );
    let other = account.replace("\"m", "\"n");
    let many = vec![r#"{"status":"error"}"#; 2000].join(",");
    let report = report(&format!(r#"{{"accounts":[{account},{other},{many}]}}"#));
    assert!(report.models.len() <= MAX_MODELS);
    assert!(report.models.keys().all(|name| name.len() <= MAX_NAME));
    assert_eq!(report.accounts.len(), MAX_ACCOUNTS);
    let deep = format!("{{\"accounts\":{}", "[".repeat(100_000));
    assert!(parse(deep.as_bytes(), NOW).is_err());
}

#[test]
fn addresses_are_masked() {
    for (email, masked) in [
        ("alice@example.com", "a***@example.com"),
        ("a@x", "a***@x"),
        ("@x", "@***"),
        ("nobody", "n***"),
        ("", "***"),
        ("é\n@x\u{7}", "é***@x"),
    ] {
        assert_eq!(mask_email(email), masked);
    }
}
