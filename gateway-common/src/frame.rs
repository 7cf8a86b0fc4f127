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
    /// Bytes of the frame that are there.
    type Window<'a, const N: usize>: Window
    where
        Self: 'a;
    /// The `N` bytes from `at` on: one question to the frame for all of them.
    fn window<const N: usize>(&self, at: Offset) -> Option<Self::Window<'_, N>>;
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

/// Bytes of a frame that are known to be there, read at places that are known when the program is
/// compiled: one past the window does not compile.
pub trait Window: Copy {
    /// A part of the window.
    type Part<const N: usize>: Window;
    /// One byte.
    fn byte<const AT: usize>(self) -> u8;
    /// Two bytes, most significant first.
    fn short<const AT: usize>(self) -> u16;
    /// Eight bytes, most significant first.
    fn word<const AT: usize>(self) -> u64;
    /// An IPv6 address.
    fn address<const AT: usize>(self) -> Address;
    /// The `N` bytes from `AT` on.
    fn part<const AT: usize, const N: usize>(self) -> Self::Part<N>;
    /// The same window, but one of which the compiler does not know what was read from it: better
    /// read again than kept.
    fn afresh(self) -> Self {
        self
    }
}

impl<'a, const N: usize> Window for &'a [u8; N] {
    type Part<const M: usize> = &'a [u8; M];
    fn part<const AT: usize, const M: usize>(self) -> &'a [u8; M] {
        const { assert!(AT + M <= N, "the window ends before this") };
        self.get(AT..).and_then(<[u8]>::first_chunk).unwrap_or(&[0; M])
    }
    fn byte<const AT: usize>(self) -> u8 {
        let [byte] = piece::<AT, 1, N>(self);
        byte
    }
    fn short<const AT: usize>(self) -> u16 {
        u16::from_be_bytes(piece::<AT, 2, N>(self))
    }
    fn word<const AT: usize>(self) -> u64 {
        u64::from_be_bytes(piece::<AT, 8, N>(self))
    }
    fn address<const AT: usize>(self) -> Address {
        Address { octets: piece::<AT, 16, N>(self) }
    }
}

fn piece<const AT: usize, const SIZE: usize, const N: usize>(bytes: &[u8; N]) -> [u8; SIZE] {
    const { assert!(AT + SIZE <= N, "the window ends before this") };
    bytes.get(AT..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; SIZE])
}

fn take<const N: usize>(frame: &[u8], at: Offset) -> Option<[u8; N]> {
    frame.get(at.get()..)?.first_chunk().copied()
}

impl Frame for [u8] {
    type Window<'a, const N: usize> = &'a [u8; N];
    fn window<const N: usize>(&self, at: Offset) -> Option<&[u8; N]> {
        self.get(at.get()..)?.first_chunk()
    }
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
        assert!(frame[..].window::<8>(at(2)).is_none());
        let window = frame[..].window::<8>(at(1)).unwrap();
        assert_eq!(window.word::<0>(), 0x0203_0405_0607_0809);
        assert_eq!((window.byte::<7>(), window.short::<6>()), (9, 0x0809));
        assert!(frame[..].holds(at(2), 7));
        assert!(!frame[..].holds(at(2), 8));
    }
}
