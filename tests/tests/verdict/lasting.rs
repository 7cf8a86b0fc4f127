//! What depends on time or on the allow-list's changes.

use std::time::{Duration, Instant, SystemTime};

use gateway_common::decide::{
    Reason,
    rate::{Limits, Rate, SECOND},
};
use gateway_user::dataplane::{attach::Role, clock, replica::Verdict, table::Grant};
use tests::{lab::until, packet::Packet};

use super::{
    fixture::counters,
    record::{client_flight, client_hello, data, handshake, server_flight, server_hello},
    world::{
        EXACT, FEW, FEW_PACKETS, Flow, RESTRICTED, TENANTS, World, anything_for, burst, packets,
    },
};

const SOON: Duration = Duration::from_secs(10);
/// Half of what RFC 6347 §4.2.4.1 starts with.
const RETRANSMISSION: Duration = Duration::from_millis(500);
const UNPROVEN: Verdict = Verdict::Dropped(Reason::Unproven);

/// `units` at once, and one more every 100 ms.
const fn refilling(units: u64) -> Rate {
    Rate::new(SECOND / 10, SECOND / 10 * units)
}

#[test]
fn a_lease_lapses_in_the_kernel() {
    let mut world = World::new();
    let flow = Flow::of(EXACT);
    let expires = SystemTime::now() + Duration::from_secs(2);
    let lease = Grant { expires_ns: clock::instant(Some(expires)), ..anything_for(EXACT) };
    assert!(world.grants.grant(&lease).expect("the lease is written"));
    assert_eq!(world.wan(&flow.inward(data(0, 1))), Verdict::Checked);
    let mut n = 0;
    let mut next = || {
        n += 1;
        world.wan(&flow.inward(data(n, 1)))
    };
    let mut last = Verdict::Checked;
    assert!(until(SOON, || {
        last = next();
        last != Verdict::Checked
    }));
    let lapsed = Verdict::Dropped(Reason::LeaseExpired);
    assert_eq!((last, next()), (lapsed, lapsed));
    assert!(SystemTime::now() >= expires, "not before its time");
    assert_eq!(world.lln(&flow.outward(data(1, 9))), lapsed, "nor may a node answer");
    assert!(world.grants.grant(&anything_for(EXACT)).expect("a renewed lease"));
    assert_eq!(world.wan(&flow.inward(data(n + 1, 1))), Verdict::Checked);
}

#[test]
fn a_revoked_source_is_out_and_comes_back_with_its_replay_memory() {
    let mut world = World::new();
    let flow = Flow::of(EXACT);
    world.all_pass(&handshake(&flow, 1));
    assert_eq!(world.wan(&flow.inward(data(1, 1))), Verdict::Checked);
    assert!(world.grants.revoke(&anything_for(EXACT).source).expect("it was listed"));
    assert_eq!(world.wan(&flow.inward(data(2, 1))), Verdict::Dropped(Reason::NoLease));
    assert_eq!(world.lln(&flow.outward(data(2, 9))), Verdict::Dropped(Reason::NotAdmitted));
    let limits = packets(FEW);
    world.grants.grant(&Grant { limits, ..anything_for(EXACT) }).expect("room for an entry");
    assert_eq!(counters(&world.sources()[world.slot(EXACT)]), [0; 5], "counters start anew");
    assert_eq!(world.wan(&flow.inward(data(1, 1))), Verdict::Dropped(Reason::Replayed));
    for n in [2, 3] {
        assert_eq!(world.wan(&flow.inward(data(n, 1))), Verdict::Checked);
    }
    let over = Verdict::Dropped(Reason::SourcePackets);
    assert_eq!(world.wan(&flow.inward(data(4, 1))), over, "the new policy holds");
    assert_eq!(counters(&world.sources()[world.slot(EXACT)])[..3], [2, 2 * 93, 2]);
}

/// Else who gives a lease back and takes another would come by a burst each time.
#[test]
fn coming_back_is_no_way_to_a_fresh_budget() {
    let mut world = World::new();
    let flow = Flow::of(FEW_PACKETS);
    let entry = Grant { limits: packets(FEW), ..anything_for(FEW_PACKETS) };
    let over = Verdict::Dropped(Reason::SourcePackets);
    for n in [1, 2] {
        assert_eq!(world.wan(&flow.inward(client_hello(n, false))), Verdict::Checked);
    }
    assert_eq!(world.wan(&flow.inward(client_hello(3, false))), over);
    assert!(world.grants.revoke(&entry.source).expect("it was listed"));
    assert!(world.grants.grant(&entry).expect("room for an entry"));
    assert_eq!(world.wan(&flow.inward(client_hello(4, false))), over);
}

#[test]
fn a_narrower_policy_holds_for_flows_that_are_open() {
    let mut world = World::new();
    let flow = Flow::of(EXACT).port(5685);
    assert_eq!(world.wan(&flow.inward(data(1, 1))), Verdict::Checked);
    let ports = vec![5684];
    world.grants.grant(&Grant { ports, ..anything_for(EXACT) }).expect("room for a policy");
    assert_eq!(world.wan(&flow.inward(data(2, 1))), Verdict::Dropped(Reason::PortDenied));
}

#[test]
fn hosts_of_a_prefix_have_budgets_of_their_own_and_counters_in_common() {
    let mut world = World::new();
    let slot = world.slot(TENANTS[0]);
    assert_eq!(slot, world.slot(TENANTS[1]));
    for tenant in TENANTS {
        let flow = Flow::of(tenant);
        for n in 0..FEW {
            assert_eq!(world.wan(&flow.inward(data(n, 1))), Verdict::Checked);
        }
        let over = Verdict::Dropped(Reason::SourcePackets);
        assert_eq!(world.wan(&flow.inward(data(FEW, 1))), over);
    }
    assert_eq!(counters(&world.sources()[slot])[..3], [2 * FEW, 2 * FEW * 93, 2]);
}

#[test]
fn what_a_limit_refused_is_no_replay_later() {
    let mut world = World::new();
    let packets = refilling(1);
    let limits = Limits { packets, bytes: Rate::UNLIMITED };
    world.grants.grant(&Grant { limits, ..anything_for(EXACT) }).expect("room for a policy");
    let flow = Flow::of(EXACT);
    for n in 0..4 {
        let mut last = Verdict::Checked;
        let passed = until(SOON, || {
            last = world.wan(&flow.inward(data(n, 1)));
            assert_ne!(last, Verdict::Dropped(Reason::Replayed), "record {n}");
            last == Verdict::Checked
        });
        assert!(passed, "record {n}: {last:?}");
    }
}

#[test]
fn the_budget_of_unproven_records_refills() {
    let mut world = World::with(|settings| settings.unproven = refilling(3));
    let flow = Flow::of(EXACT);
    let mut n = 0;
    let mut next = |world: &mut World| {
        n += 1;
        world.wan(&flow.inward(data(n, 1)))
    };
    assert!(until(SOON, || next(&mut world) == UNPROVEN), "three at once, not more");
    assert!(until(SOON, || next(&mut world) == Verdict::Checked), "and later again");
}

#[test]
fn a_proven_association_needs_no_such_budget() {
    let mut world = World::with(|settings| settings.unproven = burst(10));
    let flow = Flow::of(EXACT);
    world.all_pass(&handshake(&flow, 1));
    for n in 1..100 {
        assert_eq!(world.wan(&flow.inward(data(n, 1))), Verdict::Checked);
    }
    let hello = |fill| flow.inward(client_hello(fill, false));
    // two hellos and three records of the last flight are spent
    let mut fills = 2..20;
    let passed = fills.by_ref().take_while(|fill| world.wan(&hello(*fill)) == Verdict::Checked);
    assert_eq!(passed.count(), 5, "plaintext stays on a budget");
    assert_eq!(world.wan(&flow.inward(data(100, 1))), Verdict::Checked, "and costs data nothing");
}

#[test]
fn forged_records_before_the_handshake_ends_do_not_end_it() {
    let mut world = World::with(|settings| settings.unproven = refilling(12));
    let flow = Flow::of(EXACT);
    let flight = handshake(&flow, 1);
    world.all_pass(&flight[..4]);
    let mut n = 100;
    let premature = Verdict::Dropped(Reason::Premature);
    assert!(until(SOON, || {
        n += 1;
        world.wan(&flow.inward(data(n, 3))) == premature
    }));
    // each try costs what is there for its first records, so it must not come more often
    let mut tried = Instant::now();
    assert!(until(SOON, || {
        let due = tried.elapsed() >= RETRANSMISSION;
        if due {
            tried = Instant::now();
        }
        due && world.wan(&flow.inward(client_flight(1))) == Verdict::Checked
    }));
    world.all_pass(&flight[5..]);
    assert_eq!(world.wan(&flow.inward(data(1, 1))), Verdict::Checked);
}

#[test]
fn an_unproven_address_draws_three_times_what_it_sent_and_a_proven_one_as_much_as_it_likes() {
    let mut world = World::new();
    let flow = Flow::of(EXACT);
    let hello = flow.inward(client_hello(1, false));
    let answer = flow.outward(server_flight(1));
    assert_eq!(world.wan(&hello), Verdict::Checked);
    // the datagrams' sizes, without Ethernet
    let (received, one) = (hello.len() - 14, answer.len() - 14);
    for _ in 0..3 * received / one {
        assert_eq!(world.lln(&answer), Verdict::Checked);
    }
    let over = Verdict::Dropped(Reason::Amplification);
    assert_eq!(world.lln(&answer), over);
    let larger = flow.reply(server_hello(1, 1)).build();
    assert_eq!(world.wan(&flow.inward(client_hello(2, false))), Verdict::Checked);
    assert_eq!(world.lln(&larger), Verdict::Checked, "more received, more to send");
    let proof = flow.outward(tests::packet::dtls::finished(0, 9));
    assert_eq!(world.lln(&proof), Verdict::Checked);
    for _ in 0..50 {
        assert_eq!(world.lln(&answer), Verdict::Checked);
    }
}

#[test]
fn what_a_node_begins_passes_both_ways() {
    let mut world = World::new();
    let flow = Flow::of(EXACT).port(49_000);
    let first = world.wan(&flow.inward(server_flight(1)));
    assert_eq!(first, Verdict::Dropped(Reason::UdpPort), "not before the node has spoken");
    let session = vec![
        (Role::Lln, flow.outward(client_hello(1, false))),
        (Role::Wan, flow.inward(server_flight(1))),
        (Role::Lln, flow.outward(client_flight(1))),
        (Role::Wan, flow.inward(super::record::node_finished(1))),
        (Role::Lln, flow.outward(data(1, 1))),
        (Role::Wan, flow.inward(data(1, 2))),
        (Role::Lln, flow.outward([7; 1200])),
    ];
    world.all_pass(&session);
    let replayed = Verdict::Dropped(Reason::Replayed);
    assert_eq!(world.wan(&flow.inward(data(1, 2))), replayed);
    assert_eq!(world.wan(&flow.inward(b"no DTLS")), Verdict::Dropped(Reason::NotDtls));
    let other = flow.port(49_001).inward(data(2, 2));
    assert_eq!(world.wan(&other), Verdict::Dropped(Reason::UdpPort), "that port alone");
}

#[test]
fn counters_of_source_and_node_add_up() {
    let mut world = World::new();
    let flow = Flow::of(RESTRICTED);
    let session = handshake(&flow, 1);
    world.all_pass(&session);
    let bytes = |side| -> u64 {
        let frames = session.iter().filter(|(of, _)| *of == side);
        frames.map(|(_, frame)| frame.len() as u64 - 14).sum()
    };
    let (inward, outward) = (bytes(Role::Wan), bytes(Role::Lln));
    let found = counters(&world.sources()[world.slot(RESTRICTED)]);
    assert_eq!(found, [3, inward, 0, 3, outward]);
    let ip = Packet::icmp(RESTRICTED.into(), flow.node.ip(), 128, 0, 0).payload([0; 12]);
    assert_eq!(world.wan(&ip.build()), Verdict::Checked);
    let node = world.node(flow.node.ip());
    assert_eq!((node.packets, node.bytes), (4, inward + 60));
    let elsewhere = world.replica.maps().drops(0).expect("the first interface's counters");
    let still = Reason::ALL.iter().all(|reason| elsewhere.of(*reason).packets == 0);
    assert!(still, "another interface's counters stand still");
}
