//! What differs from run to run, taken out of an answer.

use crate::support::raw::RawAnswer;

/// The answer with every line end as `\n` (the reader has insisted on `\r\n`), masked.
pub fn rendered(answer: &RawAnswer) -> String {
    let body = masked(&answer.text());
    let with_times = body.contains("<TIME>");
    let head: String = answer
        .head
        .lines()
        .map(|line| match line.split_once(": ") {
            Some(("Date" | "date", _)) => "Date: <DATE>\n".to_owned(),
            Some((name, _)) if with_times && name.eq_ignore_ascii_case("content-length") => {
                format!("{name}: <LENGTH>\n")
            }
            _ => format!("{}\n", masked(line)),
        })
        .collect();
    format!("{head}\n{body}\n")
}

/// Replaces ids, times and the durations that go with them.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((mask, after)) = id(rest).or_else(|| time(rest)) {
            out.push_str(mask);
            rest = after;
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn id(rest: &str) -> Option<(&'static str, &str)> {
    for (prefix, mask) in [("req_", "req_<ID>"), ("msg_", "msg_<ID>")] {
        if let Some(digits) = rest.strip_prefix(prefix).and_then(|after| after.get(..32))
            && digits.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Some((mask, &rest[prefix.len() + 32..]));
        }
    }
    None
}

/// `2026-11-24 13:07:36 UTC (in 4h59m49s)`
fn time(rest: &str) -> Option<(&'static str, &str)> {
    let shape = "0000-00-00 00:00:00 UTC (in ";
    let same = |(a, b): (char, char)| if a == '0' { b.is_ascii_digit() } else { a == b };
    if !rest.is_char_boundary(shape.len().min(rest.len()))
        || rest.len() < shape.len()
        || !shape.chars().zip(rest.chars()).all(same)
    {
        return None;
    }
    let (_, after) = rest[shape.len()..].split_once(')')?;
    Some(("<TIME> (in <DURATION>)", after))
}

#[test]
fn masks_hide_what_changes_and_nothing_else() {
    let id = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        masked(&format!("a req_{id}b msg_{id}")),
        "a req_<ID>b msg_<ID>"
    );
    assert_eq!(masked("req_short 2026-11-24 ü"), "req_short 2026-11-24 ü");
    assert_eq!(
        masked("until 2026-11-24 10:06:57 UTC (in 2h0m0s); x"),
        "until <TIME> (in <DURATION>); x"
    );
}
