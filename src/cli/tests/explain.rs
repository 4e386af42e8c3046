use serde_json::json;

use super::fake::Fake;
use crate::cli::explain::{ask, render};
use crate::cli::http::block_on;

#[test]
fn a_line_for_each_tier_with_its_reason() {
    let answer = json!({
        "requested": "claude-3-5-sonnet-20241022", "resolved": "claude-sonnet-4-6", "via": "alias",
        "tiers": [
            {"model": "claude-sonnet-4-6", "upstream": "default", "usable": false,
             "why": "quota: 1% left, below 5% and not at 10% again", "remaining_fraction": 0.01, "until": null},
            {"model": "gemini-3-flash", "upstream": "default", "usable": true,
             "why": "usable: 80% left", "remaining_fraction": 0.8, "until": null},
        ],
    });
    assert_eq!(
        render(&answer).unwrap(),
        "claude-3-5-sonnet-20241022 is an alias of claude-sonnet-4-6\n\
         \n\
         TIER  MODEL              UPSTREAM  USABLE  WHY\n\
         1     claude-sonnet-4-6  default   no      quota: 1% left, below 5% and not at 10% again\n\
         2     gemini-3-flash     default   yes     usable: 80% left\n"
    );
}

#[test]
fn a_refused_key_and_a_long_context_are_said() {
    let answer = json!({"requested": "m[1m]", "resolved": "m", "via": "default", "allowed": false, "tiers": []});
    assert_eq!(
        render(&answer).unwrap(),
        "m[1m] has no chain of its own\nit is read as m\na request with this key is refused\n\n\
         TIER  MODEL  UPSTREAM  USABLE  WHY\n"
    );
}

#[test]
fn an_answer_of_another_kind_is_an_error() {
    let error = render(&json!({"requested": "m"})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer has no resolved; is the gateway of another version?"
    );
}

#[test]
fn a_key_is_found_by_its_name_or_said_to_be_unknown() {
    let fake = Fake::start(|line| match line {
        "GET /admin/keys" => (
            200,
            r#"{"keys": [{"id": "key_a", "name": "alice"}]}"#.to_owned(),
        ),
        _ => (404, "{}".to_owned()),
    });
    let api = fake.api();
    assert!(block_on(ask(&api, "m", Some("alice"))).is_err());
    let bodies: Vec<String> = fake.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(
        bodies,
        [
            r#"{"key":"alice","model":"m"}"#,
            "",
            r#"{"key":"key_a","model":"m"}"#
        ]
    );
    let error = block_on(ask(&api, "m", Some("luna-secret"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no key has this id, name or secret; luna keys list shows them"
    );
}
