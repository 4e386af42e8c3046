//! The fixed phrases by which upstreams speak of exhausted quota and missing models.
//!
//! Error texts echo what the client wrote, so only the beginning of a message counts, and a reset
//! is read only from a message that begins as an exhaustion does (antigravity.md section 11).

use super::cooldown::MAX_RESET_AHEAD;

/// Beginnings of a message that mean exhaustion, after an optional [`PREFIX`].
const EXHAUSTED: [&str; 4] = [
    "You have exhausted your capacity on",
    "Rate limited on",
    "QUOTA_EXHAUSTED",
    "All credentials for model",
];
const PREFIX: &str = "RESOURCE_EXHAUSTED: ";
const RESET: &str = "Quota will reset after ";

/// Whether the message begins as an exhaustion does.
pub(super) fn begins_exhausted(message: &str) -> bool {
    let message = message.strip_prefix(PREFIX).unwrap_or(message);
    EXHAUSTED.iter().any(|phrase| message.starts_with(phrase))
}

/// Whether words of exhaustion stand anywhere: only for 500, 503 and 529.
pub(super) fn speaks_of_exhaustion(text: &str) -> bool {
    let has = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    EXHAUSTED.iter().any(|word| has(word)) || has("RESOURCE_EXHAUSTED")
}

/// Whether words about missing capacity stand anywhere: only for 500, 503 and 529.
pub(super) fn speaks_of_capacity(text: &str) -> bool {
    let has = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    has("MODEL_CAPACITY_EXHAUSTED") || has("No capacity available")
}

/// Whether the message begins by saying that the model is not offered.
pub(super) fn names_unknown_model(message: &str) -> bool {
    message
        .strip_prefix("invalid_request_error: ")
        .unwrap_or(message)
        .starts_with("Invalid model:")
}

/// The time to the reset in milliseconds, from the last occurrence of the fixed phrase (what
/// stands before it may be an echo), at most 8 days. Zero is none.
pub(super) fn reset_after(message: &str) -> Option<u64> {
    let (_, text) = message.rsplit_once(RESET)?;
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let (text, after) = text.split_at(end);
    // "9.5s" is none of the three forms.
    let fraction = after.strip_prefix('.').unwrap_or("");
    if fraction.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (hours, text) = unit(text, 'h')?;
    let (minutes, text) = unit(text, 'm')?;
    let (seconds, rest) = unit(text, 's')?;
    let well_formed =
        rest.is_empty() && seconds.is_some() && (hours.is_none() || minutes.is_some());
    if !well_formed {
        return None;
    }
    let of = |n: Option<u64>, factor: u64| n.unwrap_or(0).saturating_mul(factor);
    let total = of(hours, 3600)
        .saturating_add(of(minutes, 60))
        .saturating_add(of(seconds, 1))
        .saturating_mul(1000)
        .min(MAX_RESET_AHEAD);
    (total > 0).then_some(total)
}

/// Reads `<digits><unit>` at the beginning if the first unit there is this one; `None` when what
/// stands there is no number.
fn unit(text: &str, unit: char) -> Option<(Option<u64>, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    match rest.strip_prefix(unit) {
        Some(rest) if digits > 0 => Some((Some(number.parse().unwrap_or(u64::MAX)), rest)),
        Some(_) => None,
        None => Some((None, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_read_in_three_forms_only() {
        let after = |text: &str| reset_after(&format!("Quota will reset after {text}"));
        for (text, seconds) in [
            ("4h59m49s.", Some(17_989)),
            ("4m59s.", Some(299)),
            ("9s.", Some(9)),
            ("9s", Some(9)),
            ("90m0s. More.", Some(5400)),
            ("0h0m1s. Next available: 2030", Some(1)),
            ("9999h0m0s.", Some(8 * 86_400)),
            ("99999999999999999999999s", Some(8 * 86_400)),
            ("0s.", None),
            ("4h59m.", None),
            ("4h.", None),
            ("4h9s.", None),
            ("1d2h3m4s.", None),
            ("9.5s.", None),
            ("-9s", None),
            ("s", None),
            ("ms", None),
            ("soon", None),
            ("", None),
            ("5s5s", None),
            ("5m5h5s", None),
        ] {
            assert_eq!(after(text), seconds.map(|s| s * 1000), "{text}");
        }
        assert_eq!(reset_after("Quota resets after 9s"), None);
    }

    #[test]
    fn the_last_phrase_counts() {
        let message = "You have exhausted your capacity on x. Quota will reset after 99h0m0s. \
                       Quota will reset after 5s.";
        assert_eq!(reset_after(message), Some(5000));
    }

    #[test]
    fn only_the_beginning_means_exhaustion() {
        assert!(begins_exhausted("You have exhausted your capacity on m."));
        assert!(begins_exhausted("RESOURCE_EXHAUSTED: Rate limited on m."));
        assert!(begins_exhausted("RESOURCE_EXHAUSTED: QUOTA_EXHAUSTED"));
        assert!(begins_exhausted(
            "All credentials for model m are cooling down"
        ));
        assert!(!begins_exhausted(
            "bad input: You have exhausted your capacity on m."
        ));
        assert!(!begins_exhausted("RESOURCE_EXHAUSTED"));
        assert!(!begins_exhausted(
            "RESOURCE_EXHAUSTED: RESOURCE_EXHAUSTED: Rate limited on"
        ));
    }
}
