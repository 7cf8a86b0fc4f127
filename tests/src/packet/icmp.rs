//! ICMP messages by what they say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Packet;

/// ICMPv6: a packet was too big for the next link.
pub const PACKET_TOO_BIG: u8 = 2;
/// The most of an IPv6 packet that an error quotes: all must fit into 1280 bytes (RFC 4443 §2.4).
const QUOTE_V6: usize = 1280 - 40 - 8;
/// The most of an IPv4 packet that an error quotes here (RFC 1812 §4.3.2.3).
const QUOTE_V4: usize = 576 - 20 - 8;

/// An echo request.
pub fn echo_request(src: IpAddr, dst: IpAddr, id: u16, seq: u16) -> Packet {
    echo(src, dst, if src.is_ipv4() { 8 } else { 128 }, id, seq)
}

/// An echo reply.
pub fn echo_reply(src: IpAddr, dst: IpAddr, id: u16, seq: u16) -> Packet {
    echo(src, dst, if src.is_ipv4() { 0 } else { 129 }, id, seq)
}

/// Port unreachable, about `quoted`, an IP packet without link header, to its sender.
pub fn port_unreachable(src: IpAddr, quoted: &[u8]) -> Packet {
    if src.is_ipv4() { error(src, 3, 3, 0, quoted) } else { error(src, 1, 4, 0, quoted) }
}

/// Packet too big, or in IPv4 fragmentation needed.
pub fn packet_too_big(src: IpAddr, mtu: u16, quoted: &[u8]) -> Packet {
    let mtu = u32::from(mtu);
    if src.is_ipv4() {
        error(src, 3, 4, mtu, quoted)
    } else {
        error(src, PACKET_TOO_BIG, 0, mtu, quoted)
    }
}

/// Hop limit or time to live exceeded.
pub fn time_exceeded(src: IpAddr, quoted: &[u8]) -> Packet {
    if src.is_ipv4() { error(src, 11, 0, 0, quoted) } else { error(src, 3, 0, 0, quoted) }
}

/// Any error about `quoted`, an IP packet without link header, to its sender.
pub fn error(src: IpAddr, kind: u8, code: u8, rest: u32, quoted: &[u8]) -> Packet {
    let (dst, most) = if src.is_ipv4() {
        (Ipv4Addr::from(at::<4>(quoted, 12)).into(), QUOTE_V4)
    } else {
        (Ipv6Addr::from(at::<16>(quoted, 8)).into(), QUOTE_V6)
    };
    Packet::icmp(src, dst, kind, code, rest).payload(&quoted[..quoted.len().min(most)])
}

fn echo(src: IpAddr, dst: IpAddr, kind: u8, id: u16, seq: u16) -> Packet {
    let rest = u32::from(id) << 16 | u32::from(seq);
    Packet::icmp(src, dst, kind, 0, rest).payload(b"echo")
}

fn at<const N: usize>(packet: &[u8], offset: usize) -> [u8; N] {
    packet[offset..offset + N].try_into().expect("a range of N bytes")
}
