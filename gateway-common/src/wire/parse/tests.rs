//! Byte vectors and properties of the parser.
use super::*;
extern crate std;
use proptest::prelude::*;
use std::vec::Vec;

/// Ethernet, `tags` VLAN tags, then `rest` with the given EtherType.
fn ethernet(tags: usize, ether_type: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = std::vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in 0..tags {
        frame.extend(if tag == 0 { SERVICE_TAG } else { CUSTOMER_TAG }.to_be_bytes());
        frame.extend([0, 5]);
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(rest);
    frame
}

fn v4(options: usize, fragment: u16, protocol: u8, body: &[u8]) -> Vec<u8> {
    let header = 20 + options * 4;
    let mut ip = std::vec![0x40 | (header / 4) as u8, 0];
    ip.extend(((header + body.len()) as u16).to_be_bytes());
    ip.extend([0, 1]);
    ip.extend(fragment.to_be_bytes());
    ip.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    ip.extend(std::vec![1; options * 4]);
    ip.extend(body);
    ip
}

fn v6(next: u8, body: &[u8]) -> Vec<u8> {
    let mut ip = std::vec![0x60, 0, 0, 0];
    ip.extend((body.len() as u16).to_be_bytes());
    ip.extend([next, 64]);
    ip.extend([0x20, 1, 0xd, 0xb8, 0, 0xb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    ip.extend([0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10]);
    ip.extend(body);
    ip
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut udp = std::vec![0x9c, 0x40, 0x16, 0x34];
    udp.extend(((8 + payload.len()) as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    udp
}

fn walk(frame: &[u8], link: Link) -> Result<Option<(Network, Upper)>, Malformed> {
    let Some(ip) = network(frame, link)? else {
        return Ok(None);
    };
    Ok(Some((ip, transport(frame, &ip)?)))
}

#[test]
fn every_link_leads_to_the_same_datagram() {
    for ip in
        [v4(0, 0x4000, UDP, &udp(&[7; 5])), v4(10, 0, UDP, &udp(&[7; 5])), v6(UDP, &udp(&[7; 5]))]
    {
        let ether_type = if ip[0] >> 4 == 4 { IPV4 } else { IPV6 };
        let mut frames: Vec<(Vec<u8>, Link)> =
            (0..=2).map(|tags| (ethernet(tags, ether_type, &ip), Link::Ethernet)).collect();
        frames.push((ip.clone(), Link::Ip));
        for (frame, link) in frames {
            let (net, up) = walk(&frame, link).unwrap().unwrap();
            let Upper::Udp { ports, payload, end } = up else { panic!("{up:?}") };
            assert_eq!((ports.source, ports.destination), (40_000, 5684));
            assert_eq!(&frame[payload.get()..end.get()], [7; 5]);
            assert_eq!(usize::from(net.length), ip.len());
        }
    }
}

#[test]
fn what_is_not_ip_is_not_ours() {
    assert_eq!(walk(&ethernet(0, 0x0806, &[0; 28]), Link::Ethernet), Ok(None));
    assert_eq!(walk(&ethernet(3, IPV6, &v6(UDP, &udp(&[]))), Link::Ethernet), Ok(None));
    assert_eq!(walk(&[0x00; 40], Link::Ip), Ok(None));
}

#[test]
fn extension_headers() {
    let options = |next: u8, units: u8| {
        let mut header = std::vec![next, units, 1, 4];
        header.resize((usize::from(units) + 1) * 8, 0);
        header
    };
    let chain = |n: usize| {
        let mut body = Vec::new();
        for i in 0..n {
            body.extend(options(if i + 1 == n { UDP } else { DESTINATION_OPTIONS }, (i % 2) as u8));
        }
        body.extend(udp(&[9]));
        v6(if n == 0 { UDP } else { DESTINATION_OPTIONS }, &body)
    };
    for n in 0..=EXTENSIONS_MAX {
        let up = walk(&chain(n), Link::Ip).unwrap().unwrap().1;
        assert!(matches!(up, Upper::Udp { .. }), "{n}: {up:?}");
    }
    assert_eq!(walk(&chain(EXTENSIONS_MAX + 1), Link::Ip), Err(Malformed::ExtensionChain));
    for (next, expected) in [
        (HOP_BY_HOP, Upper::HopByHop),
        (ROUTING, Upper::RoutingHeader),
        (FRAGMENT, Upper::Fragment),
        (50, Upper::Other),
    ] {
        assert_eq!(walk(&v6(next, &options(UDP, 0)), Link::Ip).unwrap().unwrap().1, expected);
    }
    // a header that claims to reach past the packet, and past what an offset can hold
    assert_eq!(
        walk(&v6(DESTINATION_OPTIONS, &options(UDP, 0)), Link::Ip),
        Err(Malformed::Truncated)
    );
    assert_eq!(
        walk(&v6(DESTINATION_OPTIONS, &[UDP, 255, 0, 0]), Link::Ip),
        Err(Malformed::Truncated)
    );
}

#[test]
fn lengths_must_agree() {
    let mut longer = v6(UDP, &udp(&[1, 2, 3]));
    longer[5] += 1; // payload length past the datagram's
    assert_eq!(walk(&longer, Link::Ip), Err(Malformed::Truncated));
    longer.push(0);
    assert_eq!(walk(&longer, Link::Ip), Err(Malformed::Length));
    let whole = v6(UDP, &udp(&[1, 2, 3]));
    assert_eq!(walk(&whole[..whole.len() - 1], Link::Ip), Err(Malformed::Truncated));
    let mut short_udp = v6(UDP, &udp(&[1, 2, 3]));
    short_udp[45] = 7; // UDP length under its header
    assert_eq!(walk(&short_udp, Link::Ip), Err(Malformed::Length));
    let mut ihl = v4(0, 0, UDP, &udp(&[]));
    ihl[0] = 0x44;
    assert_eq!(walk(&ihl, Link::Ip), Err(Malformed::Length));
    assert_eq!(walk(&v4(0, 0x2000, UDP, &udp(&[])), Link::Ip).unwrap().unwrap().1, Upper::Fragment);
    assert_eq!(walk(&v4(0, 0x0001, UDP, &[]), Link::Ip).unwrap().unwrap().1, Upper::Fragment);
}

#[test]
fn mapped_addresses_have_no_place_in_ipv6() {
    let mut packet = v6(UDP, &udp(&[]));
    packet[8..24].copy_from_slice(&Address::from_v4(0x0a00_0001).octets);
    assert_eq!(network(&packet[..], Link::Ip), Err(Malformed::MappedAddress));
}

#[test]
fn icmp_quotes() {
    let inner = v6(UDP, &udp(&[]));
    let mut error = std::vec![2, 0, 0, 0, 0, 0, 5, 0];
    error.extend(&inner);
    let packet = v6(ICMPV6, &error);
    let (_, up) = walk(&packet, Link::Ip).unwrap().unwrap();
    let Upper::Icmp { kind: icmp::Kind::Error, body } = up else { panic!("{up:?}") };
    let quote = quoted(&packet[..], body, false).unwrap();
    assert_eq!((quote.source_port, quote.destination_port, quote.protocol), (40_000, 5684, UDP));
    // ICMP for the other version is just another protocol
    assert_eq!(walk(&v6(ICMPV4, &error), Link::Ip).unwrap().unwrap().1, Upper::Other);
}

proptest! {
    #[test]
    fn any_bytes_end_somewhere(bytes in proptest::collection::vec(any::<u8>(), 0..200), raw: bool) {
        let link = if raw { Link::Ip } else { Link::Ethernet };
        if let Ok(Some((ip, Upper::Udp { payload, end, .. }))) = walk(&bytes, link) {
            prop_assert!(payload <= end);
            prop_assert!(usize::from(ip.length) >= end.get() - payload.get() + UdpHdr::LEN);
        }
    }

    #[test]
    fn cutting_a_packet_never_changes_who_talks_to_whom(cut in 0usize..60) {
        let whole = v6(UDP, &udp(&[1; 12]));
        let full = network(&whole[..], Link::Ip).unwrap().unwrap();
        if let Ok(Some(part)) = network(&whole[..cut], Link::Ip) {
            prop_assert_eq!(part, full);
        }
    }
}
