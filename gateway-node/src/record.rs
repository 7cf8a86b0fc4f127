//! Protection of records: TLS or DTLS chooses what is authenticated, nothing else (E2E §V-B).

use core::ops::Range;

use gateway_common::mapping::{
    Position,
    record::{DTLS_HEADER, DTLS12, DtlsHeader, TLS12},
};
use zeroize::Zeroize;

use crate::{Origin, Suite, crypto::aead::Seal};

/// Bytes of the nonce that a record carries (RFC 6655 §3, RFC 5288 §3).
const EXPLICIT: usize = 8;

/// The epoch of all protected records: there is no renegotiation.
pub(crate) const PROTECTED: u16 = 1;

/// One direction's key and the fixed part of its nonces.
#[derive(Clone, Default)]
pub(crate) struct Key {
    pub(crate) key: [u8; 16],
    pub(crate) iv: [u8; 4],
}

impl Drop for Key {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

/// How records of one direction are protected.
#[derive(Clone, Copy)]
pub(crate) struct Protection<'a> {
    pub(crate) suite: Suite,
    pub(crate) origin: Origin,
    pub(crate) key: &'a Key,
}

impl Suite {
    /// Bytes that a protected fragment has more than its plaintext.
    pub(crate) const fn overhead(self) -> usize {
        EXPLICIT + self.tag()
    }
}

impl Origin {
    /// The sequence number that is authenticated (RFC 5246 §6.2.3.3, RFC 6347 §4.1.2.1).
    fn sequence(self, position: Position) -> [u8; 8] {
        match self {
            Self::Dtls => position.dtls_sequence(),
            Self::Tls => position.tls_sequence(),
        }
    }

    fn additional(self, header: DtlsHeader, length: usize) -> [u8; 13] {
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.sequence(header.position);
        let [v0, v1] = match self {
            Self::Dtls => header.version,
            Self::Tls => TLS12,
        }
        .to_be_bytes();
        let [l0, l1] = (length as u16).to_be_bytes();
        [s0, s1, s2, s3, s4, s5, s6, s7, header.content, v0, v1, l0, l1]
    }
}

impl Protection<'_> {
    /// Writes the record `content` number `number` to the front of `out`, and returns its length;
    /// `None` where it does not fit.
    ///
    /// The explicit part of the nonce is the sequence number: a number must never be used for two
    /// plaintexts. The same plaintext gives the same bytes again, which is what a mapped TLS client
    /// needs of a retransmission.
    pub(crate) fn seal(
        self,
        content: u8,
        number: u64,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let length = plaintext.len() + self.suite.overhead();
        let position = Position { epoch: PROTECTED, number };
        let header =
            DtlsHeader { content, version: DTLS12, position, length: u16::try_from(length).ok()? };
        let (head, rest) = out.split_first_chunk_mut::<DTLS_HEADER>()?;
        *head = header.write();
        let (explicit, rest) = rest.split_first_chunk_mut::<EXPLICIT>()?;
        *explicit = self.origin.sequence(position);
        let (data, rest) = rest.split_at_mut_checked(plaintext.len())?;
        data.copy_from_slice(plaintext);
        let tag = rest.get_mut(..self.suite.tag())?;
        let sealed = self.with(header, *explicit, data.len(), |seal| seal.seal(data));
        tag.copy_from_slice(sealed.get(..tag.len())?);
        Some(DTLS_HEADER + length)
    }

    /// Decrypts a fragment in place; where the plaintext then is. Without an answer the fragment
    /// is spoilt.
    pub(crate) fn open(self, header: DtlsHeader, fragment: &mut [u8]) -> Option<Range<usize>> {
        let (explicit, rest) = fragment.split_first_chunk_mut::<EXPLICIT>()?;
        let length = rest.len().checked_sub(self.suite.tag())?;
        let (data, tag) = rest.split_at_mut_checked(length)?;
        self.with(header, *explicit, length, |seal| seal.open(data, tag))
            .then_some(EXPLICIT..EXPLICIT + length)
    }

    fn with<T>(
        self,
        header: DtlsHeader,
        explicit: [u8; EXPLICIT],
        length: usize,
        run: impl FnOnce(&Seal<'_>) -> T,
    ) -> T {
        let mut nonce = [0; 12];
        for (place, byte) in nonce.iter_mut().zip(self.key.iv.iter().chain(&explicit)) {
            *place = *byte;
        }
        let additional = self.origin.additional(header, length);
        let suite = self.suite;
        run(&Seal { suite, key: &self.key.key, nonce: &nonce, additional: &additional })
    }
}
