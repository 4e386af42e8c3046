//! Which class of exception each SDK raises when an upstream fails: each kind of failure of each kind of upstream, in
//! every way to ask.

use luna::simulate::{Fault, FaultKind};
use serde_json::{Value, json};

use super::trio::{CELLS, Trio};
use super::{Sdk, run};

/// What both dialects make of a failure.
struct Failing {
    name: &'static str,
    /// None: the upstream is chosen so that it fails by itself.
    fault: Option<Fault>,
    /// In front of the upstream's name.
    upstream: &'static str,
    openai: Told,
    anthropic: Told,
    /// Part of the message.
    says: &'static str,
    /// The least and the most seconds of `retry-after`.
    retry_after: Option<(u64, u64)>,
    /// Where it is tried.
    cells: &'static [&'static str],
}

#[derive(Clone, Copy)]
pub struct Told {
    pub status: u16,
    pub class: &'static str,
    pub kind: &'static str,
    pub code: Option<&'static str>,
}

pub const fn told(status: u16, class: &'static str, kind: &'static str) -> Told {
    Told {
        status,
        class,
        kind,
        code: None,
    }
}

pub const ALL: &[&str] = &["antigravity", "plain", "other"];
pub const PLAIN_APIS: &[&str] = &["plain", "other"];

fn status(code: u16) -> Option<Fault> {
    Some(Fault {
        code: Some(code),
        ..Fault::new("*", FaultKind::Status)
    })
}

fn fault(kind: FaultKind) -> Option<Fault> {
    Some(Fault::new("*", kind))
}

fn failing() -> Vec<Failing> {
    let row = |name, fault, openai, anthropic| Failing {
        name,
        fault,
        upstream: "",
        openai,
        anthropic,
        says: "",
        retry_after: None,
        cells: ALL,
    };
    let bad = || {
        (
            told(400, "BadRequestError", "invalid_request_error"),
            told(400, "BadRequestError", "invalid_request_error"),
        )
    };
    let limited = Told {
        code: Some("rate_limit_exceeded"),
        ..told(429, "RateLimitError", "rate_limit_error")
    };
    let gone = Told {
        code: Some("model_not_found"),
        ..told(404, "NotFoundError", "invalid_request_error")
    };
    let server = |status| told(status, "InternalServerError", "server_error");
    let api = |status| told(status, "InternalServerError", "api_error");
    let overloaded = told(529, "OverloadedError", "overloaded_error");
    vec![
        Failing {
            says: "max_tokens: 0 is too small",
            ..row(
                "bad",
                Some(Fault {
                    error_type: Some("invalid_request_error".into()),
                    message: Some("max_tokens: 0 is too small".into()),
                    ..status(400).unwrap()
                }),
                bad().0,
                bad().1,
            )
        },
        row("unprocessable", status(422), bad().0, bad().1),
        row(
            "gone",
            status(404),
            gone,
            told(404, "NotFoundError", "not_found_error"),
        ),
        row(
            "large",
            status(413),
            // Neither SDK of OpenAI's has a class of its own for it.
            told(413, "APIError", "invalid_request_error"),
            told(413, "ContentTooLargeError", "request_too_large"),
        ),
        Failing {
            retry_after: Some((5, 7)),
            ..row(
                "limited",
                Some(Fault {
                    retry_after: Some("7".into()),
                    ..fault(FaultKind::RateLimit429).unwrap()
                }),
                limited,
                told(429, "RateLimitError", "rate_limit_error"),
            )
        },
        Failing {
            retry_after: Some((300, 900)),
            cells: &["antigravity"],
            ..row(
                "exhausted",
                fault(FaultKind::Exhausted400),
                limited,
                told(429, "RateLimitError", "rate_limit_error"),
            )
        },
        Failing {
            cells: &["other"],
            ..row(
                "unpaid",
                fault(FaultKind::Exhausted400),
                limited,
                told(429, "RateLimitError", "rate_limit_error"),
            )
        },
        row(
            "busy",
            fault(FaultKind::Overloaded529),
            server(503),
            overloaded,
        ),
        row(
            "full",
            fault(FaultKind::Overloaded503),
            server(503),
            overloaded,
        ),
        row("broken", status(500), server(500), api(500)),
        row("page", fault(FaultKind::Html), server(502), api(502)),
        row("credential", status(401), server(502), api(502)),
        Failing {
            upstream: "hasty-",
            cells: PLAIN_APIS,
            ..row(
                "silent",
                fault(FaultKind::Hang),
                server(504),
                told(504, "GatewayTimeoutError", "timeout_error"),
            )
        },
        Failing {
            upstream: "nobody-",
            cells: PLAIN_APIS,
            ..row("absent", None, server(502), api(502))
        },
    ]
}

fn upstream(failing: &str, cell: &str) -> String {
    match cell {
        "antigravity" => "default".to_owned(),
        cell => format!("{failing}{cell}"),
    }
}

/// Chains of one tier, `NAME-CELL`, whose model at the upstream is `x-NAME`; and the faults of each cell.
pub async fn set_up(rows: &[(&str, &str, Option<Fault>, &[&str])], server: &str) -> Trio {
    let mut chains = json!({});
    for (name, at, _, cells) in rows {
        for cell in *cells {
            chains[format!("{name}-{cell}")] =
                json!([{"model": format!("x-{name}"), "upstream": upstream(at, cell)}]);
        }
    }
    let trio = Trio::with(server, chains).await;
    for cell in CELLS {
        let faults = rows
            .iter()
            .filter(|row| row.3.contains(&cell.name))
            .filter_map(|(name, _, fault, _)| {
                Some(Fault {
                    model: format!("x-{name}"),
                    ..fault.clone()?
                })
            });
        trio.set_faults(cell.name, faults.collect());
    }
    trio
}

/// Asks all of `cases`; one error each.
pub async fn raise(trio: &Trio, sdk: Sdk, cases: &[Value]) -> Vec<Value> {
    let argument = Value::from(cases.to_vec()).to_string();
    let told = run(&trio.world, sdk.script("errors"), &[&argument]).await;
    let errors = told["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), cases.len());
    errors
}

#[track_caller]
pub fn check(sdk: Sdk, case: &Value, error: &Value, told: Told) {
    let what = format!("{sdk:?} {case}\n{error:#}");
    let classes: Vec<&str> = error["classes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(classes.contains(&told.class), "{} {what}", told.class);
    assert_eq!(error["status"], told.status, "{what}");
    assert_eq!(error["type"], told.kind, "{what}");
    let id = error["request_id"].as_str().unwrap_or_default();
    assert!(id.starts_with("req_"), "{what}");
    assert_eq!(error["headers"]["x-request-id"], id, "{what}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "{what}");
    assert_eq!(error["text"], "", "{what}");
    if sdk.is_openai() {
        assert_eq!(error["code"], json!(told.code), "{what}");
        let fields = json!(["code", "message", "param", "type"]);
        assert_eq!(error["fields"], fields, "{what}");
    } else {
        assert_eq!(error["body_request_id"], id, "{what}");
        assert_eq!(error["headers"]["request-id"], id, "{what}");
    }
}

async fn each_failure_has_its_class(sdk: Sdk) {
    let rows = failing();
    let table: Vec<_> = rows
        .iter()
        .map(|row| (row.name, row.upstream, row.fault.clone(), row.cells))
        .collect();
    let trio = set_up(&table, "").await;
    let mut cases = Vec::new();
    let mut expected = Vec::new();
    for row in &rows {
        for cell in row.cells {
            for how in ["create", "stream", "helper"] {
                cases.push(json!({"how": how, "model": format!("{}-{cell}", row.name)}));
                expected.push(row);
            }
        }
    }
    let errors = raise(&trio, sdk, &cases).await;
    for ((case, error), row) in cases.iter().zip(&errors).zip(&expected) {
        let told = match sdk.is_openai() {
            true => row.openai,
            false => row.anthropic,
        };
        check(sdk, case, error, told);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(row.says), "{case} {error:#}");
        assert!(!message.contains('<'), "{case} {error:#}");
        if let Some((least, most)) = row.retry_after {
            let headers = &error["headers"];
            let wait: u64 = headers["retry-after"].as_str().unwrap().parse().unwrap();
            assert!((least..=most).contains(&wait), "{case} {error:#}");
            // Too long to be slept through by the SDK.
            assert_eq!(
                headers["x-should-retry"] == "false",
                wait > 30,
                "{case} {error:#}"
            );
        }
    }
    // Nothing was asked twice behind the client's back. Nobody listens at `absent`, and a tier that has said when it
    // is to be asked again is not asked before.
    let all: usize = CELLS.iter().map(|cell| trio.asked(cell.name).len()).sum();
    let unasked = |case: &&Value| {
        let (how, model) = (&case["how"], case["model"].as_str().unwrap());
        let is = |name: &str| model.starts_with(name);
        is("absent") || (is("exhausted") || is("limited")) && how != "create"
    };
    assert_eq!(all, cases.len() - cases.iter().filter(unasked).count());
    trio.stop().await;
}

with_each_sdk!(each_failure_has_its_class);
