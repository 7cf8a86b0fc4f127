//! A flight towards the node: messages in DTLS form, cut to its network, sent until they are
//! answered.
use bytes::{BufMut as _, Bytes, BytesMut};
use gateway_common::{
    mapping::{
        Position,
        handshake::{self, Header},
        image,
        record::{self, DTLS12, DtlsHeader},
    },
    wire::dtls::content,
};

use super::{Reason, stream::Message};

/// How often a flight is sent again because the node repeats its own, before it is left to the
/// timer: two that cue each other must come to an end.
const CUES: u8 = 4;
/// A first fragment of fewer bytes is not worth its 25 bytes of headers.
const FRAGMENT_MIN: usize = 32;

/// Record numbers of epoch 0: every record a new one ([RFC 6347 §4.2.4]).
///
/// [RFC 6347 §4.2.4]: https://www.rfc-editor.org/rfc/rfc6347#section-4.2.4
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clear(Position);

impl Clear {
    pub(super) fn header(&mut self, content: u8, length: usize) -> [u8; record::DTLS_HEADER] {
        let position = self.0;
        // never reached: 2^48 records
        self.0 = position.next().unwrap_or(position);
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        DtlsHeader { content, version: DTLS12, position, length }.write()
    }
}

/// What the back-end has sent since the node's last flight.
#[derive(Debug, Default)]
pub(super) struct Flight {
    messages: Vec<Part>,
    /// The fragment of its Finished: number 0 of epoch 1, the same bytes each time.
    finished: Option<Bytes>,
    cues: u8,
}

#[derive(Debug)]
struct Part {
    header: Header,
    body: Bytes,
}

impl Flight {
    /// Adds a message of the back-end in DTLS form.
    pub(super) fn push(
        &mut self,
        message: &Message,
        seq: u16,
        cookie: &[u8],
    ) -> Result<(), Reason> {
        let image = image::dtls(message.kind, seq, &message.body, cookie);
        let image = image.map_err(|_| Reason::Malformed)?;
        self.messages.push(Part { header: image.header(), body: image.body().concat().into() });
        Ok(())
    }

    /// Adds ChangeCipherSpec and Finished, with which the flight is complete.
    pub(super) fn finish(&mut self, fragment: Bytes) {
        self.finished = Some(fragment);
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// Whether the node may have it again because it repeats its own flight.
    pub(super) fn cue(&mut self) -> bool {
        self.cues += u8::from(self.cues <= CUES);
        self.cues <= CUES
    }

    /// The flight in datagrams of at most `most` bytes, as few as will do.
    pub(super) fn datagrams(&self, clear: &mut Clear, most: usize) -> Vec<Bytes> {
        let mut packing = Packing { clear, most, done: Vec::new(), open: BytesMut::new() };
        for part in &self.messages {
            packing.message(part);
        }
        if let Some(finished) = &self.finished {
            packing.change_cipher_spec();
            packing.finished(finished);
        }
        packing.close();
        packing.done
    }

    pub(super) fn memory(&self) -> usize {
        let bodies = self.messages.iter().map(|part| part.body.len() + size_of::<Part>());
        bodies.sum::<usize>() + self.finished.as_ref().map_or(0, Bytes::len)
    }
}

struct Packing<'a> {
    clear: &'a mut Clear,
    most: usize,
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Packing<'_> {
    const HEADERS: usize = record::DTLS_HEADER + handshake::DTLS_HEADER;

    fn message(&mut self, part: &Part) {
        let mut rest: &[u8] = &part.body;
        let mut offset = 0;
        loop {
            let whole = Self::HEADERS + rest.len();
            let least = if whole <= self.most { whole } else { Self::HEADERS + FRAGMENT_MIN };
            self.room(least);
            let room = self.most.saturating_sub(self.open.len() + Self::HEADERS);
            let (now, later) = rest.split_at(room.min(rest.len()));
            offset += self.fragment(part.header, offset, now);
            rest = later;
            if rest.is_empty() {
                return;
            }
        }
    }

    fn fragment(&mut self, whole: Header, offset: u32, body: &[u8]) -> u32 {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let header = Header { fragment_offset: offset, fragment_length: length, ..whole };
        let size = handshake::DTLS_HEADER + body.len();
        self.open.put_slice(&self.clear.header(content::HANDSHAKE, size));
        self.open.put_slice(&header.write());
        self.open.put_slice(body);
        length
    }

    fn change_cipher_spec(&mut self) {
        self.room(record::DTLS_HEADER + 1);
        self.open.put_slice(&self.clear.header(content::CHANGE_CIPHER_SPEC, 1));
        self.open.put_u8(1);
    }

    fn finished(&mut self, fragment: &[u8]) {
        self.room(record::DTLS_HEADER + fragment.len());
        let header = DtlsHeader {
            content: content::HANDSHAKE,
            version: DTLS12,
            position: Position { epoch: 1, number: 0 },
            length: u16::try_from(fragment.len()).unwrap_or(u16::MAX),
        };
        self.open.put_slice(&header.write());
        self.open.put_slice(fragment);
    }

    /// Begins another datagram if this one has no room for so many bytes.
    fn room(&mut self, bytes: usize) {
        if self.open.len() + bytes > self.most {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
    }
}
