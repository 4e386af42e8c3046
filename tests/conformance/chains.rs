//! Chains whose tiers speak different dialects: whichever client asks, the second tier answers whole when the first one
//! fails before it has shown anything.
//!
//! What both upstreams got is compared, byte for byte, with what a request straight to that tier sends: each attempt is
//! a conversion of the client's own request, never of another conversion.

mod compare;
mod request;

use std::time::Duration;

use luna::simulate::{Entry, Fault, FaultKind, Generation};
use serde_json::{Value, json};

use self::compare::{masked, text_of};
use self::request::request;
use crate::sdk::trio::Trio;
use crate::support::eventually;
use crate::support::world::Answer;

/// The two dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Anthropic,
    OpenAi,
}

use Dialect::{Anthropic, OpenAi};

impl Dialect {
    const fn path(self) -> &'static str {
        match self {
            Anthropic => "/v1/messages",
            OpenAi => "/v1/chat/completions",
        }
    }
}

/// A tier: where it is, what it is asked for there, and the chain that has it alone.
#[derive(Clone, Copy, Debug)]
struct Tier {
    cell: &'static str,
    upstream: &'static str,
    model: &'static str,
    alone: &'static str,
    dialect: Dialect,
}

const CLAUDE: Tier = Tier {
    cell: "antigravity",
    upstream: "default",
    model: "claude-sonnet-4-6",
    alone: "only-claude",
    dialect: Anthropic,
};
/// Of generation 2.0, whose failures are events in a stream that has already begun.
const OLD: Tier = Tier {
    model: "claude-sonnet-4-5",
    alone: "only-old",
    ..CLAUDE
};
const PLAIN: Tier = Tier {
    cell: "plain",
    upstream: "plain",
    model: "claude-haiku-4-5",
    alone: "only-plain",
    dialect: Anthropic,
};
const GPT: Tier = Tier {
    cell: "other",
    upstream: "other",
    model: "gpt-4o",
    alone: "only-gpt",
    dialect: OpenAi,
};

async fn start(antigravity: Generation) -> Trio {
    let tier = |tier: Tier| json!({"model": tier.model, "upstream": tier.upstream});
    let chains = json!({
        "claude-then-gpt": [tier(CLAUDE), tier(GPT)],
        "gpt-then-claude": [tier(GPT), tier(CLAUDE)],
        "plain-then-gpt": [tier(PLAIN), tier(GPT)],
        "gpt-then-plain": [tier(GPT), tier(PLAIN)],
        "three": [tier(CLAUDE), tier(GPT), tier(PLAIN)],
        "old-then-gpt": [tier(OLD), tier(GPT)],
        "gpt-then-old": [tier(GPT), tier(OLD)],
        "only-old": [tier(OLD)],
        "only-claude": [tier(CLAUDE)],
        "only-plain": [tier(PLAIN)],
        "only-gpt": [tier(GPT)],
    });
    Trio::of(antigravity, "", chains).await
}

async fn ask(trio: &Trio, client: Dialect, model: &str, stream: bool) -> Answer {
    let world = &trio.world;
    let request = world
        .client
        .post(world.url(client.path()))
        .header("x-api-key", &world.key)
        .header("content-type", "application/json")
        .body(request(client, model, stream));
    Answer::read(request.send().await.unwrap()).await
}

/// Makes all tiers usable again.
async fn clear(trio: &Trio) {
    let cleared = trio
        .world
        .admin_post("/admin/fallback/clear", &json!({}))
        .await;
    assert_eq!(cleared.status, 200, "{}", cleared.text());
}

/// What a tier was asked last.
fn last(trio: &Trio, tier: Tier) -> String {
    trio.asked(tier.cell).pop().unwrap().1
}

/// The usage as soon as all that were answered are counted: the last bytes of an answer go out before its line is written.
async fn usage(trio: &Trio) -> Value {
    let answered = || {
        let tiers = [CLAUDE, GPT, PLAIN].map(|tier| trio.asked(tier.cell));
        let whole = |entry: &Entry| entry.progress.finished && entry.progress.fault.is_none();
        tiers
            .iter()
            .flatten()
            .filter(|(entry, _)| whole(entry))
            .count() as u64
    };
    let counted = async || trio.world.admin_get("/admin/usage").await;
    eventually("all are counted", Duration::from_secs(10), async || {
        counted().await["total"]["requests"].as_u64().unwrap() >= answered()
    })
    .await;
    counted().await
}

fn count(usage: &Value, model: &str, field: &str) -> u64 {
    usage["models"][model][field].as_u64().unwrap_or(0)
}

/// One failure of the first tier.
struct Case {
    kind: FaultKind,
    at_event: Option<u32>,
    /// The reason in `x-luna-fallback`, in a stream and not.
    reasons: [&'static str; 2],
}

fn cases(first: Tier) -> Vec<Case> {
    let case = |kind, at_event, reasons| Case {
        kind,
        at_event,
        reasons,
    };
    // OpenAI says it by the status 429, which is `rate_limited`; an event of a stream has no status.
    let exhausted = match first.upstream {
        "other" => "rate_limited",
        _ => "exhausted",
    };
    vec![
        case(FaultKind::Exhausted400, None, [exhausted; 2]),
        case(FaultKind::ExhaustedSse, None, ["exhausted", exhausted]),
        case(FaultKind::Overloaded529, None, ["overloaded"; 2]),
        case(
            FaultKind::ErrorEvent,
            Some(1),
            ["stream_error", "upstream_error"],
        ),
        case(FaultKind::Cut, Some(1), ["stream_error", "stream_error"]),
        case(FaultKind::Reset, Some(1), ["stream_error", "stream_error"]),
        case(FaultKind::Empty, None, ["empty"; 2]),
    ]
}

async fn the_second_tier_answers(chain: &str, first: Tier, second: Tier) {
    let old = [first, second].iter().any(|tier| tier.model == OLD.model);
    let trio = start(if old {
        Generation::V2_0
    } else {
        Generation::V2_7
    })
    .await;
    for client in [OpenAi, Anthropic] {
        for stream in [true, false] {
            // What each tier is sent, and says, when it is asked alone.
            let alone = ask(&trio, client, first.alone, stream).await;
            assert_eq!(alone.status, 200, "{}", alone.text());
            let to_first = last(&trio, first);
            let direct = ask(&trio, client, second.alone, stream).await;
            assert_eq!(direct.status, 200, "{}", direct.text());
            let to_second = last(&trio, second);
            for exact in ["2512292042121000001", "1e400", "1.0"] {
                assert!(
                    to_first.contains(exact) && to_second.contains(exact),
                    "{to_second}"
                );
            }
            let expected = text_of(client, stream, &direct);
            assert!(expected.contains("One, two, three."), "{expected}");
            for case in cases(first) {
                let what = format!("{client:?} stream={stream} {chain} {:?}", case.kind);
                let mut fault = Fault::new(first.model, case.kind).times(1);
                fault.at_event = case.at_event;
                trio.set_faults(first.cell, vec![fault]);
                let (before, asked) = (
                    usage(&trio).await,
                    [first, second].map(|tier| trio.asked(tier.cell).len()),
                );

                let answer = ask(&trio, client, chain, stream).await;

                assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                assert_eq!(answer.broken, None, "{what}");
                assert_eq!(text_of(client, stream, &answer), expected, "{what}");
                assert_eq!(masked(&answer.text()), masked(&direct.text()), "{what}");
                for (name, value) in [
                    ("x-luna-requested-model", chain),
                    ("x-luna-served-model", second.model),
                    ("x-luna-upstream", second.upstream),
                    ("x-luna-tier", "2"),
                    ("x-luna-fallback", case.reasons[usize::from(!stream)]),
                    // What the conversion of the answering tier lost, not that of the one which failed.
                    ("x-luna-warnings", direct.header("x-luna-warnings")),
                ] {
                    assert_eq!(answer.header(name), value, "{what}: {name}");
                }
                let now = [first, second].map(|tier| trio.asked(tier.cell).len());
                assert_eq!(
                    now,
                    asked.map(|n| n + 1),
                    "{what}: each tier was asked once"
                );
                assert_eq!(last(&trio, first), to_first, "{what}");
                assert_eq!(last(&trio, second), to_second, "{what}");
                counted_once(&trio, &before, first, second, &what).await;
                clear(&trio).await;
            }
            let lossy = client != second.dialect;
            assert_eq!(
                direct.header("x-luna-warnings").is_empty(),
                !lossy,
                "{client:?} {second:?}"
            );
        }
    }
    trio.stop().await;
}

/// One request, with the usage of the tier that answered, on that tier's model.
async fn counted_once(trio: &Trio, before: &Value, first: Tier, second: Tier, what: &str) {
    let grown = |after: &Value, model: &str, field: &str| {
        count(after, model, field) - count(before, model, field)
    };
    let after = usage(trio).await;
    for (field, n) in [
        ("requests", 1),
        ("errors", 0),
        ("fallbacks", 1),
        ("input_tokens", 101),
        ("output_tokens", 9),
        ("cache_read_input_tokens", 40),
        ("cache_creation_input_tokens", 0),
    ] {
        assert_eq!(grown(&after, second.model, field), n, "{what}: {field}");
        assert_eq!(
            grown(&after, first.model, field),
            0,
            "{what}: {field} of the failed tier"
        );
    }
    let total = |usage: &Value| usage["total"]["requests"].as_u64().unwrap();
    assert_eq!(total(&after) - total(before), 1, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn antigravity_then_openai() {
    the_second_tier_answers("claude-then-gpt", CLAUDE, GPT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_then_antigravity() {
    the_second_tier_answers("gpt-then-claude", GPT, CLAUDE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_antigravity_then_openai() {
    the_second_tier_answers("old-then-gpt", OLD, GPT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_then_old_antigravity() {
    the_second_tier_answers("gpt-then-old", GPT, OLD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anthropic_then_openai() {
    the_second_tier_answers("plain-then-gpt", PLAIN, GPT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_then_anthropic() {
    the_second_tier_answers("gpt-then-plain", GPT, PLAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_tier_answers_after_two_failures_of_either_dialect() {
    let trio = start(Generation::V2_7).await;
    for client in [OpenAi, Anthropic] {
        for stream in [true, false] {
            let mut bodies = Vec::new();
            for tier in [CLAUDE, GPT, PLAIN] {
                ask(&trio, client, tier.alone, stream).await;
                bodies.push(last(&trio, tier));
            }
            let exhausted = Fault::new(CLAUDE.model, FaultKind::Exhausted400).times(1);
            trio.set_faults(CLAUDE.cell, vec![exhausted]);
            let busy = Fault::new(GPT.model, FaultKind::Overloaded503).times(1);
            trio.set_faults(GPT.cell, vec![busy]);
            let answer = ask(&trio, client, "three", stream).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-luna-tier"), "3");
            assert_eq!(answer.header("x-luna-fallback"), "exhausted,overloaded");
            assert_eq!(answer.header("x-luna-served-model"), PLAIN.model);
            assert!(text_of(client, stream, &answer).contains("One, two, three."));
            let asked: Vec<String> = [CLAUDE, GPT, PLAIN].map(|tier| last(&trio, tier)).into();
            assert_eq!(asked, bodies, "{client:?} stream={stream}");
            clear(&trio).await;
        }
    }
    trio.stop().await;
}

/// When all fail, the client is told in its own dialect, and the first cause in the contract's order decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_tiers_fail_the_client_is_told_in_its_dialect() {
    let trio = start(Generation::V2_7).await;
    trio.set_faults(
        "antigravity",
        vec![Fault::new("*", FaultKind::Exhausted400)],
    );
    trio.set_faults("other", vec![Fault::new("*", FaultKind::Overloaded529)]);
    trio.set_faults("plain", vec![Fault::new("*", FaultKind::Html)]);
    for client in [OpenAi, Anthropic] {
        for stream in [true, false] {
            let answer = ask(&trio, client, "three", stream).await;
            assert_eq!(answer.status, 429, "{}", answer.text());
            let error = &answer.json()["error"];
            assert_eq!(error["type"], "rate_limit_error", "{error}");
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=900).contains(&wait), "{wait}");
            let message = error["message"].as_str().unwrap();
            for tier in [CLAUDE, GPT, PLAIN] {
                assert!(message.contains(tier.model), "{message}");
            }
            assert_eq!(error.get("code").is_some(), client == OpenAi, "{error}");
            clear(&trio).await;
        }
    }
    trio.stop().await;
}
