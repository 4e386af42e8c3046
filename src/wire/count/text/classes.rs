//! Classes of characters, as the tables of `model.bin` number them. A change here makes the tables meaningless.

/// What a piece of text is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Space,
    Letter,
    Digit,
    Sign,
}

/// All that is known of a character.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    pub kind: Kind,
    /// One of 128: each ASCII character its own, case and all.
    pub near: u8,
    /// One of 64: letters without case, signs in groups, scripts.
    pub far: u8,
}

impl Class {
    pub const fn of(c: u32) -> Self {
        Self {
            kind: kind(c),
            near: near(c),
            far: far(c),
        }
    }
}

/// The classes of ASCII, where most texts are.
pub static ASCII: [Class; 128] = {
    let mut all = [Class::of(0); 128];
    let mut c = 0;
    while c < 128 {
        all[c] = Class::of(c as u32);
        c += 1;
    }
    all
};

/// Wide forms of ASCII count as ASCII.
pub const fn fold(c: u32) -> u32 {
    match c {
        0xff01..=0xff5e => c - 0xfee0,
        0x3000 | 0xa0 => 0x20,
        _ => c,
    }
}

const fn kind(c: u32) -> Kind {
    match c {
        0x20 | 0x09..=0x0d => Kind::Space,
        0x61..=0x7a | 0x41..=0x5a | 0xaa | 0xb5 | 0xba | 0x3005 => Kind::Letter,
        0x30..=0x39 => Kind::Digit,
        0..0xc0
        | 0xd7
        | 0xf7
        | 0x2000..0x2c00
        | 0x3000..0x3040
        | 0xfe00..0xfe10
        | 0xfe30..0xfe70
        | 0xff00..0xff66
        | 0x1_f000.. => Kind::Sign,
        _ => Kind::Letter,
    }
}

const fn near(c: u32) -> u8 {
    let class = match c {
        0x61..=0x7a => c - 0x61,
        0x41..=0x5a => 26 + c - 0x41,
        0x30..=0x39 => 52,
        0x20 => 53,
        0x0a => 54,
        0x09 => 55,
        0x21..=0x2f => 56 + c - 0x21,
        0x3a..=0x40 => 71 + c - 0x3a,
        0x5b..=0x60 => 78 + c - 0x5b,
        0x7b..=0x7e => 84 + c - 0x7b,
        _ if c < 0x80 => 88,
        0x430..0x450 => 96 + (c - 0x430),
        0x400..0x530 => 89,
        0xdf..0x250 | 0x1e00..0x1f00 => 90,
        0xc0..0xdf => 91,
        0x370..0x400 | 0x590..0x700 => 92,
        0x900..0xe80 | 0xac00..0xd7b0 => 93,
        0x3040..0x3100 => 94,
        0x4e00..0xa000 => 95,
        0x3000..0x3040 | 0xff00..0xfff0 | 0xa0..0xc0 | 0x2000..0x2070 => 91,
        _ if c < 0x1_0000 => 89,
        _ => 88,
    };
    class as u8
}

const fn far(c: u32) -> u8 {
    let class = match c {
        0x61..=0x7a => c - 0x61,
        0x41..=0x5a => c - 0x41,
        0x30..=0x39 => 26,
        0x20 => 27,
        0x0a | 0x09 | 0x0d => 28,
        // " ' `
        0x22 | 0x27 | 0x60 => 29,
        // ( ) [ ] { } < >
        0x28 | 0x29 | 0x5b | 0x5d | 0x7b | 0x7d | 0x3c | 0x3e => 30,
        // . , ; : ! ?
        0x2e | 0x2c | 0x3b | 0x3a | 0x21 | 0x3f => 31,
        // _ - / \
        0x5f | 0x2d | 0x2f | 0x5c => 32,
        _ if c < 0x80 => 33,
        // Vowels.
        0x430 | 0x435 | 0x438 | 0x43e | 0x443 => 34,
        0x44b | 0x44d | 0x44e | 0x44f => 35,
        0x430..0x450 => 36,
        0x400..0x530 => 37,
        0xe4 | 0xf6 | 0xfc | 0xdf => 38,
        0xdf..0x100 => 39,
        0x100..0x250 => 40,
        0x1e00..0x1f00 => 41,
        0xc0..0xdf => 42,
        0x370..0x400 => 43,
        0x590..0x600 => 44,
        0x600..0x700 => 45,
        0x900..0xe00 => 46,
        0xe00..0xe80 => 47,
        0x3040..0x30a0 => 48,
        0x30a0..0x3100 => 49,
        0xac00..0xd7b0 => 50,
        0x4e00..0xa000 => 51,
        0x3000..0x3040 => 54,
        0xff00..0xfff0 => 55,
        0xa0..0xc0 => 56,
        0x2000..0x2070 => 57,
        0x2500..0x2580 => 58,
        0x1_f000..0x2_0000 => 59,
        _ if c < 0x2c00 => 60,
        _ if c < 0x1_0000 => 61,
        _ => 62,
    };
    class as u8
}
