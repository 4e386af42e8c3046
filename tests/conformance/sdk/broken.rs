//! Streams that break off after some text was shown.

use luna::simulate::{Fault, FaultKind, filler};
use serde_json::{Value, json};

use super::Sdk;
use super::failing::{ALL, PLAIN_APIS, raise, set_up};
use super::trio::CELLS;

/// The head of a 200 and some text have come when the stream breaks: the SDK must raise, and the text must be there.
async fn a_broken_stream_raises(sdk: Sdk) {
    let kinds = [
        ("cut", FaultKind::Cut),
        ("reset", FaultKind::Reset),
        ("error", FaultKind::ErrorEvent),
        ("again", FaultKind::SecondStart),
        ("stall", FaultKind::Stall),
    ];
    let rows: Vec<_> = kinds
        .iter()
        .map(|(name, kind)| {
            let cells = match kind {
                // An OpenAI stream has no start that could come twice.
                FaultKind::SecondStart => &["antigravity", "plain"][..],
                FaultKind::Stall => PLAIN_APIS,
                _ => ALL,
            };
            let at = match kind {
                FaultKind::Stall => "hasty-",
                _ => "",
            };
            (*name, at, Some(Fault::new("*", *kind).at_event(5)), cells)
        })
        .collect();
    let trio = set_up(&rows, "").await;
    let mut cases = Vec::new();
    for (name, _, _, cells) in &rows {
        for cell in *cells {
            for how in ["stream", "helper"] {
                let prompt = r#"[[sim {"events":8,"event_bytes":16}]]"#;
                let model = format!("{name}-{cell}");
                cases.push(json!({"how": how, "model": model, "prompt": prompt}));
            }
        }
    }
    let errors = raise(&trio, sdk, &cases).await;
    for (case, error) in cases.iter().zip(&errors) {
        let model = case["model"].as_str().unwrap();
        let (class, status, kind) = match sdk {
            Sdk::PythonOpenai | Sdk::NodeOpenai => ("APIError", Value::Null, "server_error"),
            Sdk::PythonAnthropic if model.starts_with("stall") => {
                ("APIStatusError", json!(200), "timeout_error")
            }
            Sdk::PythonAnthropic => ("APIStatusError", json!(200), "api_error"),
            Sdk::NodeAnthropic if model.starts_with("stall") => {
                ("APIError", Value::Null, "timeout_error")
            }
            Sdk::NodeAnthropic => ("APIError", Value::Null, "api_error"),
        };
        assert_eq!(error["classes"][0], class, "{case} {error:#}");
        assert_eq!(error["status"], status, "{case} {error:#}");
        assert_eq!(error["type"], kind, "{case} {error:#}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("not complete"), "{case} {error:#}");
        // The events before the text: message_start and the block's start, or the chunk with the role.
        let deltas = if model.ends_with("other") { 4 } else { 3 };
        assert_eq!(error["text"], filler(0, 16 * deltas), "{case} {error:#}");
    }
    for cell in CELLS {
        let shown = cases
            .iter()
            .filter(|case| case["model"].as_str().unwrap().ends_with(cell.name));
        assert_eq!(
            trio.asked(cell.name).len(),
            shown.count(),
            "shown is not asked again"
        );
    }
    trio.stop().await;
}

with_each_sdk!(a_broken_stream_raises);
