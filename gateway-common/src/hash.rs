//! The keyed hash behind filter bits, shared buckets, associations and record fingerprints.
//!
//! In the manner of NH (Black et al., "UMAC", CRYPTO '99), with a finaliser: each word, under its
//! own secret, is multiplied with its upper half, and no multiplication waits for another, because
//! a flood pays for it. It is no MAC. Its secret is drawn when the maps
//! are made and never leaves the router, so a sender can neither choose a slot nor make two of his
//! records look alike, and gets no answer to learn from.
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Words that can be hashed at once.
pub const LANES: usize = 6;

/// A secret to hash under, as the kernel and the host hold it.
pub trait Key: Copy {
    /// The secret of the `n`th word, below [`LANES`].
    fn lane(self, n: usize) -> u64;

    /// A part of a hash: of words that are followed by others from place `first` on.
    #[inline(always)]
    fn part<const N: usize>(self, first: usize, words: [u64; N]) -> u64 {
        let mut sum = 0u64;
        let mut i = 0;
        while i < N {
            #[expect(clippy::indexing_slicing, reason = "i < N")]
            let word = words[i] ^ self.lane(first + i);
            sum = sum.wrapping_add(word.wrapping_mul(word >> 32));
            i += 1;
        }
        sum
    }

    /// The hash of a fixed number of words.
    #[inline(always)]
    fn hash<const N: usize>(self, words: [u64; N]) -> u64 {
        mix(self.part(0, words))
    }
}

/// A secret to hash under.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct HashKey {
    /// One secret for each word.
    pub lanes: [u64; LANES],
}

/// A bijection on 64 bits in which every input bit reaches every output bit (SplitMix64's
/// finaliser). It makes the hash of the sum of [`Key::part`]s.
#[inline(always)]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Half of [`mix`]: upper bits of the result depend on every bit, lower ones do not.
#[inline(always)]
pub const fn fold(x: u64) -> u64 {
    (x ^ (x >> 32)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl HashKey {
    /// From 64 secret bits.
    pub const fn new(secret: u64) -> Self {
        let mut lanes = [0; LANES];
        let mut state = secret;
        let mut i = 0;
        while i < LANES {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            #[expect(clippy::indexing_slicing, reason = "i < LANES")]
            {
                lanes[i] = mix(state);
            }
            i += 1;
        }
        Self { lanes }
    }
}

impl Key for HashKey {
    #[inline(always)]
    fn lane(self, n: usize) -> u64 {
        self.lanes.get(n).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn depends_on_key_order_and_every_word() {
        let h = HashKey::new(1).hash([2, 3]);
        assert_ne!(h, HashKey::new(2).hash([2, 3]));
        assert_ne!(h, HashKey::new(1).hash([3, 2]));
        assert_ne!(h, HashKey::new(1).hash([2, 4]));
        assert_eq!(h, HashKey::new(1).hash([2, 3]));
    }

    proptest! {
        #[test]
        fn parts_add_up(secret: u64, words: [u64; 5]) {
            let key = HashKey::new(secret);
            let [a, b, c, d, e] = words;
            let sum = key.part(0, [a, b]).wrapping_add(key.part(2, [c, d, e]));
            prop_assert_eq!(mix(sum), key.hash(words));
        }

        #[test]
        fn no_difference_collides_under_every_key(
            secrets in proptest::collection::vec(any::<u64>(), 8),
            words: [u64; 3],
            bits in proptest::collection::vec((0usize..3, 0u32..64), 1..4),
        ) {
            let mut other = words;
            for (word, bit) in bits {
                other[word] ^= 1 << bit;
            }
            prop_assume!(other != words);
            let agree = |s: &u64| HashKey::new(*s).hash(words) == HashKey::new(*s).hash(other);
            prop_assert!(!secrets.iter().all(agree));
        }
    }
}
