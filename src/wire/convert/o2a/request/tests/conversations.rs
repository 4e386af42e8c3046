//! Conversations that a well-behaved client sends, and what must be left of them in the converted request.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::select;

use crate::wire::convert::json::{self, Object};

#[derive(Clone, Debug)]
pub(super) struct Call {
    id: String,
    name: String,
    arguments: String,
    result: String,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    System(String),
    User(Vec<String>),
    Assistant(Vec<String>, Vec<Call>),
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>().prop_map(|text| text.chars().take(20).collect()),
        2 => "[ \\n\\t]{0,3}[a-zé😀\"\\\\/]{0,5}[ \\n\\t\u{a0}]{0,3}",
        1 => Just("\u{0}\u{1f}\u{7f}\u{2028}".to_owned()),
    ]
}

fn arguments() -> impl Strategy<Value = String> {
    let fixed = [
        r#"{"id":2512292042121000001,"m":1e400,"f":1.0,"n":-0}"#,
        r#"{"b":{"a":[1.10,[],{}]},"a":"\u00e9\/😀\ud83d\ude00"}"#,
        r#" { "x" : null , "x":true } "#,
        "",
        " \n",
    ];
    prop_oneof![
        select(fixed.map(str::to_owned).to_vec()),
        (text(), any::<i128>()).prop_map(|(key, number)| {
            format!("{{{}:{number}}}", serde_json::to_string(&key).unwrap())
        }),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let name = prop_oneof!["[a-z_]{1,8}", "[a-z./ é]{1,80}"];
    (name, arguments(), text()).prop_map(|(name, arguments, result)| Call {
        id: String::new(),
        name,
        arguments,
        result,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let texts = || prop::collection::vec(text(), 0..3);
    prop_oneof![
        1 => text().prop_map(Step::System),
        3 => texts().prop_map(Step::User),
        3 => (texts(), prop::collection::vec(call(), 0..4))
            .prop_map(|(texts, calls)| Step::Assistant(texts, calls)),
    ]
}

/// Steps whose calls have ids, some of them not clean.
pub(super) fn conversation() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..8).prop_map(|mut steps| {
        let mut count = 0;
        for step in &mut steps {
            if let Step::Assistant(_, calls) = step {
                for call in calls {
                    count += 1;
                    call.id = match count % 3 {
                        0 => format!("call_{count}"),
                        1 => format!("call:{count}"),
                        _ => format!("call.{count}"),
                    };
                }
            }
        }
        steps
    })
}

/// Literals as different clients write them.
fn literal(text: &str, escaped: bool) -> String {
    if !escaped {
        return serde_json::to_string(text).unwrap();
    }
    let units: String = text
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    format!("\"{units}\"")
}

pub(super) fn body(steps: &[Step], escaped: bool) -> String {
    let write = |text: &str| literal(text, escaped);
    let mut messages = Vec::new();
    for step in steps {
        match step {
            Step::System(text) => {
                messages.push(format!(r#"{{"role":"system","content":{}}}"#, write(text)));
            }
            Step::User(texts) => messages.push(said("user", texts, write)),
            Step::Assistant(texts, calls) => {
                let mut message = said("assistant", texts, write);
                if !calls.is_empty() {
                    let calls: Vec<String> = calls
                        .iter()
                        .map(|call| {
                            format!(
                                r#"{{"id":{},"type":"function","function":{{"name":{},"arguments":{}}}}}"#,
                                write(&call.id),
                                write(&call.name),
                                write(&call.arguments)
                            )
                        })
                        .collect();
                    message.pop();
                    let _ = write!(message, r#","tool_calls":[{}]}}"#, calls.join(","));
                }
                messages.push(message);
                // Tools answer in any order.
                messages.extend(calls.iter().rev().map(|call| {
                    format!(
                        r#"{{"role":"tool","tool_call_id":{},"content":{}}}"#,
                        write(&call.id),
                        write(&call.result)
                    )
                }));
            }
        }
    }
    format!(r#"{{"model":"m","messages":[{}]}}"#, messages.join(","))
}

fn said(role: &str, texts: &[String], write: impl Fn(&str) -> String) -> String {
    let parts: Vec<String> = texts
        .iter()
        .map(|text| format!(r#"{{"type":"text","text":{}}}"#, write(text)))
        .collect();
    format!(r#"{{"role":"{role}","content":[{}]}}"#, parts.join(","))
}

/// One thing said, called or answered: who, what, and its text.
pub(super) type Item = (&'static str, String);

pub(super) fn expected(steps: &[Step]) -> (Vec<String>, Vec<Item>) {
    let is_said = |text: &&String| !text.trim().is_empty();
    let mut system = Vec::new();
    let mut items = Vec::new();
    for step in steps {
        match step {
            Step::System(text) => system.extend(Some(text).filter(is_said).cloned()),
            Step::User(texts) => {
                items.extend(texts.iter().filter(is_said).map(|t| ("user", t.clone())));
            }
            Step::Assistant(texts, calls) => {
                items.extend(
                    texts
                        .iter()
                        .filter(is_said)
                        .map(|t| ("assistant", t.clone())),
                );
                items.extend(calls.iter().map(|call| {
                    let input = match call.arguments.trim() {
                        "" => "{}",
                        arguments => arguments,
                    };
                    ("call", format!("{} {input}", call.name))
                }));
                items.extend(calls.iter().rev().map(|call| {
                    let result = Some(&call.result).filter(is_said);
                    ("result", result.cloned().unwrap_or_default())
                }));
            }
        }
    }
    if items.is_empty() {
        items = system.drain(..).map(|text| ("user", text)).collect();
    }
    if let Some((first, _)) = items.first()
        && !matches!(*first, "user")
    {
        items.insert(0, ("user", ".".to_owned()));
    }
    if let Some(("assistant", text)) = items.last_mut() {
        text.truncate(text.trim_end().len());
    }
    (system, items)
}

pub(super) fn found(body: &[u8], client: impl Fn(&str) -> String) -> (Vec<String>, Vec<Item>) {
    let request = Object::parse(body).unwrap();
    let objects = |raw| -> Vec<Object<'_>> {
        json::array(raw)
            .unwrap()
            .into_iter()
            .map(|raw| Object::of(raw).unwrap())
            .collect()
    };
    let words = |block: &Object<'_>| block.text("text").unwrap().into_owned();
    let system = request
        .get("system")
        .map_or(Vec::new(), |raw| objects(raw).iter().map(words).collect());
    let mut items = Vec::new();
    for turn in objects(request.get("messages").unwrap()) {
        let is_user = turn.text("role").unwrap() == "user";
        for block in objects(turn.get("content").unwrap()) {
            items.push(match block.text("type").unwrap().as_ref() {
                "text" if is_user => ("user", words(&block)),
                "text" => ("assistant", words(&block)),
                "tool_use" => {
                    let name = client(&block.text("name").unwrap());
                    let input = block.get("input").unwrap().get();
                    ("call", format!("{name} {input}"))
                }
                "tool_result" => (
                    "result",
                    block.text("content").unwrap_or_default().into_owned(),
                ),
                other => panic!("{other}"),
            });
        }
    }
    (system, items)
}
