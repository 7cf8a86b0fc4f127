//! Pre-shared keys and where they come from.

use zeroize::Zeroize;

/// Longest key in bytes; a server must take keys up to this (RFC 4279 §5.4).
pub const PSK_MAX: usize = 64;

/// Longest identity in bytes; a server must take identities up to this (RFC 4279 §5.3).
pub const IDENTITY_MAX: usize = 128;

/// A pre-shared key; wiped when dropped, never printed.
#[derive(Clone)]
pub struct Psk {
    bytes: [u8; PSK_MAX],
    length: u8,
}

impl Psk {
    /// A key of 1 to [`PSK_MAX`] bytes. Plain PSK has no forward secrecy: use 16 random bytes or
    /// more.
    pub fn new(key: &[u8]) -> Option<Self> {
        let length = u8::try_from(key.len()).ok().filter(|length| *length > 0)?;
        let mut bytes = [0; PSK_MAX];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self { bytes, length })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl Drop for Psk {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Finds the key for an identity.
pub trait PskStore {
    /// The key for `identity`, which is whatever the peer sent, up to [`IDENTITY_MAX`] bytes.
    ///
    /// `None` is not told to the peer: the handshake goes on with a random key and fails as it does
    /// with a wrong one (RFC 4279 §2). A look-up should take the same time either way.
    fn psk(&self, identity: &[u8]) -> Option<Psk>;
}

impl<F: Fn(&[u8]) -> Option<Psk>> PskStore for F {
    fn psk(&self, identity: &[u8]) -> Option<Psk> {
        self(identity)
    }
}
