//! Times as people and programs read them.

use jiff::Timestamp;

use super::Millis;

/// Unix milliseconds as a timestamp; what no calendar holds becomes its last moment.
fn timestamp(at: Millis) -> Timestamp {
    i64::try_from(at)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX)
}

/// RFC 3339 in UTC, as the admin API gives every time.
#[must_use]
pub fn rfc3339(at: Millis) -> String {
    timestamp(at).to_string()
}

/// UTC to the second, for messages: `2026-11-24 13:07:36 UTC`.
#[must_use]
pub fn utc_text(at: Millis) -> String {
    timestamp(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A duration in the two or three units that matter, rounded up to a second: `4h59m49s`, `3d4h`.
#[must_use]
pub fn duration_text(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let seconds = seconds % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m{seconds}s"),
        _ => format!("{days}d{hours}h"),
    }
}

/// Reads an ISO 8601 time with a zone. `None` when it is none; before 1970 counts as 0.
pub(super) fn parse_iso(text: &str) -> Option<Millis> {
    let at: Timestamp = text.trim().parse().ok()?;
    Some(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_rounded_up() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1s"),
            (59_000, "59s"),
            (60_000, "1m0s"),
            (17_989_000, "4h59m49s"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(duration_text(ms), text);
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(utc_text(1_795_525_656_000), "2026-11-24 13:07:36 UTC");
        assert_eq!(rfc3339(1_795_525_656_000), "2026-11-24T13:07:36Z");
        assert!(rfc3339(u64::MAX).starts_with("9999-"));
        assert_eq!(
            parse_iso("2026-11-24T14:07:36+01:00"),
            Some(1_795_525_656_000)
        );
        assert_eq!(parse_iso("1960-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_iso("tomorrow"), None);
    }
}
