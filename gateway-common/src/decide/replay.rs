//! Was this record seen before? Answered without its key, and without a lock.
//!
//! A receiver moves its window only after the MAC held (RFC 6347 §4.1.2.6). A border cannot check
//! the MAC, so nothing here moves: there is no edge that a forged number could push.
//! Deviation: each record leaves a [`Mark`] instead, and only a record that finds its own mark is
//! a replay. What a forger can do with that is stated at [`Finding`].
//!
//! Marks lie in pages of [`POSITIONS`] × [`WAYS`] words. Records whose numbers follow each other
//! share a page, each at a position of its own, so a session walks through memory in order. The
//! ways of a position are a ring; where it stands is told by the marks' lap bits alone, so one
//! compare-and-swap both decides and records. Whatever the race, an insertion changes the very
//! word that every contender would change next: two CPUs with the same record cannot both win.
use crate::{
    frame::Frame,
    hash::{Key, fold, mix},
    wire::dtls::{Hello, Record},
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Marks that one position holds, oldest first out.
pub const WAYS: usize = 8;
/// Positions in a page: consecutive sequence numbers that share it.
pub const POSITIONS: usize = 32;
/// Shortest body of a protected record: explicit nonce and tag of AES-CCM-8 (RFC 6655 §3).
pub const PROTECTED_MIN: u16 = 16;

/// A page of marks, position by position.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Page {
    /// `marks[position * WAYS + way]`: lap:1 | tag:29 | incarnation:10 | record:24.
    pub marks: [u64; POSITIONS * WAYS],
}

const LAP: u64 = 1 << 63;
const TAG_BITS: u32 = 29;
const INCARNATION_BITS: u32 = 10;
const RECORD_BITS: u32 = 24;
const TAG: u64 = ((1 << TAG_BITS) - 1) << (INCARNATION_BITS + RECORD_BITS);
const INCARNATION: u64 = ((1 << INCARNATION_BITS) - 1) << RECORD_BITS;
const RECORD: u64 = (1 << RECORD_BITS) - 1;

/// What a record leaves behind, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which page, before it is reduced to the pages there are.
    pub page: u32,
    /// Which position in it.
    pub position: u32,
    /// The word to leave, without its lap bit.
    pub word: u64,
}

/// What the marks say of a record.
///
/// *Replayed*: the same number and the same bytes. Nobody can leave such a mark before the true
/// record exists, because the bytes end in its tag. (An attacker on the path, who has the true
/// record in hand and is faster, can: the mark covers its ends, not all of it.)
///
/// *New*: with `conflict`, the number is known with other bytes, so one of the two was forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Seen before.
    Replayed,
    /// Not seen; to be recorded by storing `new` in `way`, if that still holds `old`.
    New {
        /// The same epoch and sequence number was seen with other bytes.
        conflict: bool,
        /// Which way to store in.
        way: usize,
        /// What it must hold.
        old: u64,
        /// What to store.
        new: u64,
    },
    /// The ring started a lap while it was read: look again.
    Moved,
}

impl Mark {
    /// No mark: what a record leaves that cannot be told from its like.
    pub const NONE: Self = Self { page: 0, position: 0, word: 0 };

    /// Whether this is a mark; every one has a tag.
    #[inline(always)]
    pub const fn is_some(&self) -> bool {
        self.word != 0
    }

    /// The mark of a record.
    ///
    /// `association` is the keyed hash of addresses and ports, `fingerprint` that of the record's
    /// bytes. `incarnation` numbers the DTLS associations that followed each other on the same
    /// ports: an identical record is a replay in any of them, another one conflicts in its own only.
    #[inline(always)]
    pub const fn new(
        association: u64,
        epoch: u16,
        sequence: u64,
        incarnation: u32,
        fingerprint: u64,
    ) -> Self {
        Self::at(Self::place(association, epoch, sequence), sequence, incarnation, fingerprint)
    }

    /// What tells where the mark lies, before anything is known of the record's bytes.
    #[inline(always)]
    pub const fn place(association: u64, epoch: u16, sequence: u64) -> u64 {
        let block = (epoch as u64) << 43 | sequence >> 5;
        mix(association.wrapping_add(block))
    }

    /// Page and position of a [`Mark::place`].
    #[inline(always)]
    pub const fn page(place: u64, sequence: u64) -> (u32, u32) {
        (place as u32, (sequence as u32 ^ (place >> 59) as u32) % POSITIONS as u32)
    }

    /// The mark of a record at its [`Mark::place`].
    #[inline(always)]
    pub const fn at(place: u64, sequence: u64, incarnation: u32, fingerprint: u64) -> Self {
        let hash = place;
        let (page, position) = Self::page(place, sequence);
        let tag = hash >> 30 << (64 - TAG_BITS) >> (64 - TAG_BITS) | 1;
        let incarnation = incarnation as u64 & ((1 << INCARNATION_BITS) - 1);
        Self {
            page,
            position,
            word: tag << (INCARNATION_BITS + RECORD_BITS)
                | incarnation << RECORD_BITS
                | fingerprint >> (64 - RECORD_BITS),
        }
    }

    /// Compares with the ways of the mark's position, read by `load`.
    ///
    /// The ring stands behind the ways of the first one's lap; when all are of one lap, it starts
    /// the next. What is to be replaced is read again after all others were compared: if it is of
    /// the lap to come, or the first way has changed, another CPU has stored something unseen.
    #[inline(always)]
    pub fn find(&self, load: impl Fn(usize) -> u64) -> Finding {
        let first = load(0);
        let mut conflict = false;
        let mut standing = 0;
        let mut i = 0;
        while i < WAYS {
            let mark = if i == 0 { first } else { load(i) };
            let difference = mark ^ self.word;
            if difference & TAG == 0 {
                if difference & RECORD == 0 {
                    return Finding::Replayed;
                }
                conflict |= difference & INCARNATION == 0;
            }
            standing += 1 - ((mark ^ first) >> 63) as usize;
            i += 1;
        }
        let way = standing % WAYS;
        let lap = if way == 0 { !first & LAP } else { first & LAP };
        let (old, new) = (load(way), self.word | lap);
        if old & LAP == lap || load(0) != first {
            return Finding::Moved;
        }
        Finding::New { conflict, way, old, new }
    }
}

/// The keyed hash of a protected record's length, first eight and last sixteen bytes: explicit
/// nonce and tag of every AEAD suite of TLS 1.2. `None` for one too short to be protected.
#[inline(always)]
pub fn fingerprint<F: Frame + ?Sized>(frame: &F, key: impl Key, record: &Record) -> Option<u64> {
    if record.length < PROTECTED_MIN {
        return None;
    }
    let head = frame.word(record.body)?;
    let (first, last) = frame.address(frame.before(record.end, 16)?)?.raw_words();
    Some(fold(key.part(0, [head.wrapping_add(u64::from(record.length)), first, last])))
}

/// The keyed hash of a plaintext ClientHello's random.
///
/// Deviation: of the plaintext records only a ClientHello can be told from its like. A back-end
/// that restarts sends the same ClientKeyExchange and ChangeCipherSpec under the same numbers.
#[inline(always)]
pub fn hello_fingerprint(key: impl Key, hello: &Hello) -> u64 {
    key.hash(hello.random)
}

/// The keyed hash of a record whose numbers are hidden, from `at` to `end`: its first 16 and last
/// 16 bytes and its length. `None` when it is too short to have them.
#[inline(always)]
pub fn opaque_fingerprint<F: Frame + ?Sized>(
    frame: &F,
    key: impl Key,
    at: crate::frame::Offset,
    end: crate::frame::Offset,
) -> Option<u64> {
    let length = end.get().wrapping_sub(at.get()) as u64;
    if length < 16 {
        return None;
    }
    let head = frame.address(at)?.raw_words();
    let tail = frame.address(frame.before(end, 16)?)?.raw_words();
    Some(key.hash([head.0.wrapping_add(length), head.1, tail.0, tail.1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec::Vec};

    fn mark(sequence: u64, incarnation: u32, fingerprint: u64) -> Mark {
        Mark::new(0xfeed, 1, sequence, incarnation, fingerprint << 40)
    }

    fn observe(ways: &mut [u64; WAYS], mark: &Mark) -> Finding {
        let finding = mark.find(|way| ways[way]);
        if let Finding::New { way, old, new, .. } = finding {
            assert_eq!(ways[way], old);
            ways[way] = new;
        }
        finding
    }

    fn conflicts(finding: Finding) -> Option<bool> {
        match finding {
            Finding::Replayed => None,
            Finding::New { conflict, .. } => Some(conflict),
            Finding::Moved => panic!("nothing else moves it"),
        }
    }

    #[test]
    fn the_same_record_is_replayed_in_any_incarnation() {
        let mut ways = [0; WAYS];
        assert_eq!(conflicts(observe(&mut ways, &mark(7, 1, 5))), Some(false));
        assert_eq!(conflicts(observe(&mut ways, &mark(7, 1, 5))), None);
        // other bytes under the same number: a conflict in the same incarnation alone
        assert_eq!(conflicts(observe(&mut ways, &mark(7, 1, 6))), Some(true));
        assert_eq!(conflicts(observe(&mut ways, &mark(7, 2, 7))), Some(false));
        assert_eq!(conflicts(observe(&mut ways, &mark(7, 1, 6))), None);
        assert_eq!(conflicts(observe(&mut ways, &mark(7, 3, 5))), None);
    }

    #[test]
    fn a_ring_that_starts_a_lap_under_the_eyes_is_looked_at_again() {
        // way 0 is read, then another CPU stores this record there and a second one in way 1
        let ways = core::cell::Cell::new([0; WAYS]);
        let record = mark(3, 1, 1);
        let finding = record.find(|way| {
            let seen = ways.get()[way];
            if way == 0 && seen == 0 {
                let mut others = ways.get();
                observe(&mut others, &record);
                observe(&mut others, &mark(3, 1, 2));
                ways.set(others);
            }
            seen
        });
        assert_eq!(finding, Finding::Moved);
        assert_eq!(record.find(|way| ways.get()[way]), Finding::Replayed);
    }

    #[test]
    fn consecutive_numbers_share_a_page_at_positions_of_their_own() {
        let marks: Vec<Mark> = (64..96).map(|n| mark(n, 1, 1)).collect();
        let mut positions: Vec<u32> = marks.iter().map(|m| m.position).collect();
        positions.sort_unstable();
        assert!(marks.iter().all(|m| m.page == marks[0].page));
        assert_eq!(positions, (0..32).collect::<Vec<u32>>());
        assert_ne!(mark(96, 1, 1).page, marks[0].page);
    }

    #[test]
    fn a_race_admits_a_record_once() {
        // both CPUs look before either stores: the second finds its word changed, looks again
        let mut ways = [0; WAYS];
        for round in 0..40 {
            let record = mark(3, 1, 1000 + round);
            let (one, two) = (record.find(|w| ways[w]), record.find(|w| ways[w]));
            let Finding::New { way, old, new, .. } = one else { panic!() };
            assert_eq!(one, two);
            assert_eq!(ways[way], old);
            ways[way] = new;
            assert_ne!(ways[way], old, "the loser's compare fails");
            assert_eq!(record.find(|w| ways[w]), Finding::Replayed);
        }
    }

    proptest! {
        #[test]
        fn a_position_remembers_the_last_eight(
            records in proptest::collection::vec(1u64..40, 1..300),
        ) {
            let mut ways = [0; WAYS];
            let mut model: VecDeque<u64> = VecDeque::new();
            for record in records {
                let replayed = observe(&mut ways, &mark(3, 1, record)) == Finding::Replayed;
                prop_assert_eq!(replayed, model.contains(&record));
                if !replayed {
                    model.push_back(record);
                    if model.len() > WAYS {
                        model.pop_front();
                    }
                }
            }
        }

        #[test]
        fn an_empty_place_holds_no_record(association: u64, sequence in 0u64..1 << 48, inc: u32, fp: u64) {
            let mark = Mark::new(association, 0, sequence, inc, fp);
            prop_assert_eq!(conflicts(mark.find(|_| 0)), Some(false));
            prop_assert_eq!(conflicts(mark.find(|_| LAP)), Some(false));
        }
    }
}
