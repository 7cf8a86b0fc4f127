//! Reports to the node: few datagrams where it asks and answers, none late where it does not.
use super::*;

/// Longer than a report ever waits.
const SOON: Duration = Duration::from_millis(60);

fn data(number: u64) -> Vec<u8> {
    dtls(23, 1, number, &[number as u8; 20])
}

fn kinds(datagram: &[u8]) -> Vec<u8> {
    records(datagram).iter().map(|record| record.0).collect()
}

#[test]
fn requests_and_answers_in_turn_cost_a_datagram_each_way() {
    let mut world = World::established(policy());
    for number in 1..20 {
        world.tls(&tls(23, &[number as u8; 20]));
        let sent = world.sent();
        let wanted = if number == 1 { vec![23] } else { vec![26, 23] };
        assert_eq!((sent.len(), kinds(&sent[0])), (1, wanted));
        world.node(&[report(number + 1, 0), data(number)].concat());
        assert!(world.sent().is_empty(), "the report waits for the next record");
        world.pass_for(SOON / 4);
    }
}

#[test]
fn a_report_that_rides_on_nothing_goes_alone_and_soon() {
    let mut world = World::established(policy());
    world.tls(&tls(23, &[1; 20]));
    world.sent();
    world.node(&[report(2, 0), data(1)].concat());
    let due = world.connection.poll_timeout().expect("a deadline");
    assert!(due - world.now <= SOON, "{:?}", due - world.now);
    world.pass_for(SOON);
    let sent = world.sent();
    assert_eq!((sent.len(), kinds(&sent[0])), (1, vec![26]));
    let told = Report::read(&records(&sent[0])[0].3).expect("a report");
    assert_eq!(told.next.number, 2);
    world.pass(1);
    assert!(world.sent().is_empty(), "once");
}

#[test]
fn a_node_that_goes_on_by_itself_is_told_at_once() {
    let mut world = World::established(policy());
    world.tls(&tls(23, &[1; 20]));
    world.sent();
    world.node(&[report(2, 0), data(1)].concat());
    assert!(world.sent().is_empty());
    for number in 2..10 {
        world.node(&data(number));
        assert_eq!(world.sent().len(), 1, "{number}");
    }
}

#[test]
fn what_comes_twice_or_out_of_turn_is_reported_at_once() {
    for trouble in [data(3), [data(1), data(1)].concat()] {
        let mut world = World::established(policy());
        world.tls(&tls(23, &[1; 20]));
        world.sent();
        world.node(&trouble);
        let sent = world.sent();
        assert_eq!((sent.len(), kinds(&sent[0])), (1, vec![26]));
    }
}

#[test]
fn a_nodes_alert_is_reported_at_once() {
    let mut world = World::established(policy());
    world.tls(&tls(23, &[1; 20]));
    world.sent();
    world.node(&dtls(21, 1, 1, &[7; 18]));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn the_wait_is_short_beside_a_nodes_timer() {
    let ack_timeout = Duration::from_millis(100);
    let mut world = World::established(Policy { ack_timeout, ..policy() });
    world.tls(&tls(23, &[1; 20]));
    world.sent();
    world.node(&[report(2, 0), data(1)].concat());
    world.pass_for(ack_timeout / 4);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_connection_that_is_dropped_has_its_report_to_give() {
    let mut world = World::established(policy());
    assert!(world.connection.last_report().is_none());
    world.tls(&tls(23, &[1; 20]));
    world.node(&[report(2, 0), data(1)].concat());
    let last = world.connection.last_report().expect("a report").to_vec();
    assert_eq!(kinds(&last), [26]);
    assert!(world.connection.last_report().is_none());
}
