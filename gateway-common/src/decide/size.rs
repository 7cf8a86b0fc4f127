//! How large a datagram into the LLN, and how much an unproven address may draw out of it.

/// Factor that bytes to an unproven address stay within (RFC 9147 §5.1, RFC 7252 §11.3).
pub const AMPLIFICATION: u64 = 3;

/// Whether a node may send `length` more bytes to an address that has sent `received` and got
/// `sent` so far.
#[inline(always)]
pub const fn may_answer(received: u64, sent: u64, length: u64) -> bool {
    // counts of bytes since boot: nowhere near the end of 64 bits
    sent.wrapping_add(length) <= received.wrapping_mul(AMPLIFICATION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_factor_holds_whatever_the_sizes(
            asks in proptest::collection::vec((any::<bool>(), 1u64..1500), 0..100),
        ) {
            let (mut received, mut sent) = (0, 0);
            for (inward, length) in asks {
                if inward {
                    received += length;
                } else if may_answer(received, sent, length) {
                    sent += length;
                }
                prop_assert!(sent <= AMPLIFICATION * received);
            }
        }
    }
}
