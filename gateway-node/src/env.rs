//! Time, chance and addresses as the caller gives them.

use core::ops::Add;

/// A point in time: milliseconds since any moment that the caller keeps for the server's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// Milliseconds since `earlier`, 0 if that is later.
    #[inline(never)]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u32> for Instant {
    type Output = Self;

    #[inline(never)]
    fn add(self, milliseconds: u32) -> Self {
        Self(self.0.saturating_add(u64::from(milliseconds)))
    }
}

/// Who sends: an opaque key, compared byte for byte. Sixteen bytes of address and two of port fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub [u8; 18]);

/// A cryptographically secure source of random bytes.
pub trait Random {
    /// Fills `bytes`. A source that cannot must not return.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Random for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}
