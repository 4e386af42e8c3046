//! The rules of the Anthropic Messages API about turns, their blocks, and tools' calls and results.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::raw::Node;
use super::anthropic::Thinking;
use super::{Rule, broken, is_blank, is_name, rule};

const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const MAX_NAME: usize = 64;

/// Messages of one role in a row, which the server takes for one turn.
struct Turn<'a> {
    is_user: bool,
    /// Type, block and place; for a string content the whole message stands as a text block.
    blocks: Vec<(String, Node<'a>, String)>,
    at: String,
    /// The last message's content, when it is a string.
    text: Option<String>,
}

/// `with_system`: a system message may stand after a user's turn.
pub(super) fn check(body: Node<'_>, with_system: bool, thinking: Thinking) -> Rule {
    let messages = body.get("messages").and_then(Node::items);
    let Some(messages) = messages else {
        return broken("messages", "a list is required");
    };
    rule(
        !messages.is_empty(),
        "messages",
        "at least one message is required",
    )?;
    let turns = read(&messages, with_system)?;
    let first_is_user = turns.first().is_some_and(|turn| turn.is_user);
    rule(
        first_is_user,
        "messages",
        "the first message must use the user role",
    )?;
    // Two turns of one role cannot follow each other here any more.
    let mut ids = BTreeSet::new();
    let mut open: BTreeSet<String> = BTreeSet::new();
    for turn in &turns {
        match turn.is_user {
            true => open = results(turn, open)?,
            false => open = calls(turn, &mut ids)?,
        }
    }
    let ids = open.into_iter().collect::<Vec<_>>().join(", ");
    let says = format!("tool_use ids without tool_result blocks right after them: {ids}");
    rule(ids.is_empty(), "messages", says)?;
    if thinking == Thinking::Manual {
        open_turn_thinks(&turns)?;
    }
    last(&turns)
}

fn read<'a>(messages: &[Node<'a>], with_system: bool) -> Rule<Vec<Turn<'a>>> {
    let mut turns: Vec<Turn<'a>> = Vec::new();
    let count = messages.len();
    let mut after_system = false;
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages.{index}");
        for (name, _) in message.fields() {
            let known = matches!(name.as_str(), "role" | "content");
            rule(
                known,
                format!("{at}.{name}"),
                "Extra inputs are not permitted",
            )?;
        }
        let role = message.text_of("role").unwrap_or_default();
        let is_user = match role.as_str() {
            "user" => true,
            "assistant" => false,
            "system" if with_system => {
                let after_user = turns.last().is_some_and(|turn| turn.is_user);
                let says = "a system message must follow a user's turn, and no other one";
                rule(after_user && !after_system, at, says)?;
                after_system = true;
                continue;
            }
            _ => return broken(format!("{at}.role"), "must be user or assistant"),
        };
        let says = "a system message must be last or stand before an assistant's turn";
        rule(!(after_system && is_user), &at, says)?;
        after_system = false;
        let content = message.get("content");
        let blocks = content.and_then(Node::items);
        let text = content.and_then(Node::text);
        let prefill = !is_user && index + 1 == count;
        let empty = match (&blocks, &text) {
            (Some(blocks), _) => blocks.is_empty(),
            (None, Some(text)) => is_blank(text),
            (None, None) => {
                return broken(
                    format!("{at}.content"),
                    "must be a string or a list of blocks",
                );
            }
        };
        let says = "all messages must have non-empty content";
        rule(!empty || prefill, format!("{at}.content"), says)?;
        let mut read = Vec::new();
        if text.is_some() {
            read.push(("text".to_owned(), *message, at.clone()));
        }
        for (n, block) in blocks.unwrap_or_default().into_iter().enumerate() {
            let at = format!("{at}.content.{n}");
            let kind = block.text_of("type").unwrap_or_default();
            check_block(block, &kind, is_user, &at)?;
            read.push((kind, block, at));
        }
        match turns.last_mut() {
            Some(turn) if turn.is_user == is_user => {
                turn.blocks.extend(read);
                turn.text = text;
            }
            _ => turns.push(Turn {
                is_user,
                blocks: read,
                at,
                text,
            }),
        }
    }
    Ok(turns)
}

pub(super) fn text_block(block: Node<'_>, at: &str) -> Rule {
    let text = block.text_of("text");
    let holds = text.is_some_and(|text| !is_blank(&text));
    rule(
        holds,
        at,
        "text content blocks must be non-empty and not only white space",
    )
}

fn check_block(block: Node<'_>, kind: &str, is_user: bool, at: &str) -> Rule {
    let wrong_turn = "this block does not belong in a turn of this role";
    match kind {
        "text" => text_block(block, at),
        "image" | "document" => {
            rule(is_user, at, wrong_turn)?;
            source(block, kind, at)
        }
        "search_result" => rule(is_user, at, wrong_turn),
        "tool_result" => {
            rule(is_user, at, "tool_result blocks can only be in user turns")?;
            result_content(block, at)
        }
        "tool_use" => {
            rule(
                !is_user,
                at,
                "tool_use blocks can only be in assistant turns",
            )?;
            let id = block.text_of("id").unwrap_or_default();
            rule(
                is_name(&id),
                format!("{at}.id"),
                "must match ^[a-zA-Z0-9_-]+$",
            )?;
            let name = block.text_of("name").unwrap_or_default();
            let clean = is_name(&name) && name.len() <= MAX_NAME;
            rule(
                clean,
                format!("{at}.name"),
                "must match ^[a-zA-Z0-9_-]{1,64}$",
            )?;
            let input = block.get("input");
            let is_object = input.is_some_and(Node::is_object);
            rule(is_object, format!("{at}.input"), "must be an object")
        }
        "thinking" => {
            rule(!is_user, at, wrong_turn)?;
            let has_text = block.get("thinking").is_some_and(Node::is_string);
            rule(has_text, format!("{at}.thinking"), "is required")?;
            let signature = block.text_of("signature").unwrap_or_default();
            let says = "invalid signature in a thinking block";
            rule(!signature.is_empty(), format!("{at}.signature"), says)
        }
        "redacted_thinking" => rule(!is_user, at, wrong_turn),
        "container_upload" => rule(is_user, at, wrong_turn),
        kind if kind.ends_with("_tool_result") || kind == "server_tool_use" => Ok(()),
        kind => broken(at, format!("there is no block of type {kind:?}")),
    }
}

fn source(block: Node<'_>, kind: &str, at: &str) -> Rule {
    let at = format!("{at}.source");
    let Some(source) = block.get("source") else {
        return broken(at, "is required");
    };
    let media = source.text_of("media_type").unwrap_or_default();
    let data = source.text_of("data").unwrap_or_default();
    match source.text_of("type").as_deref() {
        Some("base64") => {
            let known = match kind {
                "image" => IMAGES.contains(&media.as_str()),
                _ => media == "application/pdf",
            };
            rule(known, format!("{at}.base64.media_type"), "is not supported")?;
            let valid = !data.is_empty() && STANDARD.decode(&data).is_ok();
            rule(valid, format!("{at}.base64.data"), "must be valid base64")
        }
        Some("url") => {
            let url = source.text_of("url").unwrap_or_default();
            let holds = url.starts_with("https://") || url.starts_with("http://");
            rule(
                holds,
                format!("{at}.url.url"),
                "must be an http or https URL",
            )
        }
        Some("text") if kind == "document" => {
            let plain = media == "text/plain" && !data.is_empty();
            rule(
                plain,
                format!("{at}.text"),
                "must be text/plain and not empty",
            )
        }
        Some("content") if kind == "document" => Ok(()),
        Some("file") => Ok(()),
        _ => broken(format!("{at}.type"), "is not supported"),
    }
}

fn result_content(block: Node<'_>, at: &str) -> Rule {
    let Some(content) = block.get("content") else {
        return Ok(());
    };
    if content.is_string() {
        return Ok(());
    }
    let Some(parts) = content.items() else {
        return broken(
            format!("{at}.content"),
            "must be a string or a list of blocks",
        );
    };
    for (index, part) in parts.into_iter().enumerate() {
        let at = format!("{at}.content.{index}");
        let kind = part.text_of("type").unwrap_or_default();
        let allowed = [
            "text",
            "image",
            "document",
            "search_result",
            "tool_reference",
        ];
        let says = "this block does not belong in a tool_result";
        rule(allowed.contains(&kind.as_str()), &at, says)?;
        check_block(part, &kind, true, &at).or_else(|broken| match kind.as_str() {
            "tool_reference" => Ok(()),
            _ => Err(broken),
        })?;
    }
    Ok(())
}

/// A user's turn answers exactly the open calls, first of all.
fn results(turn: &Turn<'_>, mut open: BTreeSet<String>) -> Rule<BTreeSet<String>> {
    let mut answered = BTreeSet::new();
    let mut other = false;
    for (kind, block, at) in &turn.blocks {
        if kind != "tool_result" {
            other = true;
            continue;
        }
        let id = block.text_of("tool_use_id").unwrap_or_default();
        let once = !answered.contains(&id);
        rule(once, at, "each tool_use must have a single result")?;
        let says = "tool_result without a tool_use of this id in the turn before";
        rule(open.remove(&id), format!("{at}.tool_use_id"), says)?;
        let says = "tool_result blocks must come first in their turn";
        rule(!other, at, says)?;
        answered.insert(id);
    }
    let ids = open.iter().cloned().collect::<Vec<_>>().join(", ");
    let says = format!("tool_use ids without tool_result blocks right after them: {ids}");
    rule(open.is_empty(), &turn.at, says)?;
    Ok(open)
}

/// An assistant's turn: its calls, whose ids nobody had before.
fn calls(turn: &Turn<'_>, ids: &mut BTreeSet<String>) -> Rule<BTreeSet<String>> {
    let mut open = BTreeSet::new();
    for (kind, block, at) in &turn.blocks {
        if kind == "tool_use" {
            let id = block.text_of("id").unwrap_or_default();
            rule(
                ids.insert(id.clone()),
                format!("{at}.id"),
                "tool_use ids must be unique",
            )?;
            open.insert(id);
        }
    }
    Ok(open)
}

/// With manual thinking, an assistant's turn whose results come last must begin with a thinking block.
fn open_turn_thinks(turns: &[Turn<'_>]) -> Rule {
    let [.., assistant, user] = turns else {
        return Ok(());
    };
    let answers = user.is_user && user.blocks.iter().any(|(kind, ..)| kind == "tool_result");
    let first = assistant.blocks.first().map(|(kind, ..)| kind.as_str());
    let thinks = matches!(first, Some("thinking" | "redacted_thinking"));
    let says = "expected thinking or redacted_thinking as the first block when thinking is enabled";
    rule(!answers || thinks, &assistant.at, says)
}

fn last(turns: &[Turn<'_>]) -> Rule {
    let Some(turn) = turns.last().filter(|turn| !turn.is_user) else {
        return Ok(());
    };
    let block = turn.blocks.last().filter(|(kind, ..)| kind == "text");
    let text = block.and_then(|(_, block, _)| block.text_of("text"));
    let text = turn.text.clone().or(text).unwrap_or_default();
    let says = "final assistant content cannot end with trailing white space";
    rule(text.trim_end() == text, &turn.at, says)
}
