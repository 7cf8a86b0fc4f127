//! Handshake headers (RFC 5246 §7.4, RFC 6347 §4.2.2).
use super::reader::Reader;
use crate::wire::Malformed;

/// Bytes before a TLS handshake message's body.
pub const TLS_HEADER: usize = 4;
/// Bytes before a DTLS handshake fragment.
pub const DTLS_HEADER: usize = 12;
/// Longest message that a 24-bit length can say.
pub const LENGTH_MAX: usize = (1 << 24) - 1;

/// Handshake types (RFC 5246 §7.4 and the IANA registry).
pub mod kind {
    /// HelloRequest.
    pub const HELLO_REQUEST: u8 = 0;
    /// ClientHello.
    pub const CLIENT_HELLO: u8 = 1;
    /// ServerHello.
    pub const SERVER_HELLO: u8 = 2;
    /// HelloVerifyRequest, of DTLS alone.
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    /// NewSessionTicket (RFC 5077 §3.3).
    pub const NEW_SESSION_TICKET: u8 = 4;
    /// Certificate.
    pub const CERTIFICATE: u8 = 11;
    /// ServerKeyExchange.
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    /// CertificateRequest.
    pub const CERTIFICATE_REQUEST: u8 = 13;
    /// ServerHelloDone.
    pub const SERVER_HELLO_DONE: u8 = 14;
    /// CertificateVerify.
    pub const CERTIFICATE_VERIFY: u8 = 15;
    /// ClientKeyExchange.
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    /// Finished.
    pub const FINISHED: u8 = 20;
}

/// Header of a DTLS handshake fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Handshake type.
    pub kind: u8,
    /// Bytes in the whole message's body, 24 bits.
    pub length: u32,
    /// Place of the message among those of its sender.
    pub message_seq: u16,
    /// Where the fragment starts in the body, 24 bits.
    pub fragment_offset: u32,
    /// Bytes in the fragment, 24 bits.
    pub fragment_length: u32,
}

impl Header {
    /// Header of a message in one piece, as transcripts have it (RFC 6347 §4.2.6).
    #[must_use]
    pub const fn whole(kind: u8, length: u32, message_seq: u16) -> Self {
        Self { kind, length, message_seq, fragment_offset: 0, fragment_length: length }
    }

    /// Whether the fragment is the message.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.fragment_offset == 0 && self.fragment_length == self.length
    }

    /// Reads msg_type:1 | length:3 | message_seq:2 | fragment_offset:3 | fragment_length:3.
    #[must_use]
    pub fn read(bytes: &[u8; DTLS_HEADER]) -> Self {
        let [kind, l0, l1, l2, m0, m1, o0, o1, o2, n0, n1, n2] = *bytes;
        Self {
            kind,
            length: u32::from_be_bytes([0, l0, l1, l2]),
            message_seq: u16::from_be_bytes([m0, m1]),
            fragment_offset: u32::from_be_bytes([0, o0, o1, o2]),
            fragment_length: u32::from_be_bytes([0, n0, n1, n2]),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn write(self) -> [u8; DTLS_HEADER] {
        let [kind, l0, l1, l2] = self.tls();
        let [m0, m1] = self.message_seq.to_be_bytes();
        let [_, o0, o1, o2] = self.fragment_offset.to_be_bytes();
        let [_, n0, n1, n2] = self.fragment_length.to_be_bytes();
        [kind, l0, l1, l2, m0, m1, o0, o1, o2, n0, n1, n2]
    }

    /// The message's header in TLS: msg_type:1 | length:3.
    #[must_use]
    pub fn tls(self) -> [u8; TLS_HEADER] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        [self.kind, l0, l1, l2]
    }

    /// Reads the type and the length of a TLS message.
    #[must_use]
    pub fn read_tls(bytes: &[u8; TLS_HEADER]) -> (u8, u32) {
        let [kind, l0, l1, l2] = *bytes;
        (kind, u32::from_be_bytes([0, l0, l1, l2]))
    }
}

/// A piece of a handshake message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Its header.
    pub header: Header,
    /// Bytes `fragment_offset..fragment_offset + fragment_length` of the message's body.
    pub body: &'a [u8],
}

/// The fragments in one plaintext handshake record, in order: RFC 6347 §4.2.3 allows several.
///
/// # Errors
/// An item is [`Malformed`] where the rest is no fragment, or where one reaches past its message's
/// end; it is the last.
#[derive(Clone, Debug)]
pub struct Fragments<'a>(Reader<'a>);

impl<'a> Fragments<'a> {
    /// Starts at the front of a record's `fragment`.
    #[must_use]
    pub fn of(fragment: &'a [u8]) -> Self {
        Self(Reader(fragment))
    }

    fn fragment(&mut self) -> Result<Fragment<'a>, Malformed> {
        let header = Header::read(self.0.array()?);
        let body = self.0.take(header.fragment_length as usize)?;
        // Both are 24 bits: no overflow.
        if header.fragment_offset.wrapping_add(header.fragment_length) > header.length {
            return Err(Malformed::Length);
        }
        Ok(Fragment { header, body })
    }
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<Fragment<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let fragment = self.fragment();
        if fragment.is_err() {
            self.0.0 = &[];
        }
        Some(fragment)
    }
}
