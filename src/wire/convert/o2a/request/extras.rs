//! The rest of the fields: what is refused, what is left out with a warning, whose request it is.

use sha2::{Digest, Sha256};

use super::read::{Fields, Reader, flag, must_be, text};
use crate::wire::convert::Rejection;
use crate::wire::convert::json::{self, Object};

/// Left out, because Anthropic has nothing like them.
const DROPPED: [&str; 10] = [
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "verbosity",
    "prediction",
    "store",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
];
/// Values that ask for what happens anyway.
const NEUTRAL: [&str; 5] = ["0", "0.0", "false", "{}", "\"\""];
/// The longest user id that is sent as it is, in bytes.
const USER_MAX: usize = 256;

/// Refuses what would make the answer wrong when it was left out.
///
/// # Errors
/// See contracts/conversion.md, section 11.
pub fn refuse(fields: &Fields<'_>) -> Result<(), Rejection> {
    if let Some(n) = fields.get("n")
        && json::whole(n) != Some(1)
    {
        return Err(Rejection::new(
            "n",
            "One answer a request is all that can be had: n must be 1.",
        ));
    }
    if flag(fields, "logprobs")? == Some(true) {
        return Err(Rejection::new(
            "logprobs",
            "Log probabilities are not available.",
        ));
    }
    if let Some(top) = fields.get("top_logprobs")
        && json::whole(top) != Some(0)
    {
        return Err(Rejection::new(
            "top_logprobs",
            "Log probabilities are not available.",
        ));
    }
    if let Some(raw) = fields.get("modalities") {
        let words = json::array(raw)
            .ok_or_else(|| Rejection::new("modalities", must_be("an array", raw)))?;
        if words
            .iter()
            .any(|word| json::text(word).is_none_or(|word| word != "text"))
        {
            return Err(Rejection::new(
                "modalities",
                "Only text can be answered; audio is not available.",
            ));
        }
    }
    if fields.get("audio").is_some() {
        return Err(Rejection::new(
            "audio",
            "Only text can be answered; audio is not available.",
        ));
    }
    if fields.get("web_search_options").is_some() {
        return Err(Rejection::new(
            "web_search_options",
            "Web search is not available.",
        ));
    }
    Ok(())
}

/// Notes everything that is left out.
pub fn drop_rest(fields: &Fields<'_>, reader: &mut Reader<'_>) {
    for name in DROPPED {
        if fields
            .get(name)
            .is_some_and(|raw| !NEUTRAL.contains(&raw.get()))
        {
            reader.warnings.add(name, "dropped");
        }
    }
}

/// `metadata.user_id`: Anthropic refuses e-mail addresses and the like, so these are sent as their SHA-256.
///
/// # Errors
/// No string.
pub fn user(fields: &Fields<'_>) -> Result<Option<String>, Rejection> {
    let user = text(fields, "user")?;
    let identifier = text(fields, "safety_identifier")?.filter(|id| !id.is_empty());
    let Some(id) = identifier.or(user).filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let is_plain = id.len() <= USER_MAX
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_plain {
        return Ok(Some(id.into_owned()));
    }
    let hash = Sha256::digest(id.as_bytes());
    let digits = hash
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16));
    Ok(Some(digits.collect()))
}

/// Whether the answer is to come from the standard tier only.
///
/// # Errors
/// No string.
pub fn standard_only(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Result<bool, Rejection> {
    match text(fields, "service_tier")?.as_deref() {
        None | Some("auto") => Ok(false),
        Some("default") if reader.capabilities.service_tier => Ok(true),
        Some(_) => {
            reader.warnings.add("service_tier", "dropped");
            Ok(false)
        }
    }
}

/// `stream`, and whether its usage is wanted.
///
/// # Errors
/// Wrong types.
pub fn stream(fields: &Fields<'_>) -> Result<(bool, bool), Rejection> {
    let stream = flag(fields, "stream")?.unwrap_or_default();
    let Some(raw) = fields.get("stream_options") else {
        return Ok((stream, false));
    };
    let options = Object::of(raw)
        .ok_or_else(|| Rejection::new("stream_options", must_be("an object", raw)))?;
    let usage = match options.get("include_usage").map(|usage| usage.get()) {
        Some("true") => true,
        Some("false") | None => false,
        Some(_) => {
            return Err(Rejection::new(
                "stream_options.include_usage",
                "Must be a boolean.",
            ));
        }
    };
    Ok((stream, stream && usage))
}
