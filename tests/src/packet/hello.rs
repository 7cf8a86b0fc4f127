//! Hellos that somebody changes on their way: the lengths around a change are right again.

use gateway_common::mapping::{
    handshake::{Header, kind},
    hello::{ClientHello, Extensions, ServerHello},
};

const TLS_HEADER: usize = 4;
const DTLS_HEADER: usize = 12;

/// Takes an extension out of the hello that begins a TLS record, if there is one in it.
pub fn strip_tls(fragment: &mut Vec<u8>, extension: u16) -> bool {
    let Some((header, body)) = fragment.split_first_chunk::<TLS_HEADER>() else { return false };
    let Some(stripped) = stripped(header[0], body, extension, false) else { return false };
    let header = Header::whole(header[0], stripped.len() as u32, 0).tls();
    *fragment = [&header[..], &stripped].concat();
    true
}

/// Takes an extension out of the hello that is a DTLS record, if it is there in one piece.
pub fn strip_dtls(fragment: &mut Vec<u8>, extension: u16) -> bool {
    let Some((header, body)) = fragment.split_first_chunk::<DTLS_HEADER>() else { return false };
    let header = Header::read(header);
    let Some(stripped) = stripped(header.kind, body, extension, true) else { return false };
    let header = Header::whole(header.kind, stripped.len() as u32, header.message_seq).write();
    *fragment = [&header[..], &stripped].concat();
    true
}

fn stripped(message: u8, body: &[u8], extension: u16, dtls: bool) -> Option<Vec<u8>> {
    let extensions = match (message, dtls) {
        (kind::CLIENT_HELLO, true) => ClientHello::read_dtls(body).ok()?.extensions(),
        (kind::CLIENT_HELLO, false) => ClientHello::read_tls(body).ok()?.extensions(),
        (kind::SERVER_HELLO, _) => ServerHello::read(body).ok()?.extensions(),
        _ => return None,
    };
    without(body, extensions, extension)
}

/// A hello's body, which ends with its extensions behind their length, without one of them.
fn without(body: &[u8], extensions: Extensions<'_>, unwanted: u16) -> Option<Vec<u8>> {
    extensions.clone().find(unwanted)?;
    let size: usize = extensions.clone().map(|(_, content)| 4 + content.len()).sum();
    let before = body.get(..body.len().checked_sub(size + 2)?)?;
    let kept: Vec<u8> = extensions
        .filter(|(kind, _)| *kind != unwanted)
        .flat_map(|(kind, content)| {
            [&kind.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
        })
        .collect();
    Some([before, &(kept.len() as u16).to_be_bytes(), &kept].concat())
}
