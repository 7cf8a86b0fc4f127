//! The filter bits: which entries of the allow-list need which bit.
use super::{
    Result,
    maps::{Table, named},
    plain::Plain,
};
use std::collections::HashMap;

/// A bit: its word, and its place there.
pub(super) type Bit = (u32, u64);

/// The array, and how many entries need each of its bits.
pub(super) struct Bits {
    table: Table<u64>,
    needed: HashMap<Bit, u32>,
}

impl Bits {
    pub(super) fn new(table: Table<u64>) -> Self {
        Self { table, needed: HashMap::new() }
    }

    /// Counts a bit that the kernel has already.
    pub(super) fn count(&mut self, bit: Bit) {
        *self.needed.entry(bit).or_default() += 1;
    }

    /// Sets a bit, before the entry that needs it.
    pub(super) fn set(&mut self, (index, mask): Bit) -> Result<()> {
        let word = self.table.get(&index, 0).map_err(named("BITS"))?.0;
        if word & mask == 0 {
            self.table.set(index, Plain(word | mask), 0).map_err(named("BITS"))?;
        }
        Ok(())
    }

    /// Clears a bit after the last entry that needed it.
    pub(super) fn release(&mut self, bit: Bit) -> Result<()> {
        let left = self.needed.get(&bit).map_or(0, |count| count.saturating_sub(1));
        if left > 0 {
            self.needed.insert(bit, left);
            return Ok(());
        }
        self.needed.remove(&bit);
        let (index, mask) = bit;
        let word = self.table.get(&index, 0).map_err(named("BITS"))?.0;
        self.table.set(index, Plain(word & !mask), 0).map_err(named("BITS"))
    }

    /// Makes the array what is needed and nothing else.
    pub(super) fn rebuild(&mut self) -> Result<()> {
        let mut words = HashMap::<u32, u64>::new();
        for (index, mask) in self.needed.keys() {
            *words.entry(*index).or_default() |= mask;
        }
        for index in 0..self.table.len() {
            let wanted = words.get(&index).copied().unwrap_or(0);
            if self.table.get(&index, 0).map_err(named("BITS"))?.0 != wanted {
                self.table.set(index, Plain(wanted), 0).map_err(named("BITS"))?;
            }
        }
        Ok(())
    }
}
