//! Protected records towards the node, until it has them.
use super::*;

#[test]
fn one_record_is_in_flight_unless_the_policy_says_more() {
    for window in [0, 1, 3, 4, 9] {
        let mut world = World::established(Policy { window, ..policy() });
        let data: Vec<_> = (0..6).flat_map(|number| tls(23, &[number; 20])).collect();
        world.tls(&data);
        assert_eq!(world.sent().len(), usize::from(window.clamp(1, 4)));
        world.node(&report(2, 0));
        assert_eq!(world.sent().len(), 1, "one acknowledged, one more goes");
    }
}

#[test]
fn a_record_is_sent_again_byte_for_byte_and_then_given_up() {
    let mut world = World::established(policy());
    world.tls(&tls(23, &hex(REQUEST)));
    let first = world.sent();
    let mut waited = 0;
    while world.reset.is_none() {
        world.pass(1);
        waited += 1;
        assert!(waited < 100);
    }
    let again = world.sent();
    assert_eq!(again.len(), 4);
    assert!(again.iter().all(|datagram| *datagram == first[0]));
    assert_eq!(world.reset, Some(Reason::NoAnswer));
    // 2 s times 1 to 1.5, and twice that, four times over: 31 times the first
    assert!((62..=93).contains(&waited), "{waited} s");
    assert_eq!(world.connection.summary().retransmissions, 4);
}

#[test]
fn only_what_is_missing_is_sent_again() {
    let mut world = World::established(Policy { window: 4, ..policy() });
    let data: Vec<_> = (1..5).flat_map(|number| tls(23, &[number; 20])).collect();
    world.tls(&data);
    world.sent();
    world.node(&report(2, 0b01)); // has 1 and 3
    assert!(world.sent().is_empty());
    world.pass(4);
    let numbers: Vec<_> = world.sent().iter().map(|datagram| records(datagram)[0].2).collect();
    assert_eq!(numbers, [2, 4]);
    world.node(&report(5, 0));
    world.pass(100);
    assert!(world.sent().is_empty());
}

#[test]
fn a_report_of_what_was_never_sent_releases_nothing() {
    let mut world = World::established(policy());
    world.tls(&[tls(23, &[1; 20]), tls(23, &[2; 20])].concat());
    world.sent();
    world.node(&report(3, 0));
    world.node(&report(1 << 40, 0xffff));
    assert!(world.sent().is_empty());
    world.pass(4);
    assert_eq!(records(&world.sent()[0])[0].2, 1);
}

#[test]
fn a_report_rides_before_the_next_record_where_both_fit() {
    let mut world = World::established(policy());
    world.tls(&[tls(23, &[1; 20]), tls(23, &[2; 20]), tls(23, &[3; 1210])].concat());
    world.sent();
    world.node(&[report(2, 0), dtls(23, 1, 1, &[7; 20])].concat());
    let sent = world.sent();
    let kinds: Vec<_> = records(&sent[0]).iter().map(|record| record.0).collect();
    assert_eq!((sent.len(), kinds), (1, vec![26, 23]));
    world.node(&[report(3, 0), dtls(23, 1, 2, &[7; 20])].concat());
    assert_eq!(world.sent().len(), 2, "together they are over the datagram");
}

#[test]
fn a_queue_over_its_limit_takes_no_more_until_it_shrinks() {
    let mut world = World::established(policy());
    let data: Vec<_> = (0..100u8).flat_map(|number| tls(23, &[number; 200])).collect();
    world.tls(&data);
    assert!(!world.connection.wants_tls());
    let left = world.left.len();
    assert!(left > 12_000, "{left}");
    let mut delivered = Vec::new();
    for number in 2.. {
        let sent = world.sent();
        let Some(record) = sent.first().map(|datagram| records(datagram).remove(0)) else {
            break;
        };
        delivered.push(record.3[0]);
        world.node(&report(number, 0));
        world.tls(&[]);
    }
    assert_eq!(delivered, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_record_too_long_for_the_network_ends_it_with_the_reason() {
    let record = tls(23, &[0; 1220]);
    let mut world = World::established(policy());
    world.tls(&record[..5]);
    assert_eq!(world.reset, Some(Reason::RecordTooLarge), "from its header alone");
    assert!(Reason::RecordTooLarge.to_string().contains("max_fragment_length"));
}
