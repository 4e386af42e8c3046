//! `POST /v1/messages`: faults, quota, and the answer in either form
//! (antigravity.md sections 6 to 10).

use super::accounts::Verdict;
use super::answer::{Answer, make_id};
use super::events::{Event, Mark, close, stop};
use super::faults::{Fault, FaultKind};
use super::ledger::Tokens;
use super::page::Exchange;
use super::peek::Peek;
use super::refusals::{EXHAUSTED_2_0_MS, NO_ACCOUNTS_2_0_MS, error_event, fail, refuse};
use super::routes::{exhausted_text, reset_text};
use super::shape::Shape;
use super::strict;
use super::wire::{Stop, Wire};
use super::{Generation, openai};

/// Its cooldown, which `/health` then shows.
const COOLDOWN_2_0_MS: u64 = 10_000;
/// 2.7.7 waits so long for each account.
const EXHAUSTED_2_7_MS: u64 = 5_000;
/// And so long when no reset time is known.
const NO_RESET_2_7_MS: u64 = 76_000;
/// Up to this it waits without end instead.
const MAX_WAIT_2_7_MS: u64 = 120_000;
/// An answer that does not stream is made as a whole.
const MAX_JSON_TEXT: u64 = 64 * 1024 * 1024;

/// Answers a request whose body is JSON and whose key is right.
pub(super) async fn answer<W: Wire>(x: &mut Exchange<'_, W>, seen: Peek) -> Result<(), Stop> {
    if x.sim.config.strict
        && let Err(broken) = strict::check(x.sim.config.generation, &x.request.bytes())
    {
        x.ticket.progress.refused = Some(broken.to_string());
        x.param.clone_from(&broken.param);
        let text = broken.to_string();
        return x.error(400, "invalid_request_error", &text).await;
    }
    if !seen.has_messages {
        let text = "messages is required and must be an array";
        return x.error(400, "invalid_request_error", text).await;
    }
    let (fault, shape) = {
        let mut state = x.sim.state();
        let fault = state.take_fault(&seen.model, seen.stream);
        let preset = state
            .answers
            .get(&seen.model)
            .or_else(|| state.answers.get("*"));
        let shape = match preset {
            Some(preset) => seen.shape.clone().over(preset),
            None => seen.shape.clone(),
        };
        (fault, shape)
    };
    if let Err(text) = shape.check() {
        return x.error(400, "invalid_request_error", &text).await;
    }
    if let Some(fault) = &fault {
        x.ticket.progress.fault = Some(fault.fault.name());
        if refuse(x, fault, &seen.model, seen.stream).await? {
            return Ok(());
        }
    }
    if x.is_2_7() && seen.message_count == 1 && seen.last_user == "count" {
        return x.json(200, "{}".to_owned()).await;
    }
    if x.sim.config.generation.obeys() {
        let known = x.sim.config.models.contains(&seen.model) || fault.is_some();
        if !known {
            let model = &seen.model;
            let text = format!("The model `{model}` does not exist or this key may not use it.");
            return x.error(404, "model_not_found", &text).await;
        }
        return write(x, &seen, &shape, fault.as_ref()).await;
    }
    let account = loop {
        let verdict = x.sim.state().choose(&seen.model, &x.sim.config);
        match verdict {
            Verdict::Serve(account) => break Some(account),
            // The fault alone decides.
            _ if fault.is_some() => break None,
            Verdict::Exhausted {
                reset_in: Some(reset),
                ..
            } if !x.is_2_0() && reset <= MAX_WAIT_2_7_MS => {
                // It waits and asks again, for ever; the pause keeps a scale of 0 from spinning.
                let time = x.sim.config.scaled(1_000);
                x.pause(time.max(std::time::Duration::from_millis(5)))
                    .await?;
            }
            verdict => return turned_away(x, &seen, verdict).await,
        }
    };
    x.ticket.progress.account = account;
    write(x, &seen, &shape, fault.as_ref()).await
}

async fn turned_away<W: Wire>(
    x: &mut Exchange<'_, W>,
    seen: &Peek,
    verdict: Verdict,
) -> Result<(), Stop> {
    let (model, stream) = (seen.model.as_str(), seen.stream);
    let no_accounts = (500, "api_error", "No accounts available");
    match verdict {
        Verdict::Serve(_) => Ok(()),
        Verdict::UnknownModel if x.is_2_0() => {
            let text = "API error 404: {\n  \"error\": {\n    \"code\": 404,\n    \"message\": \
                        \"Requested entity was not found.\",\n    \"status\": \"NOT_FOUND\"\n  }\n}\n";
            fail(x, stream, 0, (500, "api_error", text)).await
        }
        Verdict::UnknownModel => {
            let text = format!(
                "invalid_request_error: Invalid model: {model}. Use /v1/models to see available models."
            );
            x.error(400, "invalid_request_error", &text).await
        }
        Verdict::NoAccounts { .. } if x.is_2_0() => {
            fail(x, stream, NO_ACCOUNTS_2_0_MS, no_accounts).await
        }
        Verdict::NoAccounts { .. } => x.hang().await,
        Verdict::AllInvalid(_) if x.is_2_0() => {
            fail(x, stream, NO_ACCOUNTS_2_0_MS, no_accounts).await
        }
        Verdict::AllInvalid(reasons) => {
            let text = format!("All accounts are invalid: {reasons}. Visit the WebUI to fix them.");
            x.error(500, "api_error", &text).await
        }
        Verdict::Exhausted { at_once: true, .. } => fail(x, stream, 0, no_accounts).await,
        Verdict::Exhausted { .. } if x.is_2_0() => {
            let cooldown = x.sim.config.scaled(COOLDOWN_2_0_MS).as_millis() as u64;
            x.sim.state().limit(model, cooldown);
            let error = (500, "api_error", "Max retries exceeded");
            fail(x, stream, EXHAUSTED_2_0_MS, error).await
        }
        Verdict::Exhausted {
            reset_in, accounts, ..
        } => {
            let wait = match reset_in {
                Some(_) => EXHAUSTED_2_7_MS.saturating_mul(accounts),
                None => NO_RESET_2_7_MS,
            };
            x.pause_ms(wait).await?;
            let left =
                reset_in.map(|ms| ms.saturating_sub(x.sim.config.scaled(wait).as_millis() as u64));
            x.sim.state().limit(model, left.unwrap_or(60_000));
            let reset = left.map(reset_text);
            let text = exhausted_text(x.sim.config.generation, model, reset.as_deref());
            x.error(400, "invalid_request_error", &text).await
        }
    }
}

async fn write<W: Wire>(
    x: &mut Exchange<'_, W>,
    seen: &Peek,
    shape: &Shape,
    fault: Option<&Fault>,
) -> Result<(), Stop> {
    let config = &x.sim.config;
    let body_len = x.request.bytes().len();
    let answer = Answer::new(config, seen, shape, body_len, x.ticket.seq);
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(text) => return x.error(400, "invalid_request_error", &text).await,
    };
    let kind = fault.map(|fault| fault.fault);
    match kind {
        Some(FaultKind::Empty) => answer = answer.into_empty(),
        Some(FaultKind::EmptyText) => answer = answer.into_empty_text(seen.stream),
        Some(FaultKind::EarlyEnd) if !seen.stream => answer = answer.into_half(),
        _ => {}
    }
    x.ticket.progress.message_id = Some(answer.id.clone());
    if seen.stream {
        return stream(x, &answer, shape, fault).await;
    }
    if answer.text.len() > MAX_JSON_TEXT {
        let text = "metadata.sim: an answer that does not stream is at most 64 MiB";
        return x.error(400, "invalid_request_error", text).await;
    }
    x.pause_ms(shape.first_ms.unwrap_or(0)).await?;
    let given = fault.and_then(|fault| fault.delay_ms);
    let slow = kind == Some(FaultKind::Slow);
    x.pause_ms(given.unwrap_or(if slow { 1_000 } else { 0 }))
        .await?;
    match kind {
        Some(FaultKind::Stall) => {
            x.half_json(&answer.json()).await?;
            x.hang().await
        }
        Some(FaultKind::Cut) => {
            x.half_json(&answer.json()).await?;
            Err(Stop::Cut)
        }
        Some(FaultKind::Reset) => {
            x.half_json(&answer.json()).await?;
            Err(Stop::Reset)
        }
        Some(FaultKind::Empty) if fault.and_then(|fault| fault.at_event) == Some(0) => {
            x.json(200, String::new()).await
        }
        _ => {
            x.ticket.progress.tokens = answer.tokens;
            x.json(200, answer.json()).await
        }
    }
}

async fn stream<W: Wire>(
    x: &mut Exchange<'_, W>,
    answer: &Answer,
    shape: &Shape,
    fault: Option<&Fault>,
) -> Result<(), Stop> {
    let kind = fault.map(|fault| fault.fault);
    let wanted = fault.and_then(|fault| fault.at_event);
    let delay = fault.and_then(|fault| fault.delay_ms);
    let slow = match kind {
        Some(FaultKind::Slow) => delay.unwrap_or(1_000),
        _ => 0,
    };
    x.sse_head();
    if x.is_2_0() {
        x.wire.flush().await?;
    }
    x.pause_ms(shape.first_ms.unwrap_or(0)).await?;
    if kind == Some(FaultKind::Empty) && wanted == Some(0) {
        x.ticket.end();
        x.wire.flush().await?;
        return x.wire.finish().await;
    }
    let at = answer.fault_index(wanted);
    let mut open = None;
    let mut id = answer.id.clone();
    let mut events = answer.events(&id);
    let mut index = 0;
    let mut struck = false;
    loop {
        if index > 0 {
            x.pause_ms(shape.interval_ms.unwrap_or(0)).await?;
        }
        x.pause_ms(slow).await?;
        if index == at && !struck {
            struck = true;
            if kind != Some(FaultKind::Slow) {
                x.pause_ms(delay.unwrap_or(0)).await?;
            }
            match kind {
                Some(FaultKind::Stall) => return x.hang().await,
                Some(FaultKind::Cut) => return Err(Stop::Cut),
                Some(FaultKind::Reset) => return Err(Stop::Reset),
                Some(FaultKind::ErrorEvent) => {
                    let kind = fault.and_then(|fault| fault.error_type.as_deref());
                    let text = fault.and_then(|fault| fault.message.as_deref());
                    let kind = kind.unwrap_or("api_error");
                    return error_event(x, kind, text.unwrap_or("terminated")).await;
                }
                Some(FaultKind::EarlyEnd) => {
                    let message = fault.and_then(|fault| fault.message.as_deref());
                    return early_end(x, answer, (open, index), message).await;
                }
                Some(FaultKind::SecondStart) => {
                    id = make_id(
                        x.sim.config.generation.id_prefix(),
                        x.sim.config.seed,
                        u64::MAX - x.ticket.seq,
                    );
                    x.ticket.progress.message_id = Some(id.clone());
                    events = answer.events(&id);
                }
                _ => {}
            }
        }
        let Some(event) = events.next() else {
            return x.wire.finish().await;
        };
        match event.mark {
            Mark::Open(block) => open = Some(block),
            Mark::Close => open = None,
            _ => {}
        }
        put(x, answer, &event).await?;
        index += 1;
    }
}

/// Sends one event. It is counted before, so that whoever has read it finds it in the ledger.
async fn put<W: Wire>(x: &mut Exchange<'_, W>, answer: &Answer, event: &Event) -> Result<(), Stop> {
    x.count(&event.frame);
    let told = &mut x.ticket.progress.tokens;
    match event.mark {
        Mark::Start => {
            *told = Tokens {
                output: 0,
                ..answer.tokens
            };
        }
        Mark::Usage => *told = answer.tokens,
        Mark::Stop => x.ticket.finish(),
        _ => {}
    }
    x.wire.send(event.frame.as_bytes()).await
}

/// What a truncation by Google looks like: a proper end. OpenAI's has no finish chunk.
async fn early_end<W: Wire>(
    x: &mut Exchange<'_, W>,
    answer: &Answer,
    (open, index): (Option<u64>, u64),
    message: Option<&str>,
) -> Result<(), Stop> {
    if answer.generation == Generation::OpenAi {
        if message == Some("[DONE]") {
            put(x, answer, &openai::done()).await?;
        }
        x.ticket.end();
        x.wire.flush().await?;
        return x.wire.finish().await;
    }
    let mut short = answer.clone();
    short.tokens.output = answer.tokens.output.min(index);
    if index == 0 {
        put(x, &short, &short.start(&short.id)).await?;
    }
    if let Some(block) = open {
        put(x, &short, &close(block)).await?;
    }
    put(x, &short, &short.usage_event("end_turn")).await?;
    put(x, &short, &stop()).await?;
    x.wire.finish().await
}
