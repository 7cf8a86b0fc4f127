//! How often a cookie was used: a client that loses an answer sends its ClientHello again, but a
//! cookie is no ticket for a flood.
//!
//! One word a slot, and a fixed number of slots, which only valid cookies reach. Two cookies of one
//! slot push each other out: then one is good for more hellos, never for fewer.
use super::Cookie;
use crate::hash::Key;

/// Hellos that one cookie is good for: the first and three retransmissions.
pub const USES_MAX: u64 = 4;
/// Slots: more than the cookies that a router's handshakes use up in their two minutes.
pub const SLOTS: u32 = 16_384;

const COUNT: u64 = 0b111;

/// Where a cookie's uses are counted, and the mark that tells it from others there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which slot.
    pub slot: u32,
    mark: u64,
}

impl Place {
    /// The place of a cookie.
    #[inline(always)]
    pub fn new(key: impl Key, cookie: &Cookie) -> Self {
        let hash = key.hash([cookie[0], cookie[1], 4]);
        Self { slot: (hash >> 32) as u32 % SLOTS, mark: (hash | (COUNT + 1)) & !COUNT }
    }

    /// The slot's word after one more use, or `None` when the cookie is spent.
    #[inline(always)]
    pub const fn spend(&self, word: u64) -> Option<u64> {
        if word & !COUNT != self.mark {
            return Some(self.mark | 1);
        }
        if word & COUNT >= USES_MAX { None } else { Some(word + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKey;

    #[test]
    fn a_cookie_is_good_for_four_hellos() {
        let place = Place::new(HashKey::new(7), &[1, 2]);
        let mut word = 0;
        for _ in 0..USES_MAX {
            word = place.spend(word).expect("a use is left");
        }
        assert_eq!(place.spend(word), None);
    }

    #[test]
    fn another_cookie_in_the_same_slot_never_shuts_one_out() {
        let (one, other) =
            (Place::new(HashKey::new(7), &[1, 2]), Place::new(HashKey::new(7), &[3, 2]));
        let mut word = 0;
        for _ in 0..USES_MAX {
            word = one.spend(word).expect("a use is left");
        }
        let taken = other.spend(word).expect("the slot is taken over");
        assert!(one.spend(taken).is_some());
    }
}
