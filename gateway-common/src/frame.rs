//! Bounded access to a packet: the one seam between XDP and the host.
use crate::wire::Address;

/// A position in a frame, in bytes from its start.
///
/// It never exceeds [`Offset::MAX`]: that is both the limit on what a sender may make the parser
/// walk through and the bound that the kernel's verifier asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(usize);

impl Offset {
    /// The largest position: an Ethernet frame of 1,500 bytes with two VLAN tags ends before it.
    pub const MAX: usize = 0x7ff;
    /// The first byte of the frame.
    pub const START: Self = Self(0);

    /// The position `by` bytes further on, or `None` past [`Offset::MAX`].
    #[inline(always)]
    pub fn advance(self, by: usize) -> Option<Self> {
        let next = self.get().wrapping_add(by);
        if next > Self::MAX || next < by { None } else { Some(Self(next)) }
    }

    /// The position `by` bytes before this one, or `None` before the start.
    #[inline(always)]
    pub fn back(self, by: usize) -> Option<Self> {
        let at = self.get();
        if by > at { None } else { Some(Self(at - by)) }
    }

    /// Bytes from the start of the frame.
    #[inline(always)]
    pub fn get(self) -> usize {
        self.0 & Self::MAX
    }
}

/// Read access to a packet in whole network-order words; `None` past its end.
///
/// Words rather than overlaid structures, because a structure without alignment is read byte by
/// byte on BPF, which costs more than the rest of the parser.
pub trait Frame {
    /// Whether the frame has `length` bytes from `at` on, which may be more than an [`Offset`] can
    /// reach: segments that the kernel has merged are.
    fn holds(&self, at: Offset, length: u16) -> bool;
    /// One byte.
    fn byte(&self, at: Offset) -> Option<u8>;
    /// Two bytes, most significant first.
    fn short(&self, at: Offset) -> Option<u16>;
    /// Four bytes, most significant first.
    fn half(&self, at: Offset) -> Option<u32>;
    /// Eight bytes, most significant first.
    fn word(&self, at: Offset) -> Option<u64>;
    /// An IPv6 address.
    fn address(&self, at: Offset) -> Option<Address>;
    /// The position `by` bytes before `end`, as [`Offset::back`] finds it.
    fn before(&self, end: Offset, by: usize) -> Option<Offset> {
        end.back(by)
    }
}

fn take<const N: usize>(frame: &[u8], at: Offset) -> Option<[u8; N]> {
    frame.get(at.get()..)?.first_chunk().copied()
}

impl Frame for [u8] {
    fn holds(&self, at: Offset, length: u16) -> bool {
        at.get() + usize::from(length) <= self.len()
    }
    fn byte(&self, at: Offset) -> Option<u8> {
        self.get(at.get()).copied()
    }
    fn short(&self, at: Offset) -> Option<u16> {
        take(self, at).map(u16::from_be_bytes)
    }
    fn half(&self, at: Offset) -> Option<u32> {
        take(self, at).map(u32::from_be_bytes)
    }
    fn word(&self, at: Offset) -> Option<u64> {
        take(self, at).map(u64::from_be_bytes)
    }
    fn address(&self, at: Offset) -> Option<Address> {
        take(self, at).map(|octets| Address { octets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_fails_instead_of_wrapping() {
        let last = Offset::START.advance(Offset::MAX).unwrap();
        assert_eq!(last.advance(1), None);
        assert_eq!(last.advance(usize::MAX), None);
        assert_eq!(Offset::START.back(1), None);
        assert_eq!(last.back(Offset::MAX), Some(Offset::START));
    }

    #[test]
    fn words_end_where_the_frame_ends() {
        let frame = [1u8, 2, 3, 4, 5, 6, 7, 8, 9];
        let at = |n| Offset::START.advance(n).unwrap();
        assert_eq!(frame[..].word(at(1)), Some(0x0203_0405_0607_0809));
        assert_eq!(frame[..].word(at(2)), None);
        assert_eq!(frame[..].half(at(5)), Some(0x0607_0809));
        assert_eq!(frame[..].short(at(8)), None);
        assert_eq!(frame[..].byte(at(9)), None);
        assert_eq!(frame[..].address(at(0)), None);
        assert!(frame[..].holds(at(2), 7));
        assert!(!frame[..].holds(at(2), 8));
    }
}
