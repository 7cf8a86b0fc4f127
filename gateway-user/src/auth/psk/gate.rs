//! Before a handshake: nothing is kept of a client until it has returned a cookie, which proves
//! that it receives what is sent to its address (RFC 6347 §4.2.1).
use super::socket::Way;
use crate::dataplane::{
    self, Maps, Pins,
    cookies::{Judged, Keyring},
};
use gateway_common::cookie::LENGTH;
use std::path::Path;

/// Bytes of a cookie.
pub(super) const COOKIE: usize = LENGTH as usize;

/// A ClientHello, as far as a cookie needs it (RFC 6347 §4.2.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello<'a> {
    /// The datagram.
    pub(super) datagram: &'a [u8],
    /// The message without its header.
    pub(super) body: &'a [u8],
    /// Where the cookie's length lies in it.
    pub(super) at: usize,
    /// The cookie.
    pub(super) cookie: &'a [u8],
}

impl<'a> Hello<'a> {
    /// The ClientHello that a datagram begins with. One in fragments is none: it could not be
    /// answered without keeping something.
    pub(super) fn read(datagram: &'a [u8]) -> Option<Self> {
        let (head, rest) = datagram.split_at_checked(13)?;
        let [22, 254, _, 0, 0, .., high, low] = *head else { return None };
        let record = rest.get(..usize::from(u16::from_be_bytes([high, low])))?;
        let (message, body) = record.split_at_checked(12)?;
        let whole = message.get(1..4) == message.get(9..12);
        let alone = body.len() == length_of(message.get(1..4)?);
        if message.first() != Some(&1) || !whole || !alone || message.get(6..9) != Some(&[0; 3]) {
            return None;
        }
        let session = usize::from(*body.get(34)?);
        let at = 35 + session;
        let length = usize::from(*body.get(at)?);
        let cookie = body.get(at + 1..at + 1 + length)?;
        Some(Self { datagram, body, at, cookie })
    }

    /// The client's random value, by which a retransmission is known from a new start.
    pub(super) fn random(&self) -> &'a [u8] {
        self.body.get(2..34).unwrap_or_default()
    }

    /// The message's number.
    pub(super) fn number(&self) -> u16 {
        let bytes = self.datagram.get(17..19).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_be_bytes)
    }

    /// What is in the datagram behind the record.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.datagram.get(13 + 12 + self.body.len()..).unwrap_or_default()
    }

    /// Whether it offers a suite (RFC 5246 §7.4.1.2).
    pub(super) fn offers(&self, suite: [u8; 2]) -> bool {
        let Some((length, rest)) = self.behind().split_at_checked(2) else { return false };
        let suites = rest.get(..length_of(length)).unwrap_or_default();
        suites.chunks_exact(2).any(|offered| offered == suite)
    }

    /// What comes behind the cookie.
    pub(super) fn behind(&self) -> &'a [u8] {
        self.body.get(self.at + 1 + self.cookie.len()..).unwrap_or_default()
    }
}

fn length_of(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |all, byte| all << 8 | usize::from(*byte))
}

/// Judges what comes with the keys that the filter has too: it answers first where it can, and who
/// has a cookie of either gets through.
pub(super) struct Gate(Keyring);

impl Gate {
    /// With the keys that are pinned there.
    pub(super) fn open(bpffs: &Path) -> dataplane::Result<Self> {
        Ok(Self(Keyring::open(&Maps::open(&Pins::new(bpffs))?)?))
    }

    /// What a datagram is: the one place that lets clients in. Without keys nobody is.
    pub(super) fn judge(&self, way: &Way, datagram: &[u8]) -> Judged {
        self.0.judge(way.peer, way.local, datagram).unwrap_or(Judged::Refused)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ClientHello with a cookie, and its number.
    pub(in crate::auth::psk) fn hello(cookie: &[u8], number: u8) -> Vec<u8> {
        let mut body = vec![254, 253];
        body.extend([7; 32]);
        body.push(0);
        body.push(cookie.len() as u8);
        body.extend(cookie);
        body.extend([0, 2, 0xc0, 0xa8, 1, 0]);
        let length = body.len() as u8;
        let mut datagram = vec![22, 254, 255, 0, 0, 0, 0, 0, 0, 0, number, 0, length + 12];
        datagram.extend([1, 0, 0, length, 0, number, 0, 0, 0, 0, 0, length]);
        datagram.extend(body);
        datagram
    }

    #[test]
    fn suites_are_found_behind_the_cookie() {
        let whole = hello(&[0xc0; COOKIE], 1);
        let read = Hello::read(&whole).unwrap();
        assert!(read.offers([0xc0, 0xa8]) && !read.offers([0xa8, 0x01]) && !read.offers([1, 0]));
    }

    #[test]
    fn what_is_in_fragments_is_no_hello() {
        let mut part = hello(&[], 0);
        part[16] += 1;
        assert!(Hello::read(&part).is_none());
        let mut encrypted = hello(&[], 0);
        encrypted[4] = 1;
        assert!(Hello::read(&encrypted).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, cut in 0usize..100) {
            let _ = Hello::read(&bytes);
            let whole = hello(&[1; COOKIE], 1);
            let _ = Hello::read(&whole[..cut.min(whole.len())]);
        }
    }
}
