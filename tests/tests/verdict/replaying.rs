//! What is seen once passes once.

use gateway_common::{abi::settings::replay_mode, decide::Reason};
use gateway_user::dataplane::{attach::Role, replica::Verdict};
use tests::packet::dtls::{self, content};

use super::{
    record::{client_flight, client_hello, data, handshake, key_exchange, protected, report},
    world::{EXACT, Flow, World, anything},
};

const REPLAYED: Verdict = Verdict::Dropped(Reason::Replayed);
const CONFLICT: Verdict = Verdict::Dropped(Reason::ReplayConflict);

/// A world in which a back-end and a node have shaken hands.
fn connected(world: &mut World) -> Flow {
    let flow = Flow::of(EXACT);
    world.all_pass(&handshake(&flow, 1));
    flow
}

#[test]
fn a_whole_session_passes_and_none_of_it_passes_again() {
    let mut world = World::new();
    let flow = Flow::of(EXACT);
    let mut session = handshake(&flow, 1);
    for n in 1..20 {
        session.push((Role::Wan, flow.inward(data(n, 1))));
        session.push((Role::Lln, flow.outward(data(n, 9))));
    }
    world.all_pass(&session);
    for (side, frame) in &session {
        let expected = if *side == Role::Wan { REPLAYED } else { Verdict::Checked };
        assert_eq!(world.run(*side, frame), expected);
    }
}

#[test]
fn a_replay_dies_however_many_records_came_between() {
    let mut world = World::new();
    let flow = connected(&mut world);
    for n in 1..=5000 {
        assert_eq!(world.wan(&flow.inward(data(n, 1))), Verdict::Checked, "record {n}");
    }
    for n in (1..=5000).step_by(7) {
        assert_eq!(world.wan(&flow.inward(data(n, 1))), REPLAYED, "record {n}");
    }
}

#[test]
fn reordering_drops_nothing() {
    let mut world = World::new();
    let flow = connected(&mut world);
    for block in 0..8 {
        for n in 0..64 {
            // 37 and 64 have no common factor: every number of the block, far from in order
            let sequence = 1 + block * 64 + n * 37 % 64;
            assert_eq!(world.wan(&flow.inward(data(sequence, 1))), Verdict::Checked);
        }
    }
}

#[test]
fn a_gap_and_a_record_far_ahead_shut_nobody_out() {
    let mut world = World::new();
    let flow = connected(&mut world);
    for sequence in [1, (1 << 48) - 1, 1 << 40, 2, 3, 900, 4] {
        assert_eq!(world.wan(&flow.inward(data(sequence, 1))), Verdict::Checked, "{sequence}");
    }
}

#[test]
fn a_conflict_is_dropped_once_and_then_only_replays_are() {
    let mut world = World::new();
    let flow = connected(&mut world);
    assert_eq!(world.wan(&flow.inward(data(5, 1))), Verdict::Checked);
    assert_eq!(world.wan(&flow.inward(data(5, 2))), CONFLICT);
    // the forged one may have been the first: its sender tries again, and gets through
    for variant in [2, 3, 4] {
        assert_eq!(world.wan(&flow.inward(data(5, variant))), Verdict::Checked);
    }
    for variant in [1, 2, 3, 4] {
        assert_eq!(world.wan(&flow.inward(data(5, variant))), REPLAYED);
    }
    assert_eq!(world.wan(&flow.inward(data(6, 1))), Verdict::Checked);
    assert_eq!(world.wan(&flow.inward(data(6, 2))), Verdict::Checked, "record mode lasts");
    let other = connected(&mut world);
    assert_eq!(world.wan(&other.inward(data(5, 1))), Verdict::Checked);
    assert_eq!(world.wan(&other.inward(data(5, 2))), CONFLICT, "each association for itself");
}

#[test]
fn record_mode_drops_replays_and_never_a_conflict() {
    let mut world = World::with(|settings| settings.replay = replay_mode::RECORD);
    let flow = connected(&mut world);
    for variant in 1..8 {
        assert_eq!(world.wan(&flow.inward(data(5, variant))), Verdict::Checked);
        assert_eq!(world.wan(&flow.inward(data(5, variant))), REPLAYED);
    }
}

#[test]
fn off_drops_nothing() {
    let mut world = World::with(|settings| settings.replay = replay_mode::OFF);
    let flow = connected(&mut world);
    for variant in [1, 1, 2, 2, 1] {
        assert_eq!(world.wan(&flow.inward(data(5, variant))), Verdict::Checked);
    }
}

#[test]
fn a_fresh_record_does_not_smuggle_a_replay() {
    let mut world = World::new();
    let flow = connected(&mut world);
    assert_eq!(world.wan(&flow.inward([data(1, 1), data(2, 1)].concat())), Verdict::Checked);
    for smuggled in [[data(1, 1), data(3, 1)], [data(4, 1), data(2, 1)]] {
        assert_eq!(world.wan(&flow.inward(smuggled.concat())), REPLAYED);
    }
    let eight: Vec<u8> = (10..18).flat_map(|n| data(n, 1)).collect();
    assert_eq!(world.wan(&flow.inward(eight)), Verdict::Checked);
    for n in 10..18 {
        assert_eq!(world.wan(&flow.inward(data(n, 1))), REPLAYED, "record {n} of eight");
    }
    // what was dropped was not remembered: its sender may send it again, alone
    for n in [3, 4] {
        assert_eq!(world.wan(&flow.inward(data(n, 1))), Verdict::Checked);
    }
    let twice = [data(20, 1), data(20, 1)].concat();
    assert_eq!(world.wan(&flow.inward(twice)), REPLAYED, "the same record twice in a datagram");
}

#[test]
fn the_same_record_in_another_association_is_another_record() {
    let mut world = World::new();
    let (one, two) = (connected(&mut world), connected(&mut world));
    for flow in [one, two] {
        assert_eq!(world.wan(&flow.inward(data(5, 1))), Verdict::Checked);
        assert_eq!(world.wan(&flow.inward(data(5, 1))), REPLAYED);
    }
}

#[test]
fn a_restarted_back_end_gets_through_on_the_same_ports() {
    let mut world = World::new();
    let flow = Flow::of(EXACT);
    for life in 1..6 {
        world.all_pass(&handshake(&flow, life));
        for n in 1..10 {
            assert_eq!(world.wan(&flow.inward(data(n, life))), Verdict::Checked);
        }
        // every record of every life so far
        for past in 1..=life {
            for n in 1..10 {
                assert_eq!(world.wan(&flow.inward(data(n, past))), REPLAYED, "life {past}");
            }
            assert_eq!(world.wan(&flow.inward(client_flight(past))), REPLAYED);
            assert_eq!(world.wan(&flow.inward(client_hello(past, true))), REPLAYED);
        }
        // nothing tells one client's from another's
        assert_eq!(world.wan(&flow.inward(key_exchange())), Verdict::Checked);
    }
}

#[test]
fn a_restarted_back_end_gets_through_after_a_report_of_the_node() {
    let mut world = World::new();
    let flow = connected(&mut world);
    let hop_local = Verdict::Dropped(Reason::HopLocal);
    assert_eq!(world.lln(&flow.outward(report(1, 1000))), hop_local);
    world.all_pass(&handshake(&flow, 2));
    for n in 1..10 {
        assert_eq!(world.wan(&flow.inward(data(n, 2))), Verdict::Checked, "record {n}");
    }
}

#[test]
fn a_retransmitted_finished_passes_and_its_copy_does_not() {
    let mut world = World::new();
    let flow = Flow::of(EXACT);
    let flight = handshake(&flow, 1);
    world.all_pass(&flight[..5]);
    // the node's answer was lost: same message, next number, other bytes
    let again = [key_exchange(), dtls::finished(1, 7)].concat();
    assert_eq!(world.wan(&flow.inward(&again)), Verdict::Checked);
    assert_eq!(world.wan(&flow.inward(&again)), REPLAYED);
    world.all_pass(&flight[5..]);
    assert_eq!(world.wan(&flow.inward(data(2, 1))), Verdict::Checked);
}

#[test]
fn a_new_epoch_counts_from_zero() {
    let mut world = World::new();
    let flow = connected(&mut world);
    let in_epoch = |epoch, n| flow.inward(protected(content::APPLICATION, epoch, n, 1));
    assert_eq!(world.wan(&in_epoch(1, 7)), Verdict::Checked);
    assert_eq!(world.wan(&in_epoch(2, 7)), Verdict::Checked, "the next epoch may begin");
    assert_eq!(world.wan(&in_epoch(3, 0)), Verdict::Dropped(Reason::Epoch));
    let renewal = dtls::record(20, dtls::DTLS12, 1, 9, &[1; 24]);
    assert_eq!(world.lln(&flow.outward(renewal)), Verdict::Checked);
    assert_eq!(world.wan(&in_epoch(3, 0)), Verdict::Checked);
    for (epoch, n) in [(1, 7), (2, 7), (3, 0)] {
        assert_eq!(world.wan(&in_epoch(epoch, n)), REPLAYED);
    }
    assert_eq!(world.wan(&in_epoch(4, 0)), Verdict::Dropped(Reason::Epoch));
}

#[test]
fn a_report_of_the_node_makes_what_lies_behind_its_window_stale() {
    let mut world = World::new();
    let flow = connected(&mut world);
    let stale = Verdict::Dropped(Reason::ReplayStale);
    assert_eq!(world.lln(&flow.outward(report(1, 500))), Verdict::Dropped(Reason::HopLocal));
    assert_eq!(world.wan(&flow.inward(data(436, 1))), stale);
    assert_eq!(world.wan(&flow.inward(data(437, 1))), Verdict::Checked);
    // reports only grow within an epoch, and another epoch is none of their business
    assert_eq!(world.lln(&flow.outward(report(1, 100))), Verdict::Dropped(Reason::HopLocal));
    assert_eq!(world.wan(&flow.inward(data(435, 1))), stale);
    let next = protected(content::APPLICATION, 2, 0, 1);
    assert_eq!(world.wan(&flow.inward(next)), Verdict::Checked);
}

#[test]
fn records_with_hidden_numbers_pass_once() {
    let mut world = World::new();
    let flow = Flow::of(EXACT);
    let body = |n: u8| [[n; 16], [!n; 16]].concat();
    for n in 0..100 {
        let cid = flow.inward(dtls::cid_record(&[1, 2, 3], 1, n.into(), &body(n)));
        let unified = flow.inward(dtls::unified(2, n.into(), None, &body(n)));
        let with_cid = flow.inward(dtls::unified(2, n.into(), Some(&[1, 2, 3]), &body(n)));
        for frame in [&cid, &unified, &with_cid] {
            assert_eq!(world.wan(frame), Verdict::Checked);
        }
        for frame in [&cid, &unified, &with_cid] {
            assert_eq!(world.wan(frame), REPLAYED);
        }
    }
    let moved = Flow::of(EXACT).inward(dtls::cid_record(&[1, 2, 3], 1, 5, &body(5)));
    assert_eq!(world.wan(&moved), REPLAYED, "from another port, to the same node");
}

#[test]
fn a_change_of_the_allow_list_forgets_no_record() {
    let mut world = World::new();
    let flow = connected(&mut world);
    assert_eq!(world.wan(&flow.inward(data(5, 1))), Verdict::Checked);
    world.grants.grant(&anything("2001:db8:e::/48")).expect("room for a prefix");
    assert_eq!(world.wan(&flow.inward(data(5, 1))), REPLAYED);
    assert_eq!(world.wan(&flow.inward(data(6, 1))), Verdict::Checked);
    assert_eq!(world.wan(&flow.inward(data(6, 2))), CONFLICT, "nor which association it was");
}
