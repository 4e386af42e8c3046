//! What the fuzz targets of the conversion check. `make test` replays their corpora through the same functions.
//!
//! Streams are driven as the golden cases drive them, and the rules that requests and answers are held to are those of
//! the other tests. The first byte of a stream chooses where it is cut, the second what had been asked for; the first
//! byte of a whole answer chooses what had been asked for.

use std::sync::Arc;

use bytes::Bytes;
use luna::wire::answer::check_message;
use luna::wire::anthropic::Step;
use luna::wire::convert::names::Names;
use luna::wire::convert::o2a::JsonAnswer;
use luna::wire::convert::{Capabilities, Facts, Target, a2o, o2a};
use luna::wire::count::input_tokens;
use luna::wire::openai::{StreamWatch, check_completion};
use luna::wire::sse::Splitter;
use serde_json::Value;
use serde_json::value::RawValue;

use self::direction::{A2o, Direction, O2a, run_stream};

#[path = "../src/wire/convert/o2a/request/tests/validator.rs"]
mod anthropic_rules;
#[path = "../tests/conformance/wire_direction.rs"]
#[allow(dead_code, reason = "the golden cases use more of it")]
mod direction;
#[path = "../src/wire/convert/a2o/request/tests/rules.rs"]
mod openai_rules;
#[path = "../tests/conformance/shapes/mod.rs"]
#[allow(dead_code, reason = "the golden cases use more of it")]
mod shapes;

/// serde_json's trees end at 128 levels, the conversion does not: what may be deeper is not read as a tree.
const MAX_BRACKETS: usize = 100;

fn is_shallow(json: &[u8]) -> bool {
    let brackets = json.iter().filter(|b| matches!(b, b'{' | b'['));
    brackets.count() <= MAX_BRACKETS
}

/// Whether the tests' reader can take it: arguments are copied even with half of a surrogate pair in them, as JavaScript
/// reads them, and serde_json's trees have no place for one.
fn is_readable(json: &[u8]) -> bool {
    let half =
        |escape: &[u8]| escape.starts_with(b"\\u") && matches!(escape.get(2), Some(b'd' | b'D'));
    is_shallow(json) && !json.windows(3).any(half)
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

fn facts() -> Facts {
    Facts {
        model: "tier-model".into(),
        created: 1_700_000_000,
        request_id: "req_test".into(),
    }
}

fn target(capabilities: &Capabilities) -> Target<'_> {
    Target {
        model: "tier-model",
        capabilities,
    }
}

/// What is sent to an Anthropic upstream is JSON that keeps its rules, each time the same.
pub fn o2a_request(data: &[u8]) {
    for profile in [Capabilities::ANTHROPIC, Capabilities::ANTIGRAVITY] {
        let convert = || o2a::request(data, &target(&profile));
        let (first, second) = (convert(), convert());
        match (first, second) {
            (Ok(first), Ok(second)) => {
                assert!(is_json(&first.body), "not JSON in UTF-8");
                let kept = anthropic_rules::check(&first.body, &profile);
                assert_eq!(kept, Ok(()), "a rule is broken");
                assert_eq!(first.body, second.body, "two conversions differ");
                assert_eq!(first.warnings, second.warnings, "two conversions differ");
                assert_eq!(first.back.stops, second.back.stops);
                assert_eq!(first.back.json, second.back.json);
            }
            (first, second) => assert_eq!(first.err(), second.err(), "two conversions differ"),
        }
    }
}

/// The same for an OpenAI upstream, once with all it can do and once with little.
pub fn a2o_request(data: &[u8]) {
    let lean = Capabilities {
        reasoning: false,
        mid_system: false,
        max_output: Some(1000),
        ..Capabilities::ANTIGRAVITY
    };
    for profile in [Capabilities::OPENAI, lean] {
        let convert = || a2o::request(data, &target(&profile));
        let (first, second) = (convert(), convert());
        match (first, second) {
            (Ok(first), Ok(second)) => {
                assert!(is_json(&first.body), "not JSON in UTF-8");
                // A tree has no place for numbers beyond a float.
                let tree = serde_json::from_slice::<Value>(&first.body).ok();
                if let Some(tree) = tree.filter(|_| is_shallow(&first.body)) {
                    assert_eq!(openai_rules::check(&tree), Ok(()), "a rule is broken");
                }
                assert_eq!(first.body, second.body, "two conversions differ");
                assert_eq!(first.warnings, second.warnings, "two conversions differ");
                assert_eq!(first.back.input_estimate, second.back.input_estimate);
                assert!(first.back.input_estimate > 0);
            }
            (first, second) => assert_eq!(first.err(), second.err(), "two conversions differ"),
        }
    }
}

fn names() -> Names {
    Names::of(["look up", "look_up", "f"].into_iter())
}

/// What an OpenAI client may have asked for.
fn o2a_back(mode: u8) -> o2a::Back {
    o2a::Back {
        names: names(),
        stream: true,
        include_usage: mode & 1 != 0,
        legacy_functions: mode & 2 != 0,
        json: match (mode >> 2) % 3 {
            0 => JsonAnswer::Plain,
            1 => JsonAnswer::Fenced,
            _ => JsonAnswer::Tool("json_answer".into()),
        },
        stops: match (mode >> 5) % 3 {
            0 => Vec::new(),
            1 => vec!["END".into(), "\n\n".into(), "é".into()],
            _ => vec!["```".into(), "a".into()],
        },
    }
}

fn a2o_back(mode: u8) -> a2o::Back {
    a2o::Back {
        names: names(),
        stream: true,
        input_estimate: u64::from(mode),
    }
}

/// Cut and mode, and the rest.
fn stream_input(data: &[u8]) -> Option<(u8, u8, &[u8])> {
    match data {
        [cut, mode, rest @ ..] => Some((*cut, *mode, rest)),
        _ => None,
    }
}

/// The first byte as a place in the input: all of them in a small one.
fn place(cut: u8, length: usize) -> usize {
    usize::from(cut) * length.max(255) / 255
}

/// Runs the stream whole and cut; gives what the client has seen and whether it broke off.
fn stream<D: Direction>(data: &[u8], cut: u8, back: D::Back) -> (Vec<u8>, bool) {
    let back = Arc::new(back);
    let whole = run_stream::<D>(data, &[], &back, &facts());
    let at = place(cut, data.len()).min(data.len());
    let parts = run_stream::<D>(data, &[at], &back, &facts());
    assert!(whole == parts, "a cut at {at} changed the output");
    (whole.out, whole.fault.is_some())
}

/// A stream is UTF-8, frame by frame; gives the data of each frame with the value of its `event` line.
fn frames(out: &[u8]) -> Vec<(Option<&str>, &str)> {
    let text = std::str::from_utf8(out).expect("the stream is UTF-8");
    assert!(!text.contains('\r'), "a CR in the stream");
    assert!(text.is_empty() || text.ends_with("\n\n"), "a frame is cut");
    text.split_terminator("\n\n")
        .map(|frame| {
            let (name, data) = match frame.split_once('\n') {
                Some((name, data)) => (name.strip_prefix("event: "), data),
                None => (None, frame),
            };
            assert!(!data.contains('\n'), "{frame:?}");
            (name, data.strip_prefix("data: ").expect("a data line"))
        })
        .collect()
}

/// A Messages stream becomes chunks: JSON lines in UTF-8, one finish chunk at most, and `[DONE]` only behind it.
pub fn o2a_stream(data: &[u8]) {
    let Some((cut, mode, rest)) = stream_input(data) else {
        return;
    };
    let (out, broken) = stream::<O2a>(rest, cut, o2a_back(mode));
    let frames = frames(&out);
    let mut done = false;
    for (name, data) in &frames {
        assert!(name.is_none() && !done, "after the end: {data}");
        done = *data == "[DONE]";
        assert!(done || is_json(data.as_bytes()), "no JSON: {data}");
    }
    let finishes = frames.iter().filter(|(_, data)| {
        let chunk = serde_json::from_str::<Value>(data).ok();
        chunk.is_some_and(|chunk| chunk["choices"][0]["finish_reason"].is_string())
    });
    assert_eq!(
        finishes.count(),
        usize::from(done),
        "one finish before [DONE]"
    );
    assert!(!(broken && done), "a broken answer must not end well");
}

/// Chunks become a Messages stream: JSON lines in UTF-8 whose types their `event` lines tell; nothing after the end.
pub fn a2o_stream(data: &[u8]) {
    let Some((cut, mode, rest)) = stream_input(data) else {
        return;
    };
    let (out, broken) = stream::<A2o>(rest, cut, a2o_back(mode));
    let frames = frames(&out);
    let mut over = false;
    let mut open = None;
    for (name, data) in &frames {
        assert!(!over, "after the end: {data}");
        assert!(is_json(data.as_bytes()), "no JSON: {data}");
        let name = name.expect("every event has its name");
        assert!(
            data.starts_with(&format!("{{\"type\":\"{name}\"")),
            "{data}"
        );
        let index = data.split_once("\"index\":").map(|(_, rest)| {
            let digits = rest.find(|c: char| !c.is_ascii_digit());
            rest.split_at(digits.unwrap_or(rest.len())).0
        });
        match name {
            "content_block_start" => assert!(open.replace(index).is_none(), "two are open"),
            "content_block_delta" => assert_eq!(open, Some(index), "no such block is open"),
            "content_block_stop" => assert_eq!(open.take(), Some(index), "no such block"),
            "message_delta" => assert!(open.is_none(), "a block is open"),
            "message_stop" | "error" => over = true,
            _ => {}
        }
    }
    assert!(!(broken && over), "a broken answer must not end well");
}

/// The watch over chunks commits once at most, and a cut changes no verdict.
pub fn openai_watch(data: &[u8]) {
    let Some((cut, mode, rest)) = stream_input(data) else {
        return;
    };
    let at = place(cut, rest.len()).min(rest.len());
    let run = |cuts: &[&[u8]]| {
        let mut splitter = Splitter::new(1 << 20);
        let mut events = Vec::new();
        for part in cuts {
            let part = Bytes::copy_from_slice(part);
            let pushed = splitter.push(part, &mut events);
            pushed.expect("the input is smaller than the limit");
        }
        events.extend(splitter.finish());
        let mut watch = StreamWatch::new(mode & 1 != 0);
        let mut seen = Vec::new();
        let mut failed = false;
        for event in &events {
            let step = watch.on_event(event);
            assert!(!failed || matches!(step, Step::Fail(_)), "it went on");
            failed |= matches!(step, Step::Fail(_));
            seen.push(format!("{step:?}"));
        }
        let commits = seen.iter().filter(|step| *step == "Commit").count();
        assert_eq!(commits, usize::from(watch.committed()));
        let end = watch.on_end();
        assert!(!failed || end.is_err(), "a failed stream must not end well");
        assert!(end.is_err() || watch.finished());
        seen.push(format!("{end:?} {:?}", watch.usage()));
        seen
    };
    let (a, b) = rest.split_at(at);
    assert_eq!(run(&[rest]), run(&[a, b]), "a cut changed a verdict");
}

/// A judged message becomes a completion that OpenAI's SDKs accept.
pub fn message(data: &[u8]) {
    let [mode, body @ ..] = data else { return };
    if check_message(body).is_err() {
        return;
    }
    let Ok(out) = o2a::answer(body, &o2a_back(*mode), &facts()) else {
        return;
    };
    assert!(is_json(&out), "not JSON in UTF-8");
    if is_readable(&out) {
        let mut wrong = shapes::openai::completion(&out);
        // The input of a call is copied, whatever it is.
        wrong.retain(|wrong| !wrong.contains("arguments are no object"));
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// A judged completion becomes a message that Anthropic's SDKs accept.
pub fn completion(data: &[u8]) {
    let [mode, body @ ..] = data else { return };
    let Ok(told) = check_completion(body) else {
        return;
    };
    let Ok(out) = a2o::answer(body, &a2o_back(*mode), &facts()) else {
        return;
    };
    assert!(is_json(&out), "not JSON in UTF-8");
    if is_readable(&out) {
        let mut wrong = shapes::anthropic::message(&out);
        // The contract says end_turn whatever the answer holds when the reason is missing or unknown.
        let known = [
            "stop",
            "length",
            "tool_calls",
            "function_call",
            "content_filter",
        ];
        if !told
            .stop_reason
            .is_some_and(|told| known.contains(&told.as_str()))
        {
            wrong.retain(|wrong| !wrong.contains("end_turn with a call"));
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// The estimate is never nothing, and no byte of a request costs more than the dearest block would.
pub fn count(data: &[u8]) {
    let Ok(tokens) = input_tokens(data) else {
        return;
    };
    assert_eq!(input_tokens(data), Ok(tokens));
    let most = 10_000_u64.saturating_mul(data.len() as u64);
    assert!((1..=most).contains(&tokens), "{tokens} tokens");
}
