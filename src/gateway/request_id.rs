//! Request ids: unique over processes, cheap to make, not secret.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

static SEED: LazyLock<(u64, u64)> = LazyLock::new(|| {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Ids stay unique within the process; across processes the clock and the pid tell them apart.
        let pid = u64::from(std::process::id());
        let now = jiff::Timestamp::now().as_nanosecond();
        bytes = (now ^ i128::from(pid)).to_le_bytes();
    }
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0_u64, |word, b| word << 8 | u64::from(*b));
    (word(low), word(high))
});
static COUNT: AtomicU64 = AtomicU64::new(0);

/// `req_` and 32 hexadecimal digits.
pub(super) fn new() -> String {
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let (low, high) = *SEED;
    let mut id = String::with_capacity(36);
    id.push_str("req_");
    for word in [high, mix(low.wrapping_add(n))] {
        for shift in (0..64).step_by(4).rev() {
            let digit = u32::try_from(word >> shift & 0xf).unwrap_or(0);
            id.push(char::from_digit(digit, 16).unwrap_or('0'));
        }
    }
    id
}

/// A bijection on 64-bit words, so that different counts stay different.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_unique_and_of_one_shape() {
        let ids: std::collections::HashSet<String> = (0..10_000).map(|_| super::new()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(
            ids.iter()
                .all(|id| id.len() == 36 && id.starts_with("req_"))
        );
    }
}
