//! What must not reach the LLN.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gateway_common::decide::Reason;
use gateway_user::dataplane::attach::Role;
use tests::{
    lab::topology::*,
    packet::{
        Extension, Packet,
        dtls::{self, DTLS12, content},
        icmp,
    },
};

use super::{
    fixture::{Fixture, wan},
    record::{client_hello, data, handshake, protected, report},
    world::{EXACT, EXACT_V4, EXPIRED, Flow, INSIDER, NODE_V4, RESTRICTED, STRANGER_V4},
};

/// Who is not listed, or not for this.
pub fn admission() -> Vec<Fixture> {
    let hello = client_hello(1, false);
    let echo = |from: IpAddr, to: IpAddr| icmp::echo_request(from, to, 1, 2).build();
    let solicitation = Packet::icmp(ATTACKER.into(), NODE.into(), 135, 0, 0).payload([0; 16]);
    let stranger = Flow::of(ATTACKER);
    vec![
        wan("a stranger's ClientHello", stranger.inward(&hello)).drops(Reason::NoLease),
        wan("behind two VLAN tags", stranger.packet(&hello).vlan(1).vlan(2).build())
            .drops(Reason::NoLease),
        wan("a stranger over IPv4", Flow::of(STRANGER_V4).inward(&hello)).drops(Reason::NoLease),
        wan("a stranger's echo", echo(ATTACKER.into(), NODE.into())).drops(Reason::NoLease),
        wan("a stranger's echo over IPv4", echo(STRANGER_V4.into(), NODE_V4.into()))
            .drops(Reason::NoLease),
        wan("a stranger's segment", stranger.port(443).segment().build()).drops(Reason::NoLease),
        wan("to the router's LLN address", stranger.to(ROUTER_LLN).inward(&hello))
            .drops(Reason::NoLease),
        wan("a solicitation from afar", solicitation.hops(64).build()).drops(Reason::NoLease),
        wan("a neighbour of the listed prefix", Flow::of(next_prefix()).inward(&hello))
            .drops(Reason::NoLease),
        wan("a lapsed entry", Flow::of(EXPIRED).inward(&hello))
            .drops(Reason::LeaseExpired)
            .of(EXPIRED),
        wan("not this node", Flow::of(RESTRICTED).to(NODE_2).inward(&hello))
            .drops(Reason::NodeDenied)
            .of(RESTRICTED),
        wan("not this port", Flow::of(RESTRICTED).port(5685).inward(&hello))
            .drops(Reason::PortDenied)
            .of(RESTRICTED),
        wan("a mapped port not granted", Flow::of(RESTRICTED).port(443).segment().build())
            .drops(Reason::PortDenied)
            .of(RESTRICTED),
        wan("a listed source inside the LLN", Flow::of(INSIDER).inward(&hello))
            .drops(Reason::SpoofedSource),
        wan("a source inside the LLN", Flow::of(NODE_2).inward(&hello)).drops(Reason::NoLease),
    ]
}

/// Who may not reach the mapping at the router's own addresses.
pub fn mapped() -> Vec<Fixture> {
    let to = |source: Ipv6Addr| Packet::tcp6(source, ROUTER, 40_000, 8443).build();
    let v4 = Packet::tcp4(STRANGER_V4, ROUTER_V4, 40_000, 8443).build();
    vec![
        wan("a stranger's SYN to the mapping", to(ATTACKER)).drops(Reason::NoLease),
        wan("a stranger's SYN over IPv4", v4).drops(Reason::NoLease),
        wan("a lapsed entry", to(EXPIRED)).drops(Reason::LeaseExpired).of(EXPIRED),
        wan("an entry for other ports", to(RESTRICTED)).drops(Reason::PortDenied).of(RESTRICTED),
        wan("a listed source inside the LLN", to(INSIDER)).drops(Reason::SpoofedSource),
    ]
}

const fn next_prefix() -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xc, 1, 0, 0, 0, 1)
}

/// What a listed back-end sends and no node should get.
pub fn content() -> Vec<Fixture> {
    let flow = Flow::of(EXACT);
    let v4 = Flow::of(EXACT_V4);
    let packet = || flow.packet(client_hello(1, false));
    let (exact, node) = (IpAddr::from(EXACT), IpAddr::from(NODE));
    let other = |protocol| Packet::ip(exact, node, protocol).payload([0; 32]).build();
    let behind = |extension| packet().extension(extension).build();
    let chain = (0..7).fold(packet(), |p, _| p.extension(Extension::destination()));
    let icmp = |kind| Packet::icmp(exact, node, kind, 0, 0).payload([0; 16]).build();
    let too_large = dtls::application(1, &[7; 1281 - 40 - 8 - 13]);
    let realm = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd);
    let all_coap = Ipv4Addr::new(224, 0, 1, 187);
    vec![
        wan("a UDP length of one", packet().udp_length(1).build()).drops(Reason::Malformed),
        wan("a UDP length past the packet", packet().udp_length(999).build())
            .drops(Reason::Malformed),
        wan("an IP length past the UDP datagram", packet().ip_length(300).build())
            .drops(Reason::Malformed),
        wan("seven extension headers", chain.build()).drops(Reason::Malformed),
        wan("a TCP header of four words", flow.port(443).segment().data_offset(4).build())
            .drops(Reason::Malformed),
        wan("a cut-off ICMP message", Packet::ip(exact, node, 58).payload([1; 3]).build())
            .drops(Reason::Malformed),
        wan("a first fragment", packet().fragment(0, true, 7).build()).drops(Reason::Fragment),
        wan("a later fragment", packet().fragment(9, false, 7).build()).drops(Reason::Fragment),
        wan("an atomic fragment", packet().fragment(0, false, 7).build()).drops(Reason::Fragment),
        wan("a fragment over IPv4", v4.packet([1; 64]).fragment(9, true, 7).build())
            .drops(Reason::Fragment),
        wan("a routing header", behind(Extension::routing(0, 1))).drops(Reason::RoutingHeader),
        wan("hop-by-hop options", behind(Extension::hop_by_hop())).drops(Reason::HopByHop),
        wan("hop-by-hop options behind others", {
            packet().extension(Extension::destination()).extension(Extension::hop_by_hop()).build()
        })
        .drops(Reason::HopByHop),
        wan("a byte more than the LLN takes", flow.inward(too_large)).drops(Reason::Oversize),
        wan("CoAP without DTLS", flow.port(5683).inward(b"\x40\x01\x12\x34"))
            .drops(Reason::PlainCoap),
        wan("DNS", flow.port(53).inward([1; 40])).drops(Reason::UdpPort),
        wan("DTLS to a mapped port", flow.port(443).inward(data(1, 1))).drops(Reason::UdpPort),
        wan("TCP to a DTLS port", flow.segment().build()).drops(Reason::TcpPort),
        wan("TCP to ssh of a node", flow.port(22).segment().build()).drops(Reason::TcpPort),
        wan("SCTP", other(132)).drops(Reason::Protocol),
        wan("IPv4 in IPv6", other(4)).drops(Reason::Protocol),
        wan("ICMPv4 in IPv6", other(1)).drops(Reason::Protocol),
        wan("a multicast listener query", icmp(130)).drops(Reason::IcmpType),
        wan("a node information query", icmp(139)).drops(Reason::IcmpType),
        wan("a neighbour solicitation from afar", icmp(135)).drops(Reason::IcmpType),
        wan("a timestamp request", {
            Packet::icmp(EXACT_V4.into(), NODE_V4.into(), 13, 0, 0).payload([0; 12]).build()
        })
        .drops(Reason::IcmpType),
        wan("CoAP to all nodes", Packet::udp6(EXACT, realm, 5683, 5683).build())
            .drops(Reason::Multicast),
        wan("DTLS to all nodes", Packet::udp6(ATTACKER, realm, 5684, 5684).build())
            .drops(Reason::Multicast),
        wan("CoAP to all nodes over IPv4", {
            Packet::udp4(STRANGER_V4, all_coap, 5683, 5683).build()
        })
        .drops(Reason::Multicast),
    ]
}

/// ICMP errors that no live flow explains.
pub fn unrelated() -> Vec<Fixture> {
    let (silent, spoken) = (Flow::of(EXACT), Flow::of(EXACT));
    let stranger = Flow::of(ATTACKER);
    let hop = IpAddr::from(ATTACKER);
    let segment = |to, port| Packet::tcp6(NODE, to, port, 50_000).raw_ip().build();
    let open = || [(Role::Wan, spoken.inward(data(1, 1)))];
    let other_port = spoken.port(5685);
    let large = icmp::packet_too_big(hop, 1280, &spoken.quoted()).payload([7; 1300]);
    let mut to_other = spoken.quoted();
    to_other[23] = 0x11; // the quoted sender is the second node, the error goes there too
    let cut = icmp::packet_too_big(hop, 1280, &spoken.quoted()[..42]);
    let unrelated = |name, frame| wan(name, frame).after(open()).drops(Reason::IcmpUnrelated);
    vec![
        unrelated(
            "about a flow that is not",
            icmp::port_unreachable(hop, &silent.quoted()).build(),
        ),
        unrelated("about a stranger", icmp::port_unreachable(hop, &stranger.quoted()).build()),
        unrelated("another port", icmp::port_unreachable(hop, &other_port.quoted()).build()),
        unrelated("another node's", icmp::port_unreachable(hop, &to_other).build()),
        unrelated("a quote cut before the ports", cut.build()),
        unrelated(
            "a segment to a stranger",
            icmp::time_exceeded(hop, &segment(ATTACKER, 443)).build(),
        ),
        unrelated(
            "a segment of no mapped port",
            icmp::time_exceeded(hop, &segment(EXACT, 22)).build(),
        ),
        wan("larger than the LLN takes", large.build()).after(open()).drops(Reason::Oversize),
    ]
}

/// What is no DTLS, or not in this state.
pub fn records() -> Vec<Fixture> {
    let flow = || Flow::of(EXACT);
    let first_bad = |name, payload: &[u8]| wan(name, flow().inward(payload)).drops(Reason::NotDtls);
    let later_bad = |name, payload: &[u8]| first_bad(name, payload).of(EXACT);
    let of_type = |name, kind, epoch| {
        let record = protected(kind, epoch, 5, 1);
        wan(name, flow().inward(record)).drops(Reason::RecordType).of(EXACT)
    };
    let up = |flow: Flow| (flow, handshake(&flow, 1));
    let (ahead, ahead_first) = up(flow());
    let (late, mut late_first) = up(flow());
    late_first.push((Role::Lln, late.outward(report(1, 1000))));
    let (again, mut again_first) = up(flow());
    again_first.push((Role::Wan, again.inward(data(7, 1))));
    let (other, mut other_first) = up(flow());
    other_first.push((Role::Wan, other.inward(data(7, 1))));
    let nine: Vec<u8> = (0..9).flat_map(|n| data(n, 1)).collect();
    vec![
        first_bad("nothing", b""),
        first_bad("noise", &[0x99; 40]),
        first_bad("CoAP to a DTLS port", b"\x40\x01\x12\x34"),
        first_bad("TLS to a DTLS port", &[22, 3, 3, 0, 16, 1, 0, 0, 12, 3, 3, 0, 0, 0, 0, 0]),
        first_bad("a record longer than the datagram", &data(1, 1)[..44]),
        first_bad("an empty record", &dtls::record(content::APPLICATION, DTLS12, 1, 1, b"")),
        later_bad("a byte behind the record", &[&data(1, 1)[..], &[0]].concat()),
        later_bad("nine records", &nine),
        later_bad("too short to be protected", &dtls::application(1, &[1; 15])),
        later_bad(
            "half a handshake header",
            &dtls::record(content::HANDSHAKE, DTLS12, 0, 1, &[1; 8]),
        ),
        of_type("plaintext application data", content::APPLICATION, 0),
        of_type("a heartbeat", 24, 1),
        of_type("a report, which only nodes send", 26, 0),
        of_type("a return routability check", 27, 1),
        wan("an epoch too far", ahead.inward(protected(content::APPLICATION, 3, 0, 1)))
            .after(ahead_first)
            .drops(Reason::Epoch)
            .of(EXACT),
        wan("long past, says the node", late.inward(data(936, 1)))
            .after(late_first)
            .drops(Reason::ReplayStale)
            .of(EXACT),
        wan("the same record again", again.inward(data(7, 1)))
            .after(again_first)
            .drops(Reason::Replayed)
            .of(EXACT),
        wan("the same number with other bytes", other.inward(data(7, 2)))
            .after(other_first)
            .drops(Reason::ReplayConflict)
            .of(EXACT),
    ]
}
