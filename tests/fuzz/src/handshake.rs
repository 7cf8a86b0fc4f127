//! Handshake messages, both ways, and however the records cut them.
use gateway_common::mapping::{
    handshake::{DTLS_HEADER, Fragments, Header},
    image::{self, Image},
    record::{TLS12, TlsHeader},
};
use gateway_user::mapper::core::peek_client_hello;

/// Two bytes that say how, then a body.
pub fn handshake(data: &[u8]) {
    let [kind, cut, body @ ..] = data else {
        return;
    };
    there_and_back(*kind, body, &body[..body.len().min(usize::from(*cut))]);
    fragments(body);
    let message = [&Header::whole(1, body.len() as u32, 0).tls()[..], body].concat();
    let whole = peek_client_hello(&records(&message, message.len()), 4096);
    let parts = peek_client_hello(&records(&message, 1 + usize::from(*cut)), 4096);
    assert_eq!(whole, parts);
}

fn there_and_back(kind: u8, body: &[u8], cookie: &[u8]) {
    if let Ok(dtls) = image::dtls(kind, 3, body, cookie) {
        let bytes = bytes(&dtls);
        let (header, mapped) = bytes.split_first_chunk::<DTLS_HEADER>().expect("a header");
        assert_eq!(Header::read(header), Header::whole(kind, mapped.len() as u32, 3));
        let back = image::tls(kind, mapped).expect("what was mapped maps back");
        assert_eq!(back.body().concat(), body);
    }
    if let Ok(tls) = image::tls(kind, body) {
        let mapped = tls.body().concat();
        assert!(mapped.len() <= body.len());
        let again = image::dtls(kind, 0, &mapped, &[]).expect("what was mapped maps back");
        // all but the cookie
        let Ok(back) = image::tls(kind, &again.body().concat()).map(|tls| tls.body().concat())
        else {
            panic!("the third image of {mapped:?}");
        };
        assert_eq!(back, mapped);
    }
}

fn bytes(image: &Image<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.each(|piece| bytes.extend_from_slice(piece));
    bytes
}

fn fragments(body: &[u8]) {
    for fragment in Fragments::of(body).flatten() {
        let header = fragment.header;
        assert_eq!(fragment.body.len(), header.fragment_length as usize);
        assert!(header.fragment_offset + header.fragment_length <= header.length);
    }
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let header = TlsHeader { content: 22, version: TLS12, length: part.len() as u16 };
        [&header.write()[..], part].concat()
    };
    message.chunks(size.clamp(1, 1 << 12)).flat_map(record).collect()
}
