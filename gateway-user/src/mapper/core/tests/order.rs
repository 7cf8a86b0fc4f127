//! What the node says, in an order in which no TLS client would take it.
use super::*;

fn asked() -> World {
    let mut world = World::new();
    world.tls(&tls(22, &message(1, &hello())));
    world.sent();
    world
}

#[test]
fn fragments_in_any_order_become_whole_messages() {
    let mut world = asked();
    let body = node_hello(0xfefd);
    let fragment = |range: std::ops::Range<usize>| {
        let header = Header {
            fragment_offset: range.start as u32,
            fragment_length: range.len() as u32,
            ..Header::whole(2, body.len() as u32, 0)
        };
        [&header.write()[..], &body[range]].concat()
    };
    world.node(&dtls_message(9, 14, 1, &[]));
    world.node(&dtls(22, 0, 2, &fragment(20..49)));
    assert!(world.passed().is_empty());
    // overlaps, and two fragments in one record
    world.node(&dtls(22, 0, 1, &[fragment(0..10), fragment(5..25)].concat()));
    let whole = tls(22, &message(2, &node_hello(0x0303)));
    assert_eq!(world.passed(), [whole, tls(22, &hex("0e000000"))].concat());
}

#[test]
fn a_fragment_that_changes_bytes_is_refused() {
    let mut world = asked();
    let mut forged = node_hello(0xfefd);
    let header = Header { fragment_length: 40, ..Header::whole(2, forged.len() as u32, 0) };
    world.node(&dtls(22, 0, 0, &[&header.write()[..], &forged[..40]].concat()));
    forged[10] ^= 1;
    world.node(&dtls_message(1, 2, 0, &forged));
    assert!(world.passed().is_empty());
    assert_eq!(world.connection.summary().dropped, 1);
    world.node(&node_flight(2));
    assert!(!world.passed().is_empty());
}

#[test]
fn change_cipher_spec_goes_on_once_and_after_all_before_it() {
    let mut world = asked();
    world.node(&node_flight(0));
    world.tls(&client_flight());
    world.passed();
    world.node(&dtls(22, 1, 0, &hex(NODE_FINISHED)));
    assert!(world.passed().is_empty(), "Finished waits for ChangeCipherSpec");
    world.node(&node_finish(2));
    world.node(&node_finish(3));
    assert_eq!(world.passed(), [tls(20, &[1]), tls(22, &hex(NODE_FINISHED))].concat());
}

#[test]
fn a_promised_ticket_goes_before_change_cipher_spec() {
    let mut world = asked();
    let promise = server_hello(0xfefd, &[], CCM_8, &hex("00230000"));
    world.node(&[dtls_message(0, 2, 0, &promise), dtls_message(1, 14, 1, &[])].concat());
    world.tls(&client_flight());
    world.passed();
    world.node(&node_finish(3));
    assert!(world.passed().is_empty());
    world.node(&dtls_message(2, 4, 2, &[0; 6]));
    let passed = world.passed();
    let ticket = tls(22, &message(4, &[0; 6]));
    assert!(passed.starts_with(&ticket));
    assert!(passed.ends_with(&tls(22, &hex(NODE_FINISHED))));
}

#[test]
fn protected_records_go_on_once_and_in_order() {
    let mut world = World::established(policy());
    let data = |number| dtls(23, 1, number, &[number as u8; 20]);
    world.node(&data(2));
    let sent = world.sent();
    let early = Report::read(&records(&sent[0])[0].3).expect("a report");
    assert_eq!((early.next.number, early.received), (1, 1));
    world.node(&data(2));
    world.node(&data(1));
    world.node(&data(1));
    world.node(&[data(4), data(3)].concat());
    let expected: Vec<_> = (1..5).flat_map(|number| tls(23, &[number; 20])).collect();
    assert_eq!(world.passed(), expected);
    let sent = world.sent();
    assert_eq!(sent.len(), 4, "each is reported, the duplicate too");
    let last = Report::read(&records(&sent[3])[0].3).expect("a report");
    assert_eq!((last.next.number, last.received), (5, 0));
}

#[test]
fn what_is_far_ahead_or_in_clear_after_the_switch_is_dropped() {
    let mut world = World::established(policy());
    world.node(&dtls(23, 1, 6, &[1; 20]));
    world.node(&dtls(23, 2, 1, &[1; 20]));
    world.node(&dtls(21, 0, 7, &[2, 40]));
    world.node(&dtls_message(8, 0, 2, &[]));
    world.node(&[1, 2, 3]);
    world.node(&dtls(23, 1, 1, &[1; 20])[..30]);
    assert_eq!((world.passed(), world.sent().len()), (Vec::new(), 0));
    assert_eq!(world.connection.summary().dropped, 6);
}

#[test]
fn hello_request_goes_nowhere() {
    let mut world = asked();
    world.node(&dtls_message(0, 0, 0, &[]));
    assert!(world.passed().is_empty());
    let hello = dtls_message(1, 2, 1, &node_hello(0xfefd));
    world.node(&[hello, dtls_message(2, 14, 2, &[])].concat());
    assert!(!world.passed().is_empty());
}

#[test]
fn a_held_stream_takes_nothing_that_the_node_may_forget() {
    let mut world = World::established(policy());
    world.connection.hold_tls(true);
    world.node(&dtls(23, 1, 1, &[1; 20]));
    assert_eq!((world.passed(), world.sent().len()), (Vec::new(), 0));
    world.connection.hold_tls(false);
    world.node(&dtls(23, 1, 1, &[1; 20]));
    assert_eq!(world.passed(), tls(23, &[1; 20]));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn alerts_in_clear_go_both_ways() {
    let mut world = asked();
    world.node(&dtls(21, 0, 0, &[2, 40]));
    assert_eq!(world.passed(), tls(21, &[2, 40]));
    assert!(world.finished && world.connection.is_over());
    assert_eq!(world.connection.reason(), Some(Reason::Alert));

    let mut world = asked();
    world.node(&node_flight(0));
    world.tls(&tls(21, &[2, 47]));
    let sent = world.sent();
    assert_eq!(records(&sent[0]), [(21, 0, 1, vec![2, 47])]);
    assert!(world.finished && world.connection.is_over());
}
