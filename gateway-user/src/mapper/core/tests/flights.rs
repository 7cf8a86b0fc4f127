//! Handshake flights towards the node.
use super::*;

/// Messages put together from the fragments of a flight: (kind, message_seq, body).
fn assembled(datagrams: &[Vec<u8>]) -> Vec<(u8, u16, Vec<u8>)> {
    let mut messages: Vec<(u8, u16, Vec<u8>)> = Vec::new();
    for (content, epoch, _, fragment) in datagrams.iter().flat_map(|bytes| records(bytes)) {
        if (content, epoch) == (22, 0) {
            let header = Header::read(fragment.first_chunk().expect("a header"));
            let offset = header.fragment_offset as usize;
            if offset == 0 {
                messages.push((header.kind, header.message_seq, Vec::new()));
            }
            let (_, _, body) = messages.last_mut().expect("a first fragment");
            assert_eq!(body.len(), offset, "fragments in order");
            body.extend_from_slice(&fragment[12..]);
        }
    }
    messages
}

fn long_hello() -> Vec<u8> {
    let share = [&hex("003305f405f2")[..], &[0x77; 1522]].concat();
    client_hello(&[9; 32], &[CCM_8], &share)
}

#[test]
fn a_long_client_hello_is_cut_to_the_datagram() {
    for most in [64, 100, 256, 1232, 1500] {
        let mut world = World::with(Policy { max_datagram: most, ..policy() });
        world.tls(&tls(22, &message(1, &long_hello())));
        let sent = world.sent();
        assert!(sent.iter().all(|datagram| datagram.len() <= most), "{most}");
        let [(1, 0, body)] = &assembled(&sent)[..] else {
            panic!("one ClientHello in datagrams of {most}");
        };
        let numbers: Vec<_> =
            sent.iter().flat_map(|bytes| records(bytes)).map(|record| record.2).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
        let image = gateway_common::mapping::image::tls(1, body).expect("a DTLS ClientHello");
        assert_eq!(image.body().concat(), long_hello());
    }
}

#[test]
fn a_flight_is_sent_again_whole_with_fresh_numbers() {
    let mut world = World::new();
    world.tls(&tls(22, &message(1, &hello())));
    world.node(&node_flight(0));
    world.tls(&client_flight());
    world.sent();
    let mut last = 2;
    for wait in [9, 18, 36] {
        world.pass(wait - 1);
        assert!(world.sent().is_empty());
        world.pass(1);
        let sent = world.sent();
        let [keys, switch, finished] = &records(&sent[0])[..] else {
            panic!("a flight of three records");
        };
        assert_eq!((keys.2, switch.2, finished.1, finished.2), (last + 1, last + 2, 1, 0));
        assert_eq!(finished.3, hex(FINISHED));
        assert_eq!(keys.3[4..6], [0, 1], "the old message_seq");
        last += 2;
    }
    assert_eq!(world.connection.summary().retransmissions, 3);
    world.pass(120);
    assert_eq!(world.to_backend.last_chunk(), Some(&[2, 80]), "internal_error");
    assert_eq!(world.connection.reason(), Some(Reason::HandshakeTimeout));
}

#[test]
fn the_back_ends_second_flight_waits_for_finished() {
    let mut world = World::new();
    world.tls(&tls(22, &message(1, &hello())));
    world.node(&node_flight(0));
    world.sent();
    let flight = client_flight();
    world.tls(&flight[..40]);
    assert!(world.sent().is_empty());
    world.tls(&flight[40..]);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_node_that_repeats_itself_is_answered_at_most_four_times() {
    let mut world = World::new();
    world.tls(&tls(22, &message(1, &hello())));
    world.node(&node_flight(0));
    world.tls(&client_flight());
    world.sent();
    for number in 1..9 {
        world.node(&node_flight(2 * number));
    }
    assert_eq!(world.sent().len(), 4);
}

#[test]
fn a_cookie_is_answered_by_the_client_hello_with_it() {
    let mut world = World::new();
    world.tls(&tls(22, &message(1, &hello())));
    let plain = assembled(&world.sent());
    let request = [&[0xfe, 0xff, 4][..], b"cook"].concat();
    let mut datagram = dtls_message(0, 3, 0, &request);
    datagram[2] = 0xff;
    world.node(&datagram);
    let sent = world.sent();
    let [(1, 1, body)] = &assembled(&sent)[..] else {
        panic!("a second ClientHello");
    };
    assert_eq!(body.len(), plain[0].2.len() + 4);
    assert_eq!(body[35..40], *b"\x04cook");
    assert_eq!(records(&sent[0])[0].2, 1, "a fresh record number");
    world.node(&datagram);
    assert!(world.sent().is_empty(), "the same request again");
    let hello = dtls_message(1, 2, 1, &node_hello(0xfefd));
    world.node(&[hello, dtls_message(2, 14, 2, &[])].concat());
    world.tls(&client_flight());
    assert_eq!(assembled(&world.sent())[0].1, 2, "message_seq counts on");
}

#[test]
fn a_cookie_ends_it_where_the_policy_has_none() {
    let mut world = World::with(Policy { cookies: false, ..policy() });
    world.tls(&tls(22, &message(1, &hello())));
    world.node(&dtls_message(0, 3, 0, &[0xfe, 0xfd, 0]));
    assert_eq!(world.connection.reason(), Some(Reason::Cookie));
    assert_eq!(world.to_backend, tls(21, &[2, 40]));
}
