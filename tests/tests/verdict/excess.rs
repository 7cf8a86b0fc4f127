//! Who sends more than is granted.

use std::net::Ipv6Addr;

use gateway_common::decide::Reason;
use gateway_user::dataplane::attach::Role;
use tests::{
    lab::topology::*,
    packet::{Packet, flag, icmp},
};

use super::{
    fixture::{Fixture, wan},
    record::{client_hello, data, server_flight},
    world::{EXACT, FEW_BYTES, FEW_PACKETS, Flow, TENANTS},
};

/// With a budget of ten for unproven records.
pub fn unproven() -> Vec<Fixture> {
    let (early, flood) = (Flow::of(EXACT), Flow::of(EXACT));
    let ten = (0..10).map(|n| (Role::Wan, flood.inward(data(n, 1))));
    let begun = [
        (Role::Wan, early.inward(client_hello(1, true))),
        (Role::Lln, early.outward(server_flight(1))),
        (Role::Wan, early.inward(data(1, 1))),
    ];
    vec![
        wan("data while the handshake is under way", early.inward(data(2, 1)))
            .after(begun)
            .drops(Reason::Premature)
            .of(EXACT),
        wan("a record too many for a silent node", flood.inward(data(10, 1)))
            .after(ten)
            .drops(Reason::Unproven)
            .of(EXACT),
    ]
}

fn spent(source: Ipv6Addr, packets: u64) -> Vec<(Role, Vec<u8>)> {
    let flow = Flow::of(source);
    (0..packets).map(|n| (Role::Wan, flow.inward(data(n, 1)))).collect()
}

/// Sources over their own limits.
pub fn sources() -> Vec<Fixture> {
    let [first, second] = TENANTS;
    let refused = |name, source| wan(name, Flow::of(source).inward(data(1, 1))).of(source);
    vec![
        refused("more packets than granted", FEW_PACKETS)
            .after(spent(FEW_PACKETS, 2))
            .drops(Reason::SourcePackets),
        wan(
            "more echoes than granted",
            icmp::echo_request(FEW_PACKETS.into(), NODE.into(), 1, 1).build(),
        )
        .drops(Reason::SourcePackets)
        .of(FEW_PACKETS),
        refused("more bytes than granted", FEW_BYTES)
            .after(spent(FEW_BYTES, 3))
            .drops(Reason::SourceBytes),
        wan("more segments to the mapping than granted", segment(FEW_PACKETS).build())
            .drops(Reason::SourcePackets)
            .of(FEW_PACKETS),
        wan("more bytes to the mapping than granted", segment(FEW_BYTES).payload([1; 99]).build())
            .drops(Reason::SourceBytes)
            .of(FEW_BYTES),
        refused("a host of a prefix over its limit", first)
            .after(spent(first, 2))
            .drops(Reason::SourcePackets),
        refused("another host of that prefix", second),
    ]
}

fn segment(source: Ipv6Addr) -> Packet {
    Packet::tcp6(source, ROUTER, 40_000, 8443).flags(flag::ACK)
}

/// With a budget of two packets, or three datagrams' bytes, that is the node's or the LLN's.
pub fn radio(reason: Reason) -> Vec<Fixture> {
    let node = matches!(reason, Reason::NodePackets | Reason::NodeBytes);
    let count = if matches!(reason, Reason::NodePackets | Reason::LlnPackets) { 2 } else { 3 };
    let next = || Flow::of(EXACT);
    let error_flow = next();
    // what ends at the router has no part in these budgets, before they are spent or after
    let segments = (0..9).map(|_| (Role::Wan, segment(EXACT).payload([1; 400]).build()));
    let through = next().port(443).segment().flags(flag::ACK).payload([1; 400]);
    let first =
        segments.chain(spent(EXACT, count - 1)).chain([(Role::Wan, error_flow.inward(data(1, 1)))]);
    let elsewhere = wan("another node", next().to(NODE_2).inward(data(1, 1))).of(EXACT);
    let error = icmp::packet_too_big(ATTACKER.into(), 1280, &error_flow.quoted());
    vec![
        wan("over the limit", next().inward(data(1, 1))).after(first).drops(reason).of(EXACT),
        wan("an ICMP error over the limit", error.build()).drops(reason),
        wan("a segment to the mapping", segment(EXACT).build()).of(EXACT),
        wan("a segment to a node's mapped port", through.build()).of(EXACT),
        if node { elsewhere } else { elsewhere.drops(reason) },
    ]
}

/// With a budget of two packets at the agent's ports.
pub fn agent() -> Vec<Fixture> {
    let to = |host, port| {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, host);
        Packet::udp6(source, ROUTER, 40_000, port).build()
    };
    let other = Packet::udp6(EXACT, ROUTER, 40_000, 4433).build();
    let segment = Packet::tcp6(ATTACKER, ROUTER, 40_000, 4433).build();
    let two = [(Role::Wan, to(2, 4433)), (Role::Wan, to(3, 4433))];
    vec![
        wan("a third packet to the agent", to(2, 4433)).after(two).drops(Reason::AgentRate),
        wan("from another host of the same /64", to(99, 4433)).drops(Reason::AgentRate),
        wan("a segment to the agent", segment).drops(Reason::AgentRate),
        wan("from another /64", other).untouched(),
        wan("to another port", to(2, 22)).untouched(),
    ]
}
