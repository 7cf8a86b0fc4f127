//! SipHash-2-4 with 128 bits of output (Aumasson, Bernstein: "SipHash: a fast short-input PRF").
//!
//! Over whole words, because that is what packets are read in. A cookie's tag is shown to whoever
//! asks, so the hash of [`crate::hash`], which shows nothing, would not do.

/// A key, as the two words of its 16 bytes in little-endian order.
pub type Secret = [u64; 2];

struct State {
    v: [u64; 4],
}

impl State {
    #[inline(always)]
    fn new([k0, k1]: Secret) -> Self {
        Self {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
        }
    }

    #[inline(always)]
    fn rounds(&mut self, rounds: usize) {
        let [mut v0, mut v1, mut v2, mut v3] = self.v;
        let mut i = 0;
        while i < rounds {
            v0 = v0.wrapping_add(v1);
            v2 = v2.wrapping_add(v3);
            v1 = v1.rotate_left(13) ^ v0;
            v3 = v3.rotate_left(16) ^ v2;
            v0 = v0.rotate_left(32);
            v2 = v2.wrapping_add(v1);
            v0 = v0.wrapping_add(v3);
            v1 = v1.rotate_left(17) ^ v2;
            v3 = v3.rotate_left(21) ^ v0;
            v2 = v2.rotate_left(32);
            i += 1;
        }
        self.v = [v0, v1, v2, v3];
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.v[3] ^= word;
        self.rounds(2);
        self.v[0] ^= word;
    }

    #[inline(always)]
    fn squeeze(&mut self) -> u64 {
        self.rounds(4);
        let [v0, v1, v2, v3] = self.v;
        v0 ^ v1 ^ v2 ^ v3
    }
}

/// The hash of a message of `N` little-endian words, as two words of the same order.
#[inline(always)]
pub fn siphash<const N: usize>(secret: Secret, message: &[u64; N]) -> [u64; 2] {
    let mut state = State::new(secret);
    let mut i = 0;
    while i < N {
        #[expect(clippy::indexing_slicing, reason = "i < N")]
        let word = message[i];
        state.absorb(word);
        i += 1;
    }
    // the last word: no byte left over, and the length
    state.absorb((N as u64 * 8) << 56);
    state.v[2] ^= 0xee;
    let low = state.squeeze();
    state.v[1] ^= 0xdd;
    [low, state.squeeze()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    fn message<const N: usize>() -> [u64; N] {
        core::array::from_fn(|n| u64::from_le_bytes(core::array::from_fn(|i| (n * 8 + i) as u8)))
    }

    fn bytes(hash: [u64; 2]) -> u128 {
        u128::from(hash[0].swap_bytes()) << 64 | u128::from(hash[1].swap_bytes())
    }

    #[test]
    fn agrees_with_the_reference_vectors() {
        assert_eq!(bytes(siphash(SECRET, &[])), 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293);
        assert_eq!(
            bytes(siphash(SECRET, &message::<1>())),
            0x3b62_a9ba_6258_f561_0f83_e264_f314_97b4
        );
        assert_eq!(
            bytes(siphash(SECRET, &message::<2>())),
            0x6ee2_a4ca_67b0_54bb_fd33_15bf_8523_0577
        );
        assert_eq!(
            bytes(siphash(SECRET, &message::<7>())),
            0x1938_f2cf_72d5_4ee9_7e94_166f_a91d_2a36
        );
        assert_eq!(
            bytes(siphash(SECRET, &message::<14>())),
            0xacab_a724_a1bd_dfb0_26d8_56ed_b637_4fee
        );
    }
}
