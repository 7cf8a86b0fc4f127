//! The filter bits: which entries of the allow-list need which of them.
use super::{
    Result,
    maps::{Table, named},
    plain::Plain,
};
use gateway_common::abi::filter::PREFIXES;
use std::collections::HashMap;

/// An entry's bits: their word, and their places there.
pub(super) type Bit = (u32, u64);

/// The array, and what its entries need.
pub(super) struct Bits {
    table: Table<u64>,
    /// Bits of the entries of each word.
    needed: HashMap<u32, Vec<u64>>,
    /// [`PREFIXES`], while there are any.
    prefixes: u64,
}

impl Bits {
    pub(super) fn new(table: Table<u64>) -> Result<Self> {
        let prefixes = table.get(&0, 0).map_err(named("BITS"))?.0 & PREFIXES;
        Ok(Self { table, needed: HashMap::new(), prefixes })
    }

    /// Counts an entry whose bits the kernel has already.
    pub(super) fn count(&mut self, (index, mask): Bit) {
        self.needed.entry(index).or_default().push(mask);
    }

    /// Sets the bits of an entry, before the entry.
    pub(super) fn set(&mut self, (index, mask): Bit) -> Result<()> {
        let word = self.table.get(&index, 0).map_err(named("BITS"))?.0;
        self.write(index, word, word | mask)
    }

    /// Clears the bits of an entry that no other one needs, after the entry.
    pub(super) fn release(&mut self, (index, mask): Bit) -> Result<()> {
        if let Some(masks) = self.needed.get_mut(&index) {
            if let Some(place) = masks.iter().position(|other| *other == mask) {
                masks.swap_remove(place);
            }
            if masks.is_empty() {
                self.needed.remove(&index);
            }
        }
        let word = self.table.get(&index, 0).map_err(named("BITS"))?.0;
        self.write(index, word, self.wanted(index))
    }

    /// Makes the array what is needed and nothing else.
    pub(super) fn rebuild(&mut self) -> Result<()> {
        // the first word last: it shows whether all were written
        for index in (0..self.table.len()).rev() {
            let word = self.table.get(&index, 0).map_err(named("BITS"))?.0;
            self.write(index, word, self.wanted(index))?;
        }
        Ok(())
    }

    /// Has every word tell whether there are prefixes in the allow-list.
    pub(super) fn tell_of_prefixes(&mut self, any: bool) -> Result<()> {
        let prefixes = if any { PREFIXES } else { 0 };
        if self.prefixes == prefixes {
            return Ok(());
        }
        self.prefixes = prefixes;
        self.rebuild()
    }

    fn wanted(&self, index: u32) -> u64 {
        let masks = self.needed.get(&index).map_or(&[][..], Vec::as_slice);
        masks.iter().fold(self.prefixes, |word, mask| word | mask)
    }

    fn write(&mut self, index: u32, word: u64, wanted: u64) -> Result<()> {
        if word == wanted {
            return Ok(());
        }
        self.table.set(index, Plain(wanted), 0).map_err(named("BITS"))
    }
}
