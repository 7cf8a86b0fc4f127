//! Map records as bytes: proved plain, not promised.
#![expect(unsafe_code, reason = "aya asks for a promise where zerocopy has a proof")]
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A map key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Plain<T>(pub T);

// SAFETY: `IntoBytes` proves that there is no padding to leak, `FromBytes` that whatever the kernel
// hands back is a value.
unsafe impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> aya::Pod for Plain<T> {}
