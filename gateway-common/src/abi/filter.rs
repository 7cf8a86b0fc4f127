//! The filter bits: "surely not in the allow-list", from a keyed hash and one load.
use crate::{hash::HashKey, wire::Address};

/// Filter bits for each entry that the allow-list can hold.
pub const BITS_PER_SOURCE: u32 = 16;

/// Words that `entries` entries need: a power of two.
pub const fn words(entries: u32) -> u32 {
    let words = entries.div_ceil(64 / BITS_PER_SOURCE).next_power_of_two();
    if words < 64 { 64 } else { words }
}

/// A bit in the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bit {
    /// Which word, before it is reduced to the words there are.
    pub word: u32,
    /// Which bit of it.
    pub mask: u64,
}

const fn bit(hash: u64) -> Bit {
    Bit { word: hash as u32, mask: 1 << (hash >> 58) }
}

/// The bit of an address.
#[inline(always)]
pub const fn address(key: HashKey, address: &Address) -> Bit {
    let (high, low) = address.raw_words();
    bit(key.hash([high, low]))
}

/// The bit of a prefix of `length`, given an address that is already masked.
#[inline(always)]
pub const fn prefix(key: HashKey, address: &Address, length: u8) -> Bit {
    let (high, low) = address.raw_words();
    bit(key.hash([high, low, length as u64]))
}
