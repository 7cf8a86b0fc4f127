//! What nodes send.

use std::net::Ipv6Addr;

use gateway_common::decide::Reason;
use gateway_user::dataplane::attach::Role;
use tests::{
    lab::topology::*,
    packet::{Extension, Packet, dtls, icmp},
};

use super::{
    fixture::{Fixture, lln},
    record::{client_hello, data, handshake, report, server_flight},
    world::{EXACT, EXACT_V4, EXPIRED, Flow, NODE_V4, RESTRICTED, STRANGER_V4, TENANTS},
};

/// What leaves the LLN, and what does not.
pub fn answers() -> Vec<Fixture> {
    let flow = Flow::of(EXACT);
    let asked = Flow::of(EXACT);
    let ask = || [(Role::Wan, asked.inward(client_hello(1, false)))];
    let first = Packet::udp6(NODE, EXACT, 49_000, 5684).payload(client_hello(2, false));
    let tenant = Flow::of(TENANTS[0]);
    vec![
        lln("an answer", asked.outward(server_flight(1))).after(ask()).of(EXACT),
        lln("an answer to a proven address", flow.outward(data(1, 9)))
            .after(handshake(&flow, 1))
            .of(EXACT),
        lln("behind a VLAN tag", flow.reply(data(2, 9)).vlan(7).build()).of(EXACT),
        lln("behind destination options", {
            flow.reply(data(3, 9)).extension(Extension::destination()).build()
        })
        .of(EXACT),
        lln("no DTLS from a port of its own", Packet::udp6(NODE, EXACT, 123, 123).build())
            .of(EXACT),
        lln("a node's own ClientHello", first.build()).of(EXACT),
        lln("to a host of a prefix", tenant.outward(server_flight(1)))
            .after([(Role::Wan, tenant.inward(client_hello(1, false)))])
            .of(TENANTS[0]),
        lln("an echo reply", icmp::echo_reply(NODE.into(), EXACT.into(), 1, 1).build()).of(EXACT),
        lln("an error", icmp::port_unreachable(NODE.into(), &quote()).build()).of(EXACT),
        lln("a segment", Packet::tcp6(NODE, EXACT, 443, 50_000).build()).of(EXACT),
        lln("a fragment", flow.reply([1; 64]).fragment(2, true, 7).build()).of(EXACT),
        lln("over IPv4", icmp::echo_reply(NODE_V4.into(), EXACT_V4.into(), 1, 1).build())
            .of(EXACT_V4),
        lln("to nobody listed", Flow::of(ATTACKER).outward(data(1, 1))).drops(Reason::NotAdmitted),
        lln("to nobody listed over IPv4", Flow::of(STRANGER_V4).outward(data(1, 1)))
            .drops(Reason::NotAdmitted),
        lln("to a lapsed entry", Flow::of(EXPIRED).outward(data(1, 1)))
            .drops(Reason::LeaseExpired)
            .of(EXPIRED),
        lln(
            "from a node that the entry leaves out",
            Flow::of(RESTRICTED).to(NODE_2).outward(data(1, 1)),
        )
        .drops(Reason::NodeDenied)
        .of(RESTRICTED),
        lln("from outside the LLN", Packet::udp6(ATTACKER, EXACT, 5684, 40_000).build())
            .drops(Reason::SpoofedSource),
        lln("a UDP length of one", flow.reply(data(4, 9)).udp_length(1).build())
            .drops(Reason::Malformed),
        lln("unasked, from a DTLS port", Flow::of(EXACT).outward(server_flight(1)))
            .drops(Reason::Amplification)
            .of(EXACT),
        lln("a report to the router", asked.outward(report(1, 5)))
            .drops(Reason::HopLocal)
            .of(EXACT),
        lln("a report with records behind it", {
            flow.outward([report(1, 5), data(5, 9)].concat())
        })
        .of(EXACT),
    ]
}

/// What nodes send to the mapping, at the router's own addresses: nothing of it ends before.
pub fn mapped() -> Vec<Fixture> {
    let leg = |to, payload: Vec<u8>| Packet::udp6(NODE, to, 5684, 45_000).payload(payload).build();
    let merged = [report(1, 5), data(1, 9)].concat();
    vec![
        lln("a flight to the mapping", leg(ROUTER_LLN, server_flight(1))).untouched(),
        lln("a report to the mapping", leg(ROUTER_LLN, report(1, 5))).untouched(),
        lln("a flight to the router's other address", leg(ROUTER, server_flight(1))).untouched(),
        lln("a report to the router's other address", leg(ROUTER, report(1, 5))).untouched(),
        lln("a report with records behind it", leg(ROUTER, merged)).untouched(),
    ]
}

fn quote() -> Vec<u8> {
    Packet::udp6(EXACT, NODE, 40_000, 9).raw_ip().payload(b"?").build()
}

/// What stays in the LLN or is the router's.
pub fn stays() -> Vec<Fixture> {
    let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
    let group = |scope: u16, last| Ipv6Addr::new(0xff00 | scope, 0, 0, 0, 0, 0, 0, last);
    let udp = |from, to, port| Packet::udp6(from, to, 40_000, port).build();
    let neighbour = |from: Ipv6Addr, to: Ipv6Addr| {
        let packet = Packet::icmp(from.into(), to.into(), 135, 0, 0).payload([0; 16]);
        packet.hops(255).build()
    };
    let rpl = Packet::icmp(local.into(), group(2, 0x1a).into(), 155, 1, 0).payload([0; 24]);
    let to_router = Packet::udp(
        std::net::SocketAddr::new(NODE_V4.into(), 40_000),
        std::net::SocketAddr::new(ROUTER_V4.into(), 123),
    );
    let noise = dtls::record(99, dtls::DTLS12, 0, 0, &[1]);
    vec![
        lln("node to node", udp(NODE, NODE_2, 5683)).untouched(),
        lln("node to the router's LLN address", udp(NODE, ROUTER_LLN, 5683)).untouched(),
        lln("node to the router's other address", udp(NODE, ROUTER, 4433)).untouched(),
        lln("node to the router over IPv4", to_router.payload(noise).build()).untouched(),
        lln("node to a link-local address", udp(NODE, local, 5683)).untouched(),
        lln("from a link-local address", udp(local, EXACT, 5683)).untouched(),
        lln("from the unspecified address", neighbour(Ipv6Addr::UNSPECIFIED, group(2, 1)))
            .untouched(),
        lln("neighbour solicitation", neighbour(NODE, ROUTER_LLN)).untouched(),
        lln("RPL", rpl.build()).untouched(),
        lln("to a group of the realm", udp(NODE, group(3, 1), 5683)).untouched(),
        lln("malformed, to another node", Packet::udp6(NODE, NODE_2, 1, 1).udp_length(1).build())
            .untouched(),
        lln("no IP", Packet::udp6(NODE, EXACT, 1, 1).ether_type(0x88cc).build()).untouched(),
    ]
}
