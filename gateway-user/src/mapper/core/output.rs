//! What a connection wants done.
use std::io::IoSlice;

use bytes::Bytes;
use gateway_common::mapping::{ack, record};

use super::Reason;

/// One thing to do, in the order in which they are polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to the node. It may be lost; the connection sees to that.
    Datagram(Datagram),
    /// Append this to the stream to the back-end: one or more whole TLS records.
    Tls(Bytes),
    /// End the stream to the back-end with FIN, after all that was appended. The node may still
    /// have to be answered: see [`super::Connection::is_over`].
    Finish,
    /// Reset the stream to the back-end at once. What was appended and not sent need not be.
    Reset(Reason),
}

/// A report on received records, and a record's header.
const FRONT: usize = record::DTLS_HEADER + ack::LENGTH + record::DTLS_HEADER;

/// UDP payload for the node: headers of the gateway's making, then the payload as it came, so that
/// a record's fragment is never copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    front: [u8; FRONT],
    length: u8,
    body: Bytes,
}

impl Datagram {
    pub(super) fn new() -> Self {
        Self { front: [0; FRONT], length: 0, body: Bytes::new() }
    }

    /// One that is framed already.
    pub(super) fn framed(body: Bytes) -> Self {
        Self { body, ..Self::new() }
    }

    /// Adds to what stands in front of the fragment.
    pub(super) fn put(&mut self, header: &[u8]) {
        let start = usize::from(self.length);
        if let Some(place) = self.front.get_mut(start..start + header.len()) {
            place.copy_from_slice(header);
            self.length += header.len() as u8;
        }
    }

    /// Puts a fragment behind its header.
    pub(super) fn fragment(&mut self, fragment: Bytes) {
        self.body = fragment;
    }

    /// Its two parts, the second perhaps empty.
    pub fn slices(&self) -> [&[u8]; 2] {
        [self.front.get(..self.length.into()).unwrap_or_default(), &self.body]
    }

    /// Its two parts as a vector for `sendmsg`.
    pub fn io_slices(&self) -> [IoSlice<'_>; 2] {
        self.slices().map(IoSlice::new)
    }

    /// Bytes of UDP payload.
    #[expect(clippy::len_without_is_empty, reason = "none is ever empty")]
    pub fn len(&self) -> usize {
        usize::from(self.length) + self.body.len()
    }

    /// A copy in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.slices().concat()
    }
}
