//! A Chat Completions request as a Messages request.
//!
//! `read` has what all of it reads with; `messages` reads the conversation with `parts` and `media`, `turns` puts it in
//! order, `block` writes it; `tools` (with `choice`), `thinking`, `sampling`, `json_format` and `extras` are the other fields.
//! Invariants: what is accepted is a request that Anthropic's rules of form allow (contracts/conversion.md, sections 1,
//! 1a and 10); each level of the body is read once; texts, schemas and arguments are copied, never rebuilt.

use std::borrow::Cow;

use self::json_format::{Situation, Way};
use self::messages::Talk;
use self::read::{Fields, Reader, must_be, text};
use self::thinking::{Hindrances, Plan};
use self::tools::Toolbox;
use super::{Back, JsonAnswer};
use crate::wire::convert::json::{self, Kind, Writer};
use crate::wire::convert::names::{Names, is_plain};
use crate::wire::convert::{Converted, Rejection, Target, Warnings};

mod block;
mod choice;
mod extras;
mod json_format;
mod media;
mod messages;
mod parts;
mod read;
mod sampling;
#[cfg(test)]
mod tests;
mod thinking;
mod tools;
mod turns;

/// What is written besides what the client wrote: our keys, and instructions.
const OWN_BYTES: usize = 2048;
const CACHE_CONTROL: &str = "cache_control";

/// Converts the client's own body for one tier.
///
/// # Errors
/// What cannot be served without changing its meaning (contracts/conversion.md, section 11).
pub fn request(body: &[u8], target: &Target<'_>) -> Result<Converted<Back>, Rejection> {
    let mut fields = read::body(body)?;
    let mut reader = Reader {
        capabilities: target.capabilities,
        warnings: Warnings::default(),
    };
    match text(&fields, "model")? {
        Some(model) if !model.is_empty() => {}
        _ => return Err(Rejection::new("model", "model is required.")),
    }
    extras::refuse(&fields)?;
    let (stream, include_usage) = extras::stream(&fields)?;
    let mut toolbox = tools::read(&fields, &mut reader)?;
    let mut talk = messages::read(fields.messages.take(), &mut reader)?;
    let names = Names::of(all_names(&toolbox, &talk));
    let foreign_names = changed(&names, all_names(&toolbox, &talk));

    let against = Hindrances {
        forced: toolbox.is_forced(),
        prefilled: talk.is_prefilled(),
        unsigned_tool_turn: talk.is_in_unsigned_tool_turn(),
    };
    let limit = sampling::limit(&fields)?;
    let plan = thinking::read(&fields, &mut reader)?.plan(limit, against, &mut reader);

    if !reader.capabilities.tool_choice
        && let Some(told) = toolbox.emulate_choice(&names, &mut reader)
    {
        talk.system.push(block::Block::told(&told));
    }
    let situation = Situation {
        has_tools: !toolbox.tools.is_empty(),
        thinks: plan.thinks(),
        prefilled: against.prefilled,
    };
    let is_taken = |name: &str| talk.names.iter().any(|called| names.sent(called) == name);
    let way = json_format::read(&fields)?.way(situation, target.capabilities, is_taken);
    let json = match &way {
        Way::Nothing | Way::Native(_) => JsonAnswer::Plain,
        Way::Tool { name, .. } => JsonAnswer::Tool(name.clone()),
        Way::Words(told) => {
            // Nothing makes sure of it any more.
            reader.warnings.add("response_format", "emulated");
            talk.system.push(block::Block::told(told));
            JsonAnswer::Fenced
        }
    };

    let mut w = Writer::with_capacity(body.len() + OWN_BYTES);
    w.open_object();
    w.key("model").text(target.model);
    w.key("max_tokens").number(plan.max_tokens);
    write_talk(&mut w, &talk, &names);
    if let Way::Tool {
        name,
        schema,
        description,
    } = &way
    {
        json_format::write_tool(&mut w, name, description.as_deref(), schema);
    } else {
        toolbox.write(&mut w, &names);
    }
    let stops = write_rest(&mut w, &fields, &plan, &way, &mut reader)?;
    if stream {
        w.key("stream").flag(true);
    }
    w.close_object();
    extras::drop_rest(&fields, &mut reader);

    Ok(Converted {
        body: w.into_bytes(),
        warnings: reader.warnings,
        back: Back {
            names: foreign_names,
            stream,
            include_usage,
            legacy_functions: toolbox.legacy,
            json,
            stops,
        },
    })
}

/// All tool names of a request.
fn all_names<'b>(
    toolbox: &'b Toolbox<'_>,
    talk: &'b Talk<'_>,
) -> impl Iterator<Item = &'b str> + Clone {
    let offered = toolbox.tools.iter().map(|tool| tool.name.as_ref());
    offered.chain(talk.names.iter().map(Cow::as_ref))
}

/// The names that are not sent as they are: all that an answer needs, and a stream keeps them to its end.
fn changed<'b>(names: &Names, all: impl Iterator<Item = &'b str> + Clone) -> Names {
    let mut foreign = all.filter(|name| !is_plain(name));
    let few = Names::of(foreign.clone());
    // A plain name among the others may have taken the place of a made one.
    if foreign.all(|name| few.sent(name) == names.sent(name)) {
        return few;
    }
    names.clone()
}

/// `system` and `messages`.
fn write_talk(w: &mut Writer, talk: &Talk<'_>, names: &Names) {
    if !talk.system.is_empty() {
        w.key("system");
        block::write_all(talk.system.iter(), w, names);
    }
    w.key("messages").open_array();
    for turn in &talk.turns {
        let role = match turn.role {
            turns::Role::User => "\"user\"",
            turns::Role::Assistant => "\"assistant\"",
        };
        w.open_object();
        w.key("role").raw(role).key("content");
        block::write_all(turn.results.iter().chain(&turn.blocks), w, names);
        w.close_object();
    }
    w.close_array();
}

/// The small fields; gives the stop sequences that Luna itself must cut at.
fn write_rest(
    w: &mut Writer,
    fields: &Fields<'_>,
    plan: &Plan,
    way: &Way<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<String>, Rejection> {
    let sampling = sampling::read(fields, plan.thinks(), reader)?;
    let stops = sampling::stops(fields, reader)?;
    plan.write(w);
    if plan.effort.is_some() || matches!(way, Way::Native(_)) {
        w.key("output_config").open_object();
        if let Some(effort) = plan.effort {
            w.key("effort").text(effort);
        }
        if let Way::Native(schema) = way {
            w.key("format").open_object();
            w.key("type").raw("\"json_schema\"");
            w.key("schema").raw(schema.get()).close_object();
        }
        w.close_object();
    }
    sampling.write(w);
    let mut own = Vec::new();
    if reader.capabilities.stop_sequences {
        if !stops.is_empty() {
            w.key("stop_sequences").open_array();
            for (_, literal) in &stops {
                w.raw(literal);
            }
            w.close_array();
        }
    } else {
        own = stops.into_iter().map(|(text, _)| text).collect();
    }
    if let Some(user) = extras::user(fields)? {
        w.key("metadata").open_object();
        w.key("user_id").text(&user).close_object();
    }
    if extras::standard_only(fields, reader)? {
        w.key("service_tier").raw("\"standard_only\"");
    }
    if let Some(cache) = fields.get(CACHE_CONTROL) {
        if json::kind(cache) != Kind::Object {
            return Err(Rejection::new(CACHE_CONTROL, must_be("an object", cache)));
        }
        w.key(CACHE_CONTROL).raw(cache.get());
    }
    Ok(own)
}
