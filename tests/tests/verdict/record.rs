//! Records and flights of DTLS as both ends send them.

use gateway_user::dataplane::attach::Role;
use tests::packet::dtls::{self, ClientHello, DTLS12, content};

use super::world::Flow;

/// A protected record of application data: other bytes for another number or variant.
pub fn data(sequence: u64, variant: u8) -> Vec<u8> {
    protected(content::APPLICATION, 1, sequence, variant)
}

/// A protected record of any type and epoch.
pub fn protected(kind: u8, epoch: u16, sequence: u64, variant: u8) -> Vec<u8> {
    let mut body = [variant; 32];
    body[..8].copy_from_slice(&sequence.to_be_bytes());
    // looks like a tag: every byte of it depends on number and variant
    let tag = (sequence << 8 | u64::from(variant)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    body[24..].copy_from_slice(&tag.to_be_bytes());
    dtls::record(kind, DTLS12, epoch, sequence, &body)
}

/// A ClientHello with a random of `fill`, without cookie or with one.
pub fn client_hello(fill: u8, with_cookie: bool) -> Vec<u8> {
    let mut hello = ClientHello::new();
    hello.random = [fill; 32];
    if with_cookie { hello.cookie(&[0xc0; 16]).record(1, 1) } else { hello.record(0, 0) }
}

/// A ServerHello with a random of `fill`.
pub fn server_hello(sequence: u64, fill: u8) -> Vec<u8> {
    const RANDOM: usize = 13 + 12 + 2;
    let mut record = dtls::server_hello(sequence, 1, dtls::PSK_CCM8);
    record[RANDOM..RANDOM + 32].fill(fill);
    record
}

fn plain(kind: u8, message_seq: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let message = dtls::handshake(kind, message_seq, body);
    dtls::record(content::HANDSHAKE, DTLS12, 0, sequence, &message)
}

/// ServerHello and ServerHelloDone, as one datagram.
pub fn server_flight(fill: u8) -> Vec<u8> {
    [server_hello(1, fill), plain(14, 2, 2, &[])].concat()
}

/// ClientKeyExchange and ChangeCipherSpec: the same bytes in every handshake of a PSK client.
pub fn key_exchange() -> Vec<u8> {
    [plain(16, 2, 2, b"\0\x08identity"), dtls::change_cipher_spec(0, 3)].concat()
}

/// ClientKeyExchange, ChangeCipherSpec and Finished, as one datagram.
pub fn client_flight(fill: u8) -> Vec<u8> {
    [key_exchange(), dtls::finished(0, fill)].concat()
}

/// The node's ChangeCipherSpec and Finished, as one datagram.
pub fn node_finished(fill: u8) -> Vec<u8> {
    [dtls::change_cipher_spec(0, 3), dtls::finished(0, !fill)].concat()
}

/// A full handshake with cookie; `fill` tells it from another one on the same ports.
pub fn handshake(flow: &Flow, fill: u8) -> Vec<(Role, Vec<u8>)> {
    vec![
        (Role::Wan, flow.inward(client_hello(fill, false))),
        (Role::Lln, flow.outward(dtls::hello_verify_request(0, &[0xc0; 16]))),
        (Role::Wan, flow.inward(client_hello(fill, true))),
        (Role::Lln, flow.outward(server_flight(fill))),
        (Role::Wan, flow.inward(client_flight(fill))),
        (Role::Lln, flow.outward(node_finished(fill))),
    ]
}

/// A node's report that everything below `next` of `epoch` has arrived.
pub fn report(epoch: u16, next: u64) -> Vec<u8> {
    let mut body = epoch.to_be_bytes().to_vec();
    body.extend(&next.to_be_bytes()[2..]);
    body.extend([0, 0]);
    dtls::record(26, DTLS12, 0, 9, &body)
}
