//! The back-end's stream before it is protected: record headers, and handshake messages wherever
//! the records cut them.
use bytes::{Buf as _, Bytes, BytesMut};
use gateway_common::{
    mapping::{
        handshake::{self, Header},
        record::{FRAGMENT_MAX, TLS_HEADER, TLS12, TlsHeader},
    },
    wire::dtls::content,
};

use super::Reason;

/// A fragment in clear (RFC 5246 §6.2.1).
const PLAIN_MAX: usize = 1 << 14;

/// How far the stream is, as far as the next record's header must agree with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The version is not negotiated: any 03xx (RFC 5246 appendix E.1).
    Hello,
    /// It is, and records are in clear.
    Clear,
    /// After ChangeCipherSpec. Fragments of at most so many bytes can be sent on.
    Protected(usize),
}

/// The header at the front of `bytes`, once five are there. `limit` is the greatest handshake
/// message. A record that will not do is refused before its fragment is waited for.
pub(super) fn header(
    bytes: &[u8],
    stage: Stage,
    limit: usize,
) -> Result<Option<TlsHeader>, Reason> {
    let Some(first) = bytes.first_chunk::<TLS_HEADER>() else {
        return Ok(None);
    };
    let header = TlsHeader::read(first);
    let content = header.content;
    if !(content::CHANGE_CIPHER_SPEC..=content::APPLICATION_DATA).contains(&content) {
        return Err(Reason::Unexpected);
    }
    let negotiated = stage != Stage::Hello;
    if header.version >> 8 != 3 || negotiated && header.version != TLS12 {
        return Err(Reason::Version);
    }
    measure(header, stage, limit).map(|()| Some(header))
}

fn measure(header: TlsHeader, stage: Stage, limit: usize) -> Result<(), Reason> {
    let length = usize::from(header.length);
    let handshake = header.content == content::HANDSHAKE;
    match stage {
        Stage::Protected(_) if length > FRAGMENT_MAX => Err(Reason::RecordOverflow),
        Stage::Protected(most) if length > most => Err(Reason::RecordTooLarge),
        Stage::Hello | Stage::Clear if length > PLAIN_MAX => Err(Reason::RecordOverflow),
        Stage::Hello | Stage::Clear if handshake && length > limit + handshake::TLS_HEADER => {
            Err(Reason::Oversize)
        }
        Stage::Protected(_) if length == 0 => Err(Reason::Malformed),
        // data of no bytes is legal before it is protected (RFC 5246 §6.2.1)
        Stage::Hello | Stage::Clear
            if length == 0 && header.content != content::APPLICATION_DATA =>
        {
            Err(Reason::Malformed)
        }
        Stage::Hello | Stage::Clear | Stage::Protected(_) => Ok(()),
    }
}

/// A handshake message, without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) body: Bytes,
}

/// Handshake messages out of fragments of records (RFC 5246 §6.2.1: a message may span records, a
/// record may hold several). Holds at most twice the greatest message.
#[derive(Debug, Default)]
pub(super) struct Messages(BytesMut);

impl Messages {
    pub(super) fn push(&mut self, fragment: &[u8]) {
        self.0.extend_from_slice(fragment);
    }

    /// The next whole message, of at most `limit` bytes.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Message>, Reason> {
        let Some(header) = self.0.first_chunk() else {
            return Ok(None);
        };
        let (kind, length) = Header::read_tls(header);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(Reason::Oversize);
        }
        if self.0.len() - handshake::TLS_HEADER < length {
            return Ok(None);
        }
        self.0.advance(handshake::TLS_HEADER);
        Ok(Some(Message { kind, body: self.0.split_to(length).freeze() }))
    }

    /// Whether no message is begun.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn memory(&self) -> usize {
        self.0.capacity()
    }
}
