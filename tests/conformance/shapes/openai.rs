//! Chat completions and their chunks.

use serde_json::Value;

use super::{Findings, frames, is_json_object, parse, parse_bytes};

const FINISH: [&str; 5] = [
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "function_call",
];

pub(in super::super) fn completion(body: &[u8]) -> Vec<String> {
    let mut found = Findings::default();
    let Some(answer) = parse_bytes(body) else {
        return vec!["shape: the answer is not JSON".into()];
    };
    found.filled(&answer, "id", "");
    found.is(&answer, "object", "chat.completion", "");
    found.count(&answer, "created", "");
    found.filled(&answer, "model", "");
    usage(&answer["usage"], &mut found);
    let choices = answer["choices"].as_array().cloned().unwrap_or_default();
    found.check(choices.len() == 1, || "there is not one choice".into());
    for choice in &choices {
        found.check(choice["index"] == 0, || "choice.index is not 0".into());
        found.present(choice, "logprobs", "choice");
        let finish = choice["finish_reason"].as_str().unwrap_or_default();
        found.check(FINISH.contains(&finish), || {
            format!("finish_reason {finish:?}")
        });
        message(&choice["message"], finish, &mut found);
    }
    found.0
}

fn message(message: &Value, finish: &str, found: &mut Findings) {
    found.is(message, "role", "assistant", "message");
    found.text_or_null(message, "content", "message");
    found.text_or_null(message, "refusal", "message");
    if let Some(reasoning) = message.get("reasoning_content") {
        found.check(reasoning.is_string(), || {
            "reasoning_content is no text".into()
        });
    }
    let calls = message.get("tool_calls").map(|calls| {
        let calls = calls.as_array().cloned().unwrap_or_default();
        found.check(!calls.is_empty(), || "tool_calls without calls".into());
        for call in &calls {
            found.filled(call, "id", "tool_call");
            found.is(call, "type", "function", "tool_call");
            function(&call["function"], finish, found);
        }
    });
    let legacy = message
        .get("function_call")
        .map(|call| function(call, finish, found));
    found.check(calls.is_none() || legacy.is_none(), || {
        "tool_calls and function_call".into()
    });
    let called = (finish == "tool_calls", finish == "function_call");
    found.check(!called.0 || calls.is_some(), || {
        "finish_reason tool_calls without calls".into()
    });
    found.check(!called.1 || legacy.is_some(), || {
        "finish_reason function_call without a call".into()
    });
    found.check(
        finish != "stop" || (calls.is_none() && legacy.is_none()),
        || "finish_reason stop with a call".into(),
    );
}

fn function(function: &Value, finish: &str, found: &mut Findings) {
    found.filled(function, "name", "function");
    found.string(function, "arguments", "function");
    let arguments = function["arguments"].as_str().unwrap_or_default();
    found.check(finish == "length" || is_json_object(arguments), || {
        format!("arguments are no object: {arguments}")
    });
}

fn usage(usage: &Value, found: &mut Findings) {
    for key in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        found.count(usage, key, "usage");
    }
    let number = |key: &str| usage[key].as_u64().unwrap_or_default();
    let sum = number("prompt_tokens") + number("completion_tokens");
    found.check(number("total_tokens") == sum, || {
        "total_tokens is not the sum".into()
    });
    let cached = usage["prompt_tokens_details"]["cached_tokens"]
        .as_u64()
        .unwrap_or_default();
    found.check(cached <= number("prompt_tokens"), || {
        "more cached than prompt tokens".into()
    });
}

/// The state of a client that reads chunks.
#[derive(Default)]
struct Reader {
    found: Findings,
    identity: Option<[Value; 3]>,
    /// Name and arguments of each call so far.
    calls: Vec<(String, String)>,
    legacy: Option<(String, String)>,
    finish: Option<String>,
    usage: bool,
    done: bool,
    chunks: usize,
}

pub(in super::super) fn stream(body: &[u8], cut: bool) -> Vec<String> {
    let mut reader = Reader::default();
    for frame in frames(body, &mut reader.found) {
        reader.frame(&frame);
    }
    reader.end(cut);
    reader.found.0
}

impl Reader {
    fn frame(&mut self, lines: &[String]) {
        let data = match lines {
            [line] if line.starts_with(':') => return,
            [line] => line.strip_prefix("data: ").unwrap_or_default(),
            _ => "",
        };
        let done = self.done;
        self.found
            .check(!done, || "something comes after [DONE]".into());
        if data == "[DONE]" {
            self.done = true;
            return;
        }
        let Some(chunk) = parse(data) else {
            self.found
                .check(false, || format!("no data line with JSON: {lines:?}"));
            return;
        };
        self.chunk(&chunk);
        self.chunks += 1;
    }

    fn chunk(&mut self, chunk: &Value) {
        let found = &mut self.found;
        found.filled(chunk, "id", "chunk");
        found.is(chunk, "object", "chat.completion.chunk", "chunk");
        found.count(chunk, "created", "chunk");
        found.filled(chunk, "model", "chunk");
        let identity = ["id", "created", "model"].map(|key| chunk[key].clone());
        let first = self.identity.get_or_insert_with(|| identity.clone());
        found.check(*first == identity, || {
            "id, created or model change within the stream".into()
        });
        let Some(choices) = chunk["choices"].as_array() else {
            found.check(false, || "choices is no array".into());
            return;
        };
        match choices.as_slice() {
            [] => {
                found.check(self.finish.is_some(), || {
                    "the usage chunk comes before the finish chunk".into()
                });
                found.check(!self.usage, || "two usage chunks".into());
                self.usage = true;
                usage(&chunk["usage"], found);
            }
            [choice] => {
                found.check(chunk["usage"].is_null(), || {
                    "usage on a chunk with choices".into()
                });
                self.choice(choice);
            }
            _ => found.check(false, || "more than one choice".into()),
        }
    }

    fn choice(&mut self, choice: &Value) {
        let found = &mut self.found;
        found.check(choice["index"] == 0, || "choice.index is not 0".into());
        found.check(choice["delta"].is_object(), || "delta is no object".into());
        found.text_or_null(choice, "finish_reason", "choice");
        found.check(self.finish.is_none(), || {
            "a chunk with choices after the finish chunk".into()
        });
        if let Some(finish) = choice["finish_reason"].as_str() {
            found.check(FINISH.contains(&finish), || {
                format!("finish_reason {finish:?}")
            });
            self.finish = Some(finish.to_owned());
        }
        let delta = &choice["delta"];
        let role = delta.get("role");
        if self.chunks == 0 {
            found.check(delta["role"] == "assistant", || {
                "the first chunk has no role".into()
            });
        } else {
            found.check(role.is_none(), || "a role in a later chunk".into());
        }
        for key in ["content", "reasoning_content", "refusal"] {
            if let Some(text) = delta.get(key) {
                let text = text.as_str();
                found.check(text.is_some(), || format!("delta.{key} is no text"));
                found.check(text != Some("") || self.chunks == 0, || {
                    format!("an empty delta.{key}")
                });
            }
        }
        if let Some(calls) = delta.get("tool_calls") {
            for call in calls.as_array().cloned().unwrap_or_default() {
                self.call(&call);
            }
        }
        if let Some(call) = delta.get("function_call") {
            self.legacy_call(call);
        }
    }

    fn call(&mut self, call: &Value) {
        let found = &mut self.found;
        found.count(call, "index", "tool_call");
        let index = usize::try_from(call["index"].as_u64().unwrap_or_default()).unwrap();
        let arguments = call["function"]["arguments"].as_str();
        found.check(arguments.is_some(), || "a call without arguments".into());
        if index == self.calls.len() {
            found.filled(call, "id", "tool_call");
            found.is(call, "type", "function", "tool_call");
            found.filled(&call["function"], "name", "function");
            let name = call["function"]["name"].as_str().unwrap_or_default();
            self.calls.push((name.to_owned(), String::new()));
        } else {
            found.check(call.get("id").is_none(), || {
                "an id in a later fragment".into()
            });
        }
        match self.calls.get_mut(index) {
            Some((_, all)) => all.push_str(arguments.unwrap_or_default()),
            None => found.check(false, || format!("tool index {index} is skipped to")),
        }
    }

    fn legacy_call(&mut self, call: &Value) {
        self.found.string(call, "arguments", "function_call");
        let arguments = call["arguments"].as_str().unwrap_or_default();
        match (&mut self.legacy, call["name"].as_str()) {
            (None, Some(name)) => self.legacy = Some((name.to_owned(), arguments.to_owned())),
            (Some((_, all)), None) => all.push_str(arguments),
            _ => self
                .found
                .check(false, || "the function's name must come once, first".into()),
        }
    }

    fn end(&mut self, cut: bool) {
        let found = &mut self.found;
        if cut {
            found.check(!self.done, || "[DONE] after a fault".into());
            return;
        }
        found.check(self.done, || "[DONE] is missing".into());
        let Some(finish) = &self.finish else {
            found.check(false, || "the finish chunk is missing".into());
            return;
        };
        let calls = !self.calls.is_empty();
        found.check(finish != "tool_calls" || calls, || {
            "finish_reason tool_calls without calls".into()
        });
        found.check(finish != "function_call" || self.legacy.is_some(), || {
            "finish_reason function_call without a call".into()
        });
        found.check(
            finish != "stop" || (!calls && self.legacy.is_none()),
            || "finish_reason stop with a call".into(),
        );
        if finish != "length" {
            for (name, arguments) in self.calls.iter().chain(&self.legacy) {
                found.check(is_json_object(arguments), || {
                    format!("the arguments of {name} are no object: {arguments}")
                });
            }
        }
    }
}
