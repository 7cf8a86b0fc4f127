//! Known-answer vectors of the mapping: PSK 00112233445566778899aabbccddeeff, identity "node1",
//! PSK_AES_128_CCM_8, client random 00..1f, server random 80..9f. The code that made them completed
//! handshakes with OpenSSL in both forms.

use std::vec::Vec;

use gateway_common::mapping::handshake::{Header, kind};
use sha2::Digest;

use crate::{
    Config, Cookie, Instant, Origin, Output, Peer, Psk, Server,
    handshake::key::{CLIENT_FINISHED, Master, Randoms, SERVER_FINISHED},
    record::Protection,
    testing::{client::fragments, hex, world::PSK},
    transcript::{Transcript, extend},
};

struct Vector {
    origin: Origin,
    extended: bool,
    session_hash: Option<&'static str>,
    master: &'static str,
    client: &'static str,
    server: &'static str,
    /// Fragment of the client's Finished.
    finished: &'static str,
}

const NO_EMS_MASTER: &str = "580393fdc91bf4be7579455f2079482ca1475e058df2ade271c3341d5828b7e18ee59922a8798b82bd1fa32fdeff76a5";

const VECTORS: [Vector; 4] = [
    Vector {
        origin: Origin::Tls,
        extended: true,
        session_hash: Some("a491254ff81710e64bee0bbb7faadc599d4aba6dbbc490d8d6d993c9004d3eac"),
        master: "22940b3a94600b7f824124e0f708e897d4d59dfac74b27601acb563f44120ad184c87dc7dbf236b93fb59ea2605c8fe9",
        client: "85262678e931eabd221f90ef",
        server: "a33b9c2ed53e09b3128e37eb",
        finished: "00000000000000002741aef0d2b397a05a20d1d8ca2e47092697752e0ef81771",
    },
    Vector {
        origin: Origin::Dtls,
        extended: true,
        session_hash: Some("6cf01d53f51b5af21636e8cd6e63d9b557f763789006459b931fba052ba3db09"),
        master: "f6a6074f193aa57c83bd35b93b9238478946b09f71097669ed636b925026bd7fb64364d7c611580c6adb483ee3e37fc8",
        client: "8dcc0ebb9ceac40788f65e18",
        server: "13b63473279e9049dad68ccd",
        finished: "00010000000000005844e5426d2b1674d0f604de81c03975948f1707c513bc6ab70101fb9fd54df5",
    },
    Vector {
        origin: Origin::Tls,
        extended: false,
        session_hash: None,
        master: NO_EMS_MASTER,
        client: "a08931c6f38f01e5da5426cd",
        server: "5f8ce8a6dc54639e134ada65",
        finished: "000000000000000054ec3b8317fbffa970e3c123a15643d2d3f9b67ec0181e49",
    },
    Vector {
        origin: Origin::Dtls,
        extended: false,
        session_hash: None,
        master: NO_EMS_MASTER,
        client: "5c3f0a708a4f90e8fa74abf4",
        server: "b0b865cee93a702ee680624f",
        finished: "000100000000000070ce8157c5e796d9e453ac90a45dc2c0ea583f344eab47fc98cad6796cd04d63",
    },
];

fn randoms() -> Randoms {
    Randoms {
        client: core::array::from_fn(|i| i as u8),
        server: core::array::from_fn(|i| 0x80 + i as u8),
    }
}

fn client_hello(extended: bool) -> Vec<u8> {
    let extensions = if extended { "000400170000" } else { "" };
    let head = [&hex("fefd"), &randoms().client[..], &hex("00000004c0a800ff0100")].concat();
    [head, hex(extensions)].concat()
}

fn server_hello(extended: bool) -> Vec<u8> {
    let extensions = if extended { "0009ff0100010000170000" } else { "0005ff01000100" };
    [&hex("fefd"), &randoms().server[..], &hex("00c0a800"), &hex(extensions)].concat()
}

const KEY_EXCHANGE: &str = "00056e6f646531";

#[test]
fn transcripts_and_keys_are_those_of_the_vectors() {
    for vector in &VECTORS {
        let mut transcript = Transcript::default();
        for (kind, seq, body) in [
            (kind::CLIENT_HELLO, 0, client_hello(vector.extended)),
            (kind::SERVER_HELLO, 0, server_hello(vector.extended)),
            (kind::SERVER_HELLO_DONE, 1, Vec::new()),
            (kind::CLIENT_KEY_EXCHANGE, 1, hex(KEY_EXCHANGE)),
        ] {
            transcript.add(kind, seq, &body).expect("an image");
        }
        let hash: [u8; 32] = transcript.of(vector.origin).finalize().into();
        if let Some(expected) = vector.session_hash {
            assert_eq!(hash.to_vec(), hex(expected));
        }
        let psk = Psk::new(&PSK).expect("a key");
        let master = Master::derive(&psk, &randoms(), vector.extended.then_some(&hash));
        assert_eq!(master.0.to_vec(), hex(vector.master));
        let client = master.verify_data(CLIENT_FINISHED, &hash);
        assert_eq!(client.to_vec(), hex(vector.client));
        let mut rest = transcript.of(vector.origin);
        extend(&mut rest, vector.origin, Header::whole(kind::FINISHED, 12, 2), [&client, &[]]);
        let server = master.verify_data(SERVER_FINISHED, &rest.finalize().into());
        assert_eq!(server.to_vec(), hex(vector.server));
    }
    let ems = Master(hex(VECTORS[0].master).try_into().expect("48 bytes"));
    let keys = ems.keys(&randoms());
    assert_eq!(keys.client.key.to_vec(), hex("f3f0e4ef6cd7d202278b0b2aded1f0eb"));
    assert_eq!(keys.server.key.to_vec(), hex("e12ddd12dfb9f3de78bf04d22fe42383"));
    assert_eq!(keys.client.iv.to_vec(), hex("96db1166"));
    assert_eq!(keys.server.iv.to_vec(), hex("6c6ed276"));
}

/// A record of DTLS 1.2: type, epoch, number, fragment.
fn record(content: u8, epoch: u8, number: u8, fragment: &[u8]) -> Vec<u8> {
    let head = [content, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, number, 0, fragment.len() as u8];
    [&head, fragment].concat()
}

/// What a server without session IDs answers, datagram by datagram, and the data it delivers.
fn exchange(datagrams: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let psk = |identity: &[u8]| Psk::new(&PSK).filter(|_| identity == b"node1");
    let random =
        |bytes: &mut [u8]| (0x80..).zip(bytes).for_each(|(value, byte): (u8, _)| *byte = value);
    let config = Config { cookie: Cookie::Off, ..Config::default() };
    let mut server: Server<_, _, 1, 1, 0, 1> = Server::new(config, psk, random);
    let (mut sent, mut data) = (Vec::new(), Vec::new());
    for datagram in datagrams {
        let mut buffer = [0; 256];
        buffer[..datagram.len()].copy_from_slice(datagram);
        server.handle_datagram(Instant(1), Peer([1; 18]), datagram);
        loop {
            match server.poll_output(&mut buffer) {
                Output::Transmit { datagram, .. } => sent.push(datagram.to_vec()),
                Output::Data { data: bytes, .. } => data.push(bytes.to_vec()),
                Output::Connected { .. } => {}
                Output::Timeout(_) => break,
                other @ (Output::Ready { .. } | Output::Closed { .. }) => panic!("{other:?}"),
            }
        }
    }
    (sent, data)
}

#[test]
fn server_speaks_as_the_vectors_do() {
    for vector in &VECTORS {
        let hello = fragments(kind::CLIENT_HELLO, 0, &client_hello(vector.extended), 999);
        let exchanged = fragments(kind::CLIENT_KEY_EXCHANGE, 1, &hex(KEY_EXCHANGE), 999);
        let flight = [
            record(22, 0, 1, &exchanged[0]),
            record(20, 0, 2, &[1]),
            record(22, 1, 0, &hex(vector.finished)),
        ];
        let (sent, _) = exchange(&[record(22, 0, 0, &hello[0]), flight.concat()]);

        let answer = fragments(kind::SERVER_HELLO, 0, &server_hello(vector.extended), 999);
        let done = fragments(kind::SERVER_HELLO_DONE, 1, &[], 999);
        assert_eq!(sent[0], [record(22, 0, 0, &answer[0]), record(22, 0, 1, &done[0])].concat());

        let master = Master(hex(vector.master).try_into().expect("48 bytes"));
        let keys = master.keys(&randoms());
        let protection =
            Protection { suite: crate::Suite::Ccm8, origin: vector.origin, key: &keys.server };
        let form = if vector.origin == Origin::Tls { "" } else { "000200000000000c" };
        let plaintext = [hex("1400000c"), hex(form), hex(vector.server)].concat();
        let mut finished = [0; 64];
        let length = protection.seal(22, 0, &plaintext, &mut finished).expect("room");
        assert!(
            sent[1].ends_with(
                &[
                    record(20, 0, sent[1][sent[1].len() - length - 4], &[1]),
                    finished[..length].to_vec()
                ]
                .concat()
            )
        );
    }
}

#[test]
fn finished_and_data_of_a_mapped_client_are_those_of_the_vectors() {
    let vector = &VECTORS[0];
    let hello = fragments(kind::CLIENT_HELLO, 0, &client_hello(true), 999);
    let exchanged = fragments(kind::CLIENT_KEY_EXCHANGE, 1, &hex(KEY_EXCHANGE), 999);
    let request = "0000000000000001c54d4a567ad32e89104160e7a4d9074b1055258f3538b05ab933";
    let flight = [
        record(22, 0, 1, &exchanged[0]),
        record(22, 1, 0, &hex(vector.finished)),
        record(23, 1, 1, &hex(request)),
    ];
    let (sent, data) = exchange(&[record(22, 0, 0, &hello[0]), flight.concat()]);
    let finished = "00000000000000007f991fe4006d0db535d3781b2b7f7127dcd5784ee1424637";
    let report = record(26, 0, 2, &hex("00010000000000020000"));
    let flight = [report, record(20, 0, 3, &[1]), record(22, 1, 0, &hex(finished))].concat();
    assert_eq!(sent[1], flight);
    assert_eq!(data, [b"GET / HTTP/1.1\r\n\r\n"]);
}
