//! A datagram, record by record.

use core::ops::Range;

use gateway_common::{
    mapping::{
        handshake::{Fragment, Fragments, kind},
        record::{DTLS_HEADER, DTLS12, DtlsHeader},
    },
    wire::dtls::content,
};

use crate::{Peer, counters::count, handshake::reassembly::Joined, record::PROTECTED};

use super::{Datagram, Engine};

/// Data for the caller: the session's slot, and where it is in the buffer.
pub(crate) type Data = (usize, Range<usize>);

impl Engine<'_> {
    /// Reads on in the datagram until there is data, something to tell, or nothing more.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<Data> {
        let datagram = self.common.datagram?;
        let Some((header, body)) = next_record(buffer, datagram) else {
            count(&mut self.common.counters.malformed);
            self.common.datagram = None;
            return None;
        };
        let rest = Datagram { at: body.end, ..datagram };
        self.common.datagram = (rest.at < rest.end).then_some(rest);
        let fragment = buffer.get_mut(body.clone())?;
        match header.position.epoch {
            0 => {
                self.plain(datagram.peer, header, fragment);
                None
            }
            PROTECTED if header.version == DTLS12 => {
                let (session, data) = self.protected(datagram.peer, header, fragment)?;
                Some((session, body.start + data.start..body.start + data.end))
            }
            _ => {
                count(&mut self.common.counters.unexpected);
                None
            }
        }
    }

    fn plain(&mut self, peer: Peer, header: DtlsHeader, fragment: &[u8]) {
        match header.content {
            content::HANDSHAKE => {
                for fragment in Fragments::of(fragment) {
                    match fragment {
                        Ok(fragment) => self.fragment(peer, header, &fragment),
                        Err(_) => count(&mut self.common.counters.malformed),
                    }
                }
            }
            content::ACK => self.report(peer, fragment),
            // The epoch of the next record says as much. Deviation: RFC 5246 §7.4.9 asks for it
            // before Finished; a lost or re-ordered one need not cost a flight.
            content::CHANGE_CIPHER_SPEC => {}
            // An alert in clear is nobody's: it ends nothing.
            _ => count(&mut self.common.counters.unexpected),
        }
    }

    fn fragment(&mut self, peer: Peer, header: DtlsHeader, fragment: &Fragment<'_>) {
        let Some(proven) = self.expects(peer, header, fragment) else {
            return;
        };
        let message_seq = fragment.header.message_seq;
        let kind = fragment.header.kind;
        if fragment.header.is_whole() {
            return self.message(peer, header, kind, message_seq, fragment.body);
        }
        let now = self.common.now;
        match self.assembly().add(now, peer, fragment, proven) {
            Joined::Partial => {}
            Joined::Whole(length) => {
                let reassembly = core::mem::take(&mut self.reassembly);
                let body = reassembly.get(..length).unwrap_or_default();
                self.message(peer, header, kind, message_seq, body);
                self.reassembly = reassembly;
            }
            Joined::Occupied => count(&mut self.common.counters.crowded),
            Joined::Refused => count(&mut self.common.counters.malformed),
        }
    }

    /// Whether something waits for a fragment, and if so, whether its sender is known to be where
    /// it says.
    fn expects(&mut self, peer: Peer, header: DtlsHeader, fragment: &Fragment<'_>) -> Option<bool> {
        match fragment.header.kind {
            kind::CLIENT_HELLO => self.admits_hello(peer, header, fragment),
            kind::CLIENT_KEY_EXCHANGE => self.expects_key_exchange(peer, fragment),
            _ => {
                count(&mut self.common.counters.unexpected);
                None
            }
        }
    }

    fn message(&mut self, peer: Peer, header: DtlsHeader, kind: u8, message_seq: u16, body: &[u8]) {
        if kind == kind::CLIENT_HELLO {
            self.client_hello(peer, header, message_seq, body);
        } else {
            self.client_key_exchange(peer, body);
        }
    }
}

/// The next record of a datagram in the buffer: its header, and where its body is.
fn next_record(buffer: &[u8], datagram: Datagram) -> Option<(DtlsHeader, Range<usize>)> {
    let bytes = buffer.get(datagram.at..datagram.end)?;
    let header = DtlsHeader::read(bytes.first_chunk()?);
    let start = datagram.at + DTLS_HEADER;
    let end = start + usize::from(header.length);
    (header.version >> 8 == DTLS12 >> 8 && end <= datagram.end).then_some((header, start..end))
}
