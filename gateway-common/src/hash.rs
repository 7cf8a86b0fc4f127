//! The keyed hash behind filter bits, shared buckets and record fingerprints.
//!
//! Two multiplications a word: short enough for the path that a flood takes. It is no MAC. Its
//! secret is drawn when the maps are made and never leaves the router, so a sender can neither
//! choose a slot nor make two of his records look alike, and gets no answer to learn from.

/// A secret to hash under.
#[derive(Clone, Copy)]
pub struct HashKey(pub u64);

/// A bijection on 64 bits in which every input bit reaches every output bit (SplitMix64's finaliser).
#[inline(always)]
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl HashKey {
    /// The hash of a fixed number of words.
    #[inline(always)]
    pub const fn hash<const N: usize>(self, words: [u64; N]) -> u64 {
        let mut state = self.0;
        let mut i = 0;
        while i < N {
            #[expect(clippy::indexing_slicing, reason = "i < N")]
            let word = words[i];
            state = mix(state ^ word);
            i += 1;
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_key_order_and_every_word() {
        let h = HashKey(1).hash([2, 3]);
        assert_ne!(h, HashKey(2).hash([2, 3]));
        assert_ne!(h, HashKey(1).hash([3, 2]));
        assert_ne!(h, HashKey(1).hash([2, 4]));
        assert_eq!(h, HashKey(1).hash([2, 3]));
    }
}
