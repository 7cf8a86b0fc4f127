//! Finds the ClientHello of a datagram, and reads as much of it as a cookie covers.
use crate::{
    frame::{Frame, Offset},
    wire::dtls::{self, HANDSHAKE_HEADER, Layout, Record, content, handshake},
};

/// A ClientHello in one piece, alone in its datagram (RFC 6347 §4.2, RFC 5246 §7.4.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Version of the record that it came in: the answer takes the same.
    pub record_version: u16,
    /// Number of that record, which the answer repeats (RFC 6347 §4.2.1).
    pub sequence: u64,
    /// `client_version`.
    pub version: u16,
    /// `random`.
    pub random: [u64; 4],
    /// `session_id`, filled up with zeros.
    pub session: [u64; 4],
    /// Bytes in it, at most 32.
    pub session_length: u8,
    /// Bytes in `cookie` as it was sent.
    pub cookie_length: u8,
    /// The cookie, if it is as long as ours.
    pub cookie: super::Cookie,
}

/// What a datagram is to the cookie's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// It starts with something else than a ClientHello.
    Other,
    /// It is a ClientHello that no cookie can vouch for: in pieces, cut off, with another message
    /// or record behind it.
    Improper,
    /// It is this one.
    Hello(ClientHello),
}

/// Bytes of `client_version` and `random` before `session_id`.
const SESSION_AT: usize = HANDSHAKE_HEADER + 2 + 32;
const SESSION_MAX: u8 = 32;

/// Reads the datagram's first record, and what follows a ClientHello there: nothing may.
#[inline(always)]
pub fn first<F: Frame + ?Sized>(frame: &F, payload: Offset, end: Offset) -> First {
    let Some(Layout::Clear(record)) = dtls::record(frame, payload, end) else {
        return First::Other;
    };
    if record.content != content::HANDSHAKE || record.epoch != 0 {
        return First::Other;
    }
    match message(frame, record.body, record.end) {
        None => First::Improper,
        Some(message) if message.kind != handshake::CLIENT_HELLO => First::Other,
        Some(message) => {
            let whole = message.is_whole && message.end == record.end && record.end == end;
            match if whole { read(frame, payload, &record) } else { None } {
                Some(hello) => First::Hello(hello),
                None => First::Improper,
            }
        }
    }
}

/// A handshake message of a plaintext record, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: u8,
    /// Whether it is not a mere piece.
    pub is_whole: bool,
    /// Where it, or the piece, ends.
    pub end: Offset,
}

/// Reads the header of the message at `at`; `None` when it does not lie before `end`.
#[inline(always)]
pub fn message<F: Frame + ?Sized>(frame: &F, at: Offset, end: Offset) -> Option<Message> {
    // msg_type:1 | length:3 | message_seq:2 | fragment_offset:3 | fragment_length:3
    let body = at.advance(HANDSHAKE_HEADER)?;
    if body > end {
        return None;
    }
    let head = frame.half(at)?;
    let tail = frame.word(at.advance(4)?)?;
    let (offset, piece) = ((tail >> 24) & 0xff_ffff, tail & 0xff_ffff);
    let stop = body.advance(piece as usize)?;
    let is_whole = offset == 0 && piece == u64::from(head & 0xff_ffff);
    (stop <= end).then_some(Message { kind: (head >> 24) as u8, is_whole, end: stop })
}

#[inline(always)]
fn read<F: Frame + ?Sized>(frame: &F, at: Offset, record: &Record) -> Option<ClientHello> {
    let body = record.body;
    let word = |from: usize| frame.word(body.advance(from)?);
    let random_at = HANDSHAKE_HEADER + 2;
    let random =
        [word(random_at)?, word(random_at + 8)?, word(random_at + 16)?, word(random_at + 24)?];
    let session_length = frame.byte(body.advance(SESSION_AT)?)?;
    if session_length > SESSION_MAX {
        return None;
    }
    let session = session(frame, body.advance(SESSION_AT + 1)?, session_length)?;
    let cookie_at = body.advance(SESSION_AT + 1 + usize::from(session_length))?;
    let cookie_length = frame.byte(cookie_at)?;
    let after = cookie_at.advance(1 + usize::from(cookie_length))?;
    if after > record.end {
        return None;
    }
    let mut cookie = [0; 2];
    if cookie_length == super::LENGTH {
        cookie = [frame.word(cookie_at.advance(1)?)?, frame.word(cookie_at.advance(9)?)?];
    }
    Some(ClientHello {
        record_version: frame.short(at.advance(1)?)?,
        sequence: record.sequence,
        version: frame.short(body.advance(HANDSHAKE_HEADER)?)?,
        random,
        session,
        session_length,
        cookie_length,
        cookie,
    })
}

/// The session's bytes. At least seven bytes must follow them, which the shortest hello has: the
/// cookie's length, a cipher suite, a compression method.
#[inline(always)]
fn session<F: Frame + ?Sized>(frame: &F, at: Offset, length: u8) -> Option<[u64; 4]> {
    let part = |from: u8| {
        if length <= from {
            return Some(0);
        }
        let word = frame.word(at.advance(usize::from(from))?)?;
        let bits = u32::from(length - from) * 8;
        Some(if bits >= 64 { word } else { word & !(u64::MAX >> bits) })
    };
    Some([part(0)?, part(8)?, part(16)?, part(24)?])
}

/// A position in a datagram of plaintext handshake records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Where the next record or message starts.
    pub at: Offset,
    /// Where the record ends that `at` lies in.
    pub record_end: Offset,
}

/// Most records and messages that are looked at; an honest flight of a client has eight.
pub const STEPS_MAX: usize = 16;

/// What a step over a datagram finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on from here.
    On(Cursor),
    /// There is no ClientHello in what is left.
    None,
    /// A ClientHello behind other messages, or something that could be one to some reader.
    Hidden,
}

/// One step over the records and messages of a datagram that does not start with a ClientHello:
/// none may hide behind the others, where no cookie is asked for.
#[inline(always)]
pub fn step<F: Frame + ?Sized>(frame: &F, cursor: Cursor, end: Offset) -> Step {
    if cursor.at >= end {
        return Step::None;
    }
    if cursor.at < cursor.record_end {
        return match message(frame, cursor.at, cursor.record_end) {
            None => Step::Hidden,
            Some(message) if message.kind == handshake::CLIENT_HELLO => Step::Hidden,
            Some(message) => Step::On(Cursor { at: message.end, ..cursor }),
        };
    }
    match dtls::record(frame, cursor.at, end) {
        Some(Layout::Clear(record)) => {
            let plain = record.content == content::HANDSHAKE && record.epoch == 0;
            let at = if plain { record.body } else { record.end };
            Step::On(Cursor { at, record_end: record.end })
        }
        // protected to its end, or no DTLS at all, which is another stage's matter
        Some(Layout::Opaque { .. }) | None => Step::None,
    }
}
