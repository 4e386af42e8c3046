//! What `luna keys create` takes.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

use crate::cli::failure::Failure;

/// Arguments of `luna keys create`.
#[derive(Clone, Debug, Default, Args)]
pub struct CreateArgs {
    /// Name of the key, unlike any other's
    pub name: String,
    /// Only these models: names or * patterns, with commas between
    #[arg(long, value_name = "M,M", value_delimiter = ',')]
    pub models: Vec<String>,
    /// What the key may do besides: lark
    #[arg(long, value_name = "P,P", value_delimiter = ',')]
    pub permissions: Vec<String>,
    /// When the key ends: 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "T", value_parser = time)]
    pub expires_at: Option<Timestamp>,
    /// Limits come with a later version
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub limit: Vec<String>,
}

impl CreateArgs {
    /// Refuses what a later version brings.
    pub(super) fn refuse_later(&self) -> Result<(), Failure> {
        if self.limit.is_empty() {
            Ok(())
        } else {
            Err(Failure::usage(
                "--limit: not yet in this version; leave it out",
            ))
        }
    }

    /// Body of `POST /admin/keys`.
    pub(super) fn body(&self) -> Value {
        json!({
            "name": self.name,
            "models": self.models,
            "permissions": self.permissions,
            "expires_at": self.expires_at.map(|at| at.to_string()),
        })
    }
}

/// A moment, or a day, which stands for its first moment in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    let wrong =
        || "give a time as in 2027-01-31T12:00:00Z or a day as in 2027-01-31 (in UTC)".to_owned();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let day: Date = text.parse().map_err(|_| wrong())?;
    if day.to_string() != text {
        return Err(wrong());
    }
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    Ok(start.timestamp())
}

/// `90s`, `30m`, `1h`, `7d`, `1h30m`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give a duration as in 90s, 30m, 1h, 7d or 1h30m".to_owned();
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut sum, mut number) = (0_u64, String::new());
    for c in text.chars() {
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => {
                number.push(c);
                continue;
            }
        };
        let count: u64 = number.parse().map_err(|_| wrong())?;
        number.clear();
        sum = count
            .checked_mul(unit)
            .and_then(|seconds| sum.checked_add(seconds))
            .ok_or_else(wrong)?;
    }
    // What is left over has no unit.
    if text.is_empty() || !number.is_empty() {
        return Err(wrong());
    }
    Ok(Duration::from_secs(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("30m", 1800),
            ("1h", 3600),
            ("7d", 604_800),
            ("1h30m", 5400),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "h",
            "1h30",
            "1.5h",
            "-1h",
            "1w",
            "1 h",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_is_its_first_moment() {
        let shown = |text| time(text).map(|at| at.to_string());
        assert_eq!(shown("2027-01-31"), Ok("2027-01-31T00:00:00Z".to_owned()));
        assert_eq!(
            shown("2027-01-31T12:00:00+02:00"),
            Ok("2027-01-31T10:00:00Z".to_owned())
        );
        for text in [
            "",
            "tomorrow",
            "2027-02-30",
            "2027-01-31T12:00:00",
            "20270131",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
