//! HelloVerifyRequest and its cookie (RFC 6347 §4.2.1): no state before it returns.

use gateway_common::mapping::{
    handshake::{Header, kind},
    record::DtlsHeader,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::{Instant, Peer, crypto::prf::Hmac, writer::Writer};

/// Bytes in a cookie.
pub(crate) const COOKIE: usize = 16;

/// A cookie is good for one to two of these periods of 2^16 milliseconds.
const PERIOD_BITS: u32 = 16;

/// What a first ClientHello's front says: all that a cookie stands for. Extensions are left out, as
/// clients of two versions change them between hellos, and as the first fragment may not have them.
#[derive(Clone, Copy)]
pub(crate) struct Front<'a> {
    random: &'a [u8; 32],
    session_id: &'a [u8],
    pub(crate) cookie: &'a [u8],
}

impl<'a> Front<'a> {
    /// Reads the first bytes of a ClientHello's body.
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let (random, rest) = body.get(2..)?.split_first_chunk()?;
        let (session_id, rest) = vector(rest)?;
        let (cookie, _) = vector(rest)?;
        Some(Self { random, session_id, cookie })
    }
}

fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Makes and checks cookies; its secret is wiped when dropped.
pub(crate) struct Baker {
    pub(crate) secret: [u8; 32],
}

impl Drop for Baker {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl Baker {
    pub(crate) fn bake(&self, now: Instant, peer: Peer, front: &Front<'_>) -> [u8; COOKIE] {
        self.of_period(now.0 >> PERIOD_BITS, peer, front)
    }

    pub(crate) fn is_ours(&self, now: Instant, peer: Peer, front: &Front<'_>) -> bool {
        let period = now.0 >> PERIOD_BITS;
        let last = period.saturating_sub(1);
        let good = |period| self.of_period(period, peer, front).ct_eq(front.cookie);
        (good(period) | good(last)).into()
    }

    fn of_period(&self, period: u64, peer: Peer, front: &Front<'_>) -> [u8; COOKIE] {
        let hmac = Hmac::new(&self.secret);
        let mac = hmac.mac(&[&peer.0, &period.to_be_bytes(), front.random, front.session_id]);
        mac.first_chunk().copied().unwrap_or_default()
    }
}

/// Writes a HelloVerifyRequest that answers the record of `header`: its number, and its version,
/// about which stacks disagree (RFC 6347 §4.2.1 asks for DTLS 1.0 in any case).
pub(crate) fn hello_verify_request(
    header: DtlsHeader,
    cookie: &[u8; COOKIE],
    out: &mut Writer<'_>,
) -> bool {
    const LENGTH: u32 = 3 + COOKIE as u32;
    let message = Header::whole(kind::HELLO_VERIFY_REQUEST, LENGTH, 0).write();
    let header = DtlsHeader { length: 12 + LENGTH as u16, ..header };
    let version = header.version.to_be_bytes();
    out.put(&[&header.write(), &message, &version, &[COOKIE as u8], cookie])
}
