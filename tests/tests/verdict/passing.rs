//! What must come through: the traffic of listed back-ends, and all that is not the filter's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gateway_user::dataplane::attach::Role;
use tests::{
    lab::topology::*,
    packet::{Extension, Packet, flag, icmp},
};

use super::{
    fixture::{Fixture, wan},
    record::{client_hello, data},
    world::{EXACT, EXACT_V4, Flow, NODE_V4, RESTRICTED, STRANGER_V4, TENANT_V4, TENANTS},
};

/// Datagrams, segments and echoes of listed back-ends.
pub fn listed() -> Vec<Fixture> {
    let flow = || Flow::of(EXACT);
    let hello = client_hello(1, false);
    let echo = |from: IpAddr, to: IpAddr| icmp::echo_request(from, to, 1, 2).build();
    // 40 bytes of IPv6, 8 of UDP, 13 of the record
    let whole = [7; 1280 - 40 - 8 - 13];
    let largest = tests::packet::dtls::application(1, &whole);
    let v4 = Flow::of(EXACT_V4);
    let tagged = |packet: Packet| packet.vlan(5).build();
    vec![
        wan("a ClientHello", flow().inward(&hello)).of(EXACT),
        wan("behind a VLAN tag", tagged(flow().packet(&hello))).of(EXACT),
        wan("behind two", tagged(flow().packet(&hello).vlan(6))).of(EXACT),
        wan("padded to Ethernet's minimum", flow().packet(data(1, 1)).trailer(&[0; 9]).build())
            .of(EXACT),
        wan("a record of an association from before the router started", flow().inward(data(9, 1)))
            .of(EXACT),
        wan("to another node", flow().to(NODE_2).inward(&hello)).of(EXACT),
        wan("to the other DTLS port", flow().port(5685).inward(&hello)).of(EXACT),
        wan("as large as the LLN takes", flow().inward(largest)).of(EXACT),
        wan(
            "behind destination options",
            flow().packet(&hello).extension(Extension::destination()).build(),
        )
        .of(EXACT),
        wan(
            "behind six extension headers",
            (0..6)
                .fold(flow().packet(&hello), |p, _| p.extension(Extension::destination()))
                .build(),
        )
        .of(EXACT),
        wan("over IPv4", v4.inward(&hello)).of(EXACT_V4),
        wan("over IPv4 with options", v4.packet(data(1, 1)).options(&[1; 7]).build()).of(EXACT_V4),
        wan("over IPv4 with all options", v4.packet(data(2, 1)).options(&[1; 40]).build())
            .of(EXACT_V4),
        wan("an entry for this node and port", Flow::of(RESTRICTED).inward(&hello)).of(RESTRICTED),
        wan("a host of a listed prefix", Flow::of(TENANTS[0]).inward(&hello)).of(TENANTS[0]),
        wan("a host of a listed IPv4 prefix", Flow::of(TENANT_V4).inward(&hello)).of(TENANT_V4),
        wan("a SYN to a mapped port", flow().port(443).segment().build()).of(EXACT),
        wan(
            "a segment to a mapped port",
            flow().port(443).segment().flags(flag::ACK).payload([1; 99]).build(),
        )
        .of(EXACT),
        wan(
            "segments that the kernel merged, larger than the LLN takes",
            flow().port(443).segment().flags(flag::ACK).payload(vec![1; 2900]).build(),
        )
        .of(EXACT),
        wan("an echo request", echo(EXACT.into(), NODE.into())).of(EXACT),
        wan("an echo request over IPv4", echo(EXACT_V4.into(), NODE_V4.into())).of(EXACT_V4),
        wan("an echo reply", icmp::echo_reply(EXACT.into(), NODE.into(), 1, 2).build()).of(EXACT),
    ]
}

/// Segments to the ports of the router's own addresses on which the mapping listens.
pub fn mapped() -> Vec<Fixture> {
    let to = |source: Ipv6Addr, port| Packet::tcp6(source, ROUTER, 40_000, port);
    let v4 = |source, port| Packet::tcp4(source, ROUTER_V4, 40_000, port).build();
    vec![
        wan("a SYN to the mapping", to(EXACT, 8443).build()).of(EXACT),
        wan("a segment to the mapping's other port", {
            to(EXACT, 8444).flags(flag::ACK).payload([1; 99]).build()
        })
        .of(EXACT),
        wan("segments that the kernel merged", to(EXACT, 8443).payload(vec![1; 2900]).build())
            .of(EXACT),
        wan("behind destination options", {
            to(EXACT, 8443).extension(Extension::destination()).build()
        })
        .of(EXACT),
        wan("over IPv4", v4(EXACT_V4, 8443)).of(EXACT_V4),
        wan("a host of a listed prefix", v4(TENANT_V4, 8443)).of(TENANT_V4),
        wan("UDP to that port", Packet::udp6(ATTACKER, ROUTER, 40_000, 8443).build()).untouched(),
        wan("that port of a host elsewhere", {
            Packet::tcp6(ATTACKER, Ipv6Addr::new(0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 1), 9, 8443)
                .build()
        })
        .untouched(),
    ]
}

/// ICMP errors about packets of live flows, from routers that hold no lease.
pub fn related() -> Vec<Fixture> {
    let open = |flow: Flow| (flow, [(Role::Wan, flow.inward(data(1, 1)))]);
    let (unreachable, unreachable_first) = open(Flow::of(EXACT));
    let (big, big_first) = open(Flow::of(EXACT));
    let (exceeded, exceeded_first) = open(Flow::of(EXACT));
    let (problem, problem_first) = open(Flow::of(EXACT));
    let (four, four_first) = open(Flow::of(EXACT_V4));
    let (old, old_first) = open(Flow::of(EXACT_V4));
    let (hop, hop4): (IpAddr, IpAddr) = (ATTACKER.into(), STRANGER_V4.into());
    let segment = Packet::tcp6(NODE, EXACT, 443, 50_000).raw_ip().build();
    vec![
        wan("port unreachable", icmp::port_unreachable(hop, &unreachable.quoted()).build())
            .after(unreachable_first),
        wan("packet too big", icmp::packet_too_big(hop, 1280, &big.quoted()).build())
            .after(big_first),
        wan("hop limit exceeded", icmp::time_exceeded(hop, &exceeded.quoted()).build())
            .after(exceeded_first),
        wan("parameter problem", icmp::error(hop, 4, 1, 40, &problem.quoted()).build())
            .after(problem_first),
        wan("fragmentation needed", icmp::packet_too_big(hop4, 1280, &four.quoted()).build())
            .after(four_first),
        wan("time to live exceeded", icmp::time_exceeded(hop4, &old.quoted()).build())
            .after(old_first),
        wan(
            "packet too big for a mapped session",
            icmp::packet_too_big(hop, 1280, &segment).build(),
        ),
    ]
}

fn neighbour(name: &'static str, kind: u8, to: Ipv6Addr) -> Fixture {
    let packet = Packet::icmp(ATTACKER.into(), to.into(), kind, 0, 0).payload([0; 16]);
    wan(name, packet.hops(255).build()).untouched()
}

/// What keeps the link and the router alive.
pub fn link() -> Vec<Fixture> {
    let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
    let group = |last| Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, last);
    let solicited = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2);
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.resize(60, 0);
    let ospf = Packet::ip(local.into(), group(5).into(), 89).payload([2; 44]);
    let ospf4 = Packet::ip(INTERNET_V4.into(), Ipv4Addr::new(224, 0, 0, 5).into(), 89);
    let mdns4 = Packet::udp4(INTERNET_V4, Ipv4Addr::new(224, 0, 0, 251), 5353, 5353);
    let igmp = Packet::ip(INTERNET_V4.into(), Ipv4Addr::new(224, 0, 0, 22).into(), 2);
    let listeners = Packet::icmp(local.into(), group(0x16).into(), 143, 0, 0)
        .extension(Extension::hop_by_hop())
        .hops(1);
    vec![
        wan("ARP", arp).untouched(),
        wan("LLDP", Packet::udp6(local, local, 1, 1).ether_type(0x88cc).build()).untouched(),
        neighbour("router solicitation to a node", 133, NODE),
        neighbour("router advertisement to a node", 134, NODE),
        neighbour("neighbour solicitation to a node", 135, NODE),
        neighbour("neighbour advertisement to a node", 136, NODE),
        neighbour("redirect to a node", 137, NODE),
        neighbour("neighbour solicitation to the router", 135, ROUTER),
        neighbour("neighbour advertisement to the router's LLN address", 136, ROUTER_LLN),
        neighbour("router advertisement to all nodes", 134, group(1)),
        neighbour("neighbour solicitation to a solicited-node group", 135, solicited),
        wan("multicast listener report", listeners.build()).untouched(),
        wan("IGMP", igmp.payload([0x22; 8]).build()).untouched(),
        wan("DHCPv6 request", Packet::udp6(local, group(0x12), 546, 547).build()).untouched(),
        wan("DHCPv6 reply", Packet::udp6(local, local, 547, 546).build()).untouched(),
        wan("mDNS", Packet::udp6(local, group(0xfb), 5353, 5353).build()).untouched(),
        wan("mDNS over IPv4", mdns4.build()).untouched(),
        wan("RIPng", Packet::udp6(local, group(9), 521, 521).build()).untouched(),
        wan("OSPFv3", ospf.build()).untouched(),
        wan("OSPFv2", ospf4.payload([2; 44]).build()).untouched(),
        wan("CoAP to this link's group", Packet::udp6(local, group(0xfd), 5683, 5683).build())
            .untouched(),
    ]
}

/// What is addressed to the router or goes through it to elsewhere.
pub fn elsewhere() -> Vec<Fixture> {
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 1);
    let udp = |to, port| Packet::udp6(ATTACKER, to, 40_000, port);
    let nat64 = Packet::udp4(STRANGER_V4, ROUTER_V4, 5684, 61_000).payload(data(1, 1));
    let nat64_segment = Packet::tcp4(STRANGER_V4, ROUTER_V4, 443, 61_000).flags(flag::ACK);
    let ssh = |src: IpAddr, dst: IpAddr| {
        Packet::tcp(SocketAddr::new(src, 50_000), SocketAddr::new(dst, 22)).build()
    };
    let again = udp(far, 5684).payload(data(1, 1)).build();
    vec![
        wan("ssh to the router", ssh(ATTACKER.into(), ROUTER.into())).untouched(),
        wan("ssh over IPv4", ssh(STRANGER_V4.into(), ROUTER_V4.into())).untouched(),
        wan("to the agent's port", udp(ROUTER, 4433).payload(client_hello(1, false)).build())
            .untouched(),
        wan("a NAT64 reply", nat64.build()).untouched(),
        wan("a NAT64 segment", nat64_segment.build()).untouched(),
        wan(
            "an echo to the router",
            icmp::echo_request(ATTACKER.into(), ROUTER.into(), 1, 1).build(),
        )
        .untouched(),
        wan("IPsec to the router", Packet::ip(ATTACKER.into(), ROUTER.into(), 50).build())
            .untouched(),
        wan("a fragment to the router", udp(ROUTER, 9).fragment(3, true, 7).build()).untouched(),
        wan("malformed, but not the LLN's", udp(ROUTER, 9).udp_length(1).build()).untouched(),
        wan("DTLS to another network, twice", again.clone())
            .after([(Role::Wan, again)])
            .untouched(),
        wan("CoAP to another network", udp(far, 5683).build()).untouched(),
        wan("behind three VLAN tags", udp(NODE, 5684).vlan(1).vlan(2).vlan(3).build()).untouched(),
        wan("cut off in the IP header", udp(NODE, 5684).truncate(30).build()).untouched(),
        wan("with an IPv4-mapped source", mapped_source()).untouched(),
    ]
}

/// An IPv6 packet that claims an IPv4 source: no receiver takes it, so nothing is lost.
fn mapped_source() -> Vec<u8> {
    let source = Ipv4Addr::new(192, 0, 2, 2).to_ipv6_mapped();
    Packet::udp6(source, NODE, 40_000, 5684).build()
}
