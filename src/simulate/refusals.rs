//! Answers that are refusals: scripted faults that leave nothing of the answer, and errors within a stream.

use super::events::frame;
use super::faults::{Fault, FaultKind};
use super::page::Exchange;
use super::routes::exhausted_text;
use super::wire::{Stop, Wire};
use super::{Generation, openai};

/// 2.0.4 gives an exhausted model up after so long.
pub(super) const EXHAUSTED_2_0_MS: u64 = 20_100;
/// 2.0.4 without accounts.
pub(super) const NO_ACCOUNTS_2_0_MS: u64 = 10_500;

/// The error type that the plain APIs give a status.
fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "model_not_found",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// A failure as the generation shows it: 2.0 has sent the stream's head long before.
pub(super) async fn fail<W: Wire>(
    x: &mut Exchange<'_, W>,
    stream: bool,
    wait_ms: u64,
    (status, kind, text): (u16, &str, &str),
) -> Result<(), Stop> {
    if stream && x.is_2_0() {
        return fail_in_stream(x, wait_ms, kind, text).await;
    }
    x.pause_ms(wait_ms).await?;
    x.error(status, kind, text).await
}

async fn fail_in_stream<W: Wire>(
    x: &mut Exchange<'_, W>,
    wait_ms: u64,
    kind: &str,
    text: &str,
) -> Result<(), Stop> {
    x.sse_head();
    x.wire.flush().await?;
    x.pause_ms(wait_ms).await?;
    error_event(x, kind, text).await
}

/// An error event and a clean end.
pub(super) async fn error_event<W: Wire>(
    x: &mut Exchange<'_, W>,
    kind: &str,
    text: &str,
) -> Result<(), Stop> {
    let body = x.error_body(kind, text);
    let frame = match x.sim.config.generation {
        Generation::OpenAi => openai::frame(&body),
        _ => frame("error", &body),
    };
    x.count(&frame);
    x.ticket.end();
    x.wire.send(frame.as_bytes()).await?;
    x.wire.finish().await
}

/// Faults that leave nothing of the answer; false for those that strike in its midst.
pub(super) async fn refuse<W: Wire>(
    x: &mut Exchange<'_, W>,
    fault: &Fault,
    model: &str,
    stream: bool,
) -> Result<bool, Stop> {
    let generation = x.sim.config.generation;
    let reset = if x.is_2_0() { "4m59s" } else { "4h59m49s" };
    let exhausted = exhausted_text(generation, model, Some(reset));
    let code = fault.code.unwrap_or(500);
    let (status, kind, text) = match fault.fault {
        FaultKind::Exhausted400 | FaultKind::ExhaustedSse if generation == Generation::OpenAi => (
            429,
            "insufficient_quota",
            "The quota of this key is used up.",
        ),
        FaultKind::Exhausted400 | FaultKind::ExhaustedSse => {
            (400, "invalid_request_error", exhausted.as_str())
        }
        FaultKind::Exhausted500 => (500, "api_error", exhausted.as_str()),
        FaultKind::MaxRetries => (500, "api_error", "Max retries exceeded"),
        FaultKind::NoAccounts => (500, "api_error", "No accounts available"),
        FaultKind::RateLimit429 => (429, "rate_limit_error", "Rate limited, try again later."),
        FaultKind::Overloaded503 => (503, "overloaded_error", "The model is overloaded."),
        FaultKind::Overloaded529 => (529, "overloaded_error", "Overloaded"),
        FaultKind::Status if generation.obeys() => (code, kind_of(code), "Simulated failure"),
        FaultKind::Status => (code, "api_error", "Simulated failure"),
        FaultKind::ErrorEvent if !stream => (500, "api_error", "terminated"),
        FaultKind::Html => {
            x.pause_ms(fault.delay_ms.unwrap_or(0)).await?;
            let status = fault.code.unwrap_or(502);
            let page = format!(
                "<!DOCTYPE html>\n<html><head><title>{status}</title></head><body><h1>{status}</h1><p>{}</p></body></html>\n",
                fault.message.as_deref().unwrap_or("Bad gateway")
            );
            x.html(status, page).await?;
            return Ok(true);
        }
        FaultKind::Hang => {
            x.hang().await?;
            return Ok(true);
        }
        FaultKind::Reset if fault.at_event.is_none() => {
            x.pause_ms(fault.delay_ms.unwrap_or(0)).await?;
            return Err(Stop::Reset);
        }
        _ => return Ok(false),
    };
    let kind = fault.error_type.as_deref().unwrap_or(kind);
    let text = fault.message.as_deref().unwrap_or(text);
    x.retry_after.clone_from(&fault.retry_after);
    if fault.fault == FaultKind::RateLimit429 && generation.obeys() {
        x.retry_after.get_or_insert_with(|| "1".to_owned());
    }
    let wait = |default| fault.delay_ms.unwrap_or(default);
    match fault.fault {
        FaultKind::ExhaustedSse if stream => fail_in_stream(x, wait(0), kind, text).await?,
        FaultKind::MaxRetries => {
            let default = if x.is_2_0() { EXHAUSTED_2_0_MS } else { 0 };
            fail(x, stream, wait(default), (status, kind, text)).await?;
        }
        FaultKind::NoAccounts if x.is_2_7() && fault.delay_ms.is_none() => x.hang().await?,
        FaultKind::NoAccounts => {
            let default = if x.is_2_0() { NO_ACCOUNTS_2_0_MS } else { 0 };
            fail(x, stream, wait(default), (status, kind, text)).await?;
        }
        _ => {
            x.pause_ms(wait(0)).await?;
            x.error(status, kind, text).await?;
        }
    }
    Ok(true)
}
