//! How the answer is drawn and where it stops: temperature, top_p, top_k, stop, the limits of tokens.

use super::read::{Fields, Reader, must_be, number};
use crate::wire::convert::Rejection;
use crate::wire::convert::json::{self, Kind, Writer};

/// Stop sequences of one request; OpenAI takes four.
const STOPS_MAX: usize = 32;
/// Bytes of one stop sequence: what is held back of a stream may be as long.
const STOP_BYTES_MAX: usize = 4096;
/// The least top_p that thinking goes together with.
const THINKING_TOP_P: f64 = 0.95;

/// Numbers as the client wrote them.
#[derive(Debug, Default)]
pub struct Sampling<'a> {
    temperature: Option<&'a str>,
    top_p: Option<&'a str>,
    top_k: Option<&'a str>,
}

/// Reads what can be sent together, for a request that thinks or does not.
///
/// # Errors
/// Wrong types and numbers out of range.
pub fn read<'a>(
    fields: &Fields<'a>,
    thinks: bool,
    reader: &mut Reader<'_>,
) -> Result<Sampling<'a>, Rejection> {
    let mut sampling = Sampling::default();
    if let Some((value, raw)) = number(fields, "temperature")? {
        if !(0.0..=2.0).contains(&value) {
            return Err(Rejection::new("temperature", "Must be between 0 and 2."));
        }
        if thinks {
            if value != 1.0 {
                reader.warnings.add("temperature", "dropped");
            }
        } else if value > 1.0 {
            reader.warnings.add("temperature", "clamped");
            sampling.temperature = Some("1");
        } else {
            sampling.temperature = Some(raw);
        }
    }
    if let Some((value, raw)) = number(fields, "top_p")? {
        if !(0.0..=1.0).contains(&value) {
            return Err(Rejection::new("top_p", "Must be between 0 and 1."));
        }
        let excluded = sampling.temperature.is_some() && reader.capabilities.exclusive_sampling
            || thinks && value < THINKING_TOP_P;
        if value == 1.0 {
            // Changes nothing, and may be one field too many.
        } else if excluded {
            reader.warnings.add("top_p", "dropped");
        } else {
            sampling.top_p = Some(raw);
        }
    }
    if let Some(raw) = fields.get("top_k") {
        if json::whole(raw).is_none() {
            return Err(Rejection::new(
                "top_k",
                "Must be a whole number, not negative.",
            ));
        }
        if thinks {
            reader.warnings.add("top_k", "dropped");
        } else {
            sampling.top_k = Some(raw.get());
        }
    }
    Ok(sampling)
}

impl Sampling<'_> {
    pub fn write(&self, w: &mut Writer) {
        if let Some(temperature) = self.temperature {
            w.key("temperature").raw(temperature);
        }
        if let Some(top_p) = self.top_p {
            w.key("top_p").raw(top_p);
        }
        if let Some(top_k) = self.top_k {
            w.key("top_k").raw(top_k);
        }
    }
}

/// Stop sequences with their literals.
///
/// # Errors
/// Not strings, or too much of them.
pub fn stops<'a>(
    fields: &Fields<'a>,
    reader: &mut Reader<'_>,
) -> Result<Vec<(String, &'a str)>, Rejection> {
    let Some(raw) = fields.get("stop") else {
        return Ok(Vec::new());
    };
    let (listed, single) = match json::kind(raw) {
        Kind::String => (vec![raw], true),
        Kind::Array => {
            let all = json::array(raw);
            let all = all.ok_or_else(|| Rejection::new("stop", must_be("an array", raw)))?;
            (all, false)
        }
        _ => {
            return Err(Rejection::new(
                "stop",
                must_be("a string or an array of strings", raw),
            ));
        }
    };
    if listed.len() > STOPS_MAX {
        return Err(Rejection::new(
            "stop",
            format!("There are more than {STOPS_MAX} stop sequences."),
        ));
    }
    let mut stops = Vec::with_capacity(listed.len());
    for (index, raw) in listed.into_iter().enumerate() {
        let param = || {
            if single {
                "stop".to_owned()
            } else {
                format!("stop[{index}]")
            }
        };
        let text =
            json::text(raw).ok_or_else(|| Rejection::new(param(), must_be("a string", raw)))?;
        if text.len() > STOP_BYTES_MAX {
            return Err(Rejection::new(
                param(),
                format!("A stop sequence is longer than {STOP_BYTES_MAX} bytes."),
            ));
        }
        if text.trim().is_empty() {
            // Anthropic refuses these.
            reader.warnings.add("stop", "dropped");
        } else {
            stops.push((text.into_owned(), raw.get()));
        }
    }
    Ok(stops)
}

/// The client's own limit of tokens.
///
/// # Errors
/// Not a positive whole number.
pub fn limit(fields: &Fields<'_>) -> Result<Option<u64>, Rejection> {
    let mut limit = None;
    for name in ["max_tokens", "max_completion_tokens"] {
        if let Some(raw) = fields.get(name) {
            match json::whole(raw) {
                Some(tokens) if tokens > 0 => limit = Some(tokens),
                _ => return Err(Rejection::new(name, "Must be a positive whole number.")),
            }
        }
    }
    Ok(limit)
}
