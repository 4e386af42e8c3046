//! Which days or hours a question is about.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Millis;
use super::calendar::{Hour, date_in, day_start_ms, days_after, days_before, hour_of};

/// Most days that one answer holds: ten years.
pub const MAX_DAYS: i32 = 3_653;

/// Most hours that one answer holds: 31 days.
pub const MAX_HOURS: u32 = 31 * 24;

const DEFAULT_DAYS: u32 = 30;
const DEFAULT_HOURS: Hour = 24;

/// `from`, `to`, `key` and `model` of a question, as they came.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// First day or hour.
    pub from: Option<String>,
    /// Last day, or end of the hours.
    pub to: Option<String>,
    /// Only this key id.
    pub key: Option<String>,
    /// Only this model.
    pub model: Option<String>,
}

/// Days from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    pub(super) first: Date,
    pub(super) last: Date,
}

/// Hours from `first` to `last`, both included, counted from the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourRange {
    pub(super) first: Hour,
    pub(super) last: Hour,
}

/// What is wrong with `from` or `to`; the text is for the client and repeats nothing it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// Not a date; which parameter.
    NotADay(&'static str),
    /// Neither a date nor a moment; which parameter.
    NotAnHour(&'static str),
    /// `from` after `to`.
    Backwards,
    /// More than [`MAX_DAYS`].
    TooManyDays,
    /// More than [`MAX_HOURS`].
    TooManyHours,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADay(field) => write!(f, "{field}: expected a date such as 2026-11-24"),
            Self::NotAnHour(field) => write!(
                f,
                "{field}: expected a date such as 2026-11-24 or a time such as 2026-11-24T08:00:00Z \
                 (in a URL a + must be written %2B)"
            ),
            Self::Backwards => f.write_str("from: lies after to; an absent to means now"),
            Self::TooManyDays => write!(f, "from, to: at most {MAX_DAYS} days in one answer"),
            Self::TooManyHours => write!(
                f,
                "from, to: at most {MAX_HOURS} hours (31 days) in one answer; ask for days, or in parts"
            ),
        }
    }
}

impl std::error::Error for RangeError {}

/// `2026-11-24` and nothing else: jiff would take more forms.
fn date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text && date.year() >= 1970).then_some(date)
}

impl DayRange {
    /// Both ends are dates and included. Without `to` up to today, without `from` 30 days.
    pub fn parse(
        from: Option<&str>,
        to: Option<&str>,
        zone: &TimeZone,
        now: Millis,
    ) -> Result<Self, RangeError> {
        let read = |field, text: Option<&str>| match text {
            None => Ok(None),
            Some(text) => date(text).map(Some).ok_or(RangeError::NotADay(field)),
        };
        let last = read("to", to)?.unwrap_or_else(|| date_in(zone, now));
        let first = read("from", from)?.unwrap_or_else(|| days_before(last, DEFAULT_DAYS - 1));
        if first > last {
            return Err(RangeError::Backwards);
        }
        let days = first.until(last).map_or(i32::MAX, |span| span.get_days());
        if days >= MAX_DAYS {
            return Err(RangeError::TooManyDays);
        }
        Ok(Self { first, last })
    }
}

impl HourRange {
    /// A time stands for itself: `from` in its hour, `to` before it. A date stands for its whole day, cut in `zone`.
    /// Without `to` up to the current hour, without `from` 24 hours.
    pub fn parse(
        from: Option<&str>,
        to: Option<&str>,
        zone: &TimeZone,
        now: Millis,
    ) -> Result<Self, RangeError> {
        // The hour after the last.
        let end = match to {
            None => hour_of(now).saturating_add(1),
            Some(text) => hour_ceil(moment("to", text, zone, |date| days_after(date, 1))?),
        };
        let first = match from {
            None => end.saturating_sub(DEFAULT_HOURS),
            Some(text) => hour_of(moment("from", text, zone, |date| date)?),
        };
        let Some(last) = end.checked_sub(1).filter(|last| *last >= first) else {
            return Err(RangeError::Backwards);
        };
        if last - first >= MAX_HOURS {
            return Err(RangeError::TooManyHours);
        }
        Ok(Self { first, last })
    }
}

fn hour_ceil(time_ms: Millis) -> Hour {
    hour_of(time_ms.saturating_add(super::calendar::HOUR_MS - 1))
}

fn moment(
    field: &'static str,
    text: &str,
    zone: &TimeZone,
    day: impl Fn(Date) -> Date,
) -> Result<Millis, RangeError> {
    if let Some(date) = date(text) {
        return Ok(day_start_ms(zone, day(date)));
    }
    let at: Timestamp = text.parse().map_err(|_| RangeError::NotAnHour(field))?;
    u64::try_from(at.as_millisecond()).map_err(|_| RangeError::NotAnHour(field))
}
