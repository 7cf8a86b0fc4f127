//! Places among the sources' counters that no lease has at present.
//!
//! A place keeps what its last source had spent: who gives a lease back and takes another one must
//! not come by a fresh budget. The place that has been free for the longest time is reused first.
use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Entries of the queue that may be out of date before it is swept.
const STALE_MAX: usize = 1024;

/// Free places, by whom they belonged to.
#[derive(Debug)]
pub(super) struct Slots<P> {
    /// Oldest first; an owner that came back leaves an entry behind that no longer counts.
    queue: VecDeque<Entry<P>>,
    rested: HashMap<P, Rest>,
    turns: u64,
}

/// A free place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    slot: u32,
    /// Tells one rest of a place from the next.
    turn: u64,
}

type Entry<P> = (Option<P>, Rest);

impl<P: Copy + Eq + Hash> Slots<P> {
    /// Places whose former owners are not known.
    pub(super) fn new(free: impl Iterator<Item = u32>) -> Self {
        let queue = free.map(|slot| (None, Rest { slot, turn: 0 })).collect();
        Self { queue, rested: HashMap::new(), turns: 0 }
    }

    /// Gives a place back.
    pub(super) fn rest(&mut self, owner: P, slot: u32) {
        self.turns += 1;
        let rest = Rest { slot, turn: self.turns };
        self.rested.insert(owner, rest);
        self.queue.push_back((Some(owner), rest));
        if self.queue.len() > 2 * self.rested.len() + STALE_MAX {
            let rested = &self.rested;
            self.queue.retain(|entry| counts(rested, entry));
        }
    }

    /// The place that `owner` had, with what it has spent.
    pub(super) fn back_again(&mut self, owner: &P) -> Option<u32> {
        self.rested.remove(owner).map(|rest| rest.slot)
    }

    /// The place that has been free for the longest time; it is to be cleaned.
    pub(super) fn longest_free(&mut self) -> Option<u32> {
        loop {
            let entry = self.queue.pop_front()?;
            if counts(&self.rested, &entry) {
                if let Some(owner) = entry.0 {
                    self.rested.remove(&owner);
                }
                return Some(entry.1.slot);
            }
        }
    }
}

fn counts<P: Eq + Hash>(rested: &HashMap<P, Rest>, (owner, rest): &Entry<P>) -> bool {
    owner.as_ref().is_none_or(|owner| rested.get(owner) == Some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_finds_what_it_has_spent() {
        let mut slots = Slots::new(core::iter::empty());
        slots.rest('a', 1);
        slots.rest('b', 2);
        assert_eq!(slots.back_again(&'a'), Some(1));
        assert_eq!(slots.back_again(&'a'), None);
        assert_eq!(slots.longest_free(), Some(2));
        assert_eq!((slots.longest_free(), slots.back_again(&'b')), (None, None));
    }

    #[test]
    fn no_place_is_given_out_twice() {
        let mut slots = Slots::new([7].into_iter());
        slots.rest('a', 1);
        assert_eq!(slots.back_again(&'a'), Some(1));
        slots.rest('a', 1);
        let all = core::iter::from_fn(|| slots.longest_free()).collect::<Vec<_>>();
        assert_eq!(all, [7, 1]);
    }

    #[test]
    fn coming_and_going_makes_nothing_grow() {
        let mut slots = Slots::new(core::iter::empty());
        for _ in 0..100_000 {
            slots.rest('a', 1);
            assert_eq!(slots.back_again(&'a'), Some(1));
        }
        assert!(slots.queue.len() <= STALE_MAX + 2, "{}", slots.queue.len());
    }
}
