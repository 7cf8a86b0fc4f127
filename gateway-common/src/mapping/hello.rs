//! ClientHello and ServerHello bodies (RFC 5246 §7.4.1, RFC 6347 §4.2.1).
use super::{reader::Reader, record::TLS12};
use crate::wire::Malformed;

/// Extensions that a router or a node reads.
pub mod extension {
    /// server_name (RFC 6066 §3).
    pub const SERVER_NAME: u16 = 0;
    /// max_fragment_length (RFC 6066 §4).
    pub const MAX_FRAGMENT_LENGTH: u16 = 1;
    /// application_layer_protocol_negotiation (RFC 7301).
    pub const ALPN: u16 = 16;
    /// extended_master_secret (RFC 7627).
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    /// supported_versions (RFC 8446 §4.2.1).
    pub const SUPPORTED_VERSIONS: u16 = 43;
    /// renegotiation_info (RFC 5746).
    pub const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 §3.3).
pub const RENEGOTIATION_SCSV: u16 = 0x00ff;

/// A ClientHello's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// client_version.
    pub version: u16,
    /// Random.
    pub random: &'a [u8; 32],
    /// Session ID, at most 32 bytes.
    pub session_id: &'a [u8],
    /// Cookie: empty in TLS, which has no such field.
    pub cookie: &'a [u8],
    /// Cipher suites, two bytes each.
    pub suites: &'a [u8],
    /// Compression methods.
    pub compression: &'a [u8],
    /// What is in the extensions block; empty where there is none.
    pub extensions: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Reads a body from a TLS handshake.
    ///
    /// # Errors
    /// [`Malformed`] unless it is one to its last byte.
    pub fn read_tls(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(body, false)
    }

    /// Reads a body from a DTLS handshake.
    ///
    /// # Errors
    /// As [`Self::read_tls`].
    pub fn read_dtls(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(body, true)
    }

    fn read(body: &'a [u8], dtls: bool) -> Result<Self, Malformed> {
        let mut reader = Reader(body);
        let hello = Self {
            version: reader.short()?,
            random: reader.array()?,
            session_id: session_id(&mut reader)?,
            cookie: if dtls { reader.vector8()? } else { &[] },
            suites: reader.vector16()?,
            compression: reader.vector8()?,
            extensions: extensions(reader)?,
        };
        let paired = hello.suites.len().is_multiple_of(2);
        if !paired || hello.suites.is_empty() || hello.compression.is_empty() {
            return Err(Malformed::Length);
        }
        Ok(hello)
    }

    /// Cipher suites in the client's order.
    pub fn suites(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.suites.as_chunks().0.iter().copied().map(u16::from_be_bytes)
    }

    /// Extensions in the client's order.
    #[must_use]
    pub fn extensions(&self) -> Extensions<'a> {
        Extensions(Reader(self.extensions))
    }

    /// The host name in server_name (RFC 6066 §3), as sent.
    #[must_use]
    pub fn server_name(&self) -> Option<&'a [u8]> {
        const HOST_NAME: u8 = 0;
        let mut list =
            Reader(Reader(self.extensions().find(extension::SERVER_NAME)?).vector16().ok()?);
        while let (Ok(kind), Ok(name)) = (list.byte(), list.vector16()) {
            if kind == HOST_NAME {
                return Some(name);
            }
        }
        None
    }

    /// Whether the client would go on with TLS 1.2: by supported_versions if it is there
    /// (RFC 8446 §4.2.1), else by client_version.
    #[must_use]
    pub fn offers_tls12(&self) -> bool {
        let Some(list) = self.extensions().find(extension::SUPPORTED_VERSIONS) else {
            return self.version >> 8 == TLS12 >> 8 && self.version >= TLS12;
        };
        let versions = Reader(list).vector8().unwrap_or(&[]);
        versions.as_chunks().0.contains(&TLS12.to_be_bytes())
    }
}

/// A ServerHello's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHello<'a> {
    /// server_version.
    pub version: u16,
    /// Random.
    pub random: &'a [u8; 32],
    /// Session ID, at most 32 bytes.
    pub session_id: &'a [u8],
    /// The chosen suite.
    pub suite: u16,
    /// The chosen compression method.
    pub compression: u8,
    /// What is in the extensions block; empty where there is none.
    pub extensions: &'a [u8],
}

impl<'a> ServerHello<'a> {
    /// Reads a body, of TLS or DTLS.
    ///
    /// # Errors
    /// [`Malformed`] unless it is one to its last byte.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(body);
        Ok(Self {
            version: reader.short()?,
            random: reader.array()?,
            session_id: session_id(&mut reader)?,
            suite: reader.short()?,
            compression: reader.byte()?,
            extensions: extensions(reader)?,
        })
    }

    /// Extensions in the server's order.
    #[must_use]
    pub fn extensions(&self) -> Extensions<'a> {
        Extensions(Reader(self.extensions))
    }
}

fn session_id<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let id = reader.vector8()?;
    if id.len() <= 32 { Ok(id) } else { Err(Malformed::Length) }
}

/// The block of extensions that ends a hello, checked to its last byte; RFC 5246 §7.4.1.2 lets a
/// hello end before it.
fn extensions<'a>(mut reader: Reader<'a>) -> Result<&'a [u8], Malformed> {
    if reader.0.is_empty() {
        return Ok(&[]);
    }
    let block = reader.vector16()?;
    reader.end()?;
    let mut each = Reader(block);
    while !each.0.is_empty() {
        each.short()?;
        each.vector16()?;
    }
    Ok(block)
}

/// Extensions of a hello: type and content.
#[derive(Clone)]
pub struct Extensions<'a>(Reader<'a>);

impl<'a> Extensions<'a> {
    /// The content of the first extension of this type.
    #[must_use]
    pub fn find(mut self, wanted: u16) -> Option<&'a [u8]> {
        Iterator::find(&mut self, |(kind, _)| *kind == wanted).map(|(_, content)| content)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.0.short().ok()?;
        Some((kind, self.0.vector16().ok()?))
    }
}
