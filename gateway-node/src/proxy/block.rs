//! The Block1 and Block2 options (RFC 7959 §2.2).

use alloc::vec::Vec;

use super::message::uint_value;

/// A block size: 2^(exponent + 4) bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockSize(u8);

impl BlockSize {
    /// 1,024 bytes, the largest.
    pub const LARGEST: Self = Self(6);

    /// The size of so many bytes: 16, 32, 64, 128, 256, 512 or 1,024.
    pub fn of(bytes: usize) -> Option<Self> {
        (0..=6).map(Self).find(|size| size.bytes() == bytes)
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        16 << self.0
    }
}

/// The value of a Block option: which block, whether more follow, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u32,
    pub(crate) more: bool,
    pub(crate) size: BlockSize,
}

impl Block {
    /// The largest number: 20 bits.
    pub(crate) const LAST: usize = 0xf_ffff;

    /// The block which begins at `offset`, a multiple of the size.
    pub(crate) fn at(offset: usize, more: bool, size: BlockSize) -> Self {
        Self { number: u32::try_from(offset / size.bytes()).unwrap_or(u32::MAX), more, size }
    }

    /// From an option of 0 to 3 bytes; the exponent 7 is reserved.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let bits = value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let exponent = u8::try_from(bits & 7).ok().filter(|e| *e < 7 && value.len() <= 3)?;
        Some(Self { number: bits >> 4, more: bits & 8 != 0, size: BlockSize(exponent) })
    }

    pub(crate) fn write(self) -> Vec<u8> {
        uint_value(self.number << 4 | u32::from(self.more) << 3 | u32::from(self.size.0))
    }

    /// Where it begins, in bytes.
    pub(crate) fn offset(self) -> usize {
        usize::try_from(self.number).map_or(usize::MAX, |n| n.saturating_mul(self.size.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7959 §3: 0/1/128 and others in its notation, number / more / size.
    #[test]
    fn values_have_the_bits_of_the_rfc() {
        let vectors = [
            (0, false, 16, &b""[..]),
            (0, true, 128, b"\x0b"),
            (2, false, 64, b"\x22"),
            (1, true, 1024, b"\x1e"),
            (16, false, 512, b"\x01\x05"),
            (0xf_ffff, true, 1024, b"\xff\xff\xfe"),
        ];
        for (number, more, bytes, value) in vectors {
            let block = Block { number, more, size: BlockSize::of(bytes).expect("a size") };
            assert_eq!(block.write(), value);
            assert_eq!(Block::read(value), Some(block));
            assert_eq!(block.offset(), number as usize * bytes);
        }
    }

    #[test]
    fn reserved_and_long_values_are_refused() {
        assert_eq!(Block::read(b"\x07"), None);
        assert_eq!(Block::read(b"\x00\x00\x00\x00"), None);
        assert_eq!(BlockSize::of(100), None);
        assert_eq!(BlockSize::of(2048), None);
    }
}
