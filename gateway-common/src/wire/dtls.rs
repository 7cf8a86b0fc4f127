//! DTLS records: 1.0 and 1.2 (RFC 6347 §4.1), with connection ID (RFC 9146 §4), and the unified
//! header of 1.3 (RFC 9147 §4).
use super::Malformed;
use crate::frame::{Frame, Offset};

/// Bytes before a DTLS 1.2 record's body.
pub const RECORD_HEADER: usize = 13;
/// Bytes before a DTLS 1.2 handshake fragment's body.
pub const HANDSHAKE_HEADER: usize = 12;

/// Content types (RFC 5246 §6.2.1 and the IANA registry).
pub mod content {
    /// ChangeCipherSpec.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake.
    pub const HANDSHAKE: u8 = 22;
    /// Application data.
    pub const APPLICATION_DATA: u8 = 23;
    /// A record with a connection ID (RFC 9146).
    pub const TLS12_CID: u8 = 25;
    /// ACK (RFC 9147 §7); between node and router it reports what the node has received.
    pub const ACK: u8 = 26;
}

/// Handshake types that a border reads in the clear.
pub mod handshake {
    /// ClientHello.
    pub const CLIENT_HELLO: u8 = 1;
    /// ServerHello.
    pub const SERVER_HELLO: u8 = 2;
    /// HelloVerifyRequest.
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
}

/// A record of DTLS 1.0 or 1.2 without connection ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Content type.
    pub content: u8,
    /// Epoch: 0 is plaintext.
    pub epoch: u16,
    /// Sequence number, 48 bits.
    pub sequence: u64,
    /// Bytes in the body.
    pub length: u16,
    /// Where the body starts.
    pub body: Offset,
    /// Where it ends.
    pub end: Offset,
}

/// One record of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Epoch and sequence number are in clear.
    Clear(Record),
    /// Layout or numbers are hidden: everything from here to `end` is one opaque piece.
    Opaque {
        /// Where it starts.
        at: Offset,
        /// Where it ends.
        end: Offset,
    },
}

/// Reads the record at `at` of a datagram that ends at `end`. `None` when it is no DTLS.
///
/// A record with a connection ID does not say how long the ID is, and one of DTLS 1.3 hides its
/// number: both are [`Layout::Opaque`].
#[inline(always)]
pub fn record<F: Frame + ?Sized>(frame: &F, at: Offset, end: Offset) -> Option<Layout> {
    let head = frame.byte(at)?;
    match head {
        content::CHANGE_CIPHER_SPEC..=24 | content::ACK | 27 => clear(frame, at, end),
        content::TLS12_CID => opaque(frame, at, end),
        0x20..=0x3f => unified(frame, at, end),
        _ => None,
    }
}

#[inline(always)]
fn clear<F: Frame + ?Sized>(frame: &F, at: Offset, end: Offset) -> Option<Layout> {
    // type:1 | version:2 | epoch:2 | sequence:6 | length:2
    let first = frame.word(at)?;
    let last = frame.word(at.advance(5)?)?;
    let version = (first >> 40) as u16;
    let length = last as u16;
    let body = at.advance(RECORD_HEADER)?;
    let stop = body.advance(usize::from(length))?;
    if version >> 8 != 0xfe || stop > end || length == 0 {
        return None;
    }
    Some(Layout::Clear(Record {
        content: (first >> 56) as u8,
        epoch: (first >> 24) as u16,
        sequence: last >> 16,
        length,
        body,
        end: stop,
    }))
}

/// Shortest protected body: an AEAD tag of eight bytes and one byte of content.
const PROTECTED_MIN: usize = 9;

#[inline(always)]
fn opaque<F: Frame + ?Sized>(frame: &F, at: Offset, end: Offset) -> Option<Layout> {
    let version = frame.short(at.advance(1)?)?;
    let least = at.advance(RECORD_HEADER + PROTECTED_MIN)?;
    (version >> 8 == 0xfe && least <= end).then_some(Layout::Opaque { at, end })
}

#[inline(always)]
fn unified<F: Frame + ?Sized>(frame: &F, at: Offset, end: Offset) -> Option<Layout> {
    // 001CSLEE: C connection ID, S sequence number of 16 bits, L length present
    let head = frame.byte(at)?;
    let number = if head & 0x08 == 0 { 1 } else { 2 };
    if head & 0x14 == 0x04 {
        // length in clear and no connection ID before it: the record ends where it says
        let length = frame.short(at.advance(1 + number)?)?;
        let stop = at.advance(1 + number + 2)?.advance(usize::from(length))?;
        return (stop <= end && usize::from(length) >= PROTECTED_MIN)
            .then_some(Layout::Opaque { at, end: stop });
    }
    let least = at.advance(1 + number + PROTECTED_MIN)?;
    (least <= end).then_some(Layout::Opaque { at, end })
}

/// What a plaintext handshake record starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Handshake type.
    pub kind: u8,
    /// Offset of this fragment in its message, in bytes.
    pub fragment_offset: u32,
    /// The first 16 bytes of the hello's random, zero where there is none.
    pub random: [u64; 2],
}

/// Reads the start of an epoch-0 handshake record, or `None` when it is too short for a header.
#[inline(always)]
pub fn hello<F: Frame + ?Sized>(frame: &F, record: &Record) -> Option<Hello> {
    if usize::from(record.length) < HANDSHAKE_HEADER {
        return None;
    }
    // msg_type:1 | length:3 | message_seq:2 | fragment_offset:3 | fragment_length:3
    let kind = frame.byte(record.body)?;
    let fragment_offset = (frame.word(record.body)? & 0xffff) as u32;
    let low = frame.byte(record.body.advance(8)?)?;
    let fragment_offset = fragment_offset << 8 | u32::from(low);
    // client_version:2 | random:32
    let mut random = [0; 2];
    if fragment_offset == 0 && usize::from(record.length) >= HANDSHAKE_HEADER + 2 + 16 {
        let at = record.body.advance(HANDSHAKE_HEADER + 2)?;
        random = [frame.word(at)?, frame.word(at.advance(8)?)?];
    }
    Some(Hello { kind, fragment_offset, random })
}

/// A node's report of what it has received, in the compact form that a border router reads:
/// epoch:2 | next expected sequence number:6 | bitmap:2, in a record of type [`content::ACK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Epoch.
    pub epoch: u16,
    /// The lowest sequence number that the node still waits for.
    pub next: u64,
}

/// Bytes in the body of a [`Report`].
pub const REPORT_LENGTH: u16 = 10;

/// Reads a [`Report`].
///
/// # Errors
/// [`Malformed::Truncated`] past the end of the frame.
#[inline(always)]
pub fn report<F: Frame + ?Sized>(frame: &F, record: &Record) -> Result<Option<Report>, Malformed> {
    if record.content != content::ACK || record.length != REPORT_LENGTH {
        return Ok(None);
    }
    let word = frame.word(record.body).ok_or(Malformed::Truncated)?;
    Ok(Some(Report { epoch: (word >> 48) as u16, next: word & 0xffff_ffff_ffff }))
}
