//! CSV. Three years of days are 130,000 rows of nine numbers, so these are written without the machinery of `fmt`.

use super::Usage;
use super::counters::NAMES;

/// Costs below this (a million dollars) are whole numbers of billionths within what an f64 holds exactly.
const EXACT: f64 = 1e15;

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// A text of rows under way.
#[derive(Default)]
pub(super) struct Csv(Vec<u8>);

impl Csv {
    /// Begins with a header line: these columns, then those of USAGE.
    pub(super) fn new(columns: &[&str], rows: usize) -> Self {
        let mut out = Self(Vec::with_capacity(
            rows.saturating_add(1).saturating_mul(104),
        ));
        for column in columns {
            out.push(column);
        }
        out.push(&NAMES.join(","));
        out.0.extend_from_slice(b"cost_usd\n");
        out
    }

    /// A field that is ready ([`field`]).
    pub(super) fn push(&mut self, field: &str) {
        self.0.extend_from_slice(field.as_bytes());
        self.0.push(b',');
    }

    /// The rest of a row; an unknown cost is an empty field.
    pub(super) fn end_row(&mut self, usage: &Usage) {
        for value in usage.counters.values() {
            number(&mut self.0, value);
            self.0.push(b',');
        }
        if let Some(cost) = usage.shown_cost() {
            money(&mut self.0, cost);
        }
        self.0.push(b'\n');
    }

    pub(super) fn finish(self) -> String {
        // Only texts and digits went in.
        String::from_utf8(self.0).unwrap_or_default()
    }
}

/// A field that a spreadsheet takes for text: what it would read as a formula gets an apostrophe in front.
pub(super) fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if !formula && !text.contains([',', '"', '\n', '\r']) {
        return text.to_owned();
    }
    let apostrophe = if formula { "'" } else { "" };
    format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
}

fn number(out: &mut Vec<u8>, value: u64) {
    let width = value.checked_ilog10().map_or(1, |log| log as usize + 1);
    digits(out, value, width);
}

/// The last `width` digits.
fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let from = out.len();
    out.resize(from + width, b'0');
    let Some(slots) = out.get_mut(from..) else {
        return;
    };
    for pair in slots.rchunks_mut(2) {
        let two = PAIRS.get((value % 100) as usize).unwrap_or(&[b'0'; 2]);
        value /= 100;
        match pair {
            [tens, ones] => [*tens, *ones] = *two,
            [ones] => *ones = two[1],
            _ => {}
        }
    }
}

/// Dollars that were rounded to billionths, as `fmt` would write them.
fn money(out: &mut Vec<u8>, cost: f64) {
    let billionths = (cost * 1e9).round();
    if !(0.0..EXACT).contains(&billionths) {
        out.extend_from_slice(cost.to_string().as_bytes());
        return;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and EXACT, and whole"
    )]
    let billionths = billionths as u64;
    number(out, billionths / 1_000_000_000);
    let fraction = billionths % 1_000_000_000;
    if fraction > 0 {
        out.push(b'.');
        digits(out, fraction, 9);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn costs_are_written_short() {
        for (cost, text) in [
            (0.0, "0"),
            (45.0, "45"),
            (0.000_000_001, "0.000000001"),
            (1234.5, "1234.5"),
            (999_999.999_999_999, "999999.999999999"),
            (1_000_000.0, "1000000"),
            (1e300, &format!("{}", 1e300)),
            (-0.5, "-0.5"),
        ] {
            let mut out = b"0,".to_vec();
            money(&mut out, cost);
            assert_eq!(String::from_utf8(out).unwrap(), format!("0,{text}"));
        }
    }

    proptest! {
        #[test]
        fn numbers_and_costs_are_those_of_fmt(value in any::<u64>(), billionths in 0..2_000_000_000_000_000u64) {
            let mut out = Vec::new();
            number(&mut out, value);
            prop_assert_eq!(out, value.to_string().into_bytes());
            let cost = billionths as f64 / 1e9;
            let mut out = Vec::new();
            money(&mut out, cost);
            prop_assert_eq!(out, cost.to_string().into_bytes());
        }
    }
}
