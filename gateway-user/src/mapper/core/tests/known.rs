//! A whole connection, byte for byte.
use super::*;

#[test]
fn a_handshake_of_a_real_client_maps_to_known_bytes() {
    let mut world = World::new();
    world.tls(&tls_of(0x0301, 22, &message(1, &hello())));
    let hello = "16fefd0000000000000000003e010000320000000000000032fefd\
        000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
        00000004c0a800ff0100000400170000";
    assert_eq!(world.sent(), [hex(&hello.replace(' ', ""))]);

    world.node(&node_flight(0));
    let server_hello = message(2, &node_hello(0x0303));
    let flight = [tls(22, &server_hello), tls(22, &hex("0e000000"))].concat();
    assert_eq!(world.passed(), flight);

    world.tls(&client_flight());
    let keys = "16fefd00000000000000010013100000070001000000000007 00056e6f646531";
    let switch = "14fefd0000000000000002000101";
    let finished = format!("16fefd00010000000000000020{FINISHED}");
    let flight = [keys, switch, &finished].concat().replace(' ', "");
    assert_eq!(world.sent(), [hex(&flight)]);
    assert_eq!(hex(&flight).len(), 32 + 14 + 45);

    world.node(&[report(1, 0), node_finish(2)].concat());
    let finish = [tls(20, &[1]), tls(22, &hex(NODE_FINISHED))].concat();
    assert_eq!(world.passed(), finish);
    assert!(world.sent().is_empty());

    world.tls(&tls(23, &hex(REQUEST)));
    let report_of_finished = "1afefd0000000000000003000a00010000000000010000";
    let request = format!("{report_of_finished}17fefd00010000000000010022{REQUEST}");
    assert_eq!(world.sent(), [hex(&request)]);
    world.node(&[report(2, 0), dtls(23, 1, 1, &[5; 40])].concat());
    assert_eq!(world.passed(), tls(23, &[5; 40]));
    world.pass(1);
    assert_eq!(world.sent(), [hex("1afefd0000000000000004000a00010000000000020000")]);
}

#[test]
fn the_stream_may_be_cut_anywhere() {
    let play = |cut: &dyn Fn(&mut World, &[u8])| {
        let mut world = World::new();
        cut(&mut world, &tls_of(0x0301, 22, &message(1, &hello())));
        world.node(&node_flight(0));
        cut(&mut world, &client_flight());
        world.node(&[report(1, 0), node_finish(2)].concat());
        cut(&mut world, &[tls(23, &hex(REQUEST)), tls(21, &[9; 18])].concat());
        world.node(&report(2, 0));
        world.node(&report(3, 0));
        (world.to_node, world.to_backend)
    };
    let whole = play(&|world, bytes| world.tls(bytes));
    for size in 1..120 {
        let cut = play(&|world, bytes| bytes.chunks(size).for_each(|part| world.tls(part)));
        assert_eq!(cut, whole, "pieces of {size} bytes");
        let cut = play(&|world, bytes| {
            let (first, second) = bytes.split_at(size.min(bytes.len()));
            world.tls(first);
            world.tls(second);
        });
        assert_eq!(cut, whole, "cut at {size}");
    }
}

#[test]
fn messages_span_records_and_share_them() {
    let mut world = World::new();
    let whole = message(1, &hello());
    for part in whole.chunks(20) {
        world.tls(&tls_of(0x0301, 22, part));
    }
    let mut other = World::new();
    other.tls(&tls_of(0x0301, 22, &whole));
    assert_eq!(world.sent(), other.sent());
    world.node(&node_flight(0));
    // Certificate (none) and ClientKeyExchange in one record
    let shared = [message(11, &[0; 3]), message(16, &hex("00056e6f646531"))].concat();
    world.tls(&[tls(22, &shared), tls(20, &[1]), tls(22, &hex(FINISHED))].concat());
    let sent = world.sent();
    let messages = records(&sent[0]).into_iter().take(2);
    let messages: Vec<_> = messages.map(|(_, _, _, part)| (part[0], part[5])).collect();
    assert_eq!(messages, [(11, 1), (16, 2)], "kinds and message_seq");
    assert_eq!(records(&sent[0]).len(), 4);
}

#[test]
fn a_session_resumes_with_the_node_finishing_first() {
    let mut world = World::new();
    let id = [0x5a; 32];
    world.tls(&tls(22, &message(1, &client_hello(&id, &[CCM_8], &[]))));
    world.sent();
    let hello = dtls_message(0, 2, 0, &server_hello(0xfefd, &id, CCM_8, &[]));
    world.node(&[hello, node_finish(1)].concat());
    let switched = [tls(20, &[1]), tls(22, &hex(NODE_FINISHED))].concat();
    assert!(world.passed().ends_with(&switched));
    assert!(world.sent().is_empty(), "its Finished is answered by the back-end's, not by a report");
    world.tls(&[tls(20, &[1]), tls(22, &hex(FINISHED)), tls(23, &[1; 24])].concat());
    let sent = world.sent();
    let kinds: Vec<_> = records(&sent[0]).iter().map(|record| (record.0, record.1)).collect();
    assert_eq!((sent.len(), kinds), (1, vec![(20, 0), (22, 1)]));
    // the node's Finished again: it has not got the answer
    world.node(&dtls(22, 1, 0, &hex(NODE_FINISHED)));
    assert_eq!(world.sent().len(), 1);
    world.node(&report(1, 0));
    let sent = world.sent();
    assert_eq!(records(&sent[0]).last(), Some(&(23, 1, 1, vec![1; 24])));
}

#[test]
fn a_session_id_that_the_node_does_not_take_is_a_full_handshake() {
    let mut world = World::new();
    world.tls(&tls(22, &message(1, &client_hello(&[7; 32], &[CCM_8], &[]))));
    world.node(&[node_flight(0), dtls(20, 0, 2, &[1])].concat());
    world.passed();
    world.tls(&client_flight());
    world.node(&dtls(22, 1, 0, &hex(NODE_FINISHED)));
    assert!(world.passed().is_empty(), "a ChangeCipherSpec from before the keys does not count");
    world.node(&node_finish(3));
    assert_eq!(world.passed(), [tls(20, &[1]), tls(22, &hex(NODE_FINISHED))].concat());
}
