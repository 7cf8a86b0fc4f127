//! The handshake as both sides may have seen it: two running hashes (E2E §V-B).

use gateway_common::mapping::{
    handshake::Header,
    image::{self},
};
use sha2::{Digest, Sha256};

use crate::Origin;

/// Hashes of the messages so far: as they are here, and as their TLS images.
#[derive(Clone, Default)]
pub(crate) struct Transcript {
    dtls: Sha256,
    tls: Sha256,
}

impl Transcript {
    /// Starts over.
    pub(crate) fn clear(&mut self) {
        self.dtls.reset();
        self.tls.reset();
    }

    /// Adds a message, whole as RFC 6347 §4.2.6 has it. `None` where it has no image in TLS.
    #[must_use]
    pub(crate) fn add(&mut self, kind: u8, message_seq: u16, body: &[u8]) -> Option<()> {
        let image = image::tls(kind, body).ok()?;
        self.dtls.update(Header::whole(kind, body.len() as u32, message_seq).write());
        self.dtls.update(body);
        image.each(|piece| self.tls.update(piece));
        Some(())
    }

    /// The hash in the form of `origin`, for what follows to be added by [`extend`].
    pub(crate) fn of(&self, origin: Origin) -> Sha256 {
        match origin {
            Origin::Dtls => self.dtls.clone(),
            Origin::Tls => self.tls.clone(),
        }
    }
}

/// Header of a message in the form of `origin`, which is what its hash and its sender have.
pub(crate) struct Form {
    bytes: [u8; 12],
    length: usize,
}

impl Form {
    pub(crate) fn of(origin: Origin, header: Header) -> Self {
        let length = match origin {
            Origin::Dtls => 12,
            Origin::Tls => 4,
        };
        let mut bytes = header.write(); // begins with the four bytes of TLS
        bytes.iter_mut().skip(length).for_each(|byte| *byte = 0);
        Self { bytes, length }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Adds a message that is the same in both protocols but for its header.
pub(crate) fn extend(hash: &mut Sha256, origin: Origin, header: Header, body: [&[u8]; 2]) {
    hash.update(Form::of(origin, header).as_bytes());
    for piece in body {
        hash.update(piece);
    }
}
