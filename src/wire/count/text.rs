//! The tokens of texts, by a model that was fitted to a public tokenizer (docs/count-tokens.md).
//!
//! A text falls into pieces as byte pair tokenizers cut it: a word, a number or a run of signs with the blank before it,
//! or white space. A piece that the filter knows is one token. Any other piece costs what the tables say about each of
//! its characters and the two on either side. Neighbours: `classes` tells the characters apart.

mod classes;

use self::classes::{ASCII, Class, Kind, fold};

/// Bits of the filter: pieces that are one token, by three hashes each.
const FILTER_BITS: usize = 1 << 19;
const FILTER_BYTES: usize = FILTER_BITS / 8;
const NEAR: usize = 128;
const FAR: usize = 64;
const PLACES: usize = 16;
/// The tables, one behind the other: the class of a character after that of the one before it, five pairs of coarser
/// classes around it, and its place in its piece.
const TABLES: usize = NEAR * NEAR + 5 * FAR * FAR + PLACES * FAR;
static MODEL: &[u8; FILTER_BYTES + TABLES] = include_bytes!("model.bin");
/// The tables count in this part of a token.
const UNIT: i64 = 128;
/// The longest piece that the filter can know, in characters.
const KNOWN_MAX: usize = 24;
/// Characters that are looked at together.
const BLOCK: usize = 2048;
const HASH: u64 = 0x9e37_79b9_7f4a_7c15;
/// The class of a blank, and of a Chinese character.
const NEAR_BLANK: u8 = 53;
const NEAR_HAN: u8 = 95;
/// Classes of a line break, which stands for the end of a text.
const NEAR_END: u8 = 54;
const FAR_END: u8 = 28;
/// Classes of a Chinese character that is no token by itself.
const NEAR_RARE: u8 = 88;
const FAR_RARE: u8 = 52;

/// A sampling counter counts so many bytes to begin with,
const FIRST: usize = 2048;
/// and then a window of so many
const WINDOW: usize = 64;
/// of each so many.
const STRIDE: usize = 4096;

/// What a counter that only samples has not looked at.
#[derive(Debug, Default)]
struct Sample {
    seen: usize,
    unseen: usize,
    /// Bytes until the next window.
    until: usize,
}

/// Sums up the tokens of many texts.
#[derive(Debug, Default)]
pub struct Counter {
    sample: Option<Sample>,
    tokens: u64,
    /// Of the pieces that are not known, in parts of a token.
    parts: i64,
    block: Vec<u32>,
    /// What is known of each character of the block.
    classes: Vec<Class>,
}

impl Counter {
    pub fn tokens(&self) -> u64 {
        let parts = u64::try_from((self.parts + UNIT / 2) / UNIT).unwrap_or_default();
        let seen = self.tokens + parts;
        match &self.sample {
            Some(sample) if sample.seen > 0 => {
                let bytes = |n: usize| u128::try_from(n).unwrap_or_default();
                let unseen = u128::from(seen) * bytes(sample.unseen) / bytes(sample.seen);
                seen.saturating_add(u64::try_from(unseen).unwrap_or(u64::MAX))
            }
            _ => seen,
        }
    }

    /// A counter that looks at a part of long texts and takes the rest to be like it: for whoever needs a rough number
    /// at the cost of reading the lengths.
    pub fn sampling() -> Self {
        Self {
            sample: Some(Sample::default()),
            ..Self::default()
        }
    }

    /// Counts what the sample needs of a text.
    fn sampled(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let Some(sample) = &mut self.sample else {
                return;
            };
            let looks = sample.seen < FIRST || sample.until == 0;
            let most = if sample.seen < FIRST {
                FIRST - sample.seen
            } else if looks {
                WINDOW
            } else {
                sample.until
            };
            let mut end = most.min(rest.len());
            while !rest.is_char_boundary(end) {
                end += 1;
            }
            let (part, after) = rest.split_at(end);
            rest = after;
            if looks {
                sample.seen += part.len();
                sample.until = STRIDE;
                self.each(Unescaped(part.chars()));
            } else {
                sample.unseen += part.len();
                sample.until = sample.until.saturating_sub(part.len());
            }
        }
    }

    /// Adds the text of a JSON string, from its literal with the quotes.
    pub fn literal(&mut self, literal: &str) {
        let inner = literal
            .strip_prefix('"')
            .and_then(|inner| inner.strip_suffix('"'))
            .unwrap_or(literal);
        if self.sample.is_some() {
            self.sampled(inner);
            return;
        }
        self.each(Unescaped(inner.chars()));
    }

    /// Adds JSON as it is spelled, without the white space between its parts.
    pub fn json(&mut self, json: &str) {
        if self.sample.is_some() {
            self.sampled(json);
            return;
        }
        let (mut inside, mut escaped) = (false, false);
        self.each(json.chars().filter(move |c| {
            if !inside {
                inside = *c == '"';
                return !c.is_ascii_whitespace();
            }
            inside = escaped || *c != '"';
            escaped = *c == '\\' && !escaped;
            true
        }));
    }

    fn each(&mut self, chars: impl Iterator<Item = char>) {
        for c in chars {
            let c = fold(u32::from(c));
            self.block.push(c);
            self.classes.push(class(c));
            if self.block.len() == BLOCK {
                self.add();
            }
        }
        self.add();
    }

    /// Counts the block, and empties it.
    fn add(&mut self) {
        let mut at = 0;
        while at < self.block.len() {
            let end = piece(&self.classes, at);
            let piece = self.block.get(at..end).unwrap_or_default();
            let one_sign = matches!(piece, [c] if *c < 128);
            if one_sign || (piece.len() <= KNOWN_MAX && filter_knows(piece)) {
                self.tokens += 1;
            } else {
                // What is not one token is two at least.
                self.parts += cost(&self.classes, at, end).max(2 * UNIT);
            }
            at = end;
        }
        self.block.clear();
        self.classes.clear();
    }
}

/// Where the piece that begins at `at` ends.
fn piece(classes: &[Class], at: usize) -> usize {
    let run = |from: usize| {
        let rest = classes.get(from..).unwrap_or_default();
        let first = rest.first().map(|class| class.kind);
        let others = rest.iter().position(|class| Some(class.kind) != first);
        from + others.unwrap_or(rest.len())
    };
    let end = run(at);
    let is_space = |class: &Class| class.kind == Kind::Space;
    if !classes.get(at).is_some_and(is_space) || end == classes.len() {
        return end;
    }
    match end - at {
        // The last blank belongs to the word behind it, a last line break to nothing.
        1 if classes
            .get(at)
            .is_some_and(|class| class.near == NEAR_BLANK) =>
        {
            run(end)
        }
        1 => end,
        _ => end - 1,
    }
}

fn filter_knows(piece: &[u32]) -> bool {
    let mut hash = 0_u64;
    for c in piece {
        hash = (hash.rotate_left(5) ^ u64::from(*c)).wrapping_mul(HASH);
    }
    hash = (hash ^ hash >> 32).wrapping_mul(HASH);
    [45, 26, 7].into_iter().all(|shift| {
        let bit = usize::try_from(hash >> shift).unwrap_or_default() % FILTER_BITS;
        MODEL
            .get(bit / 8)
            .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    })
}

fn class(c: u32) -> Class {
    if let Some(class) = usize::try_from(c).ok().and_then(|c| ASCII.get(c)) {
        return *class;
    }
    let class = Class::of(c);
    if class.near == NEAR_HAN && !filter_knows(&[c]) {
        return Class {
            near: NEAR_RARE,
            far: FAR_RARE,
            ..class
        };
    }
    class
}

/// What the tables say of a piece, in parts of a token.
fn cost(classes: &[Class], from: usize, to: usize) -> i64 {
    let class = |at: usize, back: usize| {
        at.checked_sub(back)
            .and_then(|at| classes.get(at))
            .map_or((NEAR_END, FAR_END), |class| (class.near, class.far))
    };
    let mut sum = 0;
    let mut before_last = usize::from(class(from, 2).1);
    let (near, far) = class(from, 1);
    let (mut last_near, mut last) = (usize::from(near), usize::from(far));
    for at in from..to {
        let (near, far) = class(at, 0);
        let (this_near, this) = (usize::from(near), usize::from(far));
        let next = usize::from(class(at + 1, 0).1);
        let after_next = usize::from(class(at + 2, 0).1);
        let mut table = FILTER_BYTES;
        sum += value(table + last_near * NEAR + this_near);
        table += NEAR * NEAR;
        for (one, other) in [
            (before_last, this),
            (last, next),
            (this, next),
            (before_last, last),
            (this, after_next),
        ] {
            sum += value(table + one * FAR + other);
            table += FAR * FAR;
        }
        sum += value(table + (at - from).min(PLACES - 1) * FAR + this);
        before_last = last;
        (last_near, last) = (this_near, this);
    }
    sum
}

fn value(at: usize) -> i64 {
    MODEL
        .get(at)
        .map_or(0, |byte| i64::from(byte.cast_signed()))
}

/// The characters of a string literal, its escapes read. Half of a surrogate pair is passed on as U+FFFD.
struct Unescaped<'a>(std::str::Chars<'a>);

impl Unescaped<'_> {
    fn unit(&mut self) -> u32 {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit << 4
                | self
                    .0
                    .next()
                    .and_then(|c| c.to_digit(16))
                    .unwrap_or_default();
        }
        unit
    }
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let c = self.0.next()?;
        if c != '\\' {
            return Some(c);
        }
        Some(match self.0.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let unit = self.unit();
                let mut low = self.0.clone();
                let pair = (0xd800..0xdc00).contains(&unit)
                    && low.next() == Some('\\')
                    && low.next() == Some('u');
                let code = if pair {
                    self.0 = low;
                    let low = self.unit();
                    0x1_0000 + ((unit - 0xd800) << 10) + (low & 0x3ff)
                } else {
                    unit
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other,
        })
    }
}
