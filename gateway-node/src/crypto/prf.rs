//! HMAC-SHA256 (RFC 2104) and the PRF of TLS 1.2 (RFC 5246 §5).

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const BLOCK: usize = 64;

/// A keyed hash; the key's two blocks are hashed once.
pub(crate) struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0_u8; BLOCK]);
        let hashed;
        let short = if key.len() > BLOCK {
            hashed = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(key)));
            hashed.as_slice()
        } else {
            key
        };
        for (place, byte) in block.iter_mut().zip(short) {
            *place = *byte;
        }
        Self { inner: padded(&mut block, 0x36), outer: padded(&mut block, 0x36 ^ 0x5c) }
    }

    /// The MAC over the pieces one after another.
    pub(crate) fn mac(&self, pieces: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        for piece in pieces {
            inner.update(piece);
        }
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

/// Masks the block in place, so that the next mask must undo this one.
fn padded(block: &mut [u8; BLOCK], mask: u8) -> Sha256 {
    for byte in block.iter_mut() {
        *byte ^= mask;
    }
    let mut hash = Sha256::new();
    hash.update(block.as_slice());
    hash
}

/// PRF(secret, label, seed): the seed in two pieces.
pub(crate) fn prf(secret: &[u8], label: &[u8], seed: [&[u8]; 2], out: &mut [u8]) {
    let hmac = Hmac::new(secret);
    let [first, second] = seed;
    let mut a = Zeroizing::new(hmac.mac(&[label, first, second]));
    for chunk in out.chunks_mut(32) {
        let block = Zeroizing::new(hmac.mac(&[a.as_slice(), label, first, second]));
        for (place, byte) in chunk.iter_mut().zip(block.iter()) {
            *place = *byte;
        }
        *a = hmac.mac(&[a.as_slice()]);
    }
}
