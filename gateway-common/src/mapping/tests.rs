//! Known answers of a handshake that ran against an unmodified TLS client, and round trips.
use super::{
    Position,
    ack::Report,
    handshake::{Fragments, Header, kind},
    hello::{ClientHello, RENEGOTIATION_SCSV, ServerHello, extension},
    image::{self, Image},
    record::{self, DtlsHeader, Records, TlsHeader},
};
use crate::wire::{Malformed, dtls::content};
use proptest::prelude::*;
extern crate std;
use std::vec::Vec;

fn bytes(image: &Image<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.each(|piece| bytes.extend_from_slice(piece));
    bytes
}

fn random(from: u8) -> Vec<u8> {
    (from..from + 32).collect()
}

/// PSK_WITH_AES_128_CCM_8 and the signalling suite, extended master secret.
fn client_hello_tls() -> Vec<u8> {
    let mut hello = std::vec![0x01, 0, 0, 0x31, 3, 3];
    hello.extend(random(0));
    hello.extend([0, 0, 4, 0xc0, 0xa8, 0, 0xff, 1, 0, 0, 4, 0, 0x17, 0, 0]);
    hello
}

fn client_hello_dtls() -> Vec<u8> {
    let mut hello = std::vec![0x01, 0, 0, 0x32, 0, 0, 0, 0, 0, 0, 0, 0x32, 0xfe, 0xfd];
    hello.extend(random(0));
    hello.extend([0, 0, 0, 4, 0xc0, 0xa8, 0, 0xff, 1, 0, 0, 4, 0, 0x17, 0, 0]);
    hello
}

fn server_hello(version: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend(random(0x80));
    hello.extend([0, 0xc0, 0xa8, 0, 0, 9, 0xff, 1, 0, 1, 0, 0, 0x17, 0, 0]);
    hello
}

#[test]
fn client_hello_maps_both_ways() {
    let (tls, dtls) = (client_hello_tls(), client_hello_dtls());
    let there = image::dtls(kind::CLIENT_HELLO, 0, &tls[4..], &[]).unwrap();
    assert_eq!(bytes(&there), dtls);
    let back = image::tls(kind::CLIENT_HELLO, &dtls[12..]).unwrap();
    assert_eq!(bytes(&back), tls);
}

#[test]
fn a_cookie_is_in_the_dtls_form_alone() {
    let tls = client_hello_tls();
    let with = bytes(&image::dtls(kind::CLIENT_HELLO, 1, &tls[4..], &[7; 20]).unwrap());
    assert_eq!(with.len(), client_hello_dtls().len() + 20);
    assert_eq!(ClientHello::read_dtls(&with[12..]).unwrap().cookie, [7; 20]);
    assert_eq!(bytes(&image::tls(kind::CLIENT_HELLO, &with[12..]).unwrap()), tls);
    assert!(image::dtls(kind::CLIENT_HELLO, 1, &tls[4..], &[0; 256]).is_err());
}

#[test]
fn server_hello_changes_its_version_alone() {
    let dtls = server_hello([0xfe, 0xfd]);
    let tls = bytes(&image::tls(kind::SERVER_HELLO, &dtls).unwrap());
    assert_eq!(tls[..4], [2, 0, 0, 0x31]);
    assert_eq!(tls[4..], server_hello([3, 3]));
    let hello = ServerHello::read(&dtls).unwrap();
    assert_eq!((hello.suite, hello.session_id.len()), (0xc0a8, 0));
    assert_eq!(hello.extensions().find(extension::RENEGOTIATION_INFO), Some(&[0][..]));
}

#[test]
fn other_messages_change_their_header_alone() {
    let identity = [0, 5, b'n', b'o', b'd', b'e', b'1'];
    let tls = image::tls(kind::CLIENT_KEY_EXCHANGE, &identity).unwrap();
    assert_eq!(bytes(&tls), [&[0x10, 0, 0, 7][..], &identity].concat());
    let dtls = image::dtls(kind::CLIENT_KEY_EXCHANGE, 1, &identity, &[]).unwrap();
    assert_eq!(bytes(&dtls), [&[0x10, 0, 0, 7, 0, 1, 0, 0, 0, 0, 0, 7][..], &identity].concat());
}

#[test]
fn no_other_version_is_mapped() {
    for version in [[3, 1], [3, 2], [3, 4], [0xfe, 0xff], [0xfe, 0xfd]] {
        let mut hello = client_hello_tls();
        hello[4..6].copy_from_slice(&version);
        assert!(image::dtls(kind::CLIENT_HELLO, 0, &hello[4..], &[]).is_err(), "{version:?}");
        assert!(image::dtls(kind::SERVER_HELLO, 0, &server_hello(version), &[]).is_err());
    }
    assert!(image::tls(kind::SERVER_HELLO, &server_hello([0xfe, 0xff])).is_err());
}

#[test]
fn record_headers_map_both_ways() {
    let tls = TlsHeader::read(&[23, 3, 3, 0, 34]);
    let position = Position { epoch: 1, number: 0x0102_0304_0506 };
    let dtls = record::to_dtls(tls, position);
    assert_eq!(dtls.write(), [23, 0xfe, 0xfd, 0, 1, 1, 2, 3, 4, 5, 6, 0, 34]);
    assert_eq!(DtlsHeader::read(&dtls.write()), dtls);
    assert_eq!(record::to_tls(dtls).write(), [23, 3, 3, 0, 34]);
}

#[test]
fn sequence_numbers_start_over_with_the_cipher_and_never_wrap() {
    let start = Position::default();
    let first = start.next().unwrap().change_cipher_spec().unwrap();
    assert_eq!(first, Position { epoch: 1, number: 0 });
    let next = first.next().unwrap();
    assert_eq!(next.dtls_sequence(), [0, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(next.tls_sequence(), [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(Position { number: (1 << 48) - 1, ..first }.next(), None);
    assert_eq!(Position { epoch: u16::MAX, number: 0 }.change_cipher_spec(), None);
}

#[test]
fn what_a_tls_client_offers_is_read() {
    let hello = client_hello_tls();
    let hello = ClientHello::read_tls(&hello[4..]).unwrap();
    assert_eq!(hello.suites().collect::<Vec<_>>(), [0xc0a8, RENEGOTIATION_SCSV]);
    assert!(hello.offers_tls12());
    assert_eq!(hello.server_name(), None);
    // server_name "a.b"; supported_versions with 1.3, and with 1.3 and 1.2
    let name = [0, 0, 0, 8, 0, 6, 0, 0, 3, b'a', b'.', b'b'];
    let only13 = [0, 43, 0, 3, 2, 3, 4];
    let both = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    let named = ClientHello { extensions: &name, ..hello };
    assert_eq!(named.server_name(), Some(&b"a.b"[..]));
    assert!(!ClientHello { extensions: &only13, ..hello }.offers_tls12());
    assert!(ClientHello { extensions: &both, ..hello }.offers_tls12());
    assert!(!ClientHello { version: 0x0302, ..hello }.offers_tls12());
}

#[test]
fn a_datagram_is_read_record_by_record_to_its_end() {
    let position = Position::default();
    let header = |content, length| {
        record::to_dtls(TlsHeader { content, version: record::TLS12, length }, position).write()
    };
    let datagram = [&header(22, 2)[..], &[1, 2], &header(20, 1), &[1]].concat();
    let fragments: Vec<_> = Records::of(&datagram).map(|record| record.unwrap().fragment).collect();
    assert_eq!(fragments, [&[1, 2][..], &[1]]);
    let cut: Vec<_> = Records::of(&datagram[..datagram.len() - 1]).collect();
    assert_eq!(cut.len(), 2);
    assert_eq!(cut[1], Err(Malformed::Truncated));
    let hidden = header(content::TLS12_CID, 0);
    assert!(Records::of(&hidden).next().unwrap().is_err());
}

#[test]
fn a_fragment_may_not_reach_past_its_message() {
    let header = Header {
        kind: kind::CLIENT_HELLO,
        length: 10,
        message_seq: 0,
        fragment_offset: 8,
        fragment_length: 3,
    };
    let record = [&header.write()[..], &[0; 3]].concat();
    assert_eq!(Fragments::of(&record).next(), Some(Err(Malformed::Length)));
}

#[test]
fn a_report_names_what_is_there_and_what_is_not() {
    let at = |number| Position { epoch: 1, number };
    let report = Report { next: at(5), received: 0 }.with(at(7)).unwrap();
    assert_eq!(report.write(), [0, 1, 0, 0, 0, 0, 0, 5, 0, 2]);
    assert_eq!(Report::read(&report.write()), Some(report));
    let has: Vec<_> = (3..9).map(|number| report.has(at(number))).collect();
    assert_eq!(has, [true, true, false, false, true, false]);
    assert!(!report.has(Position { epoch: 2, number: 1 }));
    assert_eq!(report.with(at(5)), None);
    assert_eq!(report.with(at(22)), None);
    assert!(report.with(at(21)).unwrap().has(at(21)));
    assert_eq!(Report::read(&[0; 11]), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), kind in 0u8..4) {
        let _ = ClientHello::read_tls(&bytes).map(|hello| (hello.server_name(), hello.offers_tls12()));
        let _ = ClientHello::read_dtls(&bytes);
        let _ = ServerHello::read(&bytes);
        let _ = image::tls(kind, &bytes).map(|image| image.body().len());
        let _ = image::dtls(kind, 0, &bytes, &[]).map(|image| image.body().len());
        prop_assert!(Records::of(&bytes).count() <= bytes.len());
        prop_assert!(Fragments::of(&bytes).count() <= bytes.len());
    }

    #[test]
    fn what_maps_there_maps_back(kind in 0u8..21, body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut body = body;
        if let Some(version) = body.first_chunk_mut() {
            *version = [3, 3];
        }
        if let Ok(dtls) = image::dtls(kind, 3, &body, b"cookie") {
            let dtls = bytes(&dtls);
            let tls = image::tls(kind, &dtls[12..]).unwrap();
            prop_assert_eq!(&bytes(&tls)[4..], &body[..]);
        }
    }

    #[test]
    fn headers_round_trip(bytes in any::<[u8; 13]>()) {
        prop_assert_eq!(DtlsHeader::read(&bytes).write(), bytes);
        let fragment: [u8; 12] = bytes[..12].try_into().unwrap();
        prop_assert_eq!(Header::read(&fragment).write(), fragment);
    }
}
