//! Days and hours: a day is cut in the configured time zone, an hour is an hour of UTC.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::Millis;

/// Hours since the Unix epoch.
pub(super) type Hour = u32;

pub(super) const HOUR_MS: u64 = 3_600_000;

/// Every zone's offset since 1972 is a multiple of this, so all moments of a slot share their date.
pub(super) const SLOT_MS: u64 = 900_000;

/// The last that has a name, 9999-12-30T22:00:00Z: a later one could be written, but not read again.
const LAST_HOUR: Hour = 70_389_502;

/// The hour that holds a moment.
pub(super) fn hour_of(time_ms: Millis) -> Hour {
    let hour = Hour::try_from(time_ms / HOUR_MS).unwrap_or(Hour::MAX);
    hour.min(LAST_HOUR)
}

fn timestamp(time_ms: Millis) -> Timestamp {
    i64::try_from(time_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX)
}

/// A moment for the log: `2026-11-24T08:30:12.5Z`
pub(super) fn format_moment(time_ms: Millis) -> String {
    timestamp(time_ms).to_string()
}

/// `2026-11-24T08:00:00Z`
pub(super) fn format_hour(hour: Hour) -> String {
    timestamp(u64::from(hour).saturating_mul(HOUR_MS)).to_string()
}

/// Reads exactly what `format_hour` writes.
pub(super) fn parse_hour(text: &str) -> Option<Hour> {
    let at: Timestamp = text.parse().ok()?;
    let hour = hour_of(u64::try_from(at.as_millisecond()).ok()?);
    (format_hour(hour) == text).then_some(hour)
}

/// A time zone, with the last answer kept: most requests fall into the same quarter of an hour.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    zone: TimeZone,
    name: String,
    last: Option<(u64, Date)>,
}

impl Calendar {
    /// Takes an IANA name such as `Europe/Berlin`.
    pub(super) fn new(name: &str) -> Result<Self, jiff::Error> {
        Ok(Self {
            zone: TimeZone::get(name)?,
            name: name.to_owned(),
            last: None,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The day that holds a moment.
    pub(super) fn date_of(&mut self, time_ms: Millis) -> Date {
        let slot = time_ms / SLOT_MS;
        match self.last {
            Some((known, date)) if known == slot => date,
            _ => {
                let date = date_in(&self.zone, time_ms);
                self.last = Some((slot, date));
                date
            }
        }
    }
}

/// The day that holds a moment in a zone.
pub(super) fn date_in(zone: &TimeZone, time_ms: Millis) -> Date {
    timestamp(time_ms).to_zoned(zone.clone()).date()
}

/// The first moment of a day in a zone (not always midnight); the epoch for days before it.
pub(super) fn day_start_ms(zone: &TimeZone, date: Date) -> Millis {
    date.to_zoned(zone.clone())
        .ok()
        .and_then(|start| u64::try_from(start.timestamp().as_millisecond()).ok())
        .unwrap_or(0)
}

/// The day `days` before, as far as the calendar goes.
pub(super) fn days_before(date: Date, days: u32) -> Date {
    date.saturating_sub(span(days))
}

/// The day `days` after, as far as the calendar goes.
pub(super) fn days_after(date: Date, days: u32) -> Date {
    date.saturating_add(span(days))
}

// More days than a calendar has would be a panic in jiff.
fn span(days: u32) -> jiff::Span {
    i64::from(days.min(3_000_000)).days()
}
