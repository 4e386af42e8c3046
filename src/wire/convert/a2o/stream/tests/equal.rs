//! The stream of an answer says what the whole answer says.

use proptest::prelude::*;

use super::{data, datas, stream};
use crate::wire::convert::a2o::answer::answer;
use crate::wire::convert::json::{self, Object};

/// One block: its kind, its text or its input's JSON, and id and name of a call.
type Block = (String, String, String);

#[derive(Clone, Debug)]
struct Said {
    thinking: String,
    text: String,
    refusal: String,
    calls: Vec<(String, String)>,
    finish: &'static str,
    tokens: (u64, u64, u64),
}

fn any_answer() -> impl Strategy<Value = Said> {
    let text = "([a-z \n\"\\\\é\u{1f600}\u{2028}]{0,12})?";
    let arguments = prop_oneof![
        r#"\{"k":( ?[1-9][0-9]{0,29}|"[a-z{}\[\]é]{0,5}(\\\\|\\"|\\n)?"|\[\{"a":\[\]\},null\])\}"#,
        Just(String::new()),
        Just("null".to_owned()),
        Just("[1, 2]".to_owned()),
    ];
    let calls = prop::collection::vec(("(f|g_h|tool-1)", arguments), 0..4);
    let finish = prop_oneof![
        Just("stop"),
        Just("length"),
        Just("tool_calls"),
        Just("content_filter"),
        Just("odd")
    ];
    (
        text,
        text,
        text,
        calls,
        finish,
        (0..99_u64, 1..99_u64, 0..99_u64),
    )
        .prop_map(|(thinking, text, refusal, calls, finish, tokens)| Said {
            thinking,
            text,
            refusal,
            calls,
            finish,
            tokens,
        })
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

impl Said {
    fn usage(&self) -> String {
        let (prompt, completion, cached) = self.tokens;
        format!(
            r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"prompt_tokens_details":{{"cached_tokens":{cached}}}}}"#
        )
    }

    fn whole(&self) -> String {
        let calls: Vec<String> = self
            .calls
            .iter()
            .enumerate()
            .map(|(at, (name, arguments))| {
                format!(
                    r#"{{"id":"call_{at}","type":"function","function":{{"name":"{name}","arguments":{}}}}}"#,
                    quoted(arguments)
                )
            })
            .collect();
        format!(
            r#"{{"id":"x","model":"m","choices":[{{"index":0,"message":{{"content":{},"reasoning_content":{},"refusal":{},"tool_calls":[{}]}},"finish_reason":"{}"}}],"usage":{}}}"#,
            quoted(&self.text),
            quoted(&self.thinking),
            quoted(&self.refusal),
            calls.join(","),
            self.finish,
            self.usage()
        )
    }

    /// The same in chunks; `random` decides where they are cut and how the calls' fragments are mixed.
    fn chunks(&self, mut random: impl FnMut(usize) -> usize) -> Vec<String> {
        let mut deltas = vec![r#"{"role":"assistant","content":""}"#.to_owned()];
        for (name, text) in [
            ("reasoning_content", &self.thinking),
            ("content", &self.text),
            ("refusal", &self.refusal),
        ] {
            for piece in pieces(text, &mut random) {
                deltas.push(format!(r#"{{"{name}":{}}}"#, quoted(&piece)));
            }
        }
        let mut waiting: Vec<Vec<String>> = self
            .calls
            .iter()
            .enumerate()
            .map(|(at, (name, arguments))| {
                let mut fragments = vec![format!(
                    r#"{{"index":{at},"id":"call_{at}","type":"function","function":{{"name":"{name}","arguments":""}}}}"#
                )];
                for piece in pieces(arguments, &mut random) {
                    fragments.push(format!(
                        r#"{{"index":{at},"function":{{"arguments":{}}}}}"#,
                        quoted(&piece)
                    ));
                }
                fragments.reverse();
                fragments
            })
            .collect();
        // Calls begin in order, what follows is mixed.
        for call in &mut waiting {
            deltas.extend(
                call.pop()
                    .map(|first| format!(r#"{{"tool_calls":[{first}]}}"#)),
            );
        }
        while let Some(at) = {
            let left: Vec<usize> = (0..waiting.len())
                .filter(|at| !waiting[*at].is_empty())
                .collect();
            (!left.is_empty()).then(|| left[random(left.len())])
        } {
            let fragment = waiting[at].pop().unwrap();
            deltas.push(format!(r#"{{"tool_calls":[{fragment}]}}"#));
        }
        let mut chunks: Vec<String> = deltas
            .iter()
            .map(|delta| {
                format!(r#"{{"id":"x","model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#)
            })
            .collect();
        chunks.push(format!(
            r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{}"}}]}}"#,
            self.finish
        ));
        chunks.push(format!(r#"{{"choices":[],"usage":{}}}"#, self.usage()));
        chunks.push("[DONE]".to_owned());
        chunks
    }
}

fn pieces(text: &str, random: &mut impl FnMut(usize) -> usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for c in text.chars() {
        piece.push(c);
        if random(3) == 0 {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

fn of_whole(body: &[u8]) -> (Vec<Block>, String, String) {
    let message = Object::parse(body).unwrap();
    let blocks = json::array(message.get("content").unwrap()).unwrap();
    let blocks = blocks.into_iter().map(|block| {
        let block = Object::of(block).unwrap();
        let text = |name| block.text(name).unwrap_or_default().into_owned();
        let kind = text("type");
        match kind.as_str() {
            "tool_use" => {
                let input = block.get("input").unwrap().get().to_owned();
                (kind, input, text("id") + "/" + &text("name"))
            }
            "thinking" => (kind, text("thinking"), String::new()),
            _ => (kind, text("text"), String::new()),
        }
    });
    (
        blocks.collect(),
        message.text("stop_reason").unwrap().into_owned(),
        message.get("usage").unwrap().get().to_owned(),
    )
}

fn of_stream(out: &[u8]) -> (Vec<Block>, String, String) {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut reason, mut usage) = (String::new(), String::new());
    for data in datas(out) {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        match data["type"].as_str().unwrap() {
            "content_block_start" => {
                let block = &data["content_block"];
                let known = match block["type"].as_str().unwrap() {
                    "tool_use" => text(&block["id"]) + "/" + &text(&block["name"]),
                    _ => String::new(),
                };
                blocks.push((text(&block["type"]), String::new(), known));
            }
            "content_block_delta" => {
                let delta = &data["delta"];
                for name in ["text", "thinking", "partial_json"] {
                    blocks.last_mut().unwrap().1 += &text(&delta[name]);
                }
            }
            "message_delta" => {
                reason = text(&data["delta"]["stop_reason"]);
                usage = data["usage"].to_string();
            }
            _ => {}
        }
    }
    for block in &mut blocks {
        if block.0 == "tool_use" && block.1.is_empty() {
            block.1 = "{}".into();
        }
    }
    (blocks, reason, usage)
}

proptest! {
    #[test]
    fn the_stream_of_a_completion_equals_its_whole_conversion(
        said in any_answer(),
        seed in any::<u64>(),
    ) {
        let mut state = seed | 1;
        let chunks = said.chunks(|below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        });
        let (mut stream, mut out) = (stream(), Vec::new());
        for chunk in &chunks {
            stream.event(&data(chunk), &mut out).unwrap();
        }
        let body = answer(said.whole().as_bytes(), &stream.back, &stream.facts).unwrap();
        let (whole, streamed) = (of_whole(&body), of_stream(&out));
        prop_assert_eq!(whole.0, streamed.0);
        prop_assert_eq!(whole.1, streamed.1);
        let usage: serde_json::Value = serde_json::from_str(&whole.2).unwrap();
        prop_assert_eq!(usage.to_string(), streamed.2);
    }
}
