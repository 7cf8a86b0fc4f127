//! The implicit sequence number of TLS and the explicit one of DTLS.

/// Highest sequence number of a DTLS record: 48 bits (RFC 6347 §4.1).
pub const NUMBER_MAX: u64 = (1 << 48) - 1;

/// Where a record stands in its direction: the n-th after the e-th ChangeCipherSpec.
///
/// DTLS writes both into each record; TLS counts silently and starts over at each ChangeCipherSpec
/// (RFC 5246 §6.1), so the two never part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Epoch: ChangeCipherSpecs so far.
    pub epoch: u16,
    /// Sequence number: records since, 48 bits.
    pub number: u64,
}

impl Position {
    /// The record after this one, or `None` at the end of the epoch, where both protocols ask for
    /// a new handshake.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.number {
            NUMBER_MAX.. => None,
            number => Some(Self { number: number.wrapping_add(1), ..self }),
        }
    }

    /// The first record after a ChangeCipherSpec, or `None` after the last epoch.
    #[must_use]
    pub const fn change_cipher_spec(self) -> Option<Self> {
        match self.epoch.checked_add(1) {
            Some(epoch) => Some(Self { epoch, number: 0 }),
            None => None,
        }
    }

    /// The eight bytes that DTLS authenticates (RFC 6347 §4.1.2.1).
    #[must_use]
    pub const fn dtls_sequence(self) -> [u8; 8] {
        ((self.epoch as u64) << 48 | self.number).to_be_bytes()
    }

    /// The eight bytes that TLS authenticates (RFC 5246 §6.2.3.3): no epoch.
    #[must_use]
    pub const fn tls_sequence(self) -> [u8; 8] {
        self.number.to_be_bytes()
    }
}
