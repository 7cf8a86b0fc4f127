//! A handshake message in the other protocol's form, as slices to hash or to send: no buffer.
use super::{
    handshake::{Header, LENGTH_MAX, kind},
    reader::Reader,
    record::{DTLS12, TLS12},
};
use crate::wire::Malformed;

/// A message in the form of TLS or DTLS, made of what the other form has in memory.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    header: Header,
    dtls: bool,
    /// A hello's version.
    version: Option<[u8; 2]>,
    /// From there to the cookie's place; nothing but in a ClientHello.
    before: &'a [u8],
    /// The cookie's length byte, in a ClientHello of DTLS.
    cookie_length: Option<[u8; 1]>,
    cookie: &'a [u8],
    /// From there to the end.
    after: &'a [u8],
}

impl<'a> Image<'a> {
    /// The header of the message in one piece; TLS sends [`Header::tls`] of it.
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The body, front to back, as a fragmenting sender needs it.
    #[must_use]
    pub fn body(&self) -> [&[u8]; 5] {
        let version = self.version.as_ref().map_or(&[][..], |version| version);
        let length = self.cookie_length.as_ref().map_or(&[][..], |length| length);
        [version, self.before, length, self.cookie, self.after]
    }

    /// Gives header and body, front to back, to `sink`: a hash or a buffer.
    pub fn each(&self, mut sink: impl FnMut(&[u8])) {
        if self.dtls {
            sink(&self.header.write());
        } else {
            sink(&self.header.tls());
        }
        for piece in self.body() {
            sink(piece);
        }
    }

    /// A body that is the same in both protocols.
    const fn same(kind: u8, body: &'a [u8], dtls: bool) -> Self {
        Self {
            header: Header::whole(kind, 0, 0),
            dtls,
            version: None,
            before: &[],
            cookie_length: None,
            cookie: &[],
            after: body,
        }
    }

    /// States the length of the body and the message's place.
    fn measured(mut self, message_seq: u16) -> Result<Self, Malformed> {
        let length: usize = self.body().iter().map(|piece| piece.len()).sum();
        if length > LENGTH_MAX {
            return Err(Malformed::Length);
        }
        self.header = Header::whole(self.header.kind, length as u32, message_seq);
        Ok(self)
    }
}

/// The TLS form of a DTLS message: what a TLS peer has in its transcript (E2E §V-B, Table I).
///
/// # Errors
/// [`Malformed`] where a hello is too short for what has to be changed in it, or is not of DTLS 1.2.
pub fn tls(kind: u8, dtls_body: &[u8]) -> Result<Image<'_>, Malformed> {
    let mut image = Image::same(kind, dtls_body, false);
    if has_version(kind) {
        image.after = replace_version(&mut image.version, dtls_body, DTLS12, TLS12)?;
    }
    if kind == kind::CLIENT_HELLO {
        let (before, mut rest) = split_at_cookie(image.after)?;
        rest.vector8()?;
        image = Image { before, after: rest.0, ..image };
    }
    image.measured(0)
}

/// The DTLS form of a TLS message, in one piece, with `cookie` in a ClientHello.
///
/// # Errors
/// [`Malformed`] where a hello is too short for what has to be changed in it, or is not of TLS 1.2;
/// where the cookie is longer than 255 bytes.
pub fn dtls<'a>(
    kind: u8,
    message_seq: u16,
    tls_body: &'a [u8],
    cookie: &'a [u8],
) -> Result<Image<'a>, Malformed> {
    let mut image = Image::same(kind, tls_body, true);
    if has_version(kind) {
        image.after = replace_version(&mut image.version, tls_body, TLS12, DTLS12)?;
    }
    if kind == kind::CLIENT_HELLO {
        let (before, rest) = split_at_cookie(image.after)?;
        let length = u8::try_from(cookie.len()).map_err(|_| Malformed::Length)?;
        image = Image { before, cookie_length: Some([length]), cookie, after: rest.0, ..image };
    }
    image.measured(message_seq)
}

const fn has_version(kind: u8) -> bool {
    kind == kind::CLIENT_HELLO || kind == kind::SERVER_HELLO
}

/// Versions map one to one, and no other is mapped.
fn replace_version<'a>(
    place: &mut Option<[u8; 2]>,
    body: &'a [u8],
    from: u16,
    to: u16,
) -> Result<&'a [u8], Malformed> {
    let mut rest = Reader(body);
    if rest.short()? != from {
        return Err(Malformed::Length);
    }
    *place = Some(to.to_be_bytes());
    Ok(rest.0)
}

/// Splits a ClientHello after its version: random and session ID, and what follows.
fn split_at_cookie(hello: &[u8]) -> Result<(&[u8], Reader<'_>), Malformed> {
    let mut rest = Reader(hello);
    rest.array::<32>()?;
    rest.vector8()?;
    let before = hello.len() - rest.0.len();
    let before = hello.get(..before).ok_or(Malformed::Truncated)?;
    Ok((before, rest))
}
