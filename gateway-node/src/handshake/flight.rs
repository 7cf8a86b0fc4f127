//! Messages of the server on their way: cut to the datagrams, and sent again.

use gateway_common::{
    mapping::{
        Position,
        handshake::{DTLS_HEADER as MESSAGE, Header},
        record::{DTLS_HEADER as RECORD, DTLS12, DtlsHeader},
    },
    wire::dtls::content,
};

use crate::{record::Protection, transcript::Form, writer::Writer};

use super::key::VERIFY_DATA;

/// Room for ServerHello and ServerHelloDone.
pub(crate) const FLIGHT: usize = 112;

/// Plaintext messages with their DTLS headers, one after another.
pub(crate) struct Flight {
    pub(crate) bytes: [u8; FLIGHT],
    pub(crate) length: usize,
    /// Where the next datagram goes on: at a message, or inside its body.
    sent: usize,
}

impl Flight {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; FLIGHT], length: 0, sent: 0 }
    }

    pub(crate) fn restart(&mut self) {
        self.sent = 0;
    }

    pub(crate) fn is_due(&self) -> bool {
        self.sent < self.length
    }

    /// Writes what fits, one record a message or fragment, each with a number of its own.
    pub(crate) fn write(&mut self, number: &mut u64, out: &mut Writer<'_>) {
        while let Some(sent) = self.fragment(*number, out) {
            self.sent = sent;
            *number += 1;
        }
    }

    /// The next fragment; where the one after it starts.
    fn fragment(&self, number: u64, out: &mut Writer<'_>) -> Option<usize> {
        const HEADERS: usize = RECORD + MESSAGE;
        let (start, header) = self.message()?;
        let body = start + MESSAGE;
        let from = self.sent.max(body);
        let left = body + header.length as usize - from;
        let fits = left.min(out.rest().len().checked_sub(HEADERS)?);
        if fits == 0 && left > 0 {
            return None;
        }
        let fragment = Header {
            fragment_offset: (from - body) as u32,
            fragment_length: fits as u32,
            ..header
        };
        let record = plain(content::HANDSHAKE, number, MESSAGE + fits);
        let piece = self.bytes.get(from..from + fits)?;
        out.put(&[&record, &fragment.write(), piece]).then_some(from + fits)
    }

    /// The message in which the flight goes on: where it starts, and its header.
    fn message(&self) -> Option<(usize, Header)> {
        let mut start = 0;
        while self.is_due() {
            let header = Header::read(self.bytes.get(start..)?.first_chunk()?);
            let end = start + MESSAGE + header.length as usize;
            if self.sent < end {
                return Some((start, header));
            }
            start = end;
        }
        None
    }
}

/// Header of a plaintext record.
pub(crate) fn plain(content: u8, number: u64, length: usize) -> [u8; RECORD] {
    let position = Position { epoch: 0, number };
    DtlsHeader { content, version: DTLS12, position, length: length as u16 }.write()
}

/// ChangeCipherSpec and Finished, together or not at all.
///
/// Finished is number 0 of its epoch whenever it is sent, and so the same bytes: a mapped TLS client
/// has authenticated them as such. Deviation: RFC 6347 §4.2.4 gives a DTLS client a new number.
#[must_use]
pub(crate) fn finish(
    protection: Protection<'_>,
    header: Header,
    verify_data: &[u8; VERIFY_DATA],
    number: &mut u64,
    out: &mut Writer<'_>,
) -> bool {
    let form = Form::of(protection.origin, header);
    let mut plaintext = [0; MESSAGE + VERIFY_DATA];
    let mut message = Writer::new(&mut plaintext);
    let _ = message.put(&[form.as_bytes(), verify_data]);
    let length = message.len();
    let plaintext = plaintext.get(..length).unwrap_or_default();
    if out.rest().len() < 2 * RECORD + 1 + length + protection.suite.overhead() {
        return false;
    }
    let _ = out.put(&[&plain(content::CHANGE_CIPHER_SPEC, *number, 1), &[1]]);
    *number += 1;
    if let Some(length) = protection.seal(content::HANDSHAKE, 0, plaintext, out.rest()) {
        out.advance(length);
    }
    true
}
