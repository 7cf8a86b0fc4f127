//! The filter bits: "surely not in the allow-list", from a keyed hash and one load.
use crate::{
    hash::{Key, fold},
    wire::Address,
};

/// Filter bits for each entry that the allow-list can hold.
pub const BITS_PER_SOURCE: u32 = 16;

/// Words that `entries` entries need: a power of two.
pub const fn words(entries: u32) -> u32 {
    let words = entries.div_ceil(64 / BITS_PER_SOURCE).next_power_of_two();
    if words < 64 { 64 } else { words }
}

/// Set in every word while there are prefixes in the allow-list: an address without bits of its own
/// may lie in one of them.
pub const PREFIXES: u64 = 1 << 63;

/// Bits in one word of the array: an entry sets all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Which word, before it is reduced to the words there are.
    pub word: u32,
    /// Which bits of it: one of the lower half, one of as many above it, so that about one stranger
    /// in seventy passes.
    pub mask: u64,
}

/// The bits that follow from [`Key::part`]s.
#[inline(always)]
pub const fn bits(part: u64) -> Bits {
    let hash = fold(part);
    let mask = 1 << (hash >> 59) | (1 << 31) << (hash >> 54 & 31);
    Bits { word: (hash >> 20) as u32, mask }
}

/// What the hash of an address, and that of a flow from it, start with.
#[inline(always)]
pub fn part(key: impl Key, address: &Address) -> u64 {
    let (high, low) = address.raw_words();
    key.part(0, [high, low])
}

/// The bits of an address.
#[inline(always)]
pub fn address(key: impl Key, address: &Address) -> Bits {
    bits(part(key, address))
}

/// The bits of a prefix of `length`, given an address that is already masked.
#[inline(always)]
pub fn prefix(key: impl Key, address: &Address, length: u8) -> Bits {
    let (high, low) = address.raw_words();
    bits(key.part(0, [high, low, length.into()]))
}
