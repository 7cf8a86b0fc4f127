//! Front to back through bytes from the network.
use crate::wire::Malformed;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|&[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Result<u16, Malformed> {
        self.array().copied().map(u16::from_be_bytes)
    }

    /// `opaque value<0..2^8-1>` (RFC 5246 §4.3).
    pub(super) fn vector8(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// `opaque value<0..2^16-1>` (RFC 5246 §4.3).
    pub(super) fn vector16(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.short()?;
        self.take(length.into())
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Length) }
    }
}
