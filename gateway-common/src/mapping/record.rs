//! Record headers (RFC 5246 §6.2.1, RFC 6347 §4.1), both ways.
use super::{reader::Reader, sequence::Position};
use crate::wire::{Malformed, dtls::content};

/// Bytes before a TLS record's fragment.
pub const TLS_HEADER: usize = 5;
/// Bytes before a DTLS 1.2 record's fragment.
pub const DTLS_HEADER: usize = 13;
/// TLS 1.2.
pub const TLS12: u16 = 0x0303;
/// DTLS 1.2.
pub const DTLS12: u16 = 0xfefd;
/// DTLS 1.0, which a first ClientHello's record may say.
pub const DTLS10: u16 = 0xfeff;
/// Longest protected fragment: 2^14 bytes of plaintext and 2,048 of expansion (RFC 5246 §6.2.3).
pub const FRAGMENT_MAX: usize = (1 << 14) + 2048;

/// Header of a TLS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsHeader {
    /// Content type.
    pub content: u8,
    /// Version of the protocol.
    pub version: u16,
    /// Bytes in the fragment.
    pub length: u16,
}

impl TlsHeader {
    /// Reads type:1 | version:2 | length:2.
    #[must_use]
    pub fn read(bytes: &[u8; TLS_HEADER]) -> Self {
        let [content, v0, v1, l0, l1] = *bytes;
        let (version, length) = (u16::from_be_bytes([v0, v1]), u16::from_be_bytes([l0, l1]));
        Self { content, version, length }
    }

    /// Writes it.
    #[must_use]
    pub fn write(self) -> [u8; TLS_HEADER] {
        let [v0, v1] = self.version.to_be_bytes();
        let [l0, l1] = self.length.to_be_bytes();
        [self.content, v0, v1, l0, l1]
    }
}

/// Header of a DTLS 1.2 record without connection ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtlsHeader {
    /// Content type.
    pub content: u8,
    /// Version of the protocol.
    pub version: u16,
    /// Epoch and sequence number.
    pub position: Position,
    /// Bytes in the fragment.
    pub length: u16,
}

impl DtlsHeader {
    /// Reads type:1 | version:2 | epoch:2 | sequence_number:6 | length:2.
    #[must_use]
    pub fn read(bytes: &[u8; DTLS_HEADER]) -> Self {
        let [content, v0, v1, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1] = *bytes;
        let epoch = u16::from_be_bytes([e0, e1]);
        let number = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
        Self {
            content,
            version: u16::from_be_bytes([v0, v1]),
            position: Position { epoch, number },
            length: u16::from_be_bytes([l0, l1]),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn write(self) -> [u8; DTLS_HEADER] {
        let [v0, v1] = self.version.to_be_bytes();
        let [e0, e1, s0, s1, s2, s3, s4, s5] = self.position.dtls_sequence();
        let [l0, l1] = self.length.to_be_bytes();
        [self.content, v0, v1, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1]
    }
}

/// The DTLS header of a TLS record that stands at `position` of its direction.
#[must_use]
pub fn to_dtls(header: TlsHeader, position: Position) -> DtlsHeader {
    let TlsHeader { content, length, .. } = header;
    DtlsHeader { content, version: DTLS12, position, length }
}

/// The TLS header of a DTLS record. Its position is lost: the caller has put records in order.
#[must_use]
pub fn to_tls(header: DtlsHeader) -> TlsHeader {
    let DtlsHeader { content, length, .. } = header;
    TlsHeader { content, version: TLS12, length }
}

/// A record of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its header.
    pub header: DtlsHeader,
    /// What follows it.
    pub fragment: &'a [u8],
}

/// The records of a datagram, in order.
///
/// # Errors
/// An item is [`Malformed`] where the rest of the datagram is no record of DTLS 1.x with a clear
/// number (a connection ID or the unified header of DTLS 1.3 included); it is the last.
#[derive(Clone, Debug)]
pub struct Records<'a>(Reader<'a>);

impl<'a> Records<'a> {
    /// Starts at the front of `datagram`.
    #[must_use]
    pub fn of(datagram: &'a [u8]) -> Self {
        Self(Reader(datagram))
    }

    fn record(&mut self) -> Result<Record<'a>, Malformed> {
        let header = DtlsHeader::read(self.0.array()?);
        let clear = (content::CHANGE_CIPHER_SPEC..=content::ACK).contains(&header.content);
        if !clear || header.content == content::TLS12_CID || header.version >> 8 != 0xfe {
            return Err(Malformed::Length);
        }
        let fragment = self.0.take(header.length.into())?;
        Ok(Record { header, fragment })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.0.0 = &[];
        }
        Some(record)
    }
}
