//! Puts the chat request together.

use super::blocks::Part;
use super::options::Options;
use super::tools::{Choice, Offer};
use super::turns::{Call, Message};
use crate::wire::convert::Target;
use crate::wire::convert::json::{Writer, text};
use crate::wire::convert::names::Names;

/// Room for what a request says that the client's did not.
const HEADROOM: usize = 1024;
/// A word is no longer than this in the search for one that says that something failed.
const WORD_MAX: usize = 48;

/// All that goes into a request.
pub struct Request<'r, 'a> {
    pub target: &'r Target<'r>,
    pub names: &'r Names,
    pub system: &'r [&'a str],
    pub messages: &'r [Message<'a>],
    pub offer: &'r Offer<'a>,
    pub options: &'r Options<'a>,
}

impl Request<'_, '_> {
    pub fn write(&self, body_len: usize) -> Vec<u8> {
        let mut w = Writer::with_capacity(body_len + body_len / 8 + HEADROOM);
        w.open_object().key("model").text(self.target.model);
        w.key("messages").open_array();
        self.system(&mut w);
        for message in self.messages {
            w.open_object();
            self.message(message, &mut w);
            w.close_object();
        }
        w.close_array();
        self.tools(&mut w);
        self.options(&mut w);
        w.close_object();
        w.into_bytes()
    }

    fn system(&self, w: &mut Writer) {
        let told = self.told();
        if self.system.is_empty() && told.is_empty() {
            return;
        }
        let mut all = self.system.to_vec();
        all.extend(told.iter().map(String::as_str));
        w.open_object().key("role").raw("\"system\"");
        w.key("content");
        lines(&all, w);
        w.close_object();
    }

    /// What the upstream is told in words, as literals, because it has no field for it.
    fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        match &self.offer.told {
            Some(Choice::Named(name)) => told.push(format!(
                "Answer by calling the tool {} now. Do not answer in any other way.",
                self.names.sent(name)
            )),
            Some(_) => told.push(
                "Answer by calling at least one of the tools now. Do not answer in any other way."
                    .to_owned(),
            ),
            None => {}
        }
        if let Some(schema) = self.options.told_schema {
            told.push(format!(
                "Answer with one JSON value and nothing else: no words around it, no code fence. It must be valid \
                 under this JSON schema:\n{schema}"
            ));
        }
        told.into_iter().map(|text| quoted(&text)).collect()
    }

    fn message(&self, message: &Message<'_>, w: &mut Writer) {
        w.key("role");
        match message {
            Message::System(said) => {
                w.raw("\"system\"").key("content");
                lines(said, w);
            }
            Message::User(parts) => {
                w.raw("\"user\"").key("content");
                user(parts, w);
            }
            Message::Assistant { text, calls } => {
                w.raw("\"assistant\"").key("content");
                match text.as_slice() {
                    [] => w.null(),
                    // The blocks of an answer are one text.
                    text => w.raw(&joined(text, "")),
                };
                if !calls.is_empty() {
                    w.key("tool_calls").open_array();
                    for call in calls {
                        self.call(call, w);
                    }
                    w.close_array();
                }
            }
            Message::Tool { id, failed, lines } => {
                w.raw("\"tool\"").key("tool_call_id").text(id);
                w.key("content");
                tool(*failed, lines, w);
            }
        }
    }

    fn call(&self, call: &Call<'_>, w: &mut Writer) {
        w.open_object().key("id").text(&call.id);
        w.key("type").raw("\"function\"");
        w.key("function").open_object();
        w.key("name").text(self.names.sent(&call.name));
        w.key("arguments").text(call.input);
        w.close_object().close_object();
    }

    fn tools(&self, w: &mut Writer) {
        if self.offer.tools.is_empty() {
            return;
        }
        w.key("tools").open_array();
        for tool in &self.offer.tools {
            w.open_object().key("type").raw("\"function\"");
            w.key("function").open_object();
            w.key("name").text(self.names.sent(&tool.name));
            if let Some(description) = tool.description {
                w.key("description").raw(description);
            }
            w.key("parameters").raw(tool.schema);
            if let Some(strict) = tool.strict {
                w.key("strict").flag(strict);
            }
            w.close_object().close_object();
        }
        w.close_array();
        if let Some(choice) = &self.offer.choice {
            w.key("tool_choice");
            match choice {
                Choice::Auto => w.raw("\"auto\""),
                Choice::Required => w.raw("\"required\""),
                Choice::None => w.raw("\"none\""),
                Choice::Named(name) => w
                    .open_object()
                    .key("type")
                    .raw("\"function\"")
                    .key("function")
                    .open_object()
                    .key("name")
                    .text(self.names.sent(name))
                    .close_object()
                    .close_object(),
            };
        }
        if self.offer.one_call {
            w.key("parallel_tool_calls").flag(false);
        }
    }

    fn options(&self, w: &mut Writer) {
        let options = self.options;
        w.key("max_completion_tokens").number(options.max_tokens);
        if let Some(temperature) = options.temperature {
            w.key("temperature").raw(temperature);
        }
        if let Some(top_p) = options.top_p {
            w.key("top_p").raw(top_p);
        }
        if !options.stop.is_empty() {
            w.key("stop").open_array();
            for stop in &options.stop {
                w.raw(stop);
            }
            w.close_array();
        }
        if let Some(effort) = options.effort {
            w.key("reasoning_effort").text(effort);
        }
        if let Some(schema) = options.schema {
            w.key("response_format").open_object();
            w.key("type").raw("\"json_schema\"");
            w.key("json_schema").open_object();
            w.key("name").raw("\"response\"").key("schema").raw(schema);
            w.key("strict").flag(true);
            w.close_object().close_object();
        }
        if let Some(user) = &options.user {
            w.key("user").text(user);
        }
        if options.standard {
            w.key("service_tier").raw("\"default\"");
        }
        if options.stream {
            w.key("stream").flag(true);
            w.key("stream_options").open_object();
            w.key("include_usage").flag(true).close_object();
        }
    }
}

/// A user message that is one text is sent as a string, which every server takes.
fn user(parts: &[Part<'_>], w: &mut Writer) {
    match parts {
        [Part::Text(text)] => {
            w.raw(text);
        }
        [Part::Lines(all)] => lines(all, w),
        parts => {
            w.open_array();
            for part in parts {
                self::part(part, w);
            }
            w.close_array();
        }
    }
}

fn part(part: &Part<'_>, w: &mut Writer) {
    w.open_object().key("type");
    match part {
        Part::Text(text) => {
            w.raw("\"text\"").key("text").raw(text);
        }
        Part::Lines(all) => {
            w.raw("\"text\"").key("text");
            lines(all, w);
        }
        Part::Image { media, data } => {
            w.raw("\"image_url\"").key("image_url").open_object();
            w.key("url").raw(&data_url(media, data));
            w.close_object();
        }
        Part::ImageUrl(url) => {
            w.raw("\"image_url\"").key("image_url").open_object();
            w.key("url").raw(url).close_object();
        }
        Part::Pdf { title, data } => {
            w.raw("\"file\"").key("file").open_object();
            w.key("filename").raw(title.unwrap_or("\"document.pdf\""));
            w.key("file_data").raw(&data_url("application/pdf", data));
            w.close_object();
        }
    }
    w.close_object();
}

/// A result that is a failure says so in its first word, because a tool message has no other place for it.
fn tool(failed: bool, lines: &[&str], w: &mut Writer) {
    match lines {
        lines if failed && !says_error(lines) => {
            let text = joined(lines, "\\n");
            let inner = text.get(1..).unwrap_or("\"");
            w.raw(&format!("\"Error: {inner}"));
        }
        lines => self::lines(lines, w),
    }
}

fn says_error(lines: &[&str]) -> bool {
    let first = lines
        .first()
        .and_then(|literal| serde_json::from_str(literal).ok())
        .and_then(text)
        .unwrap_or_default();
    let word = first.split_whitespace().next().unwrap_or_default();
    let word: String = word.chars().take(WORD_MAX).collect();
    word.to_ascii_lowercase().contains("error")
}

/// Several texts of a client that OpenAI takes as one: each on a line of its own, so that none runs into the next.
fn lines(literals: &[&str], w: &mut Writer) {
    match literals {
        [one] => w.raw(one),
        more => w.raw(&joined(more, "\\n")),
    };
}

/// One string literal made of many, with an escape or nothing between them.
fn joined(literals: &[&str], between: &str) -> String {
    let mut out = String::with_capacity(literals.iter().map(|l| l.len() + between.len()).sum());
    out.push('"');
    for (index, literal) in literals.iter().enumerate() {
        if index > 0 {
            out.push_str(between);
        }
        out.push_str(
            literal
                .strip_prefix('"')
                .and_then(|inner| inner.strip_suffix('"'))
                .unwrap_or_default(),
        );
    }
    out.push('"');
    out
}

fn data_url(media: &str, base64: &str) -> String {
    format!("\"data:{media};base64,{base64}\"")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}
