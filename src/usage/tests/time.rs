//! Days in time zones, and ranges.

use jiff::Timestamp;

use super::*;

fn at(text: &str) -> Millis {
    let at: Timestamp = text.parse().unwrap();
    u64::try_from(at.as_millisecond()).unwrap()
}

fn dates(zone: &str, moments: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(params(dir.path(), zone), Known::default()).unwrap();
    let mut dates = Vec::new();
    for moment in moments {
        dates.push(store.calendar.date_of(at(moment)).to_string());
    }
    dates
}

#[test]
fn days_are_cut_where_the_zone_has_midnight() {
    let cases: [(&str, &[(&str, &str)]); 5] = [
        (
            "UTC",
            &[
                ("2026-11-23T23:59:59.999Z", "2026-11-23"),
                ("2026-11-24T00:00:00Z", "2026-11-24"),
            ],
        ),
        // The clock goes back: the 25th of October has 25 hours.
        (
            "Europe/Berlin",
            &[
                ("2026-10-24T21:59:59.999Z", "2026-10-24"),
                ("2026-10-24T22:00:00Z", "2026-10-25"),
                ("2026-10-25T22:59:59.999Z", "2026-10-25"),
                ("2026-10-25T23:00:00Z", "2026-10-26"),
            ],
        ),
        // The clock goes forward: 23 hours.
        (
            "America/New_York",
            &[
                ("2026-03-08T04:59:59Z", "2026-03-07"),
                ("2026-03-08T05:00:00Z", "2026-03-08"),
                ("2026-03-09T03:59:59Z", "2026-03-08"),
                ("2026-03-09T04:00:00Z", "2026-03-09"),
            ],
        ),
        // Midnight is within an hour of UTC.
        (
            "Asia/Kolkata",
            &[
                ("2026-11-23T18:29:59.999Z", "2026-11-23"),
                ("2026-11-23T18:30:00Z", "2026-11-24"),
            ],
        ),
        (
            "Asia/Kathmandu",
            &[
                ("2026-11-23T18:14:59.999Z", "2026-11-23"),
                ("2026-11-23T18:15:00Z", "2026-11-24"),
            ],
        ),
    ];
    for (zone, moments) in cases {
        let (times, expected): (Vec<&str>, Vec<&str>) = moments.iter().copied().unzip();
        assert_eq!(dates(zone, &times), expected, "{zone}");
    }
}

#[test]
fn an_hour_cut_by_midnight_stands_in_two_days_and_is_one_hour() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(params(dir.path(), "Asia/Kolkata"), Known::default()).unwrap();
    for moment in [
        "2026-11-23T18:10:00Z",
        "2026-11-23T18:40:00Z",
        "2026-11-23T18:50:00Z",
    ] {
        store.apply(&request(at(moment), "key_a", "opus"));
    }
    store.compact(NOW, &mut taker()).unwrap();
    let mut store = Store::open(params(dir.path(), "Asia/Kolkata"), Known::default()).unwrap();
    let days = all_days(&store).days;
    let counts: Vec<_> = days
        .iter()
        .map(|day| day.sums.total.counters.requests)
        .collect();
    assert_eq!(counts, [1, 2]);
    let hours = hours(&mut store, "2026-11-23T18:00:00Z", "2026-11-23T19:00:00Z").hours;
    assert_eq!(hours.len(), 1);
    assert_eq!(hours[0].hour, "2026-11-23T18:00:00Z");
    assert_eq!(hours[0].sums.total.counters.requests, 3);
}

#[test]
fn another_zone_after_a_restart_loses_no_hour() {
    let zones = ["Pacific/Kiritimati", "Pacific/Honolulu"];
    for (before, after) in [(zones[0], zones[1]), (zones[1], zones[0])] {
        let dir = tempfile::tempdir().unwrap();
        for zone in [before, after] {
            let mut store = Store::open(params(dir.path(), zone), Known::default()).unwrap();
            store.apply(&request(at("2026-11-23T12:00:00Z"), "key_a", "opus"));
            store.compact(NOW, &mut taker()).unwrap();
        }
        let mut store = Store::open(params(dir.path(), after), Known::default()).unwrap();
        assert_eq!(all_days(&store).days.len(), 2);
        let hours = hours(&mut store, "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z").hours;
        assert_eq!(hours[0].sums.total.counters.requests, 2, "{before}");
    }
}

#[test]
fn an_unknown_zone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open(params(dir.path(), "Mars/Olympus"), Known::default()).unwrap_err();
    assert!(error.to_string().contains("Mars/Olympus"), "{error}");
}

#[test]
fn absurd_times_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = params(dir.path(), "Europe/Berlin");
    (kept.keep_days, kept.keep_hours_days) = (u32::MAX, u32::MAX);
    let mut store = Store::open(kept.clone(), Known::default()).unwrap();
    store.apply(&request(0, "key_a", "opus"));
    store.apply(&request(u64::MAX, "key_a", "opus"));
    store.compact(NOW, &mut taker()).unwrap();
    let mut again = Store::open(kept, Known::default()).unwrap();
    assert_eq!(again.totals().total.counters.requests, 2);
    again.read_recent_hours().unwrap();
}

fn days(from: Option<&str>, to: Option<&str>) -> Result<String, RangeError> {
    let zone = jiff::tz::TimeZone::get("Asia/Kolkata").unwrap();
    let range = DayRange::parse(from, to, &zone, at("2026-11-23T20:00:00Z"))?;
    Ok(format!("{} {}", range.first, range.last))
}

#[test]
fn ranges_of_days() {
    assert_eq!(days(None, None).unwrap(), "2026-10-26 2026-11-24");
    assert_eq!(
        days(Some("2026-11-01"), None).unwrap(),
        "2026-11-01 2026-11-24"
    );
    assert_eq!(
        days(None, Some("2026-03-01")).unwrap(),
        "2026-01-31 2026-03-01"
    );
    assert_eq!(
        days(Some("2026-02-28"), Some("2026-02-28")).unwrap(),
        "2026-02-28 2026-02-28"
    );
    assert_eq!(days(Some("2026-11-25"), None), Err(RangeError::Backwards));
    assert_eq!(
        days(Some("2026-02-29"), None),
        Err(RangeError::NotADay("from"))
    );
    assert_eq!(
        days(None, Some("yesterday")),
        Err(RangeError::NotADay("to"))
    );
    assert_eq!(
        days(Some("2026-11-01T00:00:00Z"), None),
        Err(RangeError::NotADay("from"))
    );
    assert_eq!(days(Some(""), None), Err(RangeError::NotADay("from")));
    assert_eq!(days(Some("1970-01-01"), None), Err(RangeError::TooManyDays));
    assert!(days(Some("2016-11-24"), None).is_ok());
}

fn hour_range(from: Option<&str>, to: Option<&str>) -> Result<String, RangeError> {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let range = HourRange::parse(from, to, &zone, NOW)?;
    let label = super::super::calendar::format_hour;
    Ok(format!("{} {}", label(range.first), label(range.last)))
}

#[test]
fn ranges_of_hours() {
    let ok = |from, to, expected: &str| assert_eq!(hour_range(from, to).unwrap(), expected);
    ok(None, None, "2026-11-23T09:00:00Z 2026-11-24T08:00:00Z");
    ok(
        Some("2026-11-24T07:59:00Z"),
        None,
        "2026-11-24T07:00:00Z 2026-11-24T08:00:00Z",
    );
    ok(
        Some("2026-11-24T09:00:00+01:00"),
        None,
        "2026-11-24T08:00:00Z 2026-11-24T08:00:00Z",
    );
    // A time ends before itself, a day includes itself; this one has 25 hours.
    let day = Some("2026-10-25");
    ok(day, day, "2026-10-24T22:00:00Z 2026-10-25T22:00:00Z");
    ok(
        day,
        Some("2026-10-25T02:00:00Z"),
        "2026-10-24T22:00:00Z 2026-10-25T01:00:00Z",
    );
    ok(
        day,
        Some("2026-10-25T02:00:01Z"),
        "2026-10-24T22:00:00Z 2026-10-25T02:00:00Z",
    );
    ok(
        None,
        Some("2026-10-25T02:00:00Z"),
        "2026-10-24T02:00:00Z 2026-10-25T01:00:00Z",
    );
    assert_eq!(
        hour_range(Some("2026-11-24T09:00:00Z"), None),
        Err(RangeError::Backwards)
    );
    assert_eq!(
        hour_range(Some("2026-10-01"), None),
        Err(RangeError::TooManyHours)
    );
    assert!(hour_range(Some("2026-10-25"), None).is_ok());
    for bad in [
        "noon",
        "2026-11-24T08:00:00",
        "",
        "0",
        "1960-01-01T00:00:00Z",
    ] {
        assert_eq!(
            hour_range(Some(bad), None),
            Err(RangeError::NotAnHour("from")),
            "{bad}"
        );
    }
    // A + that a client forgot to escape has become a space.
    let spaced = hour_range(Some("2026-11-24T09:00:00 01:00"), None).unwrap_err();
    assert!(spaced.to_string().contains("%2B"));
}
