//! Anti-replay window of a DTLS peer (RFC 6347 §4.1.2.6): 64 numbers.

/// Which numbers were seen. Checked before a record is opened, moved only after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// One more than the highest number seen.
    next: u64,
    /// Bit i: `next - 1 - i` was seen.
    seen: u64,
}

impl Window {
    /// Whether a record with this number may be opened.
    pub(crate) fn is_fresh(&self, number: u64) -> bool {
        match self.next.checked_sub(number) {
            None | Some(0) => true,
            Some(behind) => behind <= 64 && self.seen >> (behind - 1) & 1 == 0,
        }
    }

    /// Remembers the number of an authentic record.
    pub(crate) fn update(&mut self, number: u64) {
        match self.next.checked_sub(number) {
            Some(behind @ 1..) => self.seen |= 1_u64.checked_shl(behind as u32 - 1).unwrap_or(0),
            None | Some(0) => {
                let ahead = number - self.next + 1;
                let kept = u32::try_from(ahead).ok().and_then(|ahead| self.seen.checked_shl(ahead));
                self.seen = kept.unwrap_or(0) | 1;
                self.next = number + 1;
            }
        }
    }

    /// The lowest number that no record has had, for a peer whose records come in order.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set(numbers in proptest::collection::vec(
            prop_oneof![0..200_u64, 0..100_000_u64, Just((1 << 48) - 1)], 0..200)) {
            let (mut window, mut seen) = (Window::default(), BTreeSet::new());
            for number in numbers {
                let top = seen.last().copied();
                let recent = top.is_none_or(|top: u64| number + 64 > top);
                prop_assert_eq!(window.is_fresh(number), recent && !seen.contains(&number));
                if window.is_fresh(number) {
                    window.update(number);
                    seen.insert(number);
                }
            }
        }
    }
}
