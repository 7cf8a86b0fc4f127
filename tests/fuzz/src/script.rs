//! Bytes read as a script of steps; it ends with the last whole step.

pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl Script<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number of any magnitude from two bytes: a mantissa and how far it is shifted.
    pub(super) fn number(&mut self) -> Option<u64> {
        let [mantissa, shift] = self.take()?;
        let number = u64::from(mantissa) << (shift % 64);
        // the numbers just below a power of two are where arithmetic ends
        Some(if shift & 0x80 == 0 { number } else { number.wrapping_sub(1) })
    }
}
