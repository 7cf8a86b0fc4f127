//! ClientHello in, ServerHello out (RFC 5246 §7.4.1).

use gateway_common::mapping::{
    handshake::{Header, kind},
    hello::{ClientHello, RENEGOTIATION_SCSV, extension},
    record::DTLS12,
};

use crate::{
    Suite,
    alert::{HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, NO_APPLICATION_PROTOCOL, PROTOCOL_VERSION},
    writer::Writer,
};

/// Bytes in the session IDs that the server makes.
pub(crate) const SESSION_ID: usize = 16;

/// What the server answers to a ClientHello.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) suite: Suite,
    /// Extended Master Secret (RFC 7627).
    pub(crate) extended: bool,
    renegotiation_info: bool,
    /// The code of max_fragment_length (RFC 6066 §4), 1 to 4.
    fragment: Option<u8>,
    protocol: Option<&'static [u8]>,
}

impl Choice {
    /// Chooses, or names the fatal alert.
    pub(crate) fn of(hello: &ClientHello<'_>, suites: &[Suite]) -> Result<Self, u8> {
        if hello.version != DTLS12 {
            return Err(PROTOCOL_VERSION);
        }
        let wanted = |suite: &&Suite| hello.suites().any(|offered| offered == **suite as u16);
        let suite = suites.iter().find(wanted).ok_or(HANDSHAKE_FAILURE)?;
        if !hello.compression.contains(&0) {
            return Err(ILLEGAL_PARAMETER);
        }
        let find = |kind| hello.extensions().find(kind);
        Ok(Self {
            suite: *suite,
            extended: find(extension::EXTENDED_MASTER_SECRET).is_some(),
            renegotiation_info: renegotiation(hello)?,
            fragment: find(extension::MAX_FRAGMENT_LENGTH).map(fragment).transpose()?,
            protocol: find(extension::ALPN).map(protocol).transpose()?,
        })
    }

    /// Most bytes of plaintext in a record that the peer takes.
    pub(crate) fn limit(&self) -> u16 {
        self.fragment.map_or(1 << 14, |code| 1 << (8 + code))
    }

    /// Writes the message with its DTLS header, and returns its length.
    pub(crate) fn server_hello(
        &self,
        message_seq: u16,
        random: &[u8; 32],
        session_id: &[u8],
        out: &mut [u8],
    ) -> usize {
        let mut extensions = [0; 32];
        let extensions = self.extensions(&mut extensions);
        let length = 38 + session_id.len() + extensions.len();
        let header = Header::whole(kind::SERVER_HELLO, length as u32, message_seq).write();
        let mut out = Writer::new(out);
        let written = out.put(&[
            &header,
            &DTLS12.to_be_bytes(),
            random,
            &[session_id.len() as u8],
            session_id,
            &(self.suite as u16).to_be_bytes(),
            &[0],
            extensions,
        ]);
        debug_assert!(written, "a flight holds the longest ServerHello");
        out.len()
    }

    /// The block with its length; nothing where nothing was asked.
    fn extensions<'a>(&self, bytes: &'a mut [u8; 32]) -> &'a [u8] {
        let mut out = Writer::new(bytes.get_mut(2..).unwrap_or_default());
        let mut fits = true;
        if self.renegotiation_info {
            fits &= out.put(&[&extension::RENEGOTIATION_INFO.to_be_bytes(), &[0, 1, 0]]);
        }
        if self.extended {
            fits &= out.put(&[&extension::EXTENDED_MASTER_SECRET.to_be_bytes(), &[0, 0]]);
        }
        if let Some(code) = self.fragment {
            fits &= out.put(&[&extension::MAX_FRAGMENT_LENGTH.to_be_bytes(), &[0, 1, code]]);
        }
        if let Some(name) = self.protocol {
            let length = name.len() as u8;
            let lengths = [0, length + 3, 0, length + 1, length];
            fits &= out.put(&[&extension::ALPN.to_be_bytes(), &lengths, name]);
        }
        debug_assert!(fits, "the longest answers are 31 bytes");
        let length = out.len();
        let Some((head, _)) = bytes.split_first_chunk_mut() else {
            return &[];
        };
        *head = (length as u16).to_be_bytes();
        if length == 0 { &[] } else { bytes.get(..2 + length).unwrap_or_default() }
    }
}

/// Whether the client speaks of renegotiation, and so must be answered (RFC 5746 §3.6): in a first
/// handshake there is nothing to bind to.
fn renegotiation(hello: &ClientHello<'_>) -> Result<bool, u8> {
    match hello.extensions().find(extension::RENEGOTIATION_INFO) {
        Some([0]) => Ok(true),
        Some(_) => Err(HANDSHAKE_FAILURE),
        None => Ok(hello.suites().any(|suite| suite == RENEGOTIATION_SCSV)),
    }
}

fn fragment(content: &[u8]) -> Result<u8, u8> {
    match content {
        [code @ 1..=4] => Ok(*code),
        _ => Err(ILLEGAL_PARAMETER),
    }
}

/// The application protocol (RFC 7301 §3.2): HTTP/1.1 or CoAP, never HTTP/2.
fn protocol(content: &[u8]) -> Result<&'static [u8], u8> {
    const KNOWN: [&[u8]; 2] = [b"http/1.1", b"coap"];
    let mut names = content.get(2..).unwrap_or_default();
    while let [length, rest @ ..] = names {
        let Some((name, rest)) = rest.split_at_checked(usize::from(*length)) else {
            break;
        };
        if let Some(known) = KNOWN.into_iter().find(|known| *known == name) {
            return Ok(known);
        }
        names = rest;
    }
    Err(NO_APPLICATION_PROTOCOL)
}
