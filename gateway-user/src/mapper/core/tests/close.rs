//! Ends: clean ones are told from those that would cut the stream short.
use super::*;

#[test]
fn an_alert_from_each_side_is_a_clean_close() {
    let mut world = World::established(policy());
    world.tls(&tls(21, &[1; 18]));
    assert_eq!(records(&world.sent()[0]), [(21, 1, 1, vec![1; 18])]);
    world.node(&[report(2, 0), dtls(21, 1, 1, &[2; 18])].concat());
    assert_eq!(world.passed(), tls(21, &[2; 18]));
    assert!(world.finished && !world.connection.is_over());
    world.sent();
    world.node(&dtls(21, 1, 1, &[2; 18]));
    assert_eq!(world.sent().len(), 1, "a repeated alert is reported while it drains");
    world.pass(5);
    assert!(world.connection.is_over());
    assert_eq!(world.connection.reason(), Some(Reason::Closed));
}

#[test]
fn a_node_that_closes_first_still_gets_the_back_ends_alert() {
    let mut world = World::established(policy());
    world.node(&dtls(21, 1, 1, &[2; 18]));
    assert!(!world.finished);
    world.sent();
    world.tls(&tls(21, &[1; 18]));
    assert!(world.finished);
    assert_eq!(world.sent().len(), 1);
    world.pass(4);
    assert_eq!(world.sent().len(), 1, "the alert is not acknowledged");
    assert!(!world.connection.is_over());
    world.pass(1);
    assert!(world.connection.is_over(), "the node may have forgotten the session");
}

#[test]
fn a_back_end_that_leaves_after_the_nodes_alert_gets_fin() {
    let mut world = World::established(policy());
    world.node(&dtls(21, 1, 1, &[2; 18]));
    world.end();
    assert!(world.finished && world.reset.is_none());
}

#[test]
fn a_stream_closed_without_an_alert_is_reset_after_the_nodes_last_word() {
    let mut world = World::established(policy());
    world.tls(&tls(23, &[1; 20]));
    world.end();
    world.pass(3);
    world.node(&[report(2, 0), dtls(23, 1, 1, &[3; 20])].concat());
    assert_eq!(world.passed(), tls(23, &[3; 20]));
    world.pass(3);
    assert_eq!((world.finished, world.reset), (false, Some(Reason::Truncated)));
}

#[test]
fn a_close_that_the_node_does_not_answer_is_reset() {
    let mut world = World::established(policy());
    world.tls(&tls(21, &[1; 18]));
    world.end();
    world.pass(3);
    world.node(&report(2, 0));
    world.pass(4);
    assert_eq!(world.reset, None);
    world.pass(1);
    assert_eq!((world.finished, world.reset), (false, Some(Reason::NoAnswer)));
}

#[test]
fn a_back_end_that_leaves_in_the_handshake_costs_the_node_nothing_more() {
    let mut world = World::new();
    world.tls(&tls(22, &message(1, &hello())));
    world.sent();
    world.end();
    world.pass(100);
    assert_eq!((world.reset, world.sent().len()), (Some(Reason::Truncated), 0));

    let mut world = World::new();
    world.tls(&tls(22, &message(1, &hello()))[..20]);
    world.end();
    assert!(world.finished && world.connection.is_over());
}

#[test]
fn renegotiation_is_reset_from_either_side() {
    for content in [20, 22] {
        let mut world = World::established(policy());
        world.tls(&tls(content, &[1; 20]));
        assert_eq!(world.reset, Some(Reason::Renegotiation));
        let mut world = World::established(policy());
        world.node(&dtls(content, 1, 1, &[1; 20]));
        assert_eq!(world.reset, Some(Reason::Renegotiation));
    }
}

#[test]
fn a_connection_without_traffic_ends() {
    let mut world = World::established(policy());
    world.pass(30 * 60 - 2); // established a second ago
    assert_eq!(world.reset, None);
    world.pass(1);
    assert_eq!(world.reset, Some(Reason::Idle));
}
