//! What a picture costs: by its width and height, read from the head of the file through its base64.
//!
//! Anthropic scales a picture down to 1568 pixels on its longer side, and takes `width * height / 750` tokens, about 1600
//! at most. Invariant: looks at a bounded number of bytes, wherever in the file they are.

use std::borrow::Cow;

/// Longest side that the model gets to see, in pixels.
const SIDE_MAX: f64 = 1568.0;
const PIXELS_PER_TOKEN: f64 = 750.0;
/// The most that a picture costs.
const MOST: u64 = 1600;
/// For a picture whose size cannot be seen: most pictures are larger than what is scaled down.
pub const UNSEEN: u64 = MOST;
/// Segments in front of the size in a JPEG.
const SEGMENTS_MAX: usize = 64;

/// The tokens of a picture, from the literal of its base64 with the quotes.
pub fn tokens(literal: &str) -> u64 {
    size(literal.trim_matches('"')).map_or(UNSEEN, |(width, height)| of_size(width, height))
}

/// The same from the literal of a URL, which may hold the picture itself.
pub fn tokens_of_url(literal: &str) -> u64 {
    match literal.split_once(";base64,") {
        Some((head, data)) if head.starts_with("\"data:") => tokens(data),
        _ => UNSEEN,
    }
}

fn of_size(width: u32, height: u32) -> u64 {
    let (width, height) = (f64::from(width), f64::from(height));
    let scale = (SIDE_MAX / width.max(height)).min(1.0);
    let tokens = (width * scale * height * scale / PIXELS_PER_TOKEN).ceil();
    // At most 1568 * 1568 / 750, and never negative.
    let tokens = tokens as u64;
    tokens.clamp(1, MOST)
}

fn size(base64: &str) -> Option<(u32, u32)> {
    let digits = if memchr::memchr(b'\\', base64.as_bytes()).is_some() {
        Cow::Owned(base64.replace('\\', ""))
    } else {
        Cow::Borrowed(base64)
    };
    let file = File(digits.as_bytes());
    let (width, height) = match file.bytes::<4>(0)? {
        [0x89, b'P', b'N', b'G'] => (file.be32(16)?, file.be32(20)?),
        [b'G', b'I', b'F', b'8'] => (file.le16(6)?, file.le16(8)?),
        [b'R', b'I', b'F', b'F'] => webp(&file)?,
        [0xff, 0xd8, ..] => jpeg(&file)?,
        _ => return None,
    };
    (width > 0 && height > 0).then_some((width, height))
}

fn webp(file: &File<'_>) -> Option<(u32, u32)> {
    match &file.bytes::<4>(12)? {
        b"VP8X" => Some((file.le24(24)? + 1, file.le24(27)? + 1)),
        b"VP8L" => {
            let bits = file.le16(21)? | file.le16(23)? << 16;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => Some((file.le16(26)? & 0x3fff, file.le16(28)? & 0x3fff)),
        _ => None,
    }
}

fn jpeg(file: &File<'_>) -> Option<(u32, u32)> {
    let mut at = 2;
    for _ in 0..SEGMENTS_MAX {
        let [mark, kind] = file.bytes::<2>(at)?;
        match (mark, kind) {
            // Filling.
            (0xff, 0xff) => at += 1,
            // The frame headers; 0xc4, 0xc8 and 0xcc are tables.
            (0xff, 0xc0..=0xcf) if !matches!(kind, 0xc4 | 0xc8 | 0xcc) => {
                return Some((file.be16(at + 7)?, file.be16(at + 5)?));
            }
            (0xff, _) => at += 2 + usize::try_from(file.be16(at + 2)?).ok()?,
            _ => return None,
        }
    }
    None
}

/// A file behind its base64, of which single bytes are decoded.
struct File<'a>(&'a [u8]);

impl File<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        // Three bytes are four digits.
        let digit = at / 3 * 4 + at % 3;
        let high = value(*self.0.get(digit)?)?;
        let low = value(*self.0.get(digit + 1)?)?;
        let shift = 2 * (at % 3 + 1);
        u8::try_from((high << shift | low >> (6 - shift)) & 0xff).ok()
    }

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for (offset, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(at.checked_add(offset)?)?;
        }
        Some(bytes)
    }

    fn be32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_be_bytes)
    }

    fn be16(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u16::from_be_bytes).map(u32::from)
    }

    fn le16(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u16::from_le_bytes).map(u32::from)
    }

    fn le24(&self, at: usize) -> Option<u32> {
        let [a, b, c] = self.bytes(at)?;
        Some(u32::from_le_bytes([a, b, c, 0]))
    }
}

fn value(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}
